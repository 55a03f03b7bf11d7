//! Round trips, hostile bytes and bombs for every codec.

use super::*;

const LIMIT: u64 = 64 * 1024 * 1024;

/// Bytes that compress a little: words of a small generator.
fn sample(len: usize) -> Vec<u8> {
    let mut state = 12_345_u32;
    let mut out = Vec::with_capacity(len);
    while out.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        out.extend_from_slice(format!("word{} ", state >> 26).as_bytes());
    }
    out.truncate(len);
    out
}

fn compress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Scratch::new().compress(compression.into(), bytes, &mut out).unwrap();
    out
}

#[test]
fn every_codec_gives_back_what_it_was_given() {
    let mut scratch = Scratch::new();
    for compression in Compression::ALL {
        for len in [0, 1, 100, 32 * 1024, 65_536, 65_537, 1_000_000] {
            let bytes = sample(len);
            let mut compressed = Vec::new();
            scratch.compress(compression.into(), &bytes, &mut compressed).unwrap();
            if len > 1000 && compression != Compression::None {
                assert!(compressed.len() < len);
            }
            let back = scratch.decompress(compression, &compressed, LIMIT).unwrap();
            assert!(back == bytes, "{compression} of {len} bytes");
        }
    }
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 99_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn a_stream_reads_across_pieces() {
    // For LZ4 that is a compressed block, then stored ones, then compressed ones again.
    let bytes = [sample(65_536), noise(150_000), sample(100_000)].concat();
    let mut scratch = Scratch::new();
    for compression in Compression::ALL {
        let compressed = compress(compression, &bytes);
        let mut input = scratch.stream(compression, &compressed, LIMIT).unwrap();
        let mut position = 0;
        while position < bytes.len() {
            assert_eq!(input.byte(), Ok(bytes[position]), "{compression} at {position}");
            position += 1;
            let skip = (position % 40_000).min(bytes.len() - position);
            input.skip(skip).unwrap();
            position += skip;
        }
        assert_eq!(input.at_end(), Ok(true));
        assert!(input.byte().is_err() && input.skip(1).is_err());
        drop(input);
        let mut input = scratch.stream(compression, &compressed, LIMIT).unwrap();
        let mut taken = Vec::new();
        for count in (1..).map(|step| step * 997).take_while(|count| taken_after(*count) <= bytes.len()) {
            input.take(count, &mut taken).unwrap();
        }
        assert!(taken == bytes[..taken.len()] && taken.len() > 250_000, "{compression}");
        assert!(input.take(bytes.len(), &mut taken).is_err() && taken == bytes);
    }
}

/// Bytes taken once the step of `count` is done, in steps of 997 more each.
fn taken_after(count: usize) -> usize {
    let steps = count / 997;
    997 * steps * (steps + 1) / 2
}

#[test]
fn a_payload_cut_anywhere_is_an_error_and_never_a_panic() {
    let bytes = sample(3000);
    let mut scratch = Scratch::new();
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let compressed = compress(compression, &bytes);
        for len in 0..compressed.len() {
            let cut = scratch.decompress(compression, &compressed[..len], LIMIT);
            if let Ok(cut) = cut {
                assert!(cut.len() < bytes.len(), "{compression} cut to {len} still gave all");
            }
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let bytes = sample(700);
    let mut scratch = Scratch::new();
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let compressed = compress(compression, &bytes);
        for position in 0..compressed.len() {
            for bit in 0..8 {
                let mut damaged = compressed.clone();
                damaged[position] ^= 1 << bit;
                drop(scratch.decompress(compression, &damaged, LIMIT));
            }
        }
    }
    let good = compress(Compression::Gzip, &bytes);
    assert!(scratch.decompress(Compression::Gzip, &good, LIMIT).unwrap() == bytes);
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let zeros = vec![0; 2 * 1024 * 1024];
    let mut scratch = Scratch::new();
    for compression in Compression::ALL {
        let bomb = compress(compression, &zeros);
        let limit_bytes = 1024 * 1024;
        let refused = Err(Error::DecompressedTooLarge { limit_bytes });
        assert_eq!(scratch.decompress(compression, &bomb, limit_bytes).map(|out| out.len()), refused, "{compression}");
        let mut input = scratch.stream(compression, &bomb, limit_bytes).unwrap();
        assert!(input.skip(zeros.len()).is_err());
        drop(input);
        assert!(scratch.window.buffer.len() <= WINDOW_KEPT_BYTES);
    }
}

#[test]
fn a_snappy_block_that_lies_about_its_length_allocates_nothing() {
    let lie = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let mut scratch = Scratch::new();
    assert!(scratch.decompress(Compression::Snappy, &lie, u64::MAX).is_err());
}

#[test]
fn snappy_without_framing_is_read() {
    let bytes = sample(5000);
    let raw = snap::raw::Encoder::new().compress_vec(&bytes).unwrap();
    let mut scratch = Scratch::new();
    assert!(scratch.decompress(Compression::Snappy, &raw, LIMIT).unwrap() == bytes);
}

#[test]
fn concatenated_streams_are_read_as_one() {
    let mut scratch = Scratch::new();
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Zstd] {
        let mut both = compress(compression, b"first");
        both.extend(compress(compression, b"second"));
        assert_eq!(scratch.decompress(compression, &both, LIMIT).unwrap(), b"firstsecond", "{compression}");
    }
}
