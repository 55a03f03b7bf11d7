//! How one member gets from what it has to what it shall have. Kafka: `CurrentAssignmentBuilder`.
//!
//! A member first gives back what it shall not have any more and keeps its epoch until it has said so; then it gets the
//! epoch of its target and of its target what is free, and the rest as others give it back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as OwnedPartitions;
use milena_types::{ErrorCode, Uuid};

use super::member::{Member, MemberState, PartitionEpochs};
use super::state::ConsumerGroup;
use super::subscription::TopicResolver;
use crate::assignor::TopicPartitions;
use crate::group::error::Refusal;

/// What a member shall have, and as of when.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) epoch: i32,
    pub(super) assignment: Arc<TopicPartitions>,
}

/// What is known for one step of one member.
pub(super) struct Reconciliation<'a> {
    pub(super) group: &'a ConsumerGroup,
    pub(super) resolver: TopicResolver<'a>,
    pub(super) target: &'a Target,
    pub(super) has_subscription_changed: bool,
    /// What the member says it has; `None` when it does not say.
    pub(super) owned: Option<&'a [OwnedPartitions]>,
}

impl Reconciliation<'_> {
    /// The member after the step; equal if there is nothing to do.
    pub(super) fn step(&mut self, member: &Member) -> Result<Member, Refusal> {
        match member.state {
            MemberState::Stable if member.member_epoch != self.target.epoch => {
                Ok(self.next_assignment(member, member.member_epoch))
            }
            MemberState::UnrevokedPartitions if !self.still_owns(&member.pending_revocation) => {
                Ok(self.next_assignment(member, member.member_epoch))
            }
            MemberState::Stable | MemberState::UnrevokedPartitions => {
                Ok(if self.has_subscription_changed { self.drop_unsubscribed(member) } else { member.clone() })
            }
            MemberState::UnreleasedPartitions => Ok(self.next_assignment(member, member.member_epoch)),
            MemberState::Unknown if self.owned.is_some_and(<[_]>::is_empty) => {
                Ok(self.next_assignment(member, self.target.epoch))
            }
            MemberState::Unknown => Err(Refusal::new(
                ErrorCode::FENCED_MEMBER_EPOCH,
                "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.",
            )),
        }
    }

    /// Whether the member has one of these partitions; one that does not say may have.
    fn still_owns(&self, partitions: &PartitionEpochs) -> bool {
        let Some(owned) = self.owned else { return true };
        owned.iter().any(|topic| {
            let revoked = partitions.get(&topic.topic_id);
            revoked.is_some_and(|revoked| topic.partitions.iter().any(|partition| revoked.contains_key(partition)))
        })
    }

    /// Takes away topics the member no longer wants, at once and without waiting for a new target
    /// (`updateCurrentAssignment`).
    fn drop_unsubscribed(&mut self, member: &Member) -> Member {
        let subscribed = self.resolver.topic_ids(member);
        let (kept, dropped): (PartitionEpochs, PartitionEpochs) = member
            .assigned
            .iter()
            .map(|(topic, epochs)| (*topic, epochs.clone()))
            .partition(|(topic, _)| subscribed.contains(topic));
        let is_everything = self.resolver.wants_nothing(member) && member.pending_revocation.is_empty();
        if dropped.is_empty() && !is_everything {
            return member.clone();
        }
        let mut pending = PartitionEpochs::clone(&member.pending_revocation);
        for (topic, epochs) in dropped {
            pending.entry(topic).or_default().extend(epochs);
        }
        let mut updated = Member { assigned: Arc::new(kept), ..member.clone() };
        updated.advance(member.member_epoch);
        if !pending.is_empty() && self.still_owns(&pending) {
            updated.state = MemberState::UnrevokedPartitions;
            updated.pending_revocation = Arc::new(pending);
        }
        updated
    }

    /// The next step towards the target (`computeNextAssignment`). `epoch` is the member's while it has to revoke.
    fn next_assignment(&mut self, member: &Member, epoch: i32) -> Member {
        let subscribed = self.resolver.topic_ids(member);
        let mut assigned = PartitionEpochs::new();
        let mut to_revoke = PartitionEpochs::new();
        let mut to_assign: BTreeMap<Uuid, BTreeSet<i32>> = BTreeMap::new();
        let mut is_unreleased = false;
        let target = &self.target.assignment;
        let topics: BTreeSet<Uuid> = target.keys().chain(member.assigned.keys()).copied().collect();
        let nothing = BTreeSet::new();
        for topic in topics {
            let wanted = target.get(&topic).filter(|_| subscribed.contains(&topic)).unwrap_or(&nothing);
            let has = member.assigned.get(&topic);
            let (keeps, gives): (BTreeMap<i32, i32>, BTreeMap<i32, i32>) =
                has.into_iter().flatten().partition(|(partition, _)| wanted.contains(partition));
            let missing = wanted.iter().copied().filter(|partition| !keeps.contains_key(partition));
            let (free, taken): (BTreeSet<i32>, BTreeSet<i32>) =
                missing.partition(|partition| self.is_free(member, topic, *partition));
            is_unreleased |= !taken.is_empty();
            put(&mut assigned, topic, keeps);
            put(&mut to_revoke, topic, gives);
            if !free.is_empty() {
                to_assign.insert(topic, free);
            }
        }
        let mut updated = member.clone();
        if !to_revoke.is_empty() && self.still_owns(&to_revoke) {
            updated.advance(epoch);
            updated.state = MemberState::UnrevokedPartitions;
            updated.assigned = Arc::new(assigned);
            updated.pending_revocation = Arc::new(to_revoke);
            return updated;
        }
        for (topic, partitions) in to_assign {
            let epochs = partitions.into_iter().map(|partition| (partition, self.target.epoch));
            assigned.entry(topic).or_default().extend(epochs);
        }
        updated.advance(self.target.epoch);
        updated.state = if is_unreleased { MemberState::UnreleasedPartitions } else { MemberState::Stable };
        updated.assigned = Arc::new(assigned);
        updated.pending_revocation = Arc::default();
        updated
    }

    /// Whether nobody has the partition, or the member itself is giving it back.
    fn is_free(&self, member: &Member, topic: Uuid, partition: i32) -> bool {
        let is_own = || member.pending_revocation.get(&topic).is_some_and(|epochs| epochs.contains_key(&partition));
        self.group.partition_epoch(topic, partition).is_none() || is_own()
    }
}

fn put(epochs: &mut PartitionEpochs, topic: Uuid, partitions: BTreeMap<i32, i32>) {
    if !partitions.is_empty() {
        epochs.insert(topic, partitions);
    }
}
