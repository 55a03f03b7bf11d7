//! LZ4 frames of independent blocks, as `Lz4BlockInputStream` takes them: version 1, reserved bits 0, header checksum
//! checked, block checksums checked if present, content size and content checksum passed over. Linked blocks and
//! dictionaries are refused as Kafka refuses them. What follows the end mark is not looked at. Blocks go through the C
//! library that Kafka's Java calls, so the same blocks are refused and the same bytes come out.

use lz4::block::{CompressionMode, compress_bound, compress_to_buffer, decompress_to_buffer};

use super::Window;
use crate::compression::Compression;
use crate::error::Error;

const MAGIC: u32 = 0x184d_2204;
const UNCOMPRESSED_BIT: u32 = 1 << 31;
/// A block of `n` bytes never expands to more than about 255 n.
const EXPANSION_MAX: usize = 255;
/// More room than that: the decoder's rules for the end of a block look at how much is left.
const EXPANSION_SPARE_BYTES: usize = 64;
/// What frames written here begin with: version 1, independent blocks of at most 64 KiB, no checksums but that of these
/// two bytes, which is the third.
const DESCRIPTOR: [u8; 3] = [0x60, 0x40, 0x82];
const BLOCK_BYTES: usize = 64 * 1024;
/// The level at which Kafka's `Lz4BlockOutputStream` takes the fast compressor.
const FAST_LEVEL: i32 = 9;
const LEVELS: std::ops::RangeInclusive<i32> = 1..=17;

const PREMATURE_END: Error = fail("the stream ends prematurely");

const fn fail(reason: &'static str) -> Error {
    Error::Decompression { compression: Compression::Lz4, reason }
}

/// A frame being read.
pub(super) struct Source<'a> {
    rest: &'a [u8],
    block_bytes_max: usize,
    has_block_checksum: bool,
    has_content_checksum: bool,
    finished: bool,
}

impl<'a> Source<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Result<Self, Error> {
        let mut rest = payload;
        if payload.len() < 6 {
            return Err(PREMATURE_END);
        }
        if take_u32(&mut rest)? != MAGIC {
            return Err(fail("the magic of an LZ4 frame is missing"));
        }
        let descriptor = rest;
        let (flags, sizes) = match rest {
            [flags, sizes, behind @ ..] => {
                rest = behind;
                (*flags, *sizes)
            }
            _ => return Err(PREMATURE_END),
        };
        check_flags(flags)?;
        let block_bytes_max = block_bytes_max(sizes)?;
        let mut descriptor_len = 2;
        if flags & 0x08 != 0 {
            rest = rest.get(8..).ok_or(PREMATURE_END)?;
            descriptor_len += 8;
        }
        let (checksum, rest) = rest.split_first().ok_or(PREMATURE_END)?;
        let hash = xxh32(descriptor.get(..descriptor_len).unwrap_or_default());
        if *checksum != (hash >> 8) as u8 {
            return Err(fail("the frame descriptor is corrupted"));
        }
        Ok(Self {
            rest,
            block_bytes_max,
            has_block_checksum: flags & 0x10 != 0,
            has_content_checksum: flags & 0x04 != 0,
            finished: false,
        })
    }

    /// The next block as it lies in the frame if it was not worth compressing, which takes no copy; `None` says nothing.
    pub(super) fn lend(&mut self) -> Result<Option<&'a [u8]>, Error> {
        let mut rest = self.rest;
        let stored_len = |word: u32| (word & !UNCOMPRESSED_BIT) as usize;
        match take_u32(&mut rest) {
            Ok(word) if !self.finished && word & UNCOMPRESSED_BIT != 0 && stored_len(word) > 0 => {
                self.rest = rest;
                self.take_block(stored_len(word)).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The bytes of a block whose length has been read, and of its checksum.
    fn take_block(&mut self, len: usize) -> Result<&'a [u8], Error> {
        if len > self.block_bytes_max {
            return Err(fail("a block is larger than the frame allows"));
        }
        let (block, behind) = self.rest.split_at_checked(len).ok_or(PREMATURE_END)?;
        self.rest = behind;
        if self.has_block_checksum && take_u32(&mut self.rest)? != xxh32(block) {
            return Err(fail("the checksum of a block does not fit"));
        }
        Ok(block)
    }

    pub(super) fn next_piece(&mut self, window: &mut Window) -> Result<bool, Error> {
        if self.finished {
            return Ok(false);
        }
        let word = take_u32(&mut self.rest)?;
        let len = (word & !UNCOMPRESSED_BIT) as usize;
        if len == 0 {
            self.finished = true;
            if self.has_content_checksum {
                take_u32(&mut self.rest)?;
            }
            return Ok(false);
        }
        let block = self.take_block(len)?;
        let end_before = window.end;
        if word & UNCOMPRESSED_BIT == 0 {
            let room_bytes = self.block_bytes_max.min(len * EXPANSION_MAX + EXPANSION_SPARE_BYTES);
            let filled = decompress_to_buffer(block, Some(room_bytes as i32), window.room(room_bytes))
                .map_err(|_| fail("a block is corrupted"))?;
            window.filled(filled);
        } else {
            window.room(len).copy_from_slice(block);
            window.filled(len);
        }
        // To Kafka's reader a block that expands to nothing is the end.
        self.finished = window.end == end_before;
        Ok(true)
    }
}

