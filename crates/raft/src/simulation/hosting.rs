//! The host of a simulated member: performs its effects in order, answers requests, keeps one fetch under way, parks
//! fetches; what `broker/hosts` does with real files and sockets.

use bytes::Bytes;
use milena_types::{LeaderEpoch, Offset};

use super::disk::{Payload, Snapshot, fetched};
use super::message::{Body, Message, target};
use super::world::{Bug, Event, World};
use crate::effect::{Destination, Effect, FetchOut, Outbound};
use crate::identity::Endpoint;
use crate::quorum::Quorum;
use crate::replies::{FetchAnswer, PlainAnswer, VoteAnswer};
use crate::role::RoleName;

const REQUEST_TIMEOUT_MS: i64 = 2000;

impl World {
    /// Opens a member on what its disk holds.
    pub(super) fn start(&mut self, at: usize) {
        let (Some(config), planted, now) = (self.config(at), self.planted(), self.now) else {
            return;
        };
        let Some(node) = self.nodes.get_mut(at).filter(|node| node.quorum.is_none()) else {
            return;
        };
        let mut fx = Vec::new();
        let boot = node.disk.boot();
        node.committed = node.disk.snapshots.last().map_or(0, |snapshot| snapshot.id.offset.0);
        node.busy_until = now;
        node.fetch_in_flight = None;
        node.parked.clear();
        node.quorum = Some(Quorum::open_planted(config, boot, planted, node.local(now), &mut fx));
        self.settle(at, fx);
    }

    /// Something that happens to one member; a busy one does not see it yet.
    pub(super) fn member_event(&mut self, event: Event) {
        let at = match &event {
            Event::Deliver(message) => self.index_of(message.to),
            Event::Failed { node, .. }
            | Event::FetchTimeout { node, .. }
            | Event::Wake { node, .. }
            | Event::Resign { node, .. }
            | Event::Synced { node, .. }
            | Event::FollowerSynced { node, .. } => Some(*node),
            _ => None,
        };
        let Some(at) = at else { return };
        let Some(node) = self.nodes.get(at).filter(|node| node.quorum.is_some()) else {
            return;
        };
        if node.busy_until > self.now && !matches!(event, Event::FollowerSynced { .. }) {
            let later = node.busy_until;
            return self.schedule(later, event);
        }
        let (incarnation, generation) = (node.incarnation, node.wake_generation);
        match event {
            Event::Deliver(message) => self.deliver(at, message),
            Event::Wake { generation: of, .. } if of == generation => {
                self.with(at, |quorum, now, fx| quorum.tick(now, fx))
            }
            Event::Failed { incarnation: of, to, request, .. } if of == incarnation => {
                self.with(at, |quorum, now, _| quorum.on_send_failed(&to, &request, now));
            }
            Event::Resign { incarnation: of, .. } if of == incarnation => {
                self.with(at, |quorum, now, fx| quorum.resign(now, fx));
            }
            Event::FetchTimeout { incarnation: of, correlation, .. } if of == incarnation => {
                self.fetch_failed(at, correlation);
            }
            Event::Synced { incarnation: of, end, .. } if of == incarnation => {
                if let Some(node) = self.nodes.get_mut(at) {
                    node.disk.synced_end = node.disk.synced_end.max(end.min(node.disk.end()));
                }
                self.with(at, |quorum, now, fx| quorum.on_durable(Offset(end), now, fx));
            }
            Event::FollowerSynced { incarnation: of, base, entries, high_watermark, .. } if of == incarnation => {
                if let Some(node) = self.nodes.get_mut(at) {
                    node.disk.synced_end = node.disk.synced_end.max(node.disk.end());
                }
                let early = self.has(Bug::FollowerFetchesBeforeSync);
                self.with(at, |quorum, now, fx| {
                    if !early {
                        quorum.on_follower_append(&fetched(base, &entries), Offset(high_watermark), now, fx);
                    }
                });
            }
            _ => {}
        }
    }

