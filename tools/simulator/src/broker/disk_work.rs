//! What a broker keeps on disk beside its appends: syncs, checkpoints, removal of files, the clean end
//! (`partitions/maintenance.rs`, `checkpoints.rs` and `durability.rs` of `milena-broker`).

use std::path::Path;

use milena_replication::PartitionKey;
use milena_storage::checkpoint::{
    CleanShutdown, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT,
};
use milena_storage::{Flushed, Log, TopicPartition, remove_deleted};
use milena_types::Timestamp;

use super::broker_host::{BrokerHost, LOG_DIR};
use super::following::flush_now;
use super::outbox::{Note, Outbox};
use crate::planted::Planted;

/// Between two writes of high watermarks.
const CHECKPOINTS_MS: i64 = 1500;
/// Between two rounds that bound what recovery reads.
const SYNC_MS: i64 = 4000;

type Result<T> = std::result::Result<T, milena_storage::Error>;

impl BrokerHost {
    pub(super) fn keep_on_disk(&mut self, now: Timestamp, out: &mut Outbox) {
        let mut outcome = Ok(());
        if self.due.checkpoints <= now {
            self.due.checkpoints = Timestamp(now.0 + CHECKPOINTS_MS);
            outcome = self.write_high_watermarks();
        }
        if self.due.sync <= now {
            self.due.sync = Timestamp(now.0 + SYNC_MS);
            outcome = outcome.and_then(|()| self.sync_round(now));
            self.remove_doomed(now);
        }
        if outcome.is_err() {
            out.notes.push(Note::LogFailed);
        }
    }

    fn sync_round(&mut self, now: Timestamp) -> Result<()> {
        for replica in self.replicas.values_mut().filter(|replica| !replica.is_flushing) {
            flush_now(replica, now)?;
        }
        self.write_recovery_points()
    }

    fn write_high_watermarks(&mut self) -> Result<()> {
        let too_high = self.settings.has(Planted::HighWatermarkTooHigh);
        let offsets: OffsetCheckpoint = self
            .replicas
            .values()
            .map(|replica| {
                let end = replica.log.log_end_offset();
                (replica.name.clone(), if too_high { end } else { replica.state.high_watermark() })
            })
            .collect();
        self.log_dir.write_checkpoint(REPLICATION_OFFSET_CHECKPOINT, &offsets)
    }

    /// Saves how far every log is durable, and tells the logs that recovery will not begin before.
    pub(super) fn write_recovery_points(&mut self) -> Result<()> {
        let too_high = self.settings.has(Planted::RecoveryPointTooHigh);
        // A recovery point must not outlive the name of its log.
        self.log_dir.sync()?;
        let offsets: OffsetCheckpoint = self
            .replicas
            .values()
            .map(|replica| {
                let end = replica.log.log_end_offset();
                (replica.name.clone(), if too_high { end } else { replica.log.recovery_point() })
            })
            .collect();
        self.log_dir.write_checkpoint(RECOVERY_POINT_CHECKPOINT, &offsets)?;
        for replica in self.replicas.values_mut() {
            let point = replica.log.recovery_point();
            replica.log.recovery_point_saved(point);
        }
        Ok(())
    }

    /// A new log inherits no checkpoint of an earlier one of its name (INV-8).
    pub(super) fn disown(&self, name: &TopicPartition) -> Result<()> {
        for file in [RECOVERY_POINT_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT] {
            let mut offsets = self.log_dir.read_checkpoint(file)?;
            if offsets.remove(name).is_some() {
                self.log_dir.write_checkpoint(file, &offsets)?;
            }
        }
        Ok(())
    }

    fn remove_doomed(&mut self, now: Timestamp) {
        let (due, left) = std::mem::take(&mut self.doomed).into_iter().partition(|(at, _)| *at <= now);
        self.doomed = left;
        let due: Vec<_> = due;
        for (_, path) in due {
            // What cannot be removed now is found at the next start.
            let _ = remove_deleted(self.cache.disk(), &path);
        }
    }

    /// Begins the syncs that appends asked for; they run beside.
    pub(super) fn start_flushes(&mut self, out: &mut Outbox) {
        for (key, replica) in &mut self.replicas {
            if !std::mem::take(&mut replica.wants_flush) {
                continue;
            }
            if replica.is_flushing {
                replica.wants_flush = true;
                continue;
            }
            match replica.log.prepare_flush() {
                Ok(Some(handle)) => {
                    replica.is_flushing = true;
                    out.flushes.push((*key, handle));
                }
                Ok(None) => {}
                Err(_) => out.notes.push(Note::LogFailed),
            }
        }
    }

    /// A sync that ran beside has ended.
    pub(crate) fn on_flushed(&mut self, key: PartitionKey, outcome: Result<Flushed>, now: Timestamp, out: &mut Outbox) {
        let Some(replica) = self.replicas.get_mut(&key) else { return };
        replica.is_flushing = false;
        match outcome {
            Ok(flushed) => {
                let end = flushed.end_offset;
                replica.log.flushed(flushed);
                if let Some(high_watermark) = replica.state.on_durable(end, now) {
                    replica.log.on_high_watermark(high_watermark);
                }
            }
            Err(_) => {
                replica.log.mark_failed();
                replica.state.go_offline();
                out.notes.push(Note::LogFailed);
            }
        }
        self.dirty = true;
    }

    /// Closes every log and leaves the mark of a clean end.
    pub(crate) fn close(mut self) -> Result<()> {
        self.replicas.values_mut().map(|replica| &mut replica.log).try_for_each(Log::close)?;
        self.write_high_watermarks()?;
        self.write_recovery_points()?;
        CleanShutdown::write(self.cache.disk(), Path::new(LOG_DIR), self.epoch)
    }
}
