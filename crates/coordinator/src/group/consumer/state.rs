//! `ConsumerGroup`: what the records of one consumer group amount to. Kafka: `ConsumerGroup`, `ModernGroup`.
//!
//! Cheap to clone: the timeline copies a group once for each round of records that touches it, and a group can have
//! thousands of members. The large maps are `Ordered`, what hangs on a member is behind `Arc`.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_metadata::Ordered;
use milena_protocol::Text;
use milena_types::Uuid;

use super::member::{Member, PartitionEpochs};
use super::regex::ResolvedRegex;
use crate::assignor::TopicPartitions;

/// How many want a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SubscriptionCount {
    /// Members that name it.
    pub(crate) by_name: usize,
    /// Expressions that match it.
    pub(crate) by_regex: usize,
}

/// The topics someone wants, whether they exist or not.
pub(crate) type SubscribedTopics = Ordered<Text, SubscriptionCount>;

/// What a group is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConsumerGroupState {
    Empty,
    /// The target is older than the group's epoch.
    Assigning,
    /// Some member has not all of its target yet.
    Reconciling,
    Stable,
}

impl ConsumerGroupState {
    /// Kafka's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ConsumerGroupState::Empty => "Empty",
            ConsumerGroupState::Assigning => "Assigning",
            ConsumerGroupState::Reconciling => "Reconciling",
            ConsumerGroupState::Stable => "Stable",
        }
    }
}

/// One consumer group.
#[derive(Clone, PartialEq, Debug)]
pub struct ConsumerGroup {
    /// Grows whenever the target must be made anew.
    pub(crate) epoch: i32,
    /// Of the topics the members want; 0 when none exists.
    pub(crate) metadata_hash: i64,
    /// The epoch the target was made for.
    pub(crate) assignment_epoch: i32,
    /// When the target was made; 0 when that is not known.
    pub(crate) assignment_timestamp: i64,
    pub(crate) members: Ordered<Text, Arc<Member>>,
    pub(crate) target: Ordered<Text, Arc<TopicPartitions>>,
    /// Expressions with the topics they stood for when they were last looked up.
    pub(crate) resolved_regexes: Ordered<Text, Arc<ResolvedRegex>>,
    /// A broker of before 4.1 left a record of the topics.
    pub(crate) has_partition_metadata: bool,

    // What follows is counted from the above.
    /// Member ids by instance id.
    pub(crate) static_members: Ordered<Text, Text>,
    pub(crate) subscribed_topics: SubscribedTopics,
    /// Expressions with the number of their members.
    pub(crate) subscribed_regexes: Arc<BTreeMap<Text, usize>>,
    server_assignors: Arc<BTreeMap<Text, usize>>,
    pub(crate) classic_member_count: usize,
    classic_protocols: Arc<BTreeMap<Text, usize>>,
    /// The member epoch of whoever has a partition or has not given it back yet.
    partition_epochs: Ordered<Uuid, Arc<BTreeMap<i32, i32>>>,
}

impl Default for ConsumerGroup {
    fn default() -> Self {
        ConsumerGroup {
            epoch: 1,
            metadata_hash: 0,
            assignment_epoch: 1,
            assignment_timestamp: 0,
            members: Ordered::default(),
            target: Ordered::default(),
            resolved_regexes: Ordered::default(),
            has_partition_metadata: false,
            static_members: Ordered::default(),
            subscribed_topics: Ordered::default(),
            subscribed_regexes: Arc::default(),
            server_assignors: Arc::default(),
            classic_member_count: 0,
            classic_protocols: Arc::default(),
            partition_epochs: Ordered::default(),
        }
    }
}

impl ConsumerGroup {
    /// What the group is doing.
    #[must_use]
    pub fn state(&self) -> ConsumerGroupState {
        if self.members.is_empty() {
            ConsumerGroupState::Empty
        } else if self.epoch > self.assignment_epoch {
            ConsumerGroupState::Assigning
        } else if self.members.values().all(|member| member.is_reconciled_to(self.assignment_epoch)) {
            ConsumerGroupState::Stable
        } else {
            ConsumerGroupState::Reconciling
        }
    }

