//! Logs that are damaged: which they are, and what the checkpoints said of those that could not be opened. As long as a log
//! waits for a person or for its peers, nothing may forget how far it was durable: the next start would take the damage
//! for the torn end of a write, and cut it off.

use super::directories::FoundLog;
use milena_replication::PartitionKey;
use milena_storage::TopicPartition;
use milena_storage::checkpoint::{
    CLEANER_OFFSET_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT,
    REPLICATION_OFFSET_CHECKPOINT,
};
use milena_types::{Offset, TopicId, Uuid};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The damaged logs of a broker.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    /// Those that could not be opened, and what was found of them.
    unopened: Mutex<BTreeMap<PartitionKey, (TopicPartition, FoundLog)>>,
}

impl Quarantine {
    fn unopened(&self) -> MutexGuard<'_, BTreeMap<PartitionKey, (TopicPartition, FoundLog)>> {
        self.unopened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A log is there and could not be opened. Another attempt must not take it for absent, nor for whole.
    pub(super) fn add_unopened(&self, key: PartitionKey, name: TopicPartition, found: FoundLog) {
        self.unopened().insert(key, (name, found));
    }

    /// Whether the log is there and could not be opened.
    pub(super) fn is_unopened(&self, key: PartitionKey) -> bool {
        self.unopened().contains_key(&key)
    }

    /// A topic is deleted.
    pub(super) fn forget_topic(&self, id: TopicId) {
        self.unopened().retain(|(topic, _), _| *topic != id);
    }

    /// Whether a log of this directory could not be opened.
    pub(super) fn has_unopened_in(&self, directory: Uuid) -> bool {
        self.unopened().values().any(|(_, found)| found.log_dir.id() == directory)
    }

    /// Adds what the checkpoint file `name` of a directory said of logs that could not be opened.
    pub(super) fn keep_in(&self, directory: Uuid, name: &str, contents: &mut OffsetCheckpoint) {
        for (partition, found) in self.unopened().values().filter(|(_, found)| found.log_dir.id() == directory) {
            let offset = match name {
                RECOVERY_POINT_CHECKPOINT => Some(found.recovery_point),
                LOG_START_OFFSET_CHECKPOINT => Some(found.log_start_offset).filter(|start| *start > Offset(0)),
                REPLICATION_OFFSET_CHECKPOINT => Some(found.high_watermark),
                CLEANER_OFFSET_CHECKPOINT => found.cleaned_to,
                _ => None,
            };
            if let Some(offset) = offset {
                contents.entry(partition.clone()).or_insert(offset);
            }
        }
    }
}
