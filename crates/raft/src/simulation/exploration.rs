//! Exhaustive exploration, breadth first: every order of deliveries, losses, timeouts, syncs, crashes and appends that a
//! small cluster can go through within bounds, each state once. Time is not part of a state: whatever waits for a deadline
//! may see it at any moment.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use bytes::Bytes;
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Timestamp};

use super::disk::{Disk, Entry, Payload, fetched};
use super::message::endpoint;
use super::wire::{FetchReply, Wire, handle, key, news, said, to_wire};
use crate::effect::{Destination, Effect, FetchOut};
use crate::identity::{LeaderAndEpoch, OffsetAndEpoch};
use crate::planted::{Plant, Planted};
use crate::quorum::{Quorum, QuorumConfig};
use crate::replies::{FetchAnswer, FetchAsk, FetchVerdict};
use crate::role::Role;
use crate::voters::{KRaftState, Voter, VoterSet};

const VOTERS: i32 = 3;

/// How far an exploration goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) states: usize,
    pub(super) epochs: i32,
    pub(super) records: u8,
    pub(super) crashes: u8,
    pub(super) timeouts: u8,
    /// Messages under way at once; more are lost.
    pub(super) messages: usize,
    pub(super) plant: Option<Plant>,
}

#[derive(Clone, Debug)]
struct Member {
    disk: Disk,
    quorum: Quorum,
    committed: i64,
    unsynced: bool,
}

/// One state of the cluster.
#[derive(Clone, Debug)]
struct State {
    members: Vec<Rc<Member>>,
    network: BTreeSet<Wire>,
    crashes: u8,
    records: u8,
    timeouts: u8,
    /// By epoch, as far as anybody led; and what was committed, with the epoch it was committed in.
    leaders: BTreeMap<i32, i32>,
    committed: Vec<(i32, u64, i32)>,
}

/// One thing that may happen next.
#[derive(Clone, Debug)]
enum Step {
    Deliver(Wire),
    Timeout(usize),
    Fetch(usize),
    Sync(usize),
    Append(usize),
    Crash(usize),
}

fn number(payload: &Payload) -> u64 {
    match payload {
        Payload::Control(_) => 0,
        Payload::Data(value) => *value,
    }
}

impl State {
    fn first(bounds: Bounds) -> State {
        let voter =
            |id| Voter { key: key(id), endpoints: vec![endpoint(id)], kraft_version_min: 0, kraft_version_max: 0 };
        let voters = VoterSet::new((0..VOTERS).map(voter).collect());
        let kraft = KRaftState { kraft_version: 0, voters, voters_offset: None };
        let mut state = State {
            members: Vec::new(),
            network: BTreeSet::new(),
            crashes: 0,
            records: 0,
            timeouts: 0,
            leaders: BTreeMap::new(),
            committed: Vec::new(),
        };
        for id in 0..VOTERS {
            let mut disk = Disk::formatted(kraft.clone());
            let quorum = open(id, &mut disk, bounds, &mut Vec::new());
            state.members.push(Rc::new(Member { disk, quorum, committed: 0, unsynced: false }));
        }
        state
    }

