//! A member of the classic protocol: it joins, the leader assigns, all synchronize. Eager members give everything back
//! before they join again; cooperative ones keep what they have until they are told to give it back.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_protocol::Text;
use milena_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use milena_protocol::messages::leave_group_request::MemberIdentity;
use milena_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use milena_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest, SyncGroupResponse,
};
use milena_types::ErrorCode;

use crate::cluster::{Spot, Wish};
use crate::member::{Act, Desk, Lane, Profile, is_moved};
use crate::reader::{Identity, Reader};
use crate::shape::{HEARTBEAT_MS, SESSION_MS};
use crate::wire;

const LIMIT_MS: i64 = 4_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Out,
    Joining,
    Syncing,
    In,
}

#[derive(Debug)]
pub(crate) struct Classic {
    id: Text,
    generation: i32,
    phase: Phase,
    is_cooperative: bool,
    owned: BTreeSet<Spot>,
    beats_at: i64,
    joins_at: i64,
    /// When it sent what was last answered without an error.
    heard_at: i64,
    sent_at: i64,
    leaves: bool,
    /// As leader: the partitions it assigned, to notice when there are others.
    assigned: Option<(BTreeSet<Text>, BTreeSet<Spot>)>,
}

impl Classic {
    pub(crate) fn new(is_cooperative: bool) -> Classic {
        Classic {
            id: Text::default(),
            generation: -1,
            phase: Phase::Out,
            is_cooperative,
            owned: BTreeSet::new(),
            beats_at: 0,
            joins_at: 0,
            heard_at: 0,
            sent_at: 0,
            leaves: false,
            assigned: None,
        }
    }

    pub(crate) fn owned(&self) -> &BTreeSet<Spot> {
        &self.owned
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.phase == Phase::In
    }

    pub(crate) fn leave(&mut self) {
        self.leaves = true;
    }

    /// It wants other topics.
    pub(crate) fn resubscribed(&mut self) {
        if self.phase == Phase::In {
            self.phase = Phase::Out;
        }
    }

    pub(crate) fn disconnected(&mut self) {
        if self.phase != Phase::In {
            self.phase = Phase::Out;
        }
    }

    fn identity<'a>(&'a self, profile: &'a Profile) -> Identity<'a> {
        Identity {
            group: &profile.group,
            member: &self.id,
            instance: profile.instance.as_ref(),
            epoch: self.generation,
            is_classic: true,
        }
    }

    pub(crate) fn wake(&mut self, profile: &Profile, reader: &mut Reader, is_waiting: bool, desk: &mut Desk<'_>) {
        if self.phase == Phase::In || self.is_cooperative && self.generation >= 0 {
            reader.step(&self.identity(profile), desk);
        }
        if is_waiting {
            return;
        }
        if self.leaves {
            return self.send_leave(profile, reader, desk);
        }
        if self.phase == Phase::In && self.must_assign_anew(desk) {
            self.phase = Phase::Out;
        }
        match self.phase {
            Phase::Out if desk.now >= self.joins_at => self.send_join(profile, reader, desk),
            Phase::In if desk.now >= self.beats_at => {
                self.beats_at = desk.now + HEARTBEAT_MS;
                self.sent_at = desk.now;
                let request = HeartbeatRequest {
                    group_id: profile.group.clone(),
                    member_id: self.id.clone(),
                    group_instance_id: profile.instance.clone(),
                    generation_id: self.generation,
                    ..Default::default()
                };
                desk.send(Lane::Membership, GroupRequest::Heartbeat(request), LIMIT_MS);
            }
            _ => {}
        }
    }

    /// The leader looks whether its topics are as they were when it assigned them.
    fn must_assign_anew(&self, desk: &Desk<'_>) -> bool {
        let Some((topics, spots)) = &self.assigned else { return false };
        desk.cluster.wanted(&Wish::Names(topics.clone())) != *spots
    }

    fn send_leave(&mut self, profile: &Profile, reader: &mut Reader, desk: &mut Desk<'_>) {
        reader.commit(&self.identity(profile), desk);
        let member = MemberIdentity {
            member_id: self.id.clone(),
            group_instance_id: profile.instance.clone(),
            ..Default::default()
        };
        let request =
            LeaveGroupRequest { group_id: profile.group.clone(), members: vec![member], ..Default::default() };
        desk.send(Lane::Membership, GroupRequest::LeaveGroup(request), LIMIT_MS);
    }

