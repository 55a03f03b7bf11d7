//! `ClassicGroup`: a classic group as it lives between two records: who has joined, who waits for what, what was agreed.
//! Kafka: `ClassicGroup`, `ClassicGroupMember`, `ClassicGroupState`.

use super::member::{Member, Protocol};
use super::record::ClassicRecord;
use crate::group::error::Refusal;
use crate::group::java;
use milena_protocol::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use milena_protocol::messages::join_group_response::JoinGroupResponseMember;
use milena_protocol::{Message, Reader, Text};
use milena_types::{ErrorCode, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The protocol type of consumers.
pub(crate) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// Where a group is between two assignments. A group that is gone (Kafka's `Dead`) is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClassicState {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl ClassicState {
    /// As clients are told.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// One classic group.
#[derive(Clone, Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) id: Text,
    state: ClassicState,
    previous_state: Option<ClassicState>,
    pub(crate) state_timestamp: Option<Timestamp>,
    pub(crate) protocol_type: Option<Text>,
    pub(crate) protocol: Option<Text>,
    pub(crate) generation: i32,
    pub(crate) leader: Option<Text>,
    members: BTreeMap<Text, Member>,
    /// Members with an instance id, by that id.
    static_members: BTreeMap<Text, Text>,
    /// Members that were given an id and have to come again with it.
    pending_join: BTreeSet<Text>,
    pending_sync: BTreeSet<Text>,
    /// How many members can do each protocol.
    supported: BTreeMap<Text, usize>,
    /// `None` while nobody can say, as when members are no consumers.
    pub(crate) subscribed_topics: Option<BTreeSet<Text>>,
    /// A member came while the first rebalance waits for more.
    pub(crate) new_member_added: bool,
    /// While the first rebalance waits: how long this time, and how long at most after it, in milliseconds.
    pub(crate) initial_delay: Option<(i32, i32)>,
}

impl ClassicGroup {
    /// A group without members.
    pub(crate) fn new(id: Text, now: Timestamp) -> ClassicGroup {
        ClassicGroup {
            id,
            state: ClassicState::Empty,
            previous_state: None,
            state_timestamp: Some(now),
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            supported: BTreeMap::new(),
            subscribed_topics: None,
            new_member_added: false,
            initial_delay: None,
        }
    }

    /// The group as its record has it: stable, or empty.
    pub(crate) fn from_record(id: Text, record: &ClassicRecord) -> ClassicGroup {
        let value = record.value();
        let mut group = ClassicGroup::new(id, Timestamp(value.current_state_timestamp));
        group.state = if value.members.is_empty() { ClassicState::Empty } else { ClassicState::Stable };
        group.state_timestamp =
            (value.current_state_timestamp != -1).then_some(Timestamp(value.current_state_timestamp));
        group.generation = value.generation;
        group.protocol_type = (!value.protocol_type.is_empty()).then(|| value.protocol_type.clone());
        group.protocol.clone_from(&value.protocol);
        group.leader.clone_from(&value.leader);
        for member in &value.members {
            group.add(Member::from_record(member, value));
        }
        group.subscribed_topics = group.compute_subscribed_topics();
        group
    }

    pub(crate) fn state(&self) -> ClassicState {
        self.state
    }

    pub(crate) fn is_in(&self, state: ClassicState) -> bool {
        self.state == state
    }

    /// Whether the first rebalance of an empty group is on its way.
    pub(crate) fn is_initial_rebalance(&self) -> bool {
        self.state == ClassicState::PreparingRebalance && self.previous_state == Some(ClassicState::Empty)
    }

    pub(crate) fn transition_to(&mut self, state: ClassicState, now: Timestamp) {
        self.previous_state = Some(self.state);
        self.state = state;
        self.state_timestamp = Some(now);
    }