    /// What the group is doing, by Kafka's name.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        self.state().name()
    }

    /// Whether it has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a member wants the topic.
    #[must_use]
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed_topics.contains_key(topic)
    }

    pub(crate) fn member(&self, id: &str) -> Option<&Arc<Member>> {
        self.members.get(id)
    }

    /// The member with that instance id.
    pub(crate) fn static_member(&self, instance: &str) -> Option<&Arc<Member>> {
        self.members.get(self.static_members.get(instance)?)
    }

    /// What a member shall have. A static member that came back shall have what its predecessor should.
    pub(crate) fn target_of(&self, member: &Member) -> Arc<TopicPartitions> {
        let id = match &member.instance_id {
            Some(instance) => self.static_members.get(instance),
            None => Some(&member.member_id),
        };
        id.and_then(|id| self.target.get(id)).cloned().unwrap_or_default()
    }

    /// The member epoch of whoever has the partition; `None` when it is free.
    pub(crate) fn partition_epoch(&self, topic: Uuid, partition: i32) -> Option<i32> {
        self.partition_epochs.get(&topic)?.get(&partition).copied()
    }

    /// How many members have the expression.
    pub(crate) fn regex_members(&self, regex: &str) -> usize {
        self.subscribed_regexes.get(regex).copied().unwrap_or(0)
    }

    /// The assignor most members ask for; of several with equally many the last by name, as Kafka's hash order has it.
    pub(crate) fn preferred_assignor(&self) -> Option<Text> {
        most_wanted(&self.server_assignors, None)
    }

    /// The same once `old` has become `new`. Of several with equally many, one that nobody had asked for before comes
    /// first: Kafka puts it in front.
    pub(crate) fn preferred_assignor_with(&self, old: &Member, new: &Member) -> Option<Text> {
        let mut counts = Arc::clone(&self.server_assignors);
        if let Some(name) = &old.server_assignor {
            decrement(&mut counts, name);
        }
        let newcomer = new.server_assignor.as_ref().filter(|name| !counts.contains_key(*name));
        if let Some(name) = &new.server_assignor {
            increment(&mut counts, name);
        }
        most_wanted(&counts, newcomer)
    }

    /// Whether a classic member with these protocols can be in the group together with the classic members it has
    /// (`supportsClassicProtocols`).
    pub(crate) fn supports_classic_protocols<'a>(
        &self,
        protocol_type: &str,
        mut names: impl Iterator<Item = &'a Text>,
    ) -> bool {
        let count = |name: &Text| self.classic_protocols.get(name).copied().unwrap_or(0);
        protocol_type == "consumer" && names.any(|name| self.is_empty() || count(name) == self.classic_member_count)
    }

    /// Whether a member waits for partitions that others have not given back (`waitingOnUnreleasedPartition`).
    pub(crate) fn is_waiting_for_others(&self, member: &Member) -> bool {
        let Some(target) = self.target.get(&member.member_id) else { return false };
        target.iter().any(|(topic, partitions)| {
            let mine = member.assigned.get(topic);
            partitions.iter().any(|partition| {
                !mine.is_some_and(|mine| mine.contains_key(partition))
                    && self.partition_epoch(*topic, *partition).is_some()
            })
        })
    }

    // Below: only for replaying records.

    /// Sets a member.
    pub(crate) fn update_member(&mut self, member: Member) {
        let old = self.members.insert(member.member_id.clone(), Arc::new(member.clone()));
        self.recount(old.as_deref(), Some(&member));
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), member.member_id.clone());
        }
    }

    /// Removes a member.
    pub(crate) fn remove_member(&mut self, id: &str) {
        let Some(old) = self.members.remove(id) else { return };
        self.recount(Some(&old), None);
        if let Some(instance) = &old.instance_id {
            self.static_members.remove(instance);
        }
    }

    /// Sets or removes the topics of an expression.
    pub(crate) fn update_resolved_regex(&mut self, regex: &Text, resolved: Option<ResolvedRegex>) {
        if let Some(old) = self.resolved_regexes.remove(regex) {
            remove_regex_topics(&mut self.subscribed_topics, &old);
        }
        if let Some(resolved) = resolved {
            add_regex_topics(&mut self.subscribed_topics, &resolved);
            self.resolved_regexes.insert(regex.clone(), Arc::new(resolved));
        }
    }

    fn recount(&mut self, old: Option<&Member>, new: Option<&Member>) {
        replace_names(&mut self.subscribed_topics, old, new);
        replace_regex(&mut self.subscribed_regexes, old, new);
        let assignor = |member: Option<&Member>| member.and_then(|member| member.server_assignor.clone());
        let (before, after) = (assignor(old), assignor(new));
        if before != after {
            before.iter().for_each(|name| decrement(&mut self.server_assignors, name));
            after.iter().for_each(|name| increment(&mut self.server_assignors, name));
        }
        let classic = |member: Option<&Member>| member.and_then(|member| member.classic.clone());
        let (before, after) = (classic(old), classic(new));
        if before != after {
            self.classic_member_count -= usize::from(before.is_some()).min(self.classic_member_count);
            self.classic_member_count += usize::from(after.is_some());
            let names = |metadata: &Arc<_>| -> Vec<Text> { protocol_names(metadata) };
            before.iter().flat_map(names).for_each(|name| decrement(&mut self.classic_protocols, &name));
            after.iter().flat_map(names).for_each(|name| increment(&mut self.classic_protocols, &name));
        }
        self.recount_partitions(old, new);
    }

    fn recount_partitions(&mut self, old: Option<&Member>, new: Option<&Member>) {
        let same = |old: &Member, new: &Member| {
            old.member_epoch == new.member_epoch
                && old.assigned == new.assigned
                && old.pending_revocation == new.pending_revocation
        };
        if let (Some(old), Some(new)) = (old, new)
            && same(old, new)
        {
            return;
        }
        if let Some(old) = old {
            self.release(&old.assigned, old.member_epoch);
            self.release(&old.pending_revocation, old.member_epoch);
        }
        if let Some(new) = new {
            self.take(&new.assigned, new.member_epoch);
            self.take(&new.pending_revocation, new.member_epoch);
        }
    }

    /// Partitions that are owned at another epoch have gone to someone else already and stay so.
    fn release(&mut self, epochs: &PartitionEpochs, epoch: i32) {
        for (topic, partitions) in epochs {
            let Some(present) = self.partition_epochs.get_mut(topic) else { continue };
            let present = Arc::make_mut(present);
            for partition in partitions.keys() {
                if present.get(partition) == Some(&epoch) {
                    present.remove(partition);
                }
            }
            if present.is_empty() {
                self.partition_epochs.remove(topic);
            }
        }
    }

    fn take(&mut self, epochs: &PartitionEpochs, epoch: i32) {
        for (topic, partitions) in epochs {
            if !self.partition_epochs.contains_key(topic) {
                self.partition_epochs.insert(*topic, Arc::default());
            }
            let Some(present) = self.partition_epochs.get_mut(topic) else { continue };
            let present = Arc::make_mut(present);
            present.extend(partitions.keys().map(|partition| (*partition, epoch)));
        }
    }
}

