//! Snappy in snappy-java's framing: a 16-byte header, then blocks of a big-endian length and a raw snappy block. Bytes
//! without that header are one raw block, as some clients write them (`SnappyInputStream`).

use super::Window;
use crate::compression::Compression;
use crate::error::Error;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The part of the magic that is looked for in the place of a block's length.
const MAGIC_HEAD: [u8; 4] = [0x82, b'S', b'N', b'A'];
const HEADER_BYTES: usize = 16;
const BLOCK_BYTES: usize = 32 * 1024;
/// A raw block names its own expanded length; a copy element of three bytes gives at most 64, so a larger ratio is a lie.
const EXPANSION_MAX: usize = 32;

const fn fail(reason: &'static str) -> Error {
    Error::Decompression { compression: Compression::Snappy, reason }
}

/// A payload being read.
pub(super) struct Source<'a> {
    rest: &'a [u8],
    framed: bool,
}

impl<'a> Source<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Result<Self, Error> {
        match payload.split_first_chunk::<HEADER_BYTES>() {
            Some((header, rest)) if header.starts_with(&MAGIC) => Ok(Self { rest, framed: true }),
            _ if payload.is_empty() => Err(fail("there is nothing to read")),
            _ => Ok(Self { rest: payload, framed: false }),
        }
    }

    pub(super) fn next_piece(&mut self, window: &mut Window) -> Result<bool, Error> {
        if self.rest.is_empty() {
            return Ok(false);
        }
        if !self.framed {
            let block = std::mem::take(&mut self.rest);
            return expand(block, window);
        }
        // Streams may be concatenated: a header in the place of a block's length is passed over.
        if self.rest.starts_with(&MAGIC_HEAD) {
            let (header, behind) = self.rest.split_first_chunk().ok_or(fail("a header is cut off"))?;
            self.rest = if is_compatible(header) { behind } else { &[] };
            return Ok(true);
        }
        // Fewer bytes than a length are the end, as for snappy-java.
        let Some((len, behind)) = self.rest.split_first_chunk() else { return Ok(false) };
        let len = u32::from_be_bytes(*len) as usize;
        let (block, behind) = behind.split_at_checked(len).ok_or(fail("the stream ends prematurely"))?;
        self.rest = behind;
        expand(block, window)
    }
}

/// Whether a header in the middle of a stream is one; the stream ends where it is not. Of the first header only the magic
/// counts.
fn is_compatible(header: &[u8; HEADER_BYTES]) -> bool {
    let version = header.get(8..12).and_then(|field| field.first_chunk()).map_or(0, |field| i32::from_be_bytes(*field));
    header.starts_with(&MAGIC) && version >= 1
}

fn expand(block: &[u8], window: &mut Window) -> Result<bool, Error> {
    let corrupted = fail("a block is corrupted");
    let len = snap::raw::decompress_len(block).map_err(|_| corrupted.clone())?;
    if len > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(corrupted);
    }
    let filled = snap::raw::Decoder::new().decompress(block, window.room(len)).map_err(|_| corrupted)?;
    window.filled(filled);
    Ok(true)
}

/// Appends header and blocks.
pub(super) fn compress(encoder: &mut snap::raw::Encoder, records: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let failed = || Error::Compression(Compression::Snappy);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&1_i32.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    for block in records.chunks(BLOCK_BYTES) {
        let length_at = out.len();
        let block_at = length_at + 4;
        out.resize(block_at + snap::raw::max_compress_len(block.len()), 0);
        let room = out.get_mut(block_at..).ok_or_else(failed)?;
        let len = encoder.compress(block, room).map_err(|_| failed())?;
        out.truncate(block_at + len);
        let field = out.get_mut(length_at..).and_then(|field| field.first_chunk_mut()).ok_or_else(failed)?;
        *field = (len as u32).to_be_bytes();
    }
    Ok(())
}
