//! The checkpoint files of the log directories: one offset for each partition. A file is written only if it would say
//! something new, so that an idle broker leaves the device alone. Kafka's counterparts are
//! `LogManager.checkpointRecoveryOffsetsInDir`, `checkpointLogStartOffsetsInDir` and `ReplicaManager.checkpointHighWatermarks`.

use super::directories::directory_name;
use super::partition::{Inner, Partition};
use crate::broker::Broker;
use crate::log_dirs::Directory;
use milena_storage::checkpoint::{
    CLEANER_OFFSET_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT,
    REPLICATION_OFFSET_CHECKPOINT,
};
use milena_types::Offset;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard};

/// A partition, where it is, and the offset to be saved.
type Checked = (Arc<Partition>, Arc<Directory>, Offset);

/// Writes the files; remembers what it wrote last, as a hash.
#[derive(Default)]
pub(crate) struct Checkpoints {
    written: BTreeMap<(PathBuf, &'static str), u64>,
}

impl Checkpoints {
    /// Saves how far every log is durable, and tells the logs that recovery will not begin before.
    pub(super) fn write_recovery_points(&mut self, broker: &Broker) {
        self.write_recovery_points_alone(broker, &broker.log_dirs().checkpoints());
    }

    /// As `write_recovery_points`. Gathered and written by one at a time: what another gathered before a truncation must not be
    /// written after it.
    pub(super) fn write_recovery_points_alone(&mut self, broker: &Broker, _alone: &MutexGuard<'_, ()>) {
        let points = gather(broker, |inner| Some(inner.log.recovery_point()));
        // A recovery point must not outlive the name of its log.
        for log_dir in broker.log_dirs().online() {
            if let Err(error) = log_dir.files().sync() {
                log_dir.fail(&error);
            }
        }
        self.write(broker, RECOVERY_POINT_CHECKPOINT, &points);
        for (partition, log_dir, point) in points {
            if log_dir.is_online() && self.has_recovery_points(&log_dir) {
                partition.lock().log.recovery_point_saved(point);
            }
        }
    }

    /// What must not be said of records that were cut off, after the directory had no room; whether it could be written.
    pub(super) fn write_after_truncation_in(&mut self, broker: &Broker, log_dir: &Directory) -> bool {
        self.write_recovery_points(broker);
        self.write_cleaned(broker);
        self.has_recovery_points(log_dir)
            && self.written.contains_key(&(log_dir.path().to_owned(), CLEANER_OFFSET_CHECKPOINT))
    }

    /// Whether the recovery points of a directory were written.
    pub(super) fn has_recovery_points(&self, log_dir: &Directory) -> bool {
        self.written.contains_key(&(log_dir.path().to_owned(), RECOVERY_POINT_CHECKPOINT))
    }

    pub(super) fn write_log_starts(&mut self, broker: &Broker) {
        let _alone = broker.log_dirs().checkpoints();
        let starts = gather(broker, |inner| inner.log.log_start_to_checkpoint());
        self.write(broker, LOG_START_OFFSET_CHECKPOINT, &starts);
    }

    pub(super) fn write_high_watermarks(&mut self, broker: &Broker) {
        let _alone = broker.log_dirs().checkpoints();
        let high_watermarks = gather(broker, |inner| Some(inner.state.high_watermark()));
        self.write(broker, REPLICATION_OFFSET_CHECKPOINT, &high_watermarks);
    }

    /// Saves up to where every log was compacted.
    pub(crate) fn write_cleaned(&mut self, broker: &Broker) {
        let _alone = broker.log_dirs().checkpoints();
        let cleaned = gather(broker, |inner| inner.log.cleaned_to());
        self.write(broker, CLEANER_OFFSET_CHECKPOINT, &cleaned);
    }

    /// Writes the file `name` of every log directory that says something else now. A directory in which it cannot be
    /// written goes offline.
    fn write(&mut self, broker: &Broker, name: &'static str, offsets: &[Checked]) {
        for log_dir in broker.log_dirs().online() {
            let of_this = offsets.iter().filter(|(_, of, _)| Arc::ptr_eq(of, log_dir));
            let mut hasher = DefaultHasher::new();
            for (partition, _, offset) in of_this.clone() {
                (partition.topic_id, partition.index.0, offset.0).hash(&mut hasher);
            }
            let (key, hash) = ((log_dir.path().to_owned(), name), hasher.finish());
            if self.written.get(&key) == Some(&hash) {
                continue;
            }
            let mut contents: OffsetCheckpoint = of_this
                .map(|(partition, _, offset)| (directory_name(&partition.topic, partition.index), *offset))
                .collect();
            broker.quarantine().keep_in(log_dir.id(), name, &mut contents);
            match log_dir.files().write_checkpoint(name, &contents) {
                Ok(()) => {
                    log_dir.note_checkpoint(name, &contents);
                    self.written.insert(key, hash);
                }
                Err(error) => {
                    self.written.remove(&key);
                    log_dir.fail(&error);
                }
            }
        }
    }
}

fn gather(broker: &Broker, offset: impl Fn(&Inner) -> Option<Offset>) -> Vec<Checked> {
    let partitions = broker.partitions.all();
    let offsets = partitions.into_iter().filter_map(|partition| {
        let inner = partition.lock();
        let (log_dir, offset) = (Arc::clone(&inner.log_dir), offset(&inner)?);
        drop(inner);
        Some((partition, log_dir, offset))
    });
    offsets.collect()
}