    pub(crate) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    pub(crate) fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id)
    }

    pub(crate) fn member_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.members.get_mut(id)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(crate) fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut()
    }

    pub(crate) fn member_ids(&self) -> Vec<Text> {
        self.members.keys().cloned().collect()
    }

    pub(crate) fn member_count(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn static_member(&self, instance_id: &str) -> Option<&Text> {
        self.static_members.get(instance_id)
    }

    pub(crate) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// The leader as answers carry it.
    pub(crate) fn leader_or_empty(&self) -> Text {
        self.leader.clone().unwrap_or_default()
    }

    pub(crate) fn is_pending(&self, member: &str) -> bool {
        self.pending_join.contains(member)
    }

    pub(crate) fn add_pending(&mut self, member: Text) {
        self.pending_join.insert(member);
    }

    pub(crate) fn awaiting_join_count(&self) -> usize {
        self.members.values().filter(|member| member.awaiting_join.is_some()).count()
    }

    /// Whether nobody is missing who could still join.
    pub(crate) fn has_all_members_joined(&self) -> bool {
        self.pending_join.is_empty() && self.members.values().all(|member| member.awaiting_join.is_some())
    }

    pub(crate) fn add_pending_sync(&mut self, member: Text) {
        self.pending_sync.insert(member);
    }

    pub(crate) fn remove_pending_sync(&mut self, member: &str) {
        self.pending_sync.remove(member);
    }

    pub(crate) fn clear_pending_sync(&mut self) {
        self.pending_sync.clear();
    }

    pub(crate) fn pending_sync(&self) -> &BTreeSet<Text> {
        &self.pending_sync
    }

    /// The longest of the members' times to join again.
    pub(crate) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    /// Adds a member; the first one is the leader and says what the group is about.
    pub(crate) fn add(&mut self, member: Member) {
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), member.id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(member.protocol_type.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.count(&member.protocols, true);
        self.pending_join.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    /// Removes a member, whatever it is so far.
    pub(crate) fn remove(&mut self, id: &str) {
        if let Some(member) = self.members.remove(id) {
            self.count(&member.protocols, false);
            if let Some(instance) = &member.instance_id {
                self.static_members.remove(instance);
            }
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_join.remove(id);
        self.pending_sync.remove(id);
    }

    /// A member said anew what it can do.
    pub(crate) fn update_member(&mut self, id: &str, protocols: Vec<Protocol>, rebalance_ms: i32, session_ms: i32) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.rebalance_timeout_ms = rebalance_ms;
        member.session_timeout_ms = session_ms;
        let before = std::mem::replace(&mut member.protocols, protocols.clone());
        self.count(&before, false);
        self.count(&protocols, true);
    }

    /// A static member is known under another id from now on. The old one, with what it waited for, is given back.
    pub(crate) fn replace_static(&mut self, instance: &Text, old: &str, new: &Text) -> Option<Member> {
        let before = self.members.remove(old)?;
        let mut member = before.clone();
        member.id = new.clone();
        member.awaiting_join = None;
        member.awaiting_sync = None;
        member.is_new = false;
        self.members.insert(new.clone(), member);
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        self.static_members.insert(instance.clone(), new.clone());
        Some(before)
    }

    /// Whether the leader has joined, or another member that has is made leader.
    pub(crate) fn elect_joined_leader(&mut self) -> bool {
        let Some(leader) = &self.leader else { return false };
        if self.members.get(leader).is_some_and(|member| member.awaiting_join.is_some()) {
            return true;
        }
        let joined = self.members.values().find(|member| member.awaiting_join.is_some());
        let Some(joined) = joined.map(|member| member.id.clone()) else { return false };
        self.leader = Some(joined);
        true
    }

    /// Counts the next generation, with the protocol its members agree on; without members the group is empty.
    pub(crate) fn init_next_generation(&mut self, now: Timestamp) {
        self.generation += 1;
        self.protocol = self.select_protocol();
        self.subscribed_topics = self.compute_subscribed_topics();
        let next = if self.members.is_empty() { ClassicState::Empty } else { ClassicState::CompletingRebalance };
        self.transition_to(next, now);
        self.pending_sync.clear();
    }

    /// Whether a member with these protocols fits in.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.is_in(ClassicState::Empty) {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| self.is_supported_by_all(&protocol.name))
    }

    fn is_supported_by_all(&self, protocol: &Text) -> bool {
        self.supported.get(protocol).copied().unwrap_or(0) == self.members.len()
    }

    /// The protocol most members prefer of those all can do; between equals Kafka's hash table decides.
    pub(crate) fn select_protocol(&self) -> Option<Text> {
        let mut votes: BTreeMap<&Text, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().find(|protocol| self.is_supported_by_all(&protocol.name));
            if let Some(vote) = vote {
                *votes.entry(&vote.name).or_default() += 1;
            }
        }
        let slots = java::table_size(votes.len());
        votes
            .into_iter()
            .min_by_key(|(name, count)| (usize::MAX - count, java::table_slot(name, slots)))
            .map(|(name, _)| name.clone())
    }

    /// Which topics the members want, if they are consumers and say it in a form that is known.
    pub(crate) fn compute_subscribed_topics(&self) -> Option<BTreeSet<Text>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_ref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let mut reader = Reader::new(member.metadata(protocol));
            reader.read_i16().ok()?;
            topics.extend(ConsumerProtocolSubscription::decode(&mut reader, 0).ok()?.topics);
        }
        Some(topics)
    }

    pub(crate) fn is_subscribed_to(&self, topic: &Text) -> bool {
        self.subscribed_topics.as_ref().map_or_else(|| self.uses_consumer_protocol(), |topics| topics.contains(topic))
    }

    /// What the leader is told to assign for.
    pub(crate) fn members_for_leader(&self) -> Vec<JoinGroupResponseMember> {
        let metadata = |member: &Member| self.protocol.as_ref().map(|protocol| member.metadata(protocol));
        self.members
            .values()
            .map(|member| JoinGroupResponseMember {
                member_id: member.id.clone(),
                group_instance_id: member.instance_id.clone(),
                metadata: metadata(member).unwrap_or_default(),
                ..Default::default()
            })
            .collect()
    }

    /// Whether a request comes from a member (`ClassicGroup.validateMember`).
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`.
    pub(crate) fn validate_member(&self, member: &str, instance: Option<&Text>) -> Result<(), Refusal> {
        if let Some(instance) = instance {
            match self.static_member(instance) {
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID.into()),
                Some(known) if **known != *member => return Err(ErrorCode::FENCED_INSTANCE_ID.into()),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID.into()) }
    }

    fn count(&mut self, protocols: &[Protocol], more: bool) {
        for protocol in protocols {
            let count = self.supported.entry(protocol.name.clone()).or_default();
            *count = if more { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.supported.remove(&protocol.name);
            }
        }
    }
}
