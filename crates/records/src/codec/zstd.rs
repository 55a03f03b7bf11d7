//! Zstandard frames, one after the other. The window a frame may ask for is libzstd's default of at most 128 MiB, as in
//! Kafka; its pages are only touched as far as data reaches, and a context that had to make room for a large one is not
//! kept.

use zstd::zstd_safe::{CCtx, CParameter, DCtx, InBuffer, OutBuffer, ResetDirective};

use super::{PIECE_BYTES, Window};
use crate::compression::Compression;
use crate::error::Error;

/// A context larger than this is given back after use: room for windows of 8 MiB, the largest of levels up to 19.
const CONTEXT_KEPT_BYTES: usize = 12 << 20;

const fn fail(reason: &'static str) -> Error {
    Error::Decompression { compression: Compression::Zstd, reason }
}

/// Frames being read.
pub(super) struct Source<'a> {
    context: &'a mut Option<DCtx<'static>>,
    rest: &'a [u8],
    /// The last frame is complete and all of it has been given out.
    between_frames: bool,
}

impl<'a> Source<'a> {
    pub(super) fn new(context: &'a mut Option<DCtx<'static>>, payload: &'a [u8]) -> Result<Self, Error> {
        let kept = context.get_or_insert_with(DCtx::create);
        kept.reset(ResetDirective::SessionOnly).map_err(|_| fail("the context cannot be reset"))?;
        Ok(Self { context, rest: payload, between_frames: true })
    }

    pub(super) fn next_piece(&mut self, window: &mut Window) -> Result<bool, Error> {
        if self.between_frames && self.rest.is_empty() {
            return Ok(false);
        }
        let mut input = InBuffer::around(self.rest);
        let room = window.room(PIECE_BYTES);
        let mut output = OutBuffer::around(room);
        let context = self.context.get_or_insert_with(DCtx::create);
        let hint = context.decompress_stream(&mut output, &mut input).map_err(|_| fail("a frame is corrupted"))?;
        let (read, written) = (input.pos(), output.pos());
        window.filled(written);
        self.rest = self.rest.get(read..).unwrap_or_default();
        self.between_frames = hint == 0;
        if read == 0 && written == 0 && !self.between_frames {
            return Err(fail("the stream ends prematurely"));
        }
        Ok(true)
    }
}

impl Drop for Source<'_> {
    fn drop(&mut self) {
        if self.context.as_ref().is_some_and(|context| context.sizeof() > CONTEXT_KEPT_BYTES) {
            *self.context = None;
        }
    }
}

/// Appends one frame.
pub(super) fn compress(
    context: &mut CCtx<'static>,
    level: i32,
    records: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let failed = |_| Error::Compression(Compression::Zstd);
    context.set_parameter(CParameter::CompressionLevel(level)).map_err(failed)?;
    let start = out.len();
    out.resize(start + zstd::zstd_safe::compress_bound(records.len()), 0);
    let room = out.get_mut(start..).unwrap_or_default();
    let len = context.compress2(room, records).map_err(failed)?;
    out.truncate(start + len);
    Ok(())
}
