//! The data plane: every partition with a replica here, found by topic name or id. Nothing here spawns; the tasks that
//! flush, checkpoint and delete are in `maintenance` and are started by the node.

mod append;
mod assignment;
mod checkpoints;
mod cleaner;
mod cleaner_settings;
mod coordinated;
mod cutting;
mod directories;
mod disk_space;
mod durability;
mod fetch;
mod follower;
mod future_log;
mod held;
mod maintenance;
mod markers;
mod moving;
mod opening;

mod parked_fetch;
mod partition;
mod pending_produce;
mod quarantine;
mod read_outcome;
mod read_replica;
mod rebuilding;
mod refusal;
mod registration;
mod scrub;
mod settings;
mod traffic;
mod waiting;
mod write_pause;

pub(crate) use append::AppendGroup;
pub(crate) use assignment::Assigner;
pub(crate) use checkpoints::Checkpoints;
pub(crate) use fetch::{FetchParams, FetchWork};
pub(crate) use follower::{Fetched, FollowerEnd, FollowerProblem, Taken};
pub(crate) use held::HeldProduces;
pub(crate) use maintenance::FlushQueue;
pub use maintenance::Maintenance;
pub(crate) use markers::{MarkerToWrite, write_marker};
pub(crate) use moving::Moves;
pub use opening::assignment_of;
pub(crate) use parked_fetch::ParkedFetch;
pub use partition::Partition;
pub(crate) use partition::{Inner, is_groups_topic, is_internal};
pub(crate) use quarantine::{Quarantine, can_give_up};
pub(crate) use rebuilding::Rebuilding;
pub(crate) use registration::Registration;
pub(crate) use settings::broker_texts;
pub(crate) use traffic::Traffic;
pub(crate) use waiting::{CommitListener, Deadline, Deadlines, Parked};
pub(crate) use write_pause::WritePause;

use milena_protocol::Text;
use milena_types::{ErrorCode, PartitionIndex, TopicId};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A partition that was asked for.
pub(crate) enum Lookup {
    Here(Arc<Partition>),
    /// Unknown, or led elsewhere.
    Refused(ErrorCode),
}

/// A topic with replicas here.
#[derive(Clone, Debug)]
pub(crate) struct LocalTopic {
    pub(crate) name: Text,
    pub(crate) id: TopicId,
    /// By partition number; `None` where there is no replica here.
    pub(crate) partitions: Vec<Option<Arc<Partition>>>,
}

impl LocalTopic {
    pub(crate) fn get(&self, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index.0).ok()?)?.as_ref()
    }
}

/// Every partition here.
#[derive(Debug, Default)]
pub struct Partitions {
    topics: RwLock<Topics>,
    /// What went through partitions that are here no more; changes while `topics` is locked.
    gone: Traffic,
    pub(crate) write_pause: WritePause,
}

#[derive(Debug, Default)]
struct Topics {
    by_name: HashMap<Text, Arc<LocalTopic>>,
    by_id: HashMap<TopicId, Arc<LocalTopic>>,
}

impl Partitions {
    fn read(&self) -> RwLockReadGuard<'_, Topics> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Topics> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A topic by its name.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<LocalTopic>> {
        self.read().by_name.get(name).cloned()
    }

    /// A topic by its id.
    pub(crate) fn by_id(&self, id: TopicId) -> Option<Arc<LocalTopic>> {
        self.read().by_id.get(&id).cloned()
    }

    /// A partition by topic name.
    #[must_use]
    pub fn get(&self, topic: &str, index: PartitionIndex) -> Option<Arc<Partition>> {
        self.named(topic)?.get(index).cloned()
    }

    /// All partitions, by topic name and number.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let mut topics: Vec<Arc<LocalTopic>> = self.read().by_name.values().cloned().collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        topics.iter().flat_map(|topic| topic.partitions.iter().flatten().cloned()).collect()
    }

    /// Every partition, and what went through those that are gone, as of one moment: a sum of both never falls.
    pub(crate) fn all_and_gone(&self) -> (Vec<Arc<Partition>>, Traffic) {
        let topics = self.read();
        let gone = Traffic::default();
        gone.add(&self.gone);
        let mut locals: Vec<&Arc<LocalTopic>> = topics.by_name.values().collect();
        locals.sort_by(|one, other| one.name.cmp(&other.name));
        (locals.iter().flat_map(|topic| topic.partitions.iter().flatten().cloned()).collect(), gone)
    }

    /// How many partitions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().by_name.values().map(|topic| topic.partitions.iter().flatten().count()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read().by_name.is_empty()
    }

    fn put(&self, topic: LocalTopic) {
        let topic = Arc::new(topic);
        let mut topics = self.write();
        if let Some(before) = topics.by_id.insert(topic.id, Arc::clone(&topic)) {
            let stays = |partition: &Arc<Partition>| {
                topic.get(partition.index).is_some_and(|after| Arc::ptr_eq(after, partition))
            };
            let leaving = before.partitions.iter().flatten().filter(|partition| !stays(partition));
            leaving.for_each(|partition| self.gone.add(&partition.traffic));
        }
        topics.by_name.insert(topic.name.clone(), topic);
    }

    fn remove(&self, id: TopicId) -> Option<Arc<LocalTopic>> {
        let mut topics = self.write();
        let topic = topics.by_id.remove(&id)?;
        topic.partitions.iter().flatten().for_each(|partition| self.gone.add(&partition.traffic));
        // A topic of the same name may have been made since.
        if topics.by_name.get(&topic.name).is_some_and(|named| named.id == id) {
            topics.by_name.remove(&topic.name);
        }
        Some(topic)
    }
}
