//! Gzip members, one after the other; what follows the last member and is none is passed over, as `GZIPInputStream` does.

use std::io::Write;

use flate2::{Decompress, FlushDecompress, Status};

use super::{PIECE_BYTES, Window};
use crate::compression::Compression;
use crate::error::Error;

const WINDOW_BITS: u8 = 15;
const MEMBER_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Header and trailer of a member; fewer bytes behind a member are none.
const MEMBER_BYTES_MIN: usize = 18;

const fn fail(reason: &'static str) -> Error {
    Error::Decompression { compression: Compression::Gzip, reason }
}

/// Members being read.
pub(super) struct Source<'a> {
    context: &'a mut Decompress,
    rest: &'a [u8],
    finished: bool,
}

impl<'a> Source<'a> {
    pub(super) fn new(context: &'a mut Option<Decompress>, payload: &'a [u8]) -> Self {
        let context = match context {
            Some(context) => {
                context.reset(true);
                context
            }
            None => context.insert(Decompress::new_gzip(WINDOW_BITS)),
        };
        Self { context, rest: payload, finished: false }
    }

    pub(super) fn next_piece(&mut self, window: &mut Window) -> Result<bool, Error> {
        if self.finished {
            return Ok(false);
        }
        let (read_before, written_before) = (self.context.total_in(), self.context.total_out());
        let status = self
            .context
            .decompress(self.rest, window.room(PIECE_BYTES), FlushDecompress::None)
            .map_err(|_| fail("a member is corrupted"))?;
        let read = (self.context.total_in() - read_before) as usize;
        let written = (self.context.total_out() - written_before) as usize;
        window.filled(written);
        self.rest = self.rest.get(read..).unwrap_or_default();
        if status == Status::StreamEnd {
            self.finished = self.rest.len() < MEMBER_BYTES_MIN || !self.rest.starts_with(&MEMBER_MAGIC);
            self.context.reset(true);
        } else if read == 0 && written == 0 {
            return Err(fail("the stream ends prematurely"));
        }
        Ok(true)
    }
}

/// Appends one member.
pub(super) fn compress(level: i32, records: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let failed = |_| Error::Compression(Compression::Gzip);
    let level = match u32::try_from(level) {
        Ok(level) if level <= 9 => flate2::Compression::new(level),
        Ok(_) => return Err(Error::Compression(Compression::Gzip)),
        Err(_) => flate2::Compression::default(),
    };
    let mut encoder = flate2::write::GzEncoder::new(out, level);
    encoder.write_all(records).map_err(failed)?;
    encoder.finish().map_err(failed)?;
    Ok(())
}
