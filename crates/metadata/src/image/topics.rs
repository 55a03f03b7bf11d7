//! Topics and partitions of the image, and the partition's arithmetic: how a record changes it and how it is written.
//!
//! Kafka's counterparts: `TopicsImage`, `TopicImage`, `PartitionRegistration`.

use std::sync::Arc;

use milena_protocol::Text;
use milena_protocol::messages::{PartitionChangeRecord, PartitionRecord};
use milena_types::{BrokerId, LeaderEpoch, PartitionIndex, TopicId, Uuid};

use super::Ordered;
use crate::MetadataVersion;

/// A replica's directory is known to its broker only (`DirectoryId.MIGRATING`).
pub const DIRECTORY_MIGRATING: Uuid = Uuid::ZERO;
/// A replica's directory is not decided yet (`DirectoryId.UNASSIGNED`).
pub const DIRECTORY_UNASSIGNED: Uuid = Uuid::ONE;
/// A replica's directory is offline (`DirectoryId.LOST`).
pub const DIRECTORY_LOST: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);

/// In a `PartitionChangeRecord`: the leader stays.
pub const NO_LEADER_CHANGE: i32 = -2;

/// How far a partition's record may run ahead of the records of the partitions before it.
const GAP_MAX: usize = 100_000;

/// One partition as the controller knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// All replicas; the first is the preferred leader.
    pub replicas: Box<[BrokerId]>,
    /// The log directory of each replica, in the order of `replicas`.
    pub directories: Box<[Uuid]>,
    /// The in-sync replicas.
    pub isr: Box<[BrokerId]>,
    /// Replicas a reassignment removes.
    pub removing_replicas: Box<[BrokerId]>,
    /// Replicas a reassignment adds.
    pub adding_replicas: Box<[BrokerId]>,
    /// Replicas outside the ISR that may still be elected cleanly (KIP-966).
    pub eligible_leader_replicas: Box<[BrokerId]>,
    /// The last leader of a partition that has lost all eligible replicas (KIP-966).
    pub last_known_elr: Box<[BrokerId]>,
    /// The leader, or -1.
    pub leader: BrokerId,
    /// Counts leaders.
    pub leader_epoch: LeaderEpoch,
    /// Counts changes of any kind.
    pub partition_epoch: i32,
    /// Whether the leader was elected uncleanly and has not recovered yet.
    pub is_recovering: bool,
}

impl Default for Partition {
    fn default() -> Self {
        Partition {
            replicas: Box::default(),
            directories: Box::default(),
            isr: Box::default(),
            removing_replicas: Box::default(),
            adding_replicas: Box::default(),
            eligible_leader_replicas: Box::default(),
            last_known_elr: Box::default(),
            leader: BrokerId::NONE,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            is_recovering: false,
        }
    }
}

/// One topic.
#[derive(Clone, PartialEq, Debug)]
pub struct Topic {
    pub name: Text,
    pub id: TopicId,
    /// Index is the partition's number; partitions are numbered from 0 without gaps.
    pub partitions: Vec<Arc<Partition>>,
}

impl Topic {
    /// A partition by its number.
    #[must_use]
    pub fn partition(&self, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }

    /// All partitions with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionIndex, &Arc<Partition>)> {
        (0..).map(PartitionIndex).zip(self.partitions.iter())
    }
}

/// All topics, by id and by name.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Topics {
    by_id: Ordered<TopicId, Arc<Topic>>,
    by_name: Ordered<Text, TopicId>,
    partition_count: usize,
}

impl Topics {
    /// A topic by its id.
    #[must_use]
    pub fn get(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// A topic by its name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_id.get(self.by_name.get(name)?)
    }

    /// The id of a name.
    #[must_use]
    pub fn id_of(&self, name: &str) -> Option<TopicId> {
        self.by_name.get(name).copied()
    }

    /// One partition.
    #[must_use]
    pub fn partition(&self, id: TopicId, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.get(id)?.partition(index)
    }

    /// All topics in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values().filter_map(|id| self.by_id.get(id))
    }

    /// The topics whose name is at least `name`, in the order of their names (for `DescribeTopicPartitions` cursors).
    pub fn iter_from(&self, name: &str) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.range_from(name).filter_map(|(_, id)| self.by_id.get(id))
    }

    /// All topics in the order of their ids.
    pub fn iter_by_id(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_id.values()
    }

    /// How many topics there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many partitions all topics have together.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// Adds a topic without partitions. Returns false when the name or the id is taken.
    ///
    /// The name is copied out of the frame it came in, which would otherwise live as long as the topic.
    pub(super) fn create(&mut self, name: &Text, id: TopicId) -> bool {
        let name = name.detached();
        if self.by_name.contains_key(&*name) || self.by_id.contains_key(&id) {
            return false;
        }
        self.by_name.insert(name.clone(), id);
        self.by_id.insert(id, Arc::new(Topic { name, id, partitions: Vec::new() }));
        true
    }

    /// Removes a topic with all its partitions.
    pub(super) fn remove(&mut self, id: TopicId) -> Option<Arc<Topic>> {
        let topic = self.by_id.remove(&id)?;
        self.by_name.remove(&*topic.name);
        self.partition_count -= topic.partitions.len();
        Some(topic)
    }

    /// Sets a partition. Returns false when the topic is unknown or the number is not a partition's.
    ///
    /// Records come in the order of the numbers; should one run ahead, the gap holds partitions without replicas until
    /// their records follow.
    pub(super) fn set_partition(&mut self, id: TopicId, index: PartitionIndex, partition: Partition) -> bool {
        let (Some(topic), Ok(index)) = (self.by_id.get_mut(&id), usize::try_from(index.0)) else {
            return false;
        };
        let partitions = &mut Arc::make_mut(topic).partitions;
        if let Some(slot) = partitions.get_mut(index) {
            *slot = Arc::new(partition);
            return true;
        }
        let before = partitions.len();
        if index > before + GAP_MAX {
            return false;
        }
        let gap = Arc::new(Partition::default());
        partitions.resize(index, gap);
        partitions.push(Arc::new(partition));
        self.partition_count += partitions.len() - before;
        true
    }
}