    /// Everything that decides what may happen next, and nothing of time.
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for member in &self.members {
            member.disk.hash(&mut hasher);
            (member.committed, member.unsynced).hash(&mut hasher);
            member.quorum.hash_state(&mut hasher);
        }
        (&self.network, self.crashes, self.records, self.timeouts, &self.leaders, &self.committed).hash(&mut hasher);
        hasher.finish()
    }

    fn steps(&self, bounds: Bounds) -> Vec<Step> {
        let mut steps: Vec<Step> = self.network.iter().cloned().map(Step::Deliver).collect();
        for (at, member) in self.members.iter().enumerate() {
            let may_go_on = member.quorum.epoch().0 < bounds.epochs || member.quorum.is_leader();
            if self.timeouts < bounds.timeouts && may_go_on {
                steps.push(Step::Timeout(at));
            }
            if matches!(member.quorum.next_fetch(), Some(Effect::Send { to: Destination::Node { .. }, .. })) {
                steps.push(Step::Fetch(at));
            }
            if member.unsynced {
                steps.push(Step::Sync(at));
            }
            if member.quorum.is_leader() && self.records < bounds.records {
                steps.push(Step::Append(at));
            }
            if self.crashes < bounds.crashes {
                steps.push(Step::Crash(at));
            }
        }
        steps
    }

    fn take(&self, step: &Step, bounds: Bounds) -> State {
        let mut next = self.clone();
        match step {
            Step::Deliver(wire) => {
                next.network.remove(wire);
                next.deliver(wire.clone(), bounds);
            }
            Step::Timeout(at) => {
                next.timeouts += 1;
                next.act(*at, bounds, |quorum, fx| {
                    if let Some(deadline) = quorum.next_deadline() {
                        quorum.tick(deadline, fx);
                    }
                });
            }
            Step::Fetch(at) => {
                let fetch = next.members.get(*at).and_then(|member| member.quorum.next_fetch());
                next.act(*at, bounds, |_, fx| fx.extend(fetch));
            }
            Step::Sync(at) => {
                let mut end = 0;
                if let Some(member) = next.members.get_mut(*at).map(Rc::make_mut) {
                    end = member.disk.end();
                    member.disk.synced_end = end;
                    member.unsynced = false;
                }
                next.act(*at, bounds, |quorum, fx| quorum.on_durable(Offset(end), Timestamp(0), fx));
            }
            Step::Append(at) => {
                next.records += 1;
                let value = Bytes::copy_from_slice(&u64::from(next.records).to_be_bytes());
                next.act(*at, bounds, |quorum, fx| {
                    quorum.append(vec![value], Timestamp(0)).ok();
                    quorum.drain(fx);
                });
            }
            Step::Crash(at) => next.crash(*at, bounds),
        }
        next
    }

    /// All that was not synced is lost, and the member is back at once.
    fn crash(&mut self, at: usize, bounds: Bounds) {
        self.crashes += 1;
        let mut fx = Vec::new();
        if let Some(member) = self.members.get_mut(at).map(Rc::make_mut) {
            let synced = member.disk.synced_end;
            member.disk.truncate(synced);
            let id = i32::try_from(at).unwrap_or(0);
            member.quorum = open(id, &mut member.disk, bounds, &mut fx);
            (member.committed, member.unsynced) = (0, false);
        }
        self.perform(at, fx, bounds);
    }

    fn act(&mut self, at: usize, bounds: Bounds, act: impl FnOnce(&mut Quorum, &mut Vec<Effect>)) {
        let mut fx = Vec::new();
        if let Some(member) = self.members.get_mut(at).map(Rc::make_mut) {
            act(&mut member.quorum, &mut fx);
        }
        self.perform(at, fx, bounds);
    }

    fn send(&mut self, wire: Wire, bounds: Bounds) {
        if self.network.len() < bounds.messages {
            self.network.insert(wire);
        }
    }

    fn perform(&mut self, at: usize, mut fx: Vec<Effect>, bounds: Bounds) {
        let from = i32::try_from(at).unwrap_or(0);
        while !fx.is_empty() {
            for effect in std::mem::take(&mut fx) {
                let Some(member) = self.members.get_mut(at).map(Rc::make_mut) else { return };
                match effect {
                    Effect::WriteQuorumState(state) => member.disk.write_election(state, true),
                    Effect::Append(batches) => {
                        batches.iter().for_each(|batch| member.disk.append_batch(batch));
                        member.unsynced = true;
                    }
                    Effect::Truncate(end) => member.disk.truncate(end.0),
                    Effect::Commit(end) => self.commit(at, end.0),
                    Effect::LeaderChanged { leader, start_offset: Some(_) } => self.lead(at, leader.epoch),
                    Effect::Send { to: Destination::Node { id, .. }, request } => {
                        if let Some(wire) = to_wire(from, id.0, &request) {
                            self.send(wire, bounds);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn lead(&mut self, at: usize, epoch: LeaderEpoch) {
        let id = i32::try_from(at).unwrap_or(0);
        let first = *self.leaders.entry(epoch.0).or_insert(id);
        assert_eq!(first, id, "two leaders in epoch {epoch}");
        let Some(member) = self.members.get(at) else { return };
        for ((in_epoch, value, by), offset) in self.committed.iter().zip(0..) {
            let here = member.disk.get(offset).map(|entry| (entry.epoch.0, number(&entry.payload)));
            assert!(
                *by >= epoch.0 || here == Some((*in_epoch, *value)),
                "a leader lacks what is committed at {offset}"
            );
        }
    }

    fn commit(&mut self, at: usize, end: i64) {
        let Some(member) = self.members.get_mut(at).map(Rc::make_mut) else { return };
        assert!(end >= member.committed && end <= member.disk.end(), "a high watermark goes back or past the end");
        let epoch = member.quorum.epoch().0;
        for offset in member.committed..end {
            let Some(entry) = member.disk.get(offset) else { continue };
            let seen = (entry.epoch.0, number(&entry.payload));
            match usize::try_from(offset).ok().and_then(|offset| self.committed.get(offset)) {
                Some((in_epoch, value, _)) => {
                    assert_eq!((*in_epoch, *value), seen, "two records committed at {offset}")
                }
                None => self.committed.push((seen.0, seen.1, epoch)),
            }
        }
        member.committed = end;
    }

    fn deliver(&mut self, wire: Wire, bounds: Bounds) {
        let to = match &wire {
            Wire::Vote { to, .. }
            | Wire::VoteReply { to, .. }
            | Wire::Begin { to, .. }
            | Wire::End { to, .. }
            | Wire::EndReply { to, .. }
            | Wire::Fetch { to, .. }
            | Wire::FetchReply { to, .. } => *to,
        };
        let at = usize::try_from(to).unwrap_or(0);
        match wire {
            Wire::FetchReply { asked, reply, .. } => self.take_fetched(at, asked, &reply, bounds),
            Wire::Fetch { from, epoch, at: place, .. } => self.serve_fetch(at, from, epoch, place, bounds),
            other => {
                let mut answer = None;
                self.act(at, bounds, |quorum, fx| answer = handle(quorum, other, fx));
                answer.into_iter().for_each(|wire| self.send(wire, bounds));
            }
        }
    }

    fn serve_fetch(&mut self, at: usize, from: i32, epoch: i32, place: OffsetAndEpoch, bounds: Bounds) {
        let ask = FetchAsk { replica: key(from), epoch: LeaderEpoch(epoch), from: place, high_watermark: Offset::NONE };
        let mut verdict = FetchVerdict::Error(ErrorCode::NONE);
        self.act(at, bounds, |quorum, fx| verdict = quorum.handle_fetch(&ask, Timestamp(0), fx));
        let Some(member) = self.members.get(at) else { return };
        let (leader, leader_epoch) = said(&member.quorum);
        let high_watermark = member.quorum.high_watermark().unwrap_or(Offset::NONE).0;
        let mut reply =
            FetchReply { error: 0, leader, epoch: leader_epoch, high_watermark, diverging: None, entries: Vec::new() };
        match verdict {
            FetchVerdict::Error(error) => reply.error = error.0,
            FetchVerdict::Diverging(to) => reply.diverging = Some(to),
            FetchVerdict::Snapshot(_) => return,
            FetchVerdict::Read { end, .. } => {
                let entries = member.disk.read(place.offset.0, end.0);
                reply.entries = entries.iter().map(|entry| (entry.epoch.0, number(&entry.payload))).collect();
            }
        }
        self.send(Wire::FetchReply { to: from, asked: (epoch, place), reply }, bounds);
    }

    fn take_fetched(&mut self, at: usize, asked: (i32, OffsetAndEpoch), reply: &FetchReply, bounds: Bounds) {
        let id = i32::try_from(at).unwrap_or(0);
        let asked = FetchOut {
            replica: key(id),
            epoch: LeaderEpoch(asked.0),
            from: asked.1,
            high_watermark: Offset::NONE,
            max_wait_ms: 0,
            sent: Timestamp::NONE,
        };
        let leader = LeaderAndEpoch { leader: reply.leader.map(BrokerId), epoch: LeaderEpoch(reply.epoch) };
        let answer = FetchAnswer {
            error: ErrorCode(reply.error),
            leader,
            high_watermark: Offset(reply.high_watermark),
            diverging: reply.diverging,
            snapshot: None,
            has_records: !reply.entries.is_empty(),
        };
        let entry = |(epoch, value): &(i32, u64)| Entry { epoch: LeaderEpoch(*epoch), payload: Payload::Data(*value) };
        let entries: Vec<Entry> = reply.entries.iter().map(entry).collect();
        let mut rest = Vec::new();
        let Some(member) = self.members.get_mut(at).map(Rc::make_mut) else { return };
        let mut fx = Vec::new();
        member.quorum.on_fetch_answer(&asked, &answer, news(leader).endpoints, Timestamp(0), &mut fx);
        if fx.contains(&Effect::AppendFetched) {
            let base = member.disk.end();
            member.disk.append(entries.iter().cloned());
            member.disk.synced_end = member.disk.end();
            let brought = fetched(base, &entries);
            member.quorum.on_follower_append(&brought, answer.high_watermark, Timestamp(0), &mut rest);
        }
        fx.append(&mut rest);
        self.perform(at, fx, bounds);
    }
}

fn open(id: i32, disk: &mut Disk, bounds: Bounds, fx: &mut Vec<Effect>) -> Quorum {
    let mut config = QuorumConfig::new(key(id), true, 1);
    // Without randomness: time is not explored, only what it brings about.
    config.seed = 0;
    Quorum::open_planted(config, disk.boot(), Planted { plant: bounds.plant }, Timestamp(0), fx)
}

impl Quorum {
    /// What this member is, without its clocks.
    fn hash_state(&self, hasher: &mut impl Hasher) {
        (self.role(), self.leader_and_epoch().leader, self.election_state(), self.log()).hash(hasher);
        self.high_watermark().hash(hasher);
        match self.role_for_test() {
            Role::Prospective { election, .. } | Role::Candidate { election } => {
                for (id, ballot) in &election.ballots {
                    (id, ballot.granted).hash(hasher);
                }
            }
            Role::Leader(state) => {
                for (id, progress) in &state.voters {
                    (id, progress.end_offset).hash(hasher);
                }
            }
            Role::Follower(following) => following.has_fetched.hash(hasher),
            Role::Resigned(resigned) => resigned.unacknowledged.keys().for_each(|id| id.hash(hasher)),
            Role::Unattached { .. } => {}
        }
    }
}

/// Visits states until none is new or there are enough; returns how many there were and whether that was all.
pub(super) fn explore(bounds: Bounds) -> (usize, bool) {
    let first = State::first(bounds);
    let mut seen = HashSet::from([first.digest()]);
    let mut waiting = VecDeque::from([first]);
    while let Some(state) = waiting.pop_front() {
        for step in state.steps(bounds) {
            let next = state.take(&step, bounds);
            if seen.insert(next.digest()) {
                if seen.len() >= bounds.states {
                    return (seen.len(), false);
                }
                waiting.push_back(next);
            }
        }
    }
    (seen.len(), true)
}
