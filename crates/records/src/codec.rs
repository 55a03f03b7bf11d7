//! Compressing and decompressing the records of a batch, with contexts and buffers that are reused.
//!
//! Decompression is a stream of pieces written into one window, so that validation needs memory for a piece and not for
//! the batch, whatever the batch expands to. Every caller gives the most bytes it will take. Java's counterparts are the
//! streams of `org.apache.kafka.common.compress`; which malformed input is refused follows them.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use crate::compression::{Codec, Compression};
use crate::error::Error;
use crate::varint::Input;

/// How much is decompressed at once by the codecs that have no blocks of their own.
const PIECE_BYTES: usize = 64 * 1024;
/// A window larger than this is given back after use, so that one large block does not stay for ever.
const WINDOW_KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Buffers and codec contexts to be kept and reused, one per worker. Empty until a codec is first used.
#[derive(Default)]
pub struct Scratch {
    window: Window,
    gzip: Option<flate2::Decompress>,
    zstd: Option<::zstd::zstd_safe::DCtx<'static>>,
    zstd_encoder: Option<::zstd::zstd_safe::CCtx<'static>>,
    snappy_encoder: Option<snap::raw::Encoder>,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").field("window_bytes", &self.window.buffer.len()).finish_non_exhaustive()
    }
}

impl Scratch {
    /// Scratch with nothing allocated.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All of `payload` decompressed.
    ///
    /// # Errors
    /// `Decompression` if `payload` is not what the codec writes, `DecompressedTooLarge` beyond `limit_bytes`.
    pub fn decompress(&mut self, compression: Compression, payload: &[u8], limit_bytes: u64) -> Result<Vec<u8>, Error> {
        let mut window = Window::default();
        let mut source = open(&mut self.gzip, &mut self.zstd, compression, payload)?;
        while source.next_piece(&mut window)? {
            if window.end as u64 > limit_bytes {
                return Err(Error::DecompressedTooLarge { limit_bytes });
            }
        }
        window.buffer.truncate(window.end);
        Ok(window.buffer)
    }

    /// The decompressed `payload` as a stream, at most `limit_bytes` of it.
    pub(crate) fn stream<'a>(
        &'a mut self,
        compression: Compression,
        payload: &'a [u8],
        limit_bytes: u64,
    ) -> Result<StreamInput<'a>, Error> {
        let source = open(&mut self.gzip, &mut self.zstd, compression, payload)?;
        self.window.clear();
        Ok(StreamInput { window: &mut self.window, lent: &[], source, left_bytes: limit_bytes, limit_bytes })
    }

    /// Appends `records` compressed to `out`.
    ///
    /// # Errors
    /// `Compression` if the codec refuses (a level out of range, more than 4 GiB for snappy).
    pub fn compress(&mut self, codec: Codec, records: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        match codec.compression {
            Compression::None => {
                out.extend_from_slice(records);
                Ok(())
            }
            Compression::Gzip => gzip::compress(codec.level, records, out),
            Compression::Snappy => {
                snappy::compress(self.snappy_encoder.get_or_insert_with(snap::raw::Encoder::new), records, out)
            }
            Compression::Lz4 => lz4::compress(codec.level, records, out),
            Compression::Zstd => {
                let encoder = self.zstd_encoder.get_or_insert_with(::zstd::zstd_safe::CCtx::create);
                zstd::compress(encoder, codec.level, records, out)
            }
        }
    }
}

/// Where decompressed bytes land. `buffer` stays initialised over its whole length, so that it is zeroed once and not
/// for every piece; what is in it lies from `start` to `end`.
#[derive(Default)]
struct Window {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Window {
    fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// `len` writable bytes behind the end.
    fn room(&mut self, len: usize) -> &mut [u8] {
        let needed = self.end + len;
        if self.buffer.len() < needed {
            self.buffer.resize(needed, 0);
        }
        self.buffer.get_mut(self.end..needed).unwrap_or_default()
    }