    fn send_join(&mut self, profile: &Profile, reader: &mut Reader, desk: &mut Desk<'_>) {
        if !self.owned.is_empty() {
            reader.commit(&self.identity(profile), desk);
        }
        // A consumer group takes back whoever comes with an id it does not know, as Apache Kafka's does: a member that may
        // have been put out must not believe that it still has what it had.
        let patience_ms = i64::from(SESSION_MS.min(desk.rebalance_ms)) - desk.travel_ms;
        if !self.is_cooperative || desk.now - self.heard_at > patience_ms {
            self.owned.clear();
            reader.own(&self.owned);
        }
        self.sent_at = desk.now;
        let Wish::Names(topics) = &profile.wish else { return };
        let topics = topics.iter().cloned().collect();
        let metadata = wire::subscription(topics, &self.owned, self.generation, desk.cluster);
        let name = Text::from(if self.is_cooperative { "cooperative-sticky" } else { "range" });
        let request = JoinGroupRequest {
            group_id: profile.group.clone(),
            member_id: self.id.clone(),
            group_instance_id: profile.instance.clone(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: desk.rebalance_ms,
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol { name, metadata, ..Default::default() }],
            ..Default::default()
        };
        self.phase = Phase::Joining;
        let limit_ms = i64::from(desk.rebalance_ms) + LIMIT_MS;
        desk.send(Lane::Membership, GroupRequest::JoinGroup(Box::new(request)), limit_ms);
    }

    pub(crate) fn answered(&mut self, profile: &Profile, reader: &mut Reader, reply: &GroupReply, desk: &mut Desk<'_>) {
        match reply {
            GroupReply::JoinGroup(response) => self.joined(profile, reader, response, desk),
            GroupReply::SyncGroup(response) => self.synchronized(reader, response, desk),
            GroupReply::Heartbeat(response) => {
                if response.error_code == 0 {
                    self.heard_at = self.sent_at;
                }
                self.refused(response.error_code, reader, desk);
            }
            GroupReply::LeaveGroup(_) => desk.acts.push(Act::Dies(0)),
            _ => {}
        }
    }

    /// What an error tells a member to do.
    fn refused(&mut self, error: i16, reader: &mut Reader, desk: &mut Desk<'_>) {
        match ErrorCode(error) {
            ErrorCode::NONE => return,
            ErrorCode::REBALANCE_IN_PROGRESS => {}
            ErrorCode::UNKNOWN_MEMBER_ID => {
                self.id = Text::default();
                self.lose(reader);
            }
            ErrorCode::ILLEGAL_GENERATION => self.lose(reader),
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => {
                if self.phase == Phase::In {
                    return;
                }
            }
            error if is_moved(error.0) => {
                desk.acts.push(Act::Rediscover);
                if self.phase == Phase::In {
                    return;
                }
            }
            // What Java's consumer throws; the process is started again.
            _ => desk.acts.push(Act::Dies(error)),
        }
        self.phase = Phase::Out;
        self.joins_at = desk.now + desk.seed.between(0, 100);
    }

    fn lose(&mut self, reader: &mut Reader) {
        self.generation = -1;
        self.owned.clear();
        self.assigned = None;
        reader.own(&self.owned);
    }

    /// A commit was refused: whoever is no member has lost its partitions.
    pub(crate) fn commit_failed(&mut self, error: i16, reader: &mut Reader) {
        let error = ErrorCode(error);
        if self.phase != Phase::In {
            return;
        }
        if matches!(error, ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION) {
            if error == ErrorCode::UNKNOWN_MEMBER_ID {
                self.id = Text::default();
            }
            self.lose(reader);
            self.phase = Phase::Out;
        }
    }