fn check_flags(flags: u8) -> Result<(), Error> {
    match flags {
        _ if flags & 0x03 != 0 => Err(fail("reserved bits of the frame flags are set")),
        _ if flags >> 6 != 1 => Err(fail("the version of the frame is not 1")),
        _ if flags & 0x20 == 0 => Err(fail("blocks that depend on each other are not supported")),
        _ => Ok(()),
    }
}

fn block_bytes_max(sizes: u8) -> Result<usize, Error> {
    let id = (sizes >> 4) & 0x07;
    if sizes & 0x8f != 0 || id < 4 {
        return Err(fail("the block size of the frame is invalid"));
    }
    Ok(1 << (2 * u32::from(id) + 8))
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, Error> {
    let (word, behind) = rest.split_first_chunk().ok_or(PREMATURE_END)?;
    *rest = behind;
    Ok(u32::from_le_bytes(*word))
}

/// Appends a frame of independent 64 KiB blocks (`Lz4BlockOutputStream`).
pub(super) fn compress(level: i32, records: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    const FAILED: Error = Error::Compression(Compression::Lz4);
    if !LEVELS.contains(&level) {
        return Err(FAILED);
    }
    let mode = if level == FAST_LEVEL { CompressionMode::DEFAULT } else { CompressionMode::HIGHCOMPRESSION(level) };
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&DESCRIPTOR);
    for block in records.chunks(BLOCK_BYTES) {
        let word_at = out.len();
        let block_at = word_at + size_of::<u32>();
        out.resize(block_at + compress_bound(block.len()).map_err(|_| FAILED)?, 0);
        let room = out.get_mut(block_at..).ok_or(FAILED)?;
        let len = compress_to_buffer(block, Some(mode), false, room).map_err(|_| FAILED)?;
        let word = if len < block.len() {
            out.truncate(block_at + len);
            len as u32
        } else {
            out.truncate(block_at);
            out.extend_from_slice(block);
            block.len() as u32 | UNCOMPRESSED_BIT
        };
        *out.get_mut(word_at..).and_then(|word| word.first_chunk_mut()).ok_or(FAILED)? = word.to_le_bytes();
    }
    out.extend_from_slice(&[0; 4]);
    Ok(())
}

const PRIME_1: u32 = 0x9e37_79b1;
const PRIME_2: u32 = 0x85eb_ca77;
const PRIME_3: u32 = 0xc2b2_ae3d;
const PRIME_4: u32 = 0x27d4_eb2f;
const PRIME_5: u32 = 0x1656_67b1;