    fn filled(&mut self, len: usize) {
        self.end += len;
    }
}

/// One compressed payload being decompressed piece by piece.
enum Source<'a> {
    Plain(Option<&'a [u8]>),
    Gzip(gzip::Source<'a>),
    Snappy(snappy::Source<'a>),
    Lz4(lz4::Source<'a>),
    Zstd(zstd::Source<'a>),
}

fn open<'a>(
    gzip: &'a mut Option<flate2::Decompress>,
    zstd: &'a mut Option<::zstd::zstd_safe::DCtx<'static>>,
    compression: Compression,
    payload: &'a [u8],
) -> Result<Source<'a>, Error> {
    Ok(match compression {
        Compression::None => Source::Plain(Some(payload)),
        Compression::Gzip => Source::Gzip(gzip::Source::new(gzip, payload)),
        Compression::Snappy => Source::Snappy(snappy::Source::new(payload)?),
        Compression::Lz4 => Source::Lz4(lz4::Source::new(payload)?),
        Compression::Zstd => Source::Zstd(zstd::Source::new(zstd, payload)?),
    })
}

impl Source<'_> {
    /// Appends the next piece to the window; false at the end. A piece may be empty.
    fn next_piece(&mut self, window: &mut Window) -> Result<bool, Error> {
        match self {
            Self::Plain(payload) => Ok(payload.take().is_some_and(|payload| {
                window.room(payload.len()).copy_from_slice(payload);
                window.filled(payload.len());
                true
            })),
            Self::Gzip(source) => source.next_piece(window),
            Self::Snappy(source) => source.next_piece(window),
            Self::Lz4(source) => source.next_piece(window),
            Self::Zstd(source) => source.next_piece(window),
        }
    }
}

/// Input from a compressed payload.
pub(crate) struct StreamInput<'a> {
    window: &'a mut Window,
    /// A piece that needed no expanding. While there is something in it, there is nothing in the window.
    lent: &'a [u8],
    source: Source<'a>,
    left_bytes: u64,
    limit_bytes: u64,
}

impl StreamInput<'_> {
    /// Whether nothing follows.
    pub(crate) fn at_end(&mut self) -> Result<bool, Error> {
        Ok(self.ahead().is_empty() && !self.refill()?)
    }

    /// What is expanded and not yet read.
    #[inline]
    pub(crate) fn ahead(&self) -> &[u8] {
        if self.lent.is_empty() {
            self.window.buffer.get(self.window.start..self.window.end).unwrap_or_default()
        } else {
            self.lent
        }
    }

    /// Passes over at most `count` of the bytes ahead; how many there were.
    #[inline]
    fn pass(&mut self, count: usize) -> usize {
        let here = count.min(self.ahead().len());
        if self.lent.is_empty() {
            self.window.start += here;
        } else {
            self.lent = self.lent.get(here..).unwrap_or_default();
        }
        here
    }

    /// Appends the next `count` bytes to `out`, which grows with what is there and not with what is asked for.
    pub(crate) fn take(&mut self, count: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut left = count;
        while left > 0 {
            let ahead = self.ahead();
            out.extend_from_slice(ahead.get(..left).unwrap_or(ahead));
            left -= self.pass(left);
            if left > 0 && !self.refill()? {
                return Err(Error::Record("it is longer than the batch"));
            }
        }
        Ok(())
    }

    /// Replaces the used-up window by the next piece that is not empty; false at the end.
    #[cold]
    fn refill(&mut self) -> Result<bool, Error> {
        self.window.clear();
        while self.ahead().is_empty() {
            if let Source::Lz4(source) = &mut self.source
                && let Some(block) = source.lend()?
            {
                self.lent = block;
            } else if !self.source.next_piece(self.window)? {
                return Ok(false);
            }
        }
        let piece = self.ahead().len() as u64;
        self.left_bytes =
            self.left_bytes.checked_sub(piece).ok_or(Error::DecompressedTooLarge { limit_bytes: self.limit_bytes })?;
        Ok(true)
    }

    #[cold]
    fn byte_of_next_piece(&mut self) -> Result<u8, Error> {
        if !self.refill()? {
            return Err(Error::Record("it ends too early"));
        }
        self.byte()
    }
}

impl Input for StreamInput<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Error> {
        match self.ahead().first() {
            Some(byte) => {
                let byte = *byte;
                self.pass(1);
                Ok(byte)
            }
            None => self.byte_of_next_piece(),
        }
    }

    #[inline]
    fn skip(&mut self, count: usize) -> Result<(), Error> {
        let mut left = count;
        loop {
            left -= self.pass(left);
            if left == 0 {
                return Ok(());
            }
            if !self.refill()? {
                return Err(Error::Record("a field is longer than what is left"));
            }
        }
    }
}

impl Drop for StreamInput<'_> {
    fn drop(&mut self) {
        self.window.clear();
        if self.window.buffer.len() > WINDOW_KEPT_BYTES {
            self.window.buffer = Vec::new();
        }
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