    fn fetch_failed(&mut self, at: usize, correlation: u64) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(at) else { return };
        let failed = node.fetch_in_flight.take_if(|(in_flight, ..)| *in_flight == correlation);
        if let Some((_, to, request)) = failed {
            node.retry_fetch_at = now + 20;
            self.with(at, |quorum, now, _| quorum.on_send_failed(&to, &request, now));
        }
    }

    /// Lets the core do something and performs what it wants.
    pub(super) fn with(&mut self, at: usize, act: impl FnOnce(&mut Quorum, milena_types::Timestamp, &mut Vec<Effect>)) {
        let now = self.now;
        let mut fx = Vec::new();
        if let Some(node) = self.nodes.get_mut(at) {
            let local = node.local(now);
            if let Some(quorum) = &mut node.quorum {
                act(quorum, local, &mut fx);
            }
        }
        self.settle(at, fx);
    }

    /// Performs effects until none is left. Returns false if the member crashed meanwhile.
    pub(super) fn settle(&mut self, at: usize, mut fx: Vec<Effect>) -> bool {
        loop {
            if let Some(quorum) = self.nodes.get_mut(at).and_then(|node| node.quorum.as_mut()) {
                quorum.drain(&mut fx);
            }
            if fx.is_empty() {
                break;
            }
            for effect in std::mem::take(&mut fx) {
                let chance = self.settings.crash_at_effect_per_mille;
                if !self.healed && self.random.per_mille(chance) {
                    self.crash(at);
                    return false;
                }
                self.perform(at, effect, &mut fx);
            }
        }
        self.go_on(at);
        true
    }

    /// Sends the next fetch if it is time, and sets the alarm.
    fn go_on(&mut self, at: usize) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(at) else { return };
        let Some(quorum) = &node.quorum else { return };
        let mut wake = quorum.next_deadline().map(|deadline| node.global(deadline));
        let mut send = None;
        if node.fetch_in_flight.is_none()
            && node.busy_until <= now
            && let Some(fetch) = quorum.next_fetch()
        {
            if node.retry_fetch_at <= now {
                send = Some(fetch);
            } else {
                wake = Some(wake.map_or(node.retry_fetch_at, |wake| wake.min(node.retry_fetch_at)));
            }
        }
        node.wake_generation += 1;
        let generation = node.wake_generation;
        if let Some(wake) = wake {
            self.schedule(wake.max(now + 1), Event::Wake { node: at, generation });
        }
        if let Some(Effect::Send { to, request }) = send {
            self.send_request(at, &to, request);
        }
    }

    fn perform(&mut self, at: usize, effect: Effect, fx: &mut Vec<Effect>) {
        let latency = self.disk_latency();
        let now = self.now;
        let synced = !self.has(Bug::QuorumStateUnsynced);
        let Some(node) = self.nodes.get_mut(at) else { return };
        let incarnation = node.incarnation;
        if !matches!(effect, Effect::Send { .. } | Effect::WakeFetches) {
            self.tell(|| format!("n{at} {effect:?}"));
        }
        let Some(node) = self.nodes.get_mut(at) else { return };
        match effect {
            Effect::WriteQuorumState(state) => {
                node.disk.write_election(state.clone(), synced);
                let (own, elected) = (node.id, state.leader.map(|leader| leader.0));
                if state.voted.is_some() || elected == Some(own) {
                    self.strike(at, incarnation, elected == Some(own));
                }
            }
            Effect::Append(batches) => {
                let from = node.disk.end();
                batches.iter().for_each(|batch| node.disk.append_batch(batch));
                let end = node.disk.end();
                self.checker.on_append(&node.disk, from);
                self.schedule(now + latency, Event::Synced { node: at, incarnation, end });
            }
            Effect::Truncate(end) => {
                node.disk.truncate(end.0);
                self.checker.coverage.truncations += 1;
                self.checker.on_voters(node);
            }
            Effect::AppendFetched => self.append_fetched(at, latency, fx),
            Effect::Commit(end) => self.commit(at, end),
            Effect::LeaderChanged { leader, start_offset } => {
                node.heard.clear();
                if start_offset.is_some() {
                    self.checker.on_leader(node.id, leader.epoch, &node.disk);
                } else if node.quorum.as_ref().is_some_and(|quorum| quorum.role() == RoleName::Resigned) {
                    self.checker.coverage.resignations += 1;
                }
                self.note(u64::try_from(leader.epoch.0).unwrap_or(0));
            }
            Effect::WakeFetches => {
                let parked = std::mem::take(&mut node.parked);
                for fetch in parked {
                    self.answer_fetch(at, fetch, true, fx);
                }
            }
            Effect::Send { to, request } => self.send_request(at, &to, request),
            Effect::AnswerVoterChange { .. } => {}
        }
    }

    /// Strikes where it hurts: who has just voted or been elected crashes or resigns.
    fn strike(&mut self, at: usize, incarnation: u32, elected: bool) {
        let when = self.now + self.random.between(1, 12);
        if self.settings.crashes && self.random.per_mille(self.settings.strike_per_mille) {
            self.schedule(when, Event::Crash { node: at, incarnation });
        } else if elected && self.settings.resigns && self.random.per_mille(200) {
            self.schedule(when, Event::Resign { node: at, incarnation });
        }
    }

    fn commit(&mut self, at: usize, end: Offset) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        let from = std::mem::replace(&mut node.committed, end.0);
        let before = self.checker.committed_end();
        let epoch = epoch_of(node.quorum.as_ref());
        self.checker.on_commit((node.id, epoch), &node.disk, from, end.0);
        let Some(node) = self.nodes.get(at) else { return };
        if let Some(quorum) = node.quorum.as_ref().filter(|quorum| quorum.is_leader()) {
            let disks = self.nodes.iter().map(|other| (other.key, &other.disk));
            let lost = self.nodes.iter().filter_map(|other| other.former).find(|(_, synced)| *synced >= end.0);
            self.checker.on_leader_commit(&quorum.kraft().voters, end, (&node.disk, lost.map(|(key, _)| key)), disks);
        }
        let voters = |offset: &i64| {
            matches!(
                node.disk.get(*offset).map(|entry| &entry.payload),
                Some(Payload::Control(crate::accumulator::ControlRecord::KRaftVoters(_)))
            )
        };
        self.checker.coverage.voter_changes += (before.max(1)..end.0).filter(voters).count() as u64;
    }

    fn disk_latency(&mut self) -> i64 {
        if self.settings.slow_disks && !self.healed && self.random.per_mille(60) {
            return self.random.between(100, 4000);
        }
        self.random.between(0, 12)
    }

    pub(super) fn send_request(&mut self, at: usize, to: &Destination, request: Outbound) {
        let Some(from) = self.nodes.get(at).map(|node| node.id) else { return };
        let ids: Vec<i32> = self.nodes.iter().map(|node| node.id).filter(|id| *id != from).collect();
        let id = match target(to) {
            Some(id) => Some(id.0),
            None => self.random.pick(&ids),
        };
        let Some(id) = id else { return };
        self.next_correlation += 1;
        let correlation = self.next_correlation;
        let is_fetch = matches!(request, Outbound::Fetch(_) | Outbound::FetchSnapshot(_));
        let now = self.now;
        let Some(node) = self.nodes.get_mut(at) else { return };
        let incarnation = node.incarnation;
        if is_fetch {
            node.fetch_in_flight = Some((correlation, to.clone(), request.clone()));
            self.schedule(now + REQUEST_TIMEOUT_MS, Event::FetchTimeout { node: at, incarnation, correlation });
        }
        let message = Message { from, to: id, body: Body::Request { correlation, request: request.clone() } };
        if !self.transmit(message) && !is_fetch && self.random.per_mille(500) {
            let later = now + self.random.between(1, REQUEST_TIMEOUT_MS);
            self.schedule(later, Event::Failed { node: at, incarnation, to: to.clone(), request });
        }
    }

    /// Gives a message to the network; false if it is lost.
    pub(super) fn transmit(&mut self, message: Message) -> bool {
        let cut = self.cut.contains(&(message.from, message.to));
        if cut || (!self.healed && self.random.per_mille(self.settings.loss_per_mille)) {
            return false;
        }
        let copies = 1 + usize::from(!self.healed && self.random.per_mille(self.settings.double_per_mille));
        for _ in 0..copies {
            let slow = !self.healed && self.random.per_mille(self.settings.slow_per_mille);
            let longest = self.random.pick(&[400, 6000]).unwrap_or(400);
            let delay = if slow { self.random.between(30, longest) } else { self.random.between(1, 25) };
            self.schedule(self.now + delay, Event::Deliver(message.clone()));
        }
        true
    }

    fn deliver(&mut self, at: usize, message: Message) {
        let Message { from, body, .. } = message;
        self.tell(|| format!("n{from} -> n{at} {body:?}"));
        match body {
            Body::Request { correlation, request } => self.serve(at, from, correlation, request),
            Body::Vote { pre_vote, reply, endpoints } => {
                let answer = VoteAnswer { from: milena_types::BrokerId(from), pre_vote, reply, endpoints };
                self.with(at, |quorum, now, fx| quorum.on_vote_answer(&answer, now, fx));
            }
            Body::Plain { kind, error, news } => {
                let answer = PlainAnswer { from: milena_types::BrokerId(from), error, news };
                self.with(at, |quorum, now, fx| quorum.on_plain_answer(kind, &answer, now, fx));
            }
            Body::Fetch { correlation, asked, answer, endpoints, entries } => {
                self.on_fetch(at, correlation, &asked, answer, endpoints, entries);
            }
            Body::Snapshot { asked, error, news, snapshot } => {
                if let Some(node) = self.nodes.get_mut(at) {
                    node.fetch_in_flight = None;
                }
                let mut wanted = false;
                self.with(at, |quorum, now, fx| {
                    wanted = quorum.on_snapshot_answer(&asked, error, news, now, fx)
                        && quorum.wants_snapshot(asked.snapshot);
                });
                if let Some(snapshot) = snapshot.filter(|_| wanted) {
                    self.install(at, snapshot);
                }
            }
            Body::ApiVersions => {
                let from = milena_types::BrokerId(from);
                self.with(at, |quorum, now, fx| quorum.on_api_versions_answer(from, Ok(Some((0, 1))), now, fx));
            }
        }
    }

    fn install(&mut self, at: usize, snapshot: Snapshot) {
        let Some(node) = self.nodes.get_mut(at).filter(|node| node.quorum.is_some()) else {
            return;
        };
        self.checker.on_snapshot(node.id, snapshot.id);
        self.checker.coverage.snapshot_loads += 1;
        node.disk.load(snapshot.clone());
        self.with(at, |quorum, now, fx| quorum.on_snapshot_loaded(snapshot.id, snapshot.kraft, now, fx));
        self.nodes.get(at).into_iter().for_each(|node| self.checker.on_voters(node));
    }

    fn on_fetch(
        &mut self,
        at: usize,
        correlation: u64,
        asked: &FetchOut,
        answer: FetchAnswer,
        endpoints: Vec<Endpoint>,
        entries: Vec<super::disk::Entry>,
    ) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(at) else { return };
        let answered = node.fetch_in_flight.take_if(|(in_flight, ..)| *in_flight == correlation);
        if answered.is_some() && !answer.error.is_none() {
            node.retry_fetch_at = now + 20;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.fetched = Some((entries, answer.high_watermark.0));
        }
        self.with(at, |quorum, now, fx| quorum.on_fetch_answer(asked, &answer, endpoints, now, fx));
    }

    /// Writes what was fetched; the member does nothing else until it is synced.
    fn append_fetched(&mut self, at: usize, latency: i64, fx: &mut Vec<Effect>) {
        let (now, early) = (self.now, self.has(Bug::FollowerFetchesBeforeSync));
        let Some(node) = self.nodes.get_mut(at) else { return };
        let (Some((entries, high_watermark)), local) = (node.fetched.take(), node.local(now)) else {
            return;
        };
        let (base, incarnation) = (node.disk.end(), node.incarnation);
        node.disk.append(entries.iter().cloned());
        self.checker.on_append(&node.disk, base);
        if early && let Some(quorum) = &mut node.quorum {
            quorum.on_follower_append(&fetched(base, &entries), Offset(high_watermark), local, fx);
        } else {
            node.busy_until = now + latency + 1;
        }
        self.schedule(now + latency, Event::FollowerSynced { node: at, incarnation, base, entries, high_watermark });
    }

    /// A record of a client, if this member leads.
    pub(super) fn propose(&mut self, at: usize, count: usize) {
        let first = self.next_value;
        self.next_value += count as u64;
        let values = (first..self.next_value).map(|value| Bytes::copy_from_slice(&value.to_be_bytes())).collect();
        self.with(at, |quorum, now, _| {
            quorum.append(values, now).ok();
        });
    }
}

/// The epoch a member is in, 0 while it is down.
pub(super) fn epoch_of(quorum: Option<&Quorum>) -> LeaderEpoch {
    quorum.map_or(LeaderEpoch(0), Quorum::epoch)
}
