//! Syncs of many logs at once: the round that keeps what recovery would have to read small, and the clean end. Kafka
//! leaves the one to the operating system and to `flush.*`, and syncs file by file in the other (`LogManager.shutdown`).
//! Decision 8 says why here it is one sync of the file system.

use super::checkpoints::Checkpoints;
use super::maintenance::{Schedule, fail};
use super::partition::Partition;
use crate::broker::Broker;
use crate::log_dirs::Directory;
use milena_storage::Flushed;
use milena_storage::checkpoint::CleanShutdown;
use milena_storage::disk::RealDisk;
use milena_types::Uuid;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes that recovery would have to read, over all partitions, from which on a round is due.
const TAIL_BYTES_MAX: u64 = 2 << 30;

/// A partition that took less since its indexes and producers were saved is read from there.
const CHECKPOINT_FROM_BYTES: u64 = 1 << 20;

/// How often the tails are measured.
const LOOK: Duration = Duration::from_secs(1);

/// Up to this many logs are closed with syncs of their own: the rest of the file system is left alone.
const SINGLY_MAX: usize = 16;

/// What a start found to recover and must not find again.
const RECOVERED_BYTES_MIN: u64 = 1 << 20;

/// Runs the rounds until `stopping`: when there is much to recover, and every `log.flush.offset.checkpoint.interval.ms`. After
/// an unclean stop the first is due at once: should the node end again soon, the next start does not begin with the
/// same bytes, and so on.
pub(super) fn bound_tails(broker: &Arc<Broker>, stopping: &AtomicBool) {
    let interval = broker.settings.log_flush_offset_checkpoint_interval_ms;
    let mut timed = Schedule::new(Duration::from_millis(interval), interval);
    let mut checkpoints = Checkpoints::default();
    let mut is_first = true;
    while !stopping.load(Ordering::Relaxed) {
        std::thread::park_timeout(LOOK);
        let tail = tail_bytes(broker);
        let is_recovered = is_first && tail >= RECOVERED_BYTES_MIN;
        is_first &= tail == 0;
        if timed.is_due() || is_recovered || tail >= TAIL_BYTES_MAX {
            round(broker, &mut checkpoints);
        }
    }
}

fn tail_bytes(broker: &Broker) -> u64 {
    broker.partitions.all().iter().map(|partition| partition.lock().log.bytes_to_recover()).sum()
}

fn round(broker: &Broker, checkpoints: &mut Checkpoints) {
    let mut pending = Vec::new();
    for partition in broker.partitions.all() {
        let prepared = partition.lock().log.prepare_sync(CHECKPOINT_FROM_BYTES);
        match prepared {
            Ok(Some(flushed)) => pending.push((partition, flushed)),
            Ok(None) => {}
            Err(error) => partition.lock().storage_failed(&error, "the indexes of a log cannot be saved"),
        }
    }
    sync(broker, &pending);
    checkpoints.write_recovery_points(broker);
}

/// Syncs the file systems of what is pending and tells the partitions. The log directories that failed.
fn sync(broker: &Broker, pending: &[(Arc<Partition>, Flushed)]) -> Vec<Uuid> {
    let mut failed = Vec::new();
    for log_dir in broker.log_dirs().online() {
        let mut logs = pending.iter().filter(|(partition, _)| partition.log_dir().id() == log_dir.id()).peekable();
        if logs.peek().is_none() {
            continue;
        }
        match log_dir.files().sync_file_system() {
            Ok(()) => logs.for_each(|(partition, flushed)| partition.on_flushed(*flushed, broker.steady())),
            Err(error) => {
                log_dir.fail(&error);
                logs.for_each(|(partition, _)| fail(partition, &error));
                failed.push(log_dir.id());
            }
        }
    }
    failed
}

/// Closes every log, writes the checkpoints, and marks the directories whose logs are all on disk.
pub(super) fn close_all(broker: &Broker, broker_epoch: i64) {
    let mut failed: Vec<Uuid> = Vec::new();
    let mut pending = Vec::new();
    let partitions = broker.partitions.all();
    for partition in &partitions {
        let mut inner = partition.lock();
        if !inner.log_dir.is_online() {
            continue;
        }
        let prepared = inner.log.prepare_close();
        inner.log.close_files();
        drop(inner);
        match prepared {
            Ok(flushed) => pending.extend(flushed.map(|flushed| (Arc::clone(partition), flushed))),
            Err(error) => {
                tracing::error!(%partition, %error, "the log cannot be closed");
                failed.push(partition.log_dir().id());
            }
        }
    }
    if pending.len() <= SINGLY_MAX {
        for (partition, _) in pending {
            if let Err(error) = partition.lock().log.close() {
                tracing::error!(%partition, %error, "the log cannot be closed");
                failed.push(partition.log_dir().id());
            }
        }
    } else {
        // It waits for whatever has been written to the file system, by others, too.
        tracing::info!(logs = pending.len(), "the logs are closed with a sync of their file systems");
        failed.extend(sync(broker, &pending));
    }
    let mut checkpoints = Checkpoints::default();
    checkpoints.write_high_watermarks(broker);
    checkpoints.write_recovery_points(broker);
    checkpoints.write_log_starts(broker);
    // A log that could not be opened was not closed either: the next start is to look at it as this one did.
    let is_whole = |log_dir: &&Arc<Directory>| {
        !failed.contains(&log_dir.id())
            && checkpoints.has_recovery_points(log_dir)
            && !broker.quarantine().has_unopened_in(log_dir.id())
    };
    for log_dir in broker.log_dirs().online().filter(is_whole) {
        if let Err(error) = CleanShutdown::write(&RealDisk, log_dir.path(), broker_epoch) {
            tracing::error!(path = %log_dir.path().display(), %error, "the mark of a clean shutdown cannot be written");
        }
    }
}
