//! `Groups`: what the records of one partition of `__consumer_offsets` amount to. Kafka: `GroupMetadataManager.groups` and
//! `OffsetMetadataManager`.

use super::classic::ClassicRecord;
use super::consumer::{self, ConsumerGroup};
use super::records::GroupRecord;
use crate::runtime::{RecordPlace, Replicated, Timeline};
use milena_protocol::Text;
use milena_protocol::messages::{LegacyOffsetCommitValue, OffsetCommitKey, OffsetCommitValue};
use milena_types::{LeaderEpoch, Offset, ProducerId, Timestamp, TopicId};
use std::collections::BTreeMap;

/// A group of either kind.
#[derive(Clone, PartialEq, Debug)]
pub enum Group {
    /// As its last record has it; what happens between two records is in `Live`.
    Classic(ClassicRecord),
    Consumer(ConsumerGroup),
}

/// What an offset is of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OffsetKey {
    pub group: Text,
    pub topic: Text,
    pub partition: i32,
}

impl OffsetKey {
    /// What is not after any offset of the group.
    fn first_of(group: &Text) -> OffsetKey {
        OffsetKey { group: group.clone(), topic: Text::default(), partition: i32::MIN }
    }
}

/// One committed offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedOffset {
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub metadata: Text,
    pub commit_timestamp: Timestamp,
    /// Set by clients of before version 5 only.
    pub expire_timestamp: Option<Timestamp>,
    /// Zero when the commit had none.
    pub topic_id: TopicId,
    /// Where the record lies: of two, the later one counts.
    pub record_offset: Offset,
}

/// Offsets of one transaction that is open.
pub(crate) type PendingOffsets = BTreeMap<OffsetKey, CommittedOffset>;

/// All groups and offsets of a partition.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    pub(crate) groups: Timeline<Text, Group>,
    pub(crate) offsets: Timeline<OffsetKey, CommittedOffset>,
    /// By producer.
    pub(crate) pending: Timeline<i64, PendingOffsets>,
}

impl CommittedOffset {
    fn from_value(value: &OffsetCommitValue, place: RecordPlace) -> CommittedOffset {
        CommittedOffset {
            offset: Offset(value.offset),
            leader_epoch: LeaderEpoch(value.leader_epoch),
            metadata: value.metadata.clone(),
            commit_timestamp: Timestamp(value.commit_timestamp),
            expire_timestamp: (value.expire_timestamp != -1).then_some(Timestamp(value.expire_timestamp)),
            topic_id: value.topic_id,
            record_offset: place.offset,
        }
    }
}

impl Groups {
    /// A group with everything decided so far.
    #[must_use]
    pub fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    /// A group as committed.
    #[must_use]
    pub fn committed_group(&self, id: &str) -> Option<&Group> {
        self.groups.committed(id)
    }

    /// A consumer group with everything decided so far.
    #[must_use]
    pub fn consumer(&self, id: &str) -> Option<&ConsumerGroup> {
        match self.groups.get(id) {
            Some(Group::Consumer(group)) => Some(group),
            _ => None,
        }
    }