/// XXH32 with seed 0, the checksum of LZ4 frames.
fn xxh32(bytes: &[u8]) -> u32 {
    let (stripes, tail) = bytes.as_chunks::<16>();
    let mut hash = if stripes.is_empty() {
        PRIME_5
    } else {
        let mut lanes = [PRIME_1.wrapping_add(PRIME_2), PRIME_2, 0, PRIME_1.wrapping_neg()];
        for stripe in stripes {
            let (words, _) = stripe.as_chunks::<4>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                let input = u32::from_le_bytes(*word).wrapping_mul(PRIME_2);
                *lane = lane.wrapping_add(input).rotate_left(13).wrapping_mul(PRIME_1);
            }
        }
        lanes.iter().zip([1, 7, 12, 18]).fold(0, |sum: u32, (lane, by)| sum.wrapping_add(lane.rotate_left(by)))
    };
    hash = hash.wrapping_add(bytes.len() as u32);
    let (words, bytes) = tail.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(PRIME_3));
        hash = hash.rotate_left(17).wrapping_mul(PRIME_4);
    }
    for byte in bytes {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(PRIME_5)).rotate_left(11).wrapping_mul(PRIME_1);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(PRIME_2);
    hash = (hash ^ (hash >> 13)).wrapping_mul(PRIME_3);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, FrameEncoder, FrameInfo};

    use super::*;

    #[test]
    fn xxh32_known_values() {
        assert_eq!(xxh32(b""), 0x02cc_5d05);
        assert_eq!(xxh32(b"abc"), 0x32d1_53ff);
        assert_eq!(xxh32(b"Nobody inspects the spammish repetition"), 0xe229_3b2f);
    }

    #[test]
    fn linked_blocks_are_refused() {
        let mut encoder = FrameEncoder::with_frame_info(FrameInfo::new().block_mode(BlockMode::Linked), Vec::new());
        encoder.write_all(&[7; 1000]).unwrap();
        let frame = encoder.finish().unwrap();
        assert!(Source::new(&frame).is_err());
    }

    #[test]
    fn block_checksums_are_checked() {
        let info = FrameInfo::new().block_mode(BlockMode::Independent).block_checksums(true).content_checksum(true);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&[7; 1000]).unwrap();
        let mut frame = encoder.finish().unwrap();
        let read = |frame: &[u8]| {
            let mut window = Window::default();
            let mut source = Source::new(frame)?;
            while source.next_piece(&mut window)? {}
            Ok::<_, Error>(window.end)
        };
        assert_eq!(read(&frame), Ok(1000));
        let at = frame.len() - 9;
        frame[at] ^= 1;
        assert!(read(&frame).is_err());
    }

    /// What `LZ4_decompress_safe` says of blocks other decoders think differently of, as seen from Kafka's lz4-java.
    #[test]
    fn blocks_are_refused_as_kafkas_decoder_refuses_them() {
        for (block, expands_to) in [
            (b"\x10a\0\0\x50bcdef".as_slice(), Ok(b"a\0\0\0\0bcdef".as_slice())),
            (b"\x10a\x01\0\x40bcde", Err(())),
            (b"\x10a\x01\0\x50bcdef", Ok(b"aaaaabcdef")),
            (b"\x10a\x01\0\0", Err(())),
            (b"\x10a\x01\0", Err(())),
            (b"\x10a\x02\0\x50bcdef", Err(())),
            (b"\x40bcde", Ok(b"bcde")),
        ] {
            let mut frame = [&MAGIC.to_le_bytes()[..], &DESCRIPTOR].concat();
            frame.extend((block.len() as u32).to_le_bytes());
            frame.extend(block);
            frame.extend([0; 4]);
            let mut window = Window::default();
            let mut source = Source::new(&frame).unwrap();
            let read = source.next_piece(&mut window).map(|_| &window.buffer[..window.end]).map_err(drop);
            assert_eq!(read, expands_to, "{block:?}");
        }
    }

    #[test]
    fn every_level_is_read_back_and_higher_ones_write_less() {
        let records: Vec<u8> = (0..200_000_u32).flat_map(|n| (n.wrapping_mul(n) >> 7).to_le_bytes()).collect();
        let mut sizes = Vec::new();
        for level in LEVELS {
            let mut frame = Vec::new();
            compress(level, &records, &mut frame).unwrap();
            let mut decoder = lz4_flex::frame::FrameDecoder::new(&frame[..]);
            let mut back = Vec::new();
            std::io::Read::read_to_end(&mut decoder, &mut back).unwrap();
            assert!(back == records, "level {level}");
            sizes.push(frame.len());
        }
        assert!(sizes[11] < sizes[8], "{sizes:?}");
        assert!([0, 18, -1].iter().all(|level| compress(*level, &records, &mut Vec::new()).is_err()));
    }
}
