//! Logs that are damaged: which they are, what the checkpoints said of those that could not be opened, and what becomes of
//! them.
//!
//! As long as a log waits for a person or for its peers, nothing may forget how far it was durable: the next start would take
//! the damage for the torn end of a write, and cut it off. A replica that has peers gives up its place first: the controller
//! is told that it is lost (AssignReplicasToDirs), takes it out of the in-sync replicas and lets another one lead. Only then
//! the log is set aside, whole, and the partition begins anew as a follower. A replica that counted as in sync with an
//! empty log could be elected, and all others would cut theirs to it.

use super::assignment::Assigner;
use super::directories::{self, FoundLog};
use super::partition::Partition;
use super::{LocalTopic, Partitions, scrub};
use crate::broker::Broker;
use crate::log_dirs::Directory;
use milena_metadata::Image;
use milena_metrics::Counter;
use milena_replication::PartitionKey;
use milena_storage::checkpoint::{
    CLEANER_OFFSET_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT,
    REPLICATION_OFFSET_CHECKPOINT,
};
use milena_storage::{Error, TopicPartition};
use milena_types::{BrokerId, Offset, Timestamp, TopicId, Uuid};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A damaged log.
#[derive(Clone, Debug)]
struct Damaged {
    name: TopicPartition,
    /// What was found of a log that could not be opened.
    unopened: Option<FoundLog>,
    /// It is not damaged: it could not be opened for want of room, or its device failed.
    is_whole: bool,
}

/// The damaged logs of a broker.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    damaged: Mutex<BTreeMap<PartitionKey, Damaged>>,
    /// Somebody could not read them.
    suspects: Mutex<BTreeMap<PartitionKey, Arc<Partition>>>,
    added: Notify,
    /// Bytes that the scrub read.
    pub(crate) scrubbed_bytes: Counter,
    /// Damaged places that the scrub found.
    pub(crate) damages_found: Counter,
    /// Logs that were set aside to be fetched anew.
    pub(crate) set_aside: Counter,
}

impl Quarantine {
    fn damaged(&self) -> MutexGuard<'_, BTreeMap<PartitionKey, Damaged>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A log is there and could not be opened. Another attempt must not take it for absent, nor a damaged one for whole.
    pub(super) fn add_unopened(&self, key: PartitionKey, name: TopicPartition, found: FoundLog, error: &Error) {
        let is_whole = matches!(error, Error::Io { .. });
        self.damaged().insert(key, Damaged { name, unopened: Some(found), is_whole });
        if !is_whole {
            self.added.notify_one();
        }
    }

    /// It could be opened after all.
    pub(super) fn remove_opened(&self, key: PartitionKey) {
        self.damaged().remove(&key);
    }

    /// Something of a log that is open is damaged.
    pub(super) fn add_open(&self, key: PartitionKey, name: &TopicPartition) {
        self.damaged().entry(key).or_insert_with(|| Damaged { name: name.clone(), unopened: None, is_whole: false });
        self.added.notify_one();
    }

    /// A read met damage that may not be known yet.
    pub(super) fn suspect(&self, partition: &Arc<Partition>) {
        let key = (partition.topic_id, partition.index);
        if !self.is_damaged(key) {
            self.suspects.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(partition));
            self.added.notify_one();
        }
    }

    /// Notes a partition whose log turned out to be damaged as it was opened.
    pub(super) fn look_at(&self, partition: &Partition) {
        if partition.lock().log.is_damaged() {
            let name = directories::directory_name(&partition.topic, partition.index);
            self.add_open((partition.topic_id, partition.index), &name);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.damaged().values().filter(|damaged| !damaged.is_whole).count()
    }

    /// Whether something of the log is damaged.
    pub(crate) fn is_damaged(&self, key: PartitionKey) -> bool {
        self.damaged().contains_key(&key)
    }

    /// The log that is there and could not be opened, and whether it is worth another attempt.
    pub(super) fn unopened(&self, key: PartitionKey) -> Option<(FoundLog, bool)> {
        let damaged = self.damaged();
        let damaged = damaged.get(&key)?;
        let found = damaged.unopened.clone()?;
        let again = damaged.is_whole && found.log_dir.is_online();
        Some((found, again))
    }

    /// A topic is deleted.
    pub(super) fn forget_topic(&self, id: TopicId) {
        self.damaged().retain(|(topic, _), _| *topic != id);
    }

    /// Whether a log of this directory could not be opened.
    pub(super) fn has_unopened_in(&self, directory: Uuid) -> bool {
        self.damaged().values().filter_map(|damaged| damaged.unopened.as_ref()).any(|it| it.log_dir.id() == directory)
    }

    /// Adds what the checkpoint file `name` of a directory said of logs that could not be opened.
    pub(super) fn keep_in(&self, directory: Uuid, name: &str, contents: &mut OffsetCheckpoint) {
        for damaged in self.damaged().values() {
            let Some(found) = damaged.unopened.as_ref().filter(|found| found.log_dir.id() == directory) else {
                continue;
            };
            let offset = match name {
                RECOVERY_POINT_CHECKPOINT => Some(found.recovery_point),
                LOG_START_OFFSET_CHECKPOINT => Some(found.log_start_offset).filter(|start| *start > Offset(0)),
                REPLICATION_OFFSET_CHECKPOINT => Some(found.high_watermark),
                CLEANER_OFFSET_CHECKPOINT => found.cleaned_to,
                _ => None,
            };
            if let Some(offset) = offset {
                contents.entry(damaged.name.clone()).or_insert(offset);
            }
        }
    }
}

