//! The copy of a log in another log directory, which grows until it can take the log's place; see `moving`.

use super::follower::first_offset_around;
use super::partition::Inner;
use crate::log_dirs::Directory;
use bytes::Bytes;
use milena_protocol::Records;
use milena_replication::{Durability, EpochEnd, truncation_offset};
use milena_storage::disk::RealDisk;
use milena_storage::{AppendError, Error, Log};
use milena_types::Timestamp;
use std::path::Path;
use std::sync::Arc;

/// Read at a time; the rest of a copy is taken over under the partition's lock if it is not larger.
pub(super) const PIECE_BYTES: u32 = 1 << 20;

/// A copy that will take the log's place.
#[derive(Debug)]
pub(crate) struct FutureLog {
    pub(super) log: Log<RealDisk>,
    pub(super) log_dir: Arc<Directory>,
    /// The truncations of the partition's log when the two were last compared; `None` if they never were.
    pub(super) compared_at: Option<u64>,
    /// The controller was told.
    pub(super) is_told: bool,
}

impl FutureLog {
    /// Cuts off what the partition's log does not have, and begins where that begins.
    pub(super) fn compare(&mut self, inner: &Inner, now: Timestamp) -> Result<(), Error> {
        let truncations = inner.log.truncations();
        let start = inner.log.log_start_offset();
        if self.log.log_end_offset() < start {
            self.log.truncate_fully_and_start_at(start, now)?;
        } else if self.log.log_start_offset() < start {
            self.log.advance_log_start(start)?;
        }
        if self.compared_at == Some(truncations) {
            return Ok(());
        }
        while let Some(epoch) = self.log.latest_epoch() {
            let end = self.log.log_end_offset();
            let Some((epoch, leader_end)) = inner.log.epoch_end_offset(epoch) else {
                self.log.truncate_fully_and_start_at(start, now)?;
                break;
            };
            let own = self.log.epoch_end_offset(epoch).map(|(epoch, end)| EpochEnd { epoch, end });
            let to = truncation_offset(EpochEnd { epoch, end: leader_end }, own, end);
            if to >= end {
                break;
            }
            self.log.truncate_to(to, now)?;
        }
        let end = inner.log.log_end_offset();
        if self.log.log_end_offset() > end || self.log.latest_epoch().is_none() && self.log.log_end_offset() > start {
            // Without epochs nothing can be compared.
            self.log.truncate_fully_and_start_at(start, now)?;
        }
        self.compared_at = Some(truncations);
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: Bytes, now: Timestamp) -> Result<(), Error> {
        let (start, end) = (self.log.log_start_offset(), self.log.log_end_offset());
        // The log may start within its first batch: so does the copy, once it has the batch.
        if start == end
            && let Some(first) = first_offset_around(&bytes, end)
        {
            self.log.truncate_fully_and_start_at(first, now)?;
        }
        match self.log.append_as_follower(bytes, now) {
            Ok(_) => Ok(()),
            Err(AppendError::Storage(error)) => Err(error),
            Err(AppendError::Rejected(rejected)) => {
                let path = self.log.directory().to_owned();
                Err(Error::Corrupt { path, position: 0, reason: rejected.message })
            }
        }
    }

    /// Under the partition's lock: copies the last piece. Whether the copy has everything then.
    pub(super) fn finish(&mut self, inner: &Inner, durability: Durability, now: Timestamp) -> Result<bool, Error> {
        self.compare(inner, now)?;
        let (from, end) = (self.log.log_end_offset(), inner.log.log_end_offset());
        if from < end {
            let Ok(read) = inner.read(from, PIECE_BYTES, end, true) else { return Ok(false) };
            let bytes = read_all(read.records, self.log.directory())?;
            self.append(bytes, now)?;
        }
        if self.log.log_end_offset() != end {
            return Ok(false);
        }
        // What was acknowledged as durable must be durable here, too, before the other log is given up: the one sync
        // under a partition's lock, of at most a piece.
        if durability == Durability::Fsync {
            self.log.flush()?;
        }
        Ok(true)
    }
}

pub(super) fn read_all(records: Records, path: &Path) -> Result<Bytes, Error> {
    match records {
        Records::Bytes(bytes) => Ok(bytes),
        Records::File(slice) => {
            let mut bytes = vec![0; slice.len as usize];
            let read = slice.source.read_exact_at(&mut bytes, slice.position);
            read.map_err(|source| Error::Io { operation: "copy to", path: path.to_owned(), source })?;
            Ok(bytes.into())
        }
    }
}
