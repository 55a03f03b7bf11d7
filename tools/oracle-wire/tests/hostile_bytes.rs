//! Lengths from the wire never size an allocation before their bytes are there: whatever the bytes say, the memory
//! that decoding takes at its peak stays within a multiple of the bytes that were given. One test, because the
//! allocator counts for the whole process.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use bytes::{BufMut, Bytes, BytesMut};
use milena_protocol::random::{MESSAGES, MessageEntry, Random};
use milena_protocol::{DecodeError, Reader, frame};
use peak_alloc::PeakAlloc;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

/// Memory that decoding may take for each byte of input: a structure of 64 bytes that two bytes on the wire stand
/// for, in a vector that doubles and is copied while it grows.
const PEAK_PER_BYTE_MAX: usize = 100;
/// Memory for whatever does not grow with the input.
const PEAK_FIXED_MAX: usize = 4096;

/// What a peer might put where a length is expected.
const LENGTHS: &[&[u8]] = &[
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x7f, 0xff, 0x00, 0x00],
    &[0x00, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x80, 0x00, 0x00, 0x00],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0x80, 0x80, 0x80, 0x80, 0x08],
    &[0x7f, 0xff],
    &[0xff, 0xff],
    &[0xff, 0x7f],
];

/// Peak memory of `work` above what was in use before it.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    PEAK.reset_peak_usage();
    let before = PEAK.current_usage();
    let outcome = work();
    (outcome, PEAK.peak_usage().saturating_sub(before))
}

fn assert_bounded(entry: &MessageEntry, version: i16, bytes: &Bytes, what: &str) {
    let input = bytes.clone();
    let (_, peak) = peak_of(|| (entry.recode)(input, version).is_ok());
    let allowed = PEAK_FIXED_MAX + PEAK_PER_BYTE_MAX * bytes.len();
    assert!(peak <= allowed, "{} version {version}, {what}: {peak} bytes for {}", entry.name, bytes.len());
}

fn with_length_at(bytes: &[u8], at: usize, length: &[u8]) -> Bytes {
    let mut hostile = BytesMut::with_capacity(bytes.len() + length.len());
    hostile.put_slice(&bytes[..at]);
    hostile.put_slice(length);
    hostile.put_slice(bytes.get(at + length.len()..).unwrap_or_default());
    hostile.freeze()
}

fn lengths_of_two_gigabytes_anywhere() {
    for entry in MESSAGES {
        for version in entry.min_version..=entry.max_version {
            let bytes = (entry.random)(&mut Random::new(11), version).unwrap();
            for at in 0..=bytes.len().min(400) {
                for length in LENGTHS {
                    let hostile = with_length_at(&bytes, at, length);
                    assert_bounded(entry, version, &hostile, &format!("{length:02x?} at {at}"));
                }
            }
        }
    }
}

fn long_runs_of_one_byte() {
    for entry in MESSAGES {
        for version in entry.min_version..=entry.max_version {
            for byte in [0x00, 0x01, 0x02, 0x7f, 0x80, 0xff] {
                let bytes = Bytes::from(vec![byte; 100_000]);
                assert_bounded(entry, version, &bytes, &format!("a run of {byte:#04x}"));
            }
        }
    }
}

/// A count as large as the frame, and then the smallest elements there are: the most that a frame can ask for and pay.
fn counts_as_large_as_the_frame() {
    for entry in MESSAGES {
        for version in entry.min_version..=entry.max_version {
            let start = (entry.random)(&mut Random::new(5), version).unwrap();
            for at in 0..start.len().min(60) {
                for count in [&[0x00, 0x00, 0xc3, 0x50][..], &[0xd0, 0x86, 0x03]] {
                    let mut bytes = BytesMut::from(&start[..at]);
                    bytes.put_slice(count);
                    bytes.put_bytes(0, 50_000);
                    assert_bounded(entry, version, &bytes.freeze(), &format!("a count of 50,000 at {at}"));
                }
            }
        }
    }
}

fn frames_of_two_gigabytes() {
    let mut received = BytesMut::from(&[0x7f, 0xff, 0xff, 0xff, 0, 18][..]);
    let (outcome, peak) = peak_of(|| frame::split(&mut received, i32::MAX));
    assert_eq!(outcome, Ok(None));
    assert!(peak < 1024, "{peak}");
    let refused = frame::split(&mut received, 104_857_600);
    assert_eq!(refused, Err(frame::FrameError::TooLarge { size: i32::MAX, max: 104_857_600 }));
    let mut http = BytesMut::from(&b"GET / HTTP/1.1\r\n"[..]);
    assert!(frame::split(&mut http, 104_857_600).is_err());
    let mut negative = BytesMut::from(&[0xff; 8][..]);
    assert_eq!(frame::split(&mut negative, 100), Err(frame::FrameError::Negative { size: -1 }));
}

fn headers_with_endless_tags() {
    let mut header = BytesMut::new();
    header.put_i16(18);
    header.put_i16(3);
    header.put_i32(7);
    header.put_i16(-1);
    header.put_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
    let header = header.freeze();
    let (outcome, peak) = peak_of(|| frame::decode_request_header(&mut Reader::new(header)));
    assert!(matches!(outcome, Err(DecodeError::Truncated { .. })), "{outcome:?}");
    assert!(peak < 1024, "{peak}");
}

#[test]
fn no_length_from_the_wire_sizes_an_allocation_before_its_bytes_are_there() {
    frames_of_two_gigabytes();
    headers_with_endless_tags();
    lengths_of_two_gigabytes_anywhere();
    long_runs_of_one_byte();
    counts_as_large_as_the_frame();
}
