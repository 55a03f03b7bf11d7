//! Batches that are small on the wire and huge when they are decompressed: one record of zeros.

use std::io::Write;

use anyhow::Context as _;
use bytes::Bytes;

/// As much as fits a batch of a megabyte, or as much as one record may hold.
const INFLATED_BYTES: [(&str, usize); 4] =
    [("gzip", 900_000_000), ("snappy", 20_000_000), ("lz4", 200_000_000), ("zstd", 2_000_000_000)];
/// Bytes of a block of snappy-java's framing.
const SNAPPY_BLOCK_BYTES: usize = 32 << 10;
const ZEROS: &[u8] = &[0; 1 << 16];

/// A batch and what it becomes.
#[derive(Clone, Debug)]
pub(crate) struct Bomb {
    pub(crate) codec: &'static str,
    pub(crate) records: Bytes,
    pub(crate) inflated_bytes: usize,
}

/// One bomb a codec.
pub(crate) fn all() -> anyhow::Result<Vec<Bomb>> {
    let mut bombs = Vec::new();
    for (id, (codec, inflated_bytes)) in (1..).zip(INFLATED_BYTES) {
        let (head, tail) = record(inflated_bytes)?;
        let payload =
            compress(codec, &head, inflated_bytes, &tail).with_context(|| format!("compress with {codec}"))?;
        bombs.push(Bomb { codec, records: batch(id, &payload)?, inflated_bytes });
    }
    Ok(bombs)
}

/// What is before and behind the zeros of a record's value.
fn record(value_bytes: usize) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let mut body = vec![0, 0, 0, 1];
    varint(i64::try_from(value_bytes)?, &mut body);
    let mut head = Vec::new();
    varint(i64::try_from(body.len() + value_bytes + 1)?, &mut head);
    head.extend(body);
    Ok((head, vec![0]))
}

fn varint(value: i64, out: &mut Vec<u8>) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn compress(codec: &str, head: &[u8], zeros: usize, tail: &[u8]) -> anyhow::Result<Vec<u8>> {
    Ok(match codec {
        "gzip" => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            pour(&mut out, head, zeros, tail)?;
            out.finish()?
        }
        "lz4" => {
            let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
            pour(&mut out, head, zeros, tail)?;
            out.finish()?
        }
        "zstd" => {
            let mut out = zstd::stream::write::Encoder::new(Vec::new(), 1)?;
            pour(&mut out, head, zeros, tail)?;
            out.finish()?
        }
        _ => {
            let mut out = Xerial::new()?;
            pour(&mut out, head, zeros, tail)?;
            out.finish()?
        }
    })
}

fn pour(out: &mut impl Write, head: &[u8], mut zeros: usize, tail: &[u8]) -> anyhow::Result<()> {
    out.write_all(head)?;
    while let Some(some) = ZEROS.get(..zeros.min(ZEROS.len())).filter(|some| !some.is_empty()) {
        out.write_all(some)?;
        zeros -= some.len();
    }
    out.write_all(tail)?;
    Ok(())
}

/// snappy-java's framing.
struct Xerial {
    encoder: snap::raw::Encoder,
    block: Vec<u8>,
    out: Vec<u8>,
}

impl Xerial {
    fn new() -> anyhow::Result<Self> {
        let out = [&[0x82], &b"SNAPPY\0"[..], &1_i32.to_be_bytes(), &1_i32.to_be_bytes()].concat();
        Ok(Self { encoder: snap::raw::Encoder::new(), block: Vec::new(), out })
    }

    fn end_block(&mut self) -> std::io::Result<()> {
        let packed = self.encoder.compress_vec(&self.block)?;
        self.block.clear();
        self.out.extend((packed.len() as u32).to_be_bytes());
        self.out.extend(packed);
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<Vec<u8>> {
        self.end_block()?;
        Ok(self.out)
    }
}

impl Write for Xerial {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for piece in bytes.chunks(SNAPPY_BLOCK_BYTES) {
            if self.block.len() + piece.len() > SNAPPY_BLOCK_BYTES {
                self.end_block()?;
            }
            self.block.extend_from_slice(piece);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A batch of one record around a compressed payload.
fn batch(codec: i16, payload: &[u8]) -> anyhow::Result<Bytes> {
    let now = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis())?;
    let mut checked = codec.to_be_bytes().to_vec();
    checked.extend(0_i32.to_be_bytes());
    checked.extend(now.to_be_bytes());
    checked.extend(now.to_be_bytes());
    // No producer: id -1, epoch -1, sequence -1.
    checked.extend([0xff; 14]);
    checked.extend(1_i32.to_be_bytes());
    checked.extend(payload);
    let mut batch = 0_i64.to_be_bytes().to_vec();
    // Behind the length: leader epoch, magic, checksum.
    batch.extend(i32::try_from(checked.len() + 9)?.to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend((crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &checked) as u32).to_be_bytes());
    batch.extend(checked);
    Ok(batch.into())
}
