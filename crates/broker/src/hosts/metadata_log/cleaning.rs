//! What snapshots replace is removed (`KafkaMetadataLog.maybeClean`): first by size, then by age, always from the oldest,
//! and never the newest snapshot nor what is behind it.

use bytes::Bytes;
use milena_raft::{LogRecord, OffsetAndEpoch, decode_batch};
use milena_records::Batches;
use milena_storage::Result;
use milena_storage::checkpoint::remove_snapshot;
use milena_storage::disk::Disk;
use milena_types::{Offset, Timestamp};

use super::{MetadataLog, io, to_file};

/// The first batch of a snapshot, which says its age, is smaller.
const HEADER_READ_BYTES: u64 = 64 * 1024;

impl<D: Disk> MetadataLog<D> {
    /// Removes snapshots but the newest, oldest first, while `metadata.max.retention.*` is exceeded, and the segments
    /// below the oldest kept. Returns the log start and the oldest snapshot.
    ///
    /// # Errors
    /// IO.
    pub(crate) fn clean(&mut self, now: Timestamp) -> Result<(Offset, Option<OffsetAndEpoch>)> {
        while self.is_too_large()? {
            self.remove_oldest_snapshot(now)?;
        }
        while self.is_too_old(now)? {
            self.remove_oldest_snapshot(now)?;
        }
        self.log.remove_deleted_files(now)?;
        Ok((self.log.log_start_offset(), self.snapshots.first().copied()))
    }

    fn remove_oldest_snapshot(&mut self, now: Timestamp) -> Result<()> {
        let oldest = self.snapshots.remove(0);
        if let Some(next) = self.snapshots.first() {
            self.log.advance_log_start(next.offset)?;
            self.log.delete_old_segments(next.offset, now)?;
        }
        tracing::info!(
            end_offset = oldest.offset.0,
            epoch = oldest.epoch.0,
            "metadata snapshot past retention removed"
        );
        remove_snapshot(&self.disk, &self.directory, to_file(oldest))
    }

    fn is_too_large(&self) -> Result<bool> {
        let Ok(max_bytes) = u64::try_from(self.settings.max_retention_bytes) else {
            return Ok(false);
        };
        if self.snapshots.len() < 2 {
            return Ok(false);
        }
        let mut bytes = self.log.size_bytes();
        for id in &self.snapshots {
            let path = self.directory.join(to_file(*id).file_name());
            let metadata = self.disk.metadata(&path).map_err(|source| io("look at", &path, source))?;
            bytes += metadata.map_or(0, |metadata| metadata.len);
        }
        Ok(bytes > max_bytes)
    }

    /// Whether the oldest snapshot, one of several, holds nothing younger than `metadata.max.retention.ms`.
    fn is_too_old(&self, now: Timestamp) -> Result<bool> {
        let (Some(oldest), true) = (self.snapshots.first(), self.snapshots.len() > 1) else {
            return Ok(false);
        };
        if self.settings.max_retention_ms < 0 {
            return Ok(false);
        }
        let timestamp = self.last_contained(*oldest)?;
        Ok(timestamp.is_some_and(|timestamp| now.0 - timestamp.0 > self.settings.max_retention_ms))
    }

    /// The append time of the last record in a snapshot, as its first record says.
    fn last_contained(&self, id: OffsetAndEpoch) -> Result<Option<Timestamp>> {
        let path = self.directory.join(to_file(id).file_name());
        let Some((file, len)) = self.open_snapshot(id)? else {
            return Ok(None);
        };
        let mut bytes = vec![0; usize::try_from(len.min(HEADER_READ_BYTES)).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0).map_err(|source| io("read", &path, source))?;
        let Some(Ok(first)) = Batches::new(Bytes::from(bytes)).next() else {
            return Ok(None);
        };
        let records = decode_batch(&first).unwrap_or_default();
        Ok(records.into_iter().find_map(|(_, record)| match record {
            LogRecord::SnapshotHeader { last_contained_log_timestamp } => Some(last_contained_log_timestamp),
            _ => None,
        }))
    }
}
