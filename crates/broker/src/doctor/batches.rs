//! The batches of a segment or a snapshot, one after the other, from the file alone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use milena_records::{Batch, LOG_OVERHEAD_BYTES};

/// How a file ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With a whole batch.
    Whole,
    /// In a batch that is not whole: what a crash leaves.
    Torn { position: u64, left_bytes: u64 },
    /// A batch that is not what was written.
    Damaged { position: u64, reason: String },
    /// In a format of before Apache Kafka 0.11.
    Old { magic: i8 },
}

/// Bytes of a batch up to its magic byte.
const FRONT_BYTES: usize = LOG_OVERHEAD_BYTES + 5;

/// Calls `each` with every batch until the end, or what is no batch.
pub(super) fn each_batch(path: &Path, is_deep: bool, mut each: impl FnMut(&Batch)) -> io::Result<End> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut position = 0;
    while position < len {
        let left_bytes = len - position;
        let torn = End::Torn { position, left_bytes };
        let Some(front) = front(&file, position, left_bytes)? else { return Ok(torn) };
        if (0..2).contains(&front.magic) && front.length > 0 {
            return Ok(End::Old { magic: front.magic });
        }
        let Some(size) = u64::try_from(front.length).ok().filter(|length| *length > 0) else { return Ok(torn) };
        let size = size + LOG_OVERHEAD_BYTES as u64;
        if size > left_bytes {
            return Ok(torn);
        }
        // The file is at least that long.
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, position)?;
        let parsed = Batch::parse(&Bytes::from(bytes)).and_then(|batch| {
            if is_deep {
                batch.verify_crc()?;
            }
            Ok(batch)
        });
        match parsed {
            Ok(batch) => each(&batch),
            Err(error) => return Ok(End::Damaged { position, reason: error.to_string() }),
        }
        position += size;
    }
    Ok(End::Whole)
}

/// The magic byte of a file's first batch; `None` if it has none.
pub(super) fn first_magic(path: &Path) -> io::Result<Option<i8>> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    Ok(front(&file, 0, len)?.filter(|front| front.length > 0).map(|front| front.magic))
}

struct Front {
    length: i32,
    magic: i8,
}

fn front(file: &File, position: u64, left_bytes: u64) -> io::Result<Option<Front>> {
    if left_bytes < FRONT_BYTES as u64 {
        return Ok(None);
    }
    let mut bytes = [0; FRONT_BYTES];
    file.read_exact_at(&mut bytes, position)?;
    let length = bytes.get(8..12).and_then(|length| length.try_into().ok()).map_or(0, i32::from_be_bytes);
    let magic = bytes.last().map_or(0, |magic| i8::from_be_bytes([*magic]));
    Ok(Some(Front { length, magic }))
}