fn protocol_names(
    metadata: &Arc<milena_protocol::messages::consumer_group_member_metadata_value::ClassicMemberMetadata>,
) -> Vec<Text> {
    metadata.supported_protocols.iter().map(|protocol| protocol.name.clone()).collect()
}

fn most_wanted(counts: &BTreeMap<Text, usize>, newcomer: Option<&Text>) -> Option<Text> {
    let best = counts.iter().max_by_key(|(name, count)| (**count, Some(*name) == newcomer, *name));
    best.map(|(name, _)| name.clone())
}

fn increment(counts: &mut Arc<BTreeMap<Text, usize>>, key: &Text) {
    *Arc::make_mut(counts).entry(key.clone()).or_default() += 1;
}

fn decrement(counts: &mut Arc<BTreeMap<Text, usize>>, key: &Text) {
    let counts = Arc::make_mut(counts);
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Changes one count; a topic nobody wants is not kept.
fn recount_topic(topics: &mut SubscribedTopics, topic: &Text, change: impl FnOnce(&mut SubscriptionCount)) {
    let mut count = topics.get(topic).copied().unwrap_or_default();
    change(&mut count);
    if count == SubscriptionCount::default() {
        topics.remove(topic);
    } else {
        topics.insert(topic.clone(), count);
    }
}

/// Counts the names `new` has and `old` had not, and the reverse.
pub(crate) fn replace_names(topics: &mut SubscribedTopics, old: Option<&Member>, new: Option<&Member>) {
    let names = |member: Option<&Member>| member.map(|member| Arc::clone(&member.subscribed_topic_names));
    let (before, after) = (names(old), names(new));
    if before == after {
        return;
    }
    for name in before.iter().flat_map(|names| names.iter()) {
        recount_topic(topics, name, |count| count.by_name = count.by_name.saturating_sub(1));
    }
    for name in after.iter().flat_map(|names| names.iter()) {
        recount_topic(topics, name, |count| count.by_name += 1);
    }
}

/// Counts the expression of `new` instead of that of `old`.
pub(crate) fn replace_regex(counts: &mut Arc<BTreeMap<Text, usize>>, old: Option<&Member>, new: Option<&Member>) {
    let (before, after) = (old.and_then(Member::regex), new.and_then(Member::regex));
    if before != after {
        before.iter().for_each(|regex| decrement(counts, regex));
        after.iter().for_each(|regex| increment(counts, regex));
    }
}

pub(crate) fn add_regex_topics(topics: &mut SubscribedTopics, resolved: &ResolvedRegex) {
    for topic in resolved.topics.iter() {
        recount_topic(topics, topic, |count| count.by_regex += 1);
    }
}

pub(crate) fn remove_regex_topics(topics: &mut SubscribedTopics, resolved: &ResolvedRegex) {
    for topic in resolved.topics.iter() {
        recount_topic(topics, topic, |count| count.by_regex = count.by_regex.saturating_sub(1));
    }
}