/// Whether the replica of `broker` counts for something that others can do without it: then it is to be called lost.
pub(crate) fn can_give_up(assigned: &milena_metadata::Partition, broker: BrokerId) -> bool {
    assigned.isr.iter().any(|other| *other != broker)
        && (assigned.isr.contains(&broker) || assigned.eligible_leader_replicas.contains(&broker))
}

/// Whether the replica of `broker` counts for nothing any more, and another one leads.
fn can_begin_anew(assigned: &milena_metadata::Partition, broker: BrokerId) -> bool {
    assigned.leader.is_some()
        && assigned.isr.contains(&assigned.leader)
        && !assigned.isr.contains(&broker)
        && !assigned.eligible_leader_replicas.contains(&broker)
}

impl Assigner {
    /// Sets those damaged logs aside that their leaders have.
    pub(crate) fn set_damaged_aside(
        &mut self,
        partitions: &Partitions,
        broker: BrokerId,
        image: &Image,
        now: Timestamp,
    ) {
        let damaged = self.quarantine.damaged().clone();
        for (key, Damaged { name, unopened, is_whole }) in damaged {
            let Some(assigned) = image.topics.partition(key.0, key.1).filter(|it| it.has_replica(broker)) else {
                self.quarantine.damaged().remove(&key);
                continue;
            };
            // In a directory that failed nothing is touched: a person may still mend it.
            let is_offline = unopened.as_ref().is_some_and(|found| !found.log_dir.is_online());
            if is_whole || is_offline || !can_begin_anew(assigned, broker) {
                continue;
            }
            let log_dir = match unopened {
                Some(found) => found.log_dir,
                None => match self.take_out(partitions, key, now) {
                    Some(log_dir) => log_dir,
                    None => continue,
                },
            };
            directories::set_aside(&name, &log_dir, "it is damaged, and its records are fetched anew from the leader");
            self.log_dirs.prefer(name, log_dir.id());
            self.quarantine.damaged().remove(&key);
            self.quarantine.set_aside.add(1);
        }
    }

    /// Takes a damaged partition out of service; where its log is.
    fn take_out(
        &mut self,
        partitions: &Partitions,
        (topic, index): PartitionKey,
        now: Timestamp,
    ) -> Option<Arc<Directory>> {
        let mut local = LocalTopic::clone(&*partitions.by_id(topic)?);
        let partition = local.partitions.get_mut(usize::try_from(index.0).ok()?)?.take()?;
        partition.leave().run();
        self.doomed.extend(partition.drop_future().map(|(path, _)| (now, path)));
        partitions.put(local);
        let log_dir = partition.log_dir();
        log_dir.is_online().then_some(log_dir)
    }
}

impl Broker {
    /// Does what can be done for damaged logs as the cluster is now; the rest follows when the image changes.
    fn heal_damaged(self: &Arc<Self>) {
        let suspects = std::mem::take(&mut *self.quarantine().suspects.lock().unwrap_or_else(PoisonError::into_inner));
        for (key, partition) in suspects {
            scrub::check_whole(self, &partition);
            if !self.quarantine().is_damaged(key) {
                tracing::error!(%partition, "the log is damaged where it is appended to");
                self.quarantine().add_open(key, &directories::directory_name(&partition.topic, partition.index));
            }
        }
        self.place_missing();
        self.tell_directories(&self.image(), None);
    }
}

/// Looks after damaged logs as they are found.
pub(super) async fn heal(broker: Arc<Broker>) {
    loop {
        broker.quarantine().added.notified().await;
        let healed = Arc::clone(&broker);
        if let Err(error) = tokio::task::spawn_blocking(move || healed.heal_damaged()).await {
            tracing::error!(%error, "damaged logs are not looked after");
        }
    }
}