    fn joined(&mut self, profile: &Profile, reader: &mut Reader, response: &JoinGroupResponse, desk: &mut Desk<'_>) {
        let error = ErrorCode(response.error_code);
        if error == ErrorCode::MEMBER_ID_REQUIRED {
            self.id = response.member_id.clone();
            return self.send_join(profile, reader, desk);
        }
        if error != ErrorCode::NONE {
            return self.refused(error.0, reader, desk);
        }
        self.id = response.member_id.clone();
        self.generation = response.generation_id;
        self.sent_at = desk.now;
        self.assigned = None;
        let is_leader = response.leader == response.member_id && !response.members.is_empty();
        let mut assignments = Vec::new();
        // A consumer group names no leader. If it becomes a classic one without a rebalance, as when its last consumer comes
        // back as a classic member, nobody leads it, neither here nor with Apache Kafka, and nobody would see new topics.
        if response.leader.is_empty()
            && let Wish::Names(topics) = &profile.wish
        {
            self.assigned = Some((topics.clone(), desk.cluster.wanted(&profile.wish)));
        }
        if is_leader {
            let (topics, shares) = assign(response, self.is_cooperative, desk);
            // A leader that came back does not know what it assigned, and finds that it has changed.
            self.assigned = Some((topics.clone(), BTreeSet::new()));
            if !response.skip_assignment {
                self.assigned = Some((topics.clone(), desk.cluster.wanted(&Wish::Names(topics))));
                let share = |(member_id, spots): (Text, BTreeSet<Spot>)| SyncGroupRequestAssignment {
                    member_id,
                    assignment: wire::assignment(&spots, desk.cluster),
                    ..Default::default()
                };
                assignments = shares.into_iter().map(share).collect();
            }
        }
        let request = SyncGroupRequest {
            group_id: profile.group.clone(),
            member_id: self.id.clone(),
            group_instance_id: profile.instance.clone(),
            generation_id: self.generation,
            protocol_type: Some("consumer".into()),
            protocol_name: response.protocol_name.clone(),
            assignments,
            ..Default::default()
        };
        self.phase = Phase::Syncing;
        let limit_ms = i64::from(desk.rebalance_ms) + LIMIT_MS;
        desk.send(Lane::Membership, GroupRequest::SyncGroup(Box::new(request)), limit_ms);
    }

    fn synchronized(&mut self, reader: &mut Reader, response: &SyncGroupResponse, desk: &mut Desk<'_>) {
        if response.error_code != 0 {
            return self.refused(response.error_code, reader, desk);
        }
        let told: BTreeSet<Spot> = read(&response.assignment, desk);
        let must_revoke = self.is_cooperative && !self.owned.is_subset(&told);
        self.heard_at = self.sent_at;
        self.owned = told;
        reader.own(&self.owned);
        desk.acts.push(Act::Owns(self.generation, self.owned.clone()));
        self.phase = if must_revoke { Phase::Out } else { Phase::In };
        self.beats_at = desk.now + HEARTBEAT_MS;
    }
}

fn read(assignment: &Bytes, desk: &Desk<'_>) -> BTreeSet<Spot> {
    wire::read_assignment(assignment, desk.cluster)
}

/// What the leader decides: shares as even as may be, members keep what they have. In a cooperative group nobody gets what
/// another still has.
fn assign(
    response: &JoinGroupResponse,
    is_cooperative: bool,
    desk: &Desk<'_>,
) -> (BTreeSet<Text>, BTreeMap<Text, BTreeSet<Spot>>) {
    let mut wishes: BTreeMap<Text, BTreeSet<Text>> = BTreeMap::new();
    // Of two that say to have a partition the one with the later generation is right.
    let mut owners: BTreeMap<Spot, (i32, Text)> = BTreeMap::new();
    for member in &response.members {
        let said = wire::read_subscription(&member.metadata);
        wishes.insert(member.member_id.clone(), said.topics.into_iter().collect());
        for topic in &said.owned_partitions {
            let Some(id) = desk.cluster.id_of(&topic.topic) else { continue };
            for number in &topic.partitions {
                let claim = (said.generation_id, member.member_id.clone());
                let owner = owners.entry((id, *number)).or_insert_with(|| claim.clone());
                if claim.0 > owner.0 {
                    *owner = claim;
                }
            }
        }
    }
    let mut shares: BTreeMap<Text, BTreeSet<Spot>> =
        wishes.keys().map(|member| (member.clone(), BTreeSet::new())).collect();
    let all: Vec<(Text, Spot)> = desk.cluster.spots().map(|(name, spot)| (name.clone(), spot)).collect();
    let quota = all.len().div_ceil(shares.len().max(1));
    let wants = |member: &Text, topic: &Text| wishes.get(member).is_some_and(|topics| topics.contains(topic));
    let mut free = Vec::new();
    for (topic, spot) in all {
        let owner = owners.get(&spot).map(|(_, member)| member).filter(|member| wants(member, &topic));
        match owner.and_then(|member| shares.get_mut(member)).filter(|share| share.len() < quota) {
            Some(share) => _ = share.insert(spot),
            None => free.push((topic, spot)),
        }
    }
    for (topic, spot) in free {
        let candidates = shares.iter().filter(|(member, _)| wants(member, &topic));
        let Some(least) = candidates.min_by_key(|(_, share)| share.len()).map(|(member, _)| member.clone()) else {
            continue;
        };
        let is_taken = owners.get(&spot).is_some_and(|(_, owner)| *owner != least);
        if !is_cooperative || !is_taken {
            shares.get_mut(&least).unwrap().insert(spot);
        }
    }
    (wishes.into_values().flatten().collect(), shares)
}