fn ids(raw: &[i32]) -> Box<[BrokerId]> {
    raw.iter().map(|id| BrokerId(*id)).collect()
}

fn raw(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

impl Partition {
    /// The partition a `PartitionRecord` describes.
    #[must_use]
    pub fn from_record(record: &PartitionRecord) -> Partition {
        let mut partition = Partition {
            replicas: ids(&record.replicas),
            directories: record.directories.clone().into_boxed_slice(),
            isr: ids(&record.isr),
            removing_replicas: ids(&record.removing_replicas),
            adding_replicas: ids(&record.adding_replicas),
            eligible_leader_replicas: ids(record.eligible_leader_replicas.as_deref().unwrap_or_default()),
            last_known_elr: ids(record.last_known_elr.as_deref().unwrap_or_default()),
            leader: BrokerId(record.leader),
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: record.partition_epoch,
            is_recovering: record.leader_recovery_state == 1,
        };
        partition.fill_directories();
        partition
    }

    /// This partition after a change (`PartitionRegistration.merge`).
    #[must_use]
    pub fn merge(&self, change: &PartitionChangeRecord) -> Partition {
        let pick = |new: &Option<Vec<i32>>, old: &[BrokerId]| match new {
            Some(new) => ids(new),
            None => old.into(),
        };
        let leader_changes = change.leader != NO_LEADER_CHANGE;
        let mut partition = Partition {
            replicas: pick(&change.replicas, &self.replicas),
            directories: change.directories.clone().map_or_else(|| self.directories.clone(), Vec::into_boxed_slice),
            isr: pick(&change.isr, &self.isr),
            removing_replicas: pick(&change.removing_replicas, &self.removing_replicas),
            adding_replicas: pick(&change.adding_replicas, &self.adding_replicas),
            eligible_leader_replicas: pick(&change.eligible_leader_replicas, &self.eligible_leader_replicas),
            last_known_elr: pick(&change.last_known_elr, &self.last_known_elr),
            leader: if leader_changes { BrokerId(change.leader) } else { self.leader },
            leader_epoch: if leader_changes { LeaderEpoch(self.leader_epoch.0 + 1) } else { self.leader_epoch },
            partition_epoch: self.partition_epoch + 1,
            is_recovering: match change.leader_recovery_state {
                -1 => self.is_recovering,
                state => state == 1,
            },
        };
        partition.fill_directories();
        partition
    }

    /// The record that describes this partition at a metadata version.
    #[must_use]
    pub fn to_record(&self, topic: TopicId, index: PartitionIndex, version: MetadataVersion) -> PartitionRecord {
        let elr = |ids: &[BrokerId]| (version.is_elr_supported() && !ids.is_empty()).then(|| raw(ids));
        PartitionRecord {
            partition_id: index.0,
            topic_id: topic,
            replicas: raw(&self.replicas),
            isr: raw(&self.isr),
            removing_replicas: raw(&self.removing_replicas),
            adding_replicas: raw(&self.adding_replicas),
            leader: self.leader.0,
            leader_recovery_state: i8::from(self.is_recovering),
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch,
            directories: if version.is_directory_assignment_supported() {
                self.directories.to_vec()
            } else {
                Vec::new()
            },
            eligible_leader_replicas: elr(&self.eligible_leader_replicas),
            last_known_elr: elr(&self.last_known_elr),
            ..PartitionRecord::default()
        }
    }

    /// The directory of a broker's replica; `None` when it has none here.
    #[must_use]
    pub fn directory(&self, broker: BrokerId) -> Option<Uuid> {
        let at = self.replicas.iter().position(|replica| *replica == broker)?;
        self.directories.get(at).copied()
    }

    /// Whether a broker holds a replica.
    #[must_use]
    pub fn has_replica(&self, broker: BrokerId) -> bool {
        self.replicas.contains(&broker)
    }

    /// Whether the first replica leads.
    #[must_use]
    pub fn has_preferred_leader(&self) -> bool {
        self.replicas.first() == Some(&self.leader)
    }

    /// Whether a reassignment is under way (`PartitionReassignmentReplicas.isReassignmentInProgress`).
    #[must_use]
    pub fn is_reassigning(&self) -> bool {
        !self.removing_replicas.is_empty() || !self.adding_replicas.is_empty()
    }

    /// Records of metadata versions without directories leave them to the brokers.
    fn fill_directories(&mut self) {
        if self.directories.len() != self.replicas.len() {
            self.directories = vec![DIRECTORY_MIGRATING; self.replicas.len()].into_boxed_slice();
        }
    }
}
