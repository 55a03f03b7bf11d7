//! `%020d.txnindex`: the aborted transactions of a segment, in the order their markers came (`TransactionIndex`,
//! `AbortedTxn`). Few, so read whole; there is no file while there are none.

use std::io::IoSlice;

use milena_types::{Offset, ProducerId};

use crate::disk::{Disk, DiskFile, OpenMode, read_whole};
use crate::error::{At, Result};
use crate::files::Files;

/// File name suffix.
pub(crate) const TXN_INDEX_SUFFIX: &str = "txnindex";

const ENTRY_BYTES: usize = 34;

/// A transaction that was aborted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: ProducerId,
    /// Offset of its first record in this partition.
    pub first_offset: Offset,
    /// Offset of its marker.
    pub last_offset: Offset,
    /// The last stable offset when the marker was written.
    pub last_stable_offset: Offset,
}

impl AbortedTransaction {
    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        // Version 0, then four numbers.
        let numbers = [self.producer_id.0, self.first_offset.0, self.last_offset.0, self.last_stable_offset.0];
        for (place, number) in bytes.iter_mut().skip(2).zip(numbers.iter().flat_map(|number| number.to_be_bytes())) {
            *place = number;
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<AbortedTransaction> {
        let mut numbers = bytes.get(2..)?.chunks_exact(8).filter_map(|number| number.first_chunk().copied());
        let mut next = || numbers.next().map(i64::from_be_bytes);
        Some(AbortedTransaction {
            producer_id: ProducerId(next()?),
            first_offset: Offset(next()?),
            last_offset: Offset(next()?),
            last_stable_offset: Offset(next()?),
        })
    }
}

/// All entries of the segment at `base_offset`.
pub(crate) fn read<D: Disk>(files: &Files<D>, base_offset: i64) -> Result<Vec<AbortedTransaction>> {
    let path = files.path(base_offset, TXN_INDEX_SUFFIX);
    let contents = read_whole(files.disk(), &path).at("read", &path)?.unwrap_or_default();
    Ok(contents.chunks_exact(ENTRY_BYTES).filter_map(AbortedTransaction::decode).collect())
}

/// Adds an entry at the end. Whether it is the first, whose file has a name that is not durable yet.
pub(crate) fn append<D: Disk>(files: &Files<D>, base_offset: i64, entry: &AbortedTransaction) -> Result<bool> {
    let path = files.path(base_offset, TXN_INDEX_SUFFIX);
    let file = files.disk().open(&path, OpenMode::Create).at("open", &path)?;
    let len = file.len().at("look at", &path)?;
    let whole = len - len % ENTRY_BYTES as u64;
    file.write_vectored_at(&[IoSlice::new(&entry.encode())], whole).at("write", &path)?;
    Ok(whole == 0)
}

/// Removes entries whose marker is at `offset` or beyond.
pub(crate) fn truncate_to<D: Disk>(files: &Files<D>, base_offset: i64, offset: i64) -> Result<()> {
    let path = files.path(base_offset, TXN_INDEX_SUFFIX);
    if files.disk().metadata(&path).at("look at", &path)?.is_none() {
        return Ok(());
    }
    let kept = read(files, base_offset)?.iter().take_while(|entry| entry.last_offset.0 < offset).count();
    let file = files.disk().open(&path, OpenMode::ReadWrite).at("open", &path)?;
    file.truncate((kept * ENTRY_BYTES) as u64).at("truncate", &path)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::SimulatedDisk;
    use crate::file_cache::FileCache;

    #[test]
    fn entries_read_back_and_are_cut_by_their_markers_offset() {
        let disk = SimulatedDisk::new(1);
        let files = Files { cache: FileCache::new(disk.clone(), 10), directory: Path::new("/").into(), suffix: "" };
        assert_eq!(read(&files, 0).unwrap(), []);
        let entry = |at: i64| AbortedTransaction {
            producer_id: ProducerId(at),
            first_offset: Offset(at * 10),
            last_offset: Offset(at * 10 + 5),
            last_stable_offset: Offset(at * 10 + 6),
        };
        for at in 1..4 {
            append(&files, 0, &entry(at)).unwrap();
        }
        assert_eq!(read(&files, 0).unwrap(), [entry(1), entry(2), entry(3)]);
        let bytes = read_whole(&disk, Path::new("/00000000000000000000.txnindex")).unwrap().unwrap();
        assert_eq!(bytes[..18], [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 10]);
        truncate_to(&files, 0, 35).unwrap();
        assert_eq!(read(&files, 0).unwrap(), [entry(1), entry(2)]);
    }
}
