//! What checking one produced batch costs: `cargo bench -p milena-records [-- <part of a name> [batches]]`. Prints and asserts
//! nothing. With a count the batches are checked just that often, for counting instructions.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program for people that may fail by panicking"
)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};
use milena_records::{
    BatchBuilder, BatchHeader, BuilderConfig, Codec, Compression, ProduceRules, Scratch, TargetCompression, crc32c,
    validate_produce,
};
use milena_types::{LeaderEpoch, Offset, Timestamp};

const NOW: i64 = 1_700_000_000_000;
const MEASURED: Duration = Duration::from_millis(300);
/// Different batches that are gone through in turn, so that branches cannot be learnt by heart.
const BATCHES: usize = 64;

struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[derive(Clone, Copy)]
enum Kind {
    /// Lines of a log in JSON, most of each repeated.
    Json,
    /// Bytes that do not compress.
    Random,
    /// The same few words again and again.
    Repeated,
}

fn value(numbers: &mut Numbers, kind: Kind, size: usize) -> Vec<u8> {
    let mut value = Vec::new();
    while value.len() < size {
        match kind {
            Kind::Json => {
                let (a, b) = (numbers.next(), numbers.next());
                let mut line = String::new();
                write!(
                    line,
                    "{{\"user\":{},\"path\":\"/shop/item/{}\",\"status\":{},\"took_us\":{},\"trace\":\"{:016x}\"}}",
                    a % 100_000,
                    b % 5_000,
                    200 + (a >> 32) % 4 * 100,
                    b >> 44,
                    a ^ b
                )
                .unwrap();
                value.extend_from_slice(line.as_bytes());
            }
            Kind::Random => value.extend_from_slice(&numbers.next().to_le_bytes()),
            Kind::Repeated => value.extend_from_slice(b"all work and no play; "),
        }
    }
    value.truncate(size);
    value
}

/// As clients write LZ4: one frame of independent blocks of 64 KiB.
fn lz4_batch(plain: &Bytes) -> Bytes {
    let mut header = BatchHeader::parse(plain).unwrap();
    let info = FrameInfo::new().block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&plain[61..]).unwrap();
    let payload = encoder.finish().unwrap();
    header.attributes = 3;
    header.batch_length = (49 + payload.len()) as i32;
    let mut bytes = header.to_array().to_vec();
    bytes.extend_from_slice(&payload);
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

fn batch(numbers: &mut Numbers, compression: Compression, kind: Kind, records: usize, size: usize) -> (Bytes, usize) {
    let codec: Codec = if compression == Compression::Lz4 { Codec::NONE } else { compression.into() };
    let mut builder = BatchBuilder::new(BuilderConfig { codec, ..BuilderConfig::default() });
    for _ in 0..records {
        builder.append(NOW, None, Some(&value(numbers, kind, size)), &[]).unwrap();
    }
    let plain_bytes = builder.size_bytes();
    let bytes = builder.build(Offset(0), LeaderEpoch(-1)).unwrap();
    (if compression == Compression::Lz4 { lz4_batch(&bytes) } else { bytes }, plain_bytes)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let wanted = arguments.first().map_or("", String::as_str);
    let times: Option<usize> = arguments.get(1).map(|times| times.parse().unwrap());
    let cases = [
        ("plain one 100 B", Compression::None, Kind::Random, 1, 100),
        ("plain 150 x 100 B", Compression::None, Kind::Random, 150, 100),
        ("plain 15 x 1 KiB", Compression::None, Kind::Random, 15, 1024),
        ("lz4 json 30 x 1 KiB", Compression::Lz4, Kind::Json, 30, 1024),
        ("lz4 json 150 x 100 B", Compression::Lz4, Kind::Json, 150, 100),
        ("lz4 json 900 x 1 KiB", Compression::Lz4, Kind::Json, 900, 1024),
        ("lz4 random 30 x 1 KiB", Compression::Lz4, Kind::Random, 30, 1024),
        ("lz4 repeated 30 x 1 KiB", Compression::Lz4, Kind::Repeated, 30, 1024),
        ("lz4 repeated 900 x 1 KiB", Compression::Lz4, Kind::Repeated, 900, 1024),
        ("snappy json 30 x 1 KiB", Compression::Snappy, Kind::Json, 30, 1024),
        ("gzip json 30 x 1 KiB", Compression::Gzip, Kind::Json, 30, 1024),
        ("zstd json 30 x 1 KiB", Compression::Zstd, Kind::Json, 30, 1024),
    ];
    for (name, compression, kind, records, size) in cases.into_iter().filter(|case| case.0.contains(wanted)) {
        let mut numbers = Numbers(88_172_645_463_325_252);
        let count = (BATCHES * 100 / (records * size / 1024).max(100)).max(4);
        let batches: Vec<_> = (0..count).map(|_| batch(&mut numbers, compression, kind, records, size)).collect();
        measure(name, &batches, times);
    }
}

fn measure(name: &str, batches: &[(Bytes, usize)], times: Option<usize>) {
    let rules = ProduceRules { compression: TargetCompression::Producer, ..ProduceRules::default() };
    let mut scratch = Scratch::new();
    let mut check =
        |bytes: &Bytes| drop(validate_produce(bytes.clone(), &rules, Timestamp(NOW), &mut scratch).unwrap());
    if let Some(times) = times {
        batches.iter().cycle().take(times).for_each(|(bytes, _)| check(bytes));
        return;
    }
    // The least of many short rounds: a busy machine disturbs most of them and not all.
    let mut best = [f64::INFINITY; 2];
    let started = Instant::now();
    while started.elapsed() < MEASURED {
        for (best, crc_only) in best.iter_mut().zip([false, true]) {
            let start = Instant::now();
            for (bytes, _) in batches {
                if crc_only {
                    std::hint::black_box(crc32c(&bytes[21..]));
                } else {
                    check(bytes);
                }
            }
            *best = best.min(start.elapsed().as_nanos() as f64 / batches.len() as f64);
        }
    }
    let stored: usize = batches.iter().map(|(bytes, _)| bytes.len()).sum::<usize>() / batches.len();
    let plain: usize = batches.iter().map(|(_, plain)| *plain).sum::<usize>() / batches.len();
    println!(
        "{name:26} {stored:7} B stored {plain:7} B plain: {:9.0} ns ({:6.0} of it CRC), {:6.2} GB/s of plain, {:6.3} s/GB stored without CRC",
        best[0],
        best[1],
        plain as f64 / best[0],
        (best[0] - best[1]) / stored as f64,
    );
}