    /// All groups with everything decided so far, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Group)> {
        self.groups.iter()
    }

    /// All groups as committed.
    pub fn iter_committed(&self) -> impl Iterator<Item = (&Text, &Group)> {
        self.groups.committed_range::<Text, _>(..)
    }

    /// The consumer group that a record changes. With `create` it is made if there is none; a classic group without
    /// members, such as offsets make, becomes one (`getOrMaybeCreatePersistedConsumerGroup`).
    pub(crate) fn consumer_mut(&mut self, id: &Text, create: bool) -> Option<&mut ConsumerGroup> {
        let replace = match self.groups.get(id) {
            Some(Group::Consumer(_)) => false,
            Some(Group::Classic(group)) => create && group.is_simple(),
            None => create,
        };
        if replace {
            self.groups.insert(id.clone(), Group::Consumer(ConsumerGroup::default()));
        }
        match self.groups.get_mut(id) {
            Some(Group::Consumer(group)) => Some(group),
            _ => None,
        }
    }

    /// Removes a consumer group, whose epoch got a tombstone.
    pub(crate) fn remove_consumer(&mut self, id: &str) {
        if self.consumer(id).is_some() {
            self.groups.remove(id);
        }
    }

    /// Whether an open transaction has an offset for this.
    #[must_use]
    pub fn has_pending(&self, key: &OffsetKey) -> bool {
        self.pending.iter().any(|(_, offsets)| offsets.contains_key(key))
    }

    /// Whether an open transaction has offsets of this group.
    #[must_use]
    pub fn has_open_transaction(&self, group: &str) -> bool {
        self.pending.iter().any(|(_, offsets)| offsets.keys().any(|key| *key.group == *group))
    }

    /// The offsets of a group with everything decided so far, by topic and partition.
    pub(crate) fn offsets_of<'a>(
        &'a self,
        group: &'a Text,
    ) -> impl Iterator<Item = (&'a OffsetKey, &'a CommittedOffset)> {
        self.offsets.range(OffsetKey::first_of(group)..).take_while(move |(key, _)| key.group == *group)
    }

    /// The offsets of a group as committed, by topic and partition.
    pub(crate) fn committed_offsets_of(&self, group: &Text) -> Vec<(&OffsetKey, &CommittedOffset)> {
        let after = OffsetKey { group: Text::from(format!("{group}\0")), ..OffsetKey::first_of(group) };
        self.offsets.committed_range(OffsetKey::first_of(group)..after).collect()
    }

    fn replay_offset(&mut self, place: RecordPlace, key: &OffsetCommitKey, value: Option<&OffsetCommitValue>) {
        let key = OffsetKey { group: key.group.clone(), topic: key.topic.clone(), partition: key.partition };
        let Some(value) = value else {
            self.offsets.remove(&key);
            let producers: Vec<i64> = self.pending.iter().map(|(id, _)| *id).collect();
            for id in producers {
                if self.pending.get(&id).is_some_and(|offsets| offsets.contains_key(&key))
                    && let Some(offsets) = self.pending.get_mut(&id)
                {
                    offsets.remove(&key);
                }
            }
            return;
        };
        if !self.groups.contains_key(&key.group) {
            // Offsets without members make a simple group.
            self.groups.insert(key.group.clone(), Group::Classic(ClassicRecord::simple()));
        }
        let committed = CommittedOffset::from_value(value, place);
        if place.producer_id == ProducerId::NONE {
            self.offsets.insert(key, committed);
            return;
        }
        if !self.pending.contains_key(&place.producer_id.0) {
            self.pending.insert(place.producer_id.0, PendingOffsets::new());
        }
        if let Some(offsets) = self.pending.get_mut(&place.producer_id.0) {
            offsets.insert(key, committed);
        }
    }

    /// All offsets with everything decided so far, by group, topic and partition.
    pub fn iter_offsets(&self) -> impl Iterator<Item = (&OffsetKey, &CommittedOffset)> {
        self.offsets.iter()
    }
}

fn from_legacy(value: &LegacyOffsetCommitValue) -> OffsetCommitValue {
    OffsetCommitValue {
        offset: value.offset,
        metadata: value.metadata.clone(),
        commit_timestamp: value.commit_timestamp,
        ..Default::default()
    }
}

impl Replicated for Groups {
    type Record = GroupRecord;

    fn replay(&mut self, place: RecordPlace, record: &GroupRecord) {
        match record {
            GroupRecord::LegacyOffsetCommit(key, value) => {
                let key =
                    OffsetCommitKey { group: key.group.clone(), topic: key.topic.clone(), partition: key.partition };
                self.replay_offset(place, &key, value.as_ref().map(from_legacy).as_ref());
            }
            GroupRecord::OffsetCommit(key, value) => self.replay_offset(place, key, value.as_ref()),
            GroupRecord::GroupMetadata(key, Some(value)) => {
                self.groups.insert(key.group.clone(), Group::Classic(ClassicRecord::new(value)));
            }
            GroupRecord::GroupMetadata(key, None) => {
                self.groups.remove(&key.group);
            }
            GroupRecord::ConsumerGroupMetadata(..)
            | GroupRecord::ConsumerGroupPartitionMetadata(..)
            | GroupRecord::ConsumerGroupMemberMetadata(..)
            | GroupRecord::ConsumerGroupTargetAssignmentMetadata(..)
            | GroupRecord::ConsumerGroupTargetAssignmentMember(..)
            | GroupRecord::ConsumerGroupCurrentMemberAssignment(..)
            | GroupRecord::ConsumerGroupRegularExpression(..) => consumer::replay(self, record),
        }
    }

    fn replay_end_of_transaction(&mut self, producer_id: ProducerId, is_committed: bool) {
        let Some(offsets) = self.pending.remove(&producer_id.0) else { return };
        if !is_committed {
            return;
        }
        for (key, offset) in offsets.iter() {
            // A commit outside of the transaction may be later.
            if self.offsets.get(key).is_none_or(|present| present.record_offset < offset.record_offset) {
                self.offsets.insert(key.clone(), offset.clone());
            }
        }
    }

    fn begin(&mut self, round: u64) {
        self.groups.begin(round);
        self.offsets.begin(round);
        self.pending.begin(round);
    }

    fn commit(&mut self, round: u64) {
        self.groups.commit(round);
        self.offsets.commit(round);
        self.pending.commit(round);
    }

    fn revert(&mut self, round: u64) {
        self.groups.revert(round);
        self.offsets.revert(round);
        self.pending.revert(round);
    }
}
