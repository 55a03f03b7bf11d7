//! A node takes its turn: what happened to it, then everything that follows, then what it wants of the world.

use std::sync::Arc;

use milena_broker::hosts::{Job, PeerRequest, PeerResponse, RaftResponse, answer_event, snapshot_piece};
use milena_protocol::Records;
use milena_raft::{Destination, Outbound};
use milena_replication::PartitionKey;
use milena_storage::FlushHandle;
use milena_storage::disk::SimulatedDisk;
use milena_types::Timestamp;

use crate::broker::{BrokerHost, CLUSTER_ID, Note, Outbox, in_memory};
use crate::checkers::Checkers;
use crate::faults::End;
use crate::message::{Answer, Lane, Purpose, Request};
use crate::node::Process;
use crate::world::{Call, Event, World};

/// The name of the controllers' listener.
const LISTENER: &str = "CONTROLLER";
/// How long a node may sleep at most, milliseconds of its own.
const SLEEP_MAX_MS: i64 = 5000;

impl World {
    /// Lets a node act and performs what it wants; it ends if its disk fails.
    pub(crate) fn step(&mut self, at: usize, act: impl FnOnce(&mut Process, Timestamp, &mut Outbox)) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(at) else { return };
        let local = node.clock.at(now);
        let Some(process) = &mut node.process else { return };
        let mut out = Outbox::default();
        act(process, local, &mut out);
        let mut turned = process.metadata.turn().map_err(|error| error.to_string());
        let published = std::mem::take(&mut process.ear.told().published);
        let caught_up = process.ear.told().caught_up.take();
        // What the leader has committed is looked at before news tell it that it leads no more.
        let mut verdict = watch(&mut self.checkers, at, process);
        if let Some(broker) = &mut process.broker {
            for (image, delta) in &published {
                turned = turned.and_then(|()| {
                    let applied = broker.apply(image, delta, local, &mut out);
                    applied.map_err(|error| error.to_string())
                });
                verdict = verdict.and_then(|()| watch_broker(&mut self.checkers, at, broker));
            }
            if turned.is_ok() {
                caught_up.into_iter().for_each(|as_of| broker.lease.note_caught_up(as_of));
                broker.pump(local, &mut out);
            }
        }
        let life = node.life;
        self.judge(verdict);
        for (image, _) in &published {
            if image.offset > self.newest.offset {
                self.count_changes(image);
                let verdict = self.checkers.only_the_silent_are_fenced(&self.newest, image, &self.nodes, self.now);
                self.judge(verdict);
                self.look_at_leases();
                self.newest = Arc::clone(image);
                self.checkers.version += 1;
            }
            let verdict = self.checkers.metadata.on_published(at, life, image);
            self.judge(verdict);
        }
        if let Err(error) = turned {
            self.tell(|| format!("n{at} its disk failed: {error}"));
            self.end(at, End::DiskFailed);
            return;
        }
        self.perform(at, out);
        self.look_at(at);
        self.look_at_leases();
        self.set_alarm(at);
    }

    fn look_at_leases(&mut self) {
        let (checkers, now) = (&self.checkers, self.now);
        let verdict = self.nodes.iter().try_for_each(|node| checkers.the_fenced_hold_no_lease(node, now));
        self.judge(verdict);
    }

    /// What a node wants of the world.
    fn perform(&mut self, at: usize, out: Outbox) {
        let Outbox { calls, answers, flushes, notes } = out;
        for note in notes {
            self.on_note(at, note);
        }
        let Some(process) = self.nodes.get(at).and_then(|node| node.process.as_ref()) else { return };
        let (sent, probes, told, jobs) = {
            let mut told = process.ear.told();
            let (sent, probes) = (std::mem::take(&mut told.sent), std::mem::take(&mut told.probes));
            (sent, probes, std::mem::take(&mut told.answers), std::mem::take(&mut told.jobs))
        };
        for probe in &probes {
            self.probe(at, probe);
        }
        let life = self.life_at(at);
        for (to, request) in sent {
            self.send_raft(at, &to, request);
        }
        for (call, answer) in told {
            self.answer(at, call, loaded(answer));
        }
        for (to, lane, request, purpose) in calls {
            self.call(at, to, lane, request, purpose);
        }
        for (call, answer) in answers {
            self.answer(at, call, answer);
        }
        for (key, handle) in flushes {
            let takes = self.disk_latency();
            self.schedule(self.now + takes, Event::Flush { node: at, life, key, handle });
        }
        for job in jobs {
            let takes = self.random.between(0, 300);
            self.schedule(self.now + takes, Event::Job { node: at, life, job });
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.disk_delay = 0;
        }
    }

    fn disk_latency(&mut self) -> i64 {
        if !self.is_healing && self.draw.faults.slow_disks && self.random.per_mille(40) {
            return self.random.between(100, 3000);
        }
        self.random.between(0, 6)
    }

    fn send_raft(&mut self, at: usize, to: &Destination, request: Outbound) {
        let target = match to {
            Destination::Node { id, .. } => usize::try_from(id.0).ok(),
            Destination::AnyBootstrapServer => {
                let controllers: Vec<usize> =
                    self.nodes.iter().filter(|node| node.is_controller).map(|node| node.index).collect();
                self.random.pick(&controllers)
            }
        };
        let wire = PeerRequest::new(&request, 0, CLUSTER_ID);
        let from = crate::node::broker_id(target.unwrap_or(usize::MAX));
        let (lane, purpose) = match request {
            Outbound::FetchSnapshot(_) => (Lane::RaftFetch, Purpose::Snapshot { request, so_far: Vec::new() }),
            Outbound::Fetch(_) => (Lane::RaftFetch, Purpose::Raft { to: to.clone(), from, request }),
            _ => (Lane::Raft, Purpose::Raft { to: to.clone(), from, request }),
        };
        self.call_place(at, target, lane, Request::Peer(wire), purpose);
    }

    /// An answer came to a node, or will not come.
    pub(crate) fn take_answer(&mut self, call: Call, answer: Option<Answer>) {
        let at = call.from;
        match (call.purpose, answer) {
            (Purpose::Raft { to, from, request }, answer) => {
                let response = peer_response(answer);
                if let Some(event) = answer_event(&to, from, &request, response, LISTENER) {
                    self.step(at, |process, _, _| process.metadata.handle(event));
                }
            }
            (Purpose::Snapshot { request, so_far }, answer) => self.take_piece(at, (request, so_far), answer),
            (Purpose::Client, _) => {}
            (Purpose::Register, answer) => {
                let response = controller_answer(answer);
                self.with_broker(at, |broker, now, _| broker.on_registered(response, now));
            }
            (Purpose::Heartbeat, answer) => {
                let response = controller_answer(answer);
                self.with_broker(at, |broker, now, out| broker.on_heartbeat(response, now, out));
            }
            (Purpose::AlterPartition(changes), answer) => {
                let response = match controller_answer(answer) {
                    Ok(milena_broker::ControllerResponse::AlterPartition(response)) => Some(response),
                    _ => None,
                };
                self.with_broker(at, |broker, now, _| broker.on_altered(changes, response, now));
            }
            (Purpose::ReplicaFetch { leader, wanted }, answer) => {
                let reply = match answer {
                    Some(Answer::Fetch(reply)) => Some(reply),
                    _ => None,
                };
                self.with_broker(at, |broker, now, out| broker.on_fetched(leader, &wanted, reply, now, out));
            }
            (Purpose::Range { leader, key, asked }, answer) => {
                let range = match answer {
                    Some(Answer::Range(range)) => range.ok(),
                    _ => None,
                };
                self.with_broker(at, |broker, now, out| broker.on_range(leader, key, &asked, range, now, out));
            }
        }
    }

    fn take_piece(&mut self, at: usize, (request, mut so_far): (Outbound, Vec<u8>), answer: Option<Answer>) {
        let Outbound::FetchSnapshot(asked) = request else { return };
        let answered = match answer {
            Some(Answer::Raft(response)) => snapshot_piece(&request, *response, LISTENER),
            _ => None,
        };
        let (head, piece) = answered.map_or((None, None), |(head, piece)| (Some(head), piece));
        if let Some(head) = head {
            self.step(at, |process, _, _| process.metadata.handle(head));
        }
        let whole = match piece {
            Some((bytes, size)) if !bytes.is_empty() => {
                so_far.extend_from_slice(&bytes);
                let position = i64::try_from(so_far.len()).unwrap_or(i64::MAX);
                if position < size {
                    let leader = self.nodes.get(at).and_then(|node| node.process.as_ref()?.ear.told().leader);
                    let target = leader.and_then(|id| usize::try_from(id.0).ok());
                    let wire = PeerRequest::new(&request, position, CLUSTER_ID);
                    let purpose = Purpose::Snapshot { request, so_far };
                    self.call_place(at, target, Lane::RaftFetch, Request::Peer(wire), purpose);
                    return;
                }
                self.coverage.count("snapshot loads");
                self.tell(|| format!("n{at} has downloaded the snapshot {:?}", asked.snapshot));
                Some(so_far.into())
            }
            _ => None,
        };
        let event = milena_broker::hosts::Event::SnapshotReply { asked, bytes: whole };
        self.step(at, |process, _, _| process.metadata.handle(event));
    }

    fn with_broker(&mut self, at: usize, act: impl FnOnce(&mut BrokerHost, Timestamp, &mut Outbox)) {
        self.step(at, |process, now, out| {
            if let Some(broker) = &mut process.broker {
                act(broker, now, out);
            }
        });
    }

    pub(crate) fn finish_job(&mut self, at: usize, life: u32, job: Job) {
        if self.life_at(at) == life && self.nodes.get(at).is_some_and(|node| node.process.is_some()) {
            let event = job();
            self.step(at, |process, _, _| process.metadata.handle(event));
        }
    }

    pub(crate) fn flush(&mut self, at: usize, life: u32, key: PartitionKey, handle: &FlushHandle<SimulatedDisk>) {
        if self.life_at(at) == life && self.nodes.get(at).is_some_and(|node| node.process.is_some()) {
            let outcome = handle.run();
            self.with_broker(at, |broker, now, out| broker.on_flushed(key, outcome, now, out));
        }
    }

    /// When the node acts by itself next.
    pub(crate) fn set_alarm(&mut self, at: usize) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(at) else { return };
        let local = node.clock.at(now);
        let Some(process) = &node.process else { return };
        let until = i64::try_from(process.metadata.until_next_deadline().as_millis()).unwrap_or(SLEEP_MAX_MS);
        let broker = process.broker.as_ref().map_or(SLEEP_MAX_MS, |broker| broker.next_deadline().0 - local.0);
        let sleep = until.min(broker).clamp(1, SLEEP_MAX_MS);
        node.wake_generation += 1;
        let (generation, wake) = (node.wake_generation, now + node.clock.world_time(sleep));
        self.schedule(wake, Event::Wake { node: at, generation });
    }

    fn on_note(&mut self, at: usize, note: Note) {
        match note {
            Note::Appended { key, base, entries } => {
                let promised = self.is_promised(at, key);
                if promised {
                    let verdict = self.checkers.on_appended(at, key, base, &entries);
                    self.judge(verdict);
                }
            }
            Note::Truncated { key, from, to, high_watermark } => {
                self.tell(|| format!("n{at} cuts {}-{} from {from} to {to}", key.0, key.1));
                if to < from {
                    self.coverage.count("truncations");
                }
                let replica = self.nodes.get(at).and_then(|node| node.broker()?.replicas.get(&key));
                if let Some(replica) = replica {
                    let verdict = self.checkers.on_truncated(at, replica, to, high_watermark);
                    self.judge(verdict);
                }
            }
            Note::BeganToLead { key, epoch } => {
                self.tell(|| format!("n{at} leads {}-{} in {epoch}", key.0, key.1));
            }
            Note::Acknowledged { key, first, values } => {
                self.coverage.count("acknowledged batches");
                if self.is_promised(at, key) {
                    self.look_at(at);
                    let verdict = self.checkers.on_acknowledged(at, key, first.0, &values);
                    self.judge(verdict);
                }
            }
            Note::Recovered { bytes_cut } => {
                self.coverage.count("recovered logs");
                if bytes_cut > 0 {
                    self.coverage.count("torn tails");
                }
            }
            Note::LogFailed => self.end(at, End::DiskFailed),
            Note::Unfenced => self.coverage.count("unfenced brokers"),
            Note::MayLeave => self.end(at, End::Clean),
        }
    }

    fn is_promised(&self, at: usize, key: PartitionKey) -> bool {
        let replica = self.nodes.get(at).and_then(|node| node.broker()?.replicas.get(&key));
        replica.is_some_and(crate::broker::Replica::is_promised)
    }

    /// The checkers look at what a node has become.
    pub(crate) fn look_at(&mut self, at: usize) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        let Some(process) = &mut node.process else { return };
        let mut verdict = watch(&mut self.checkers, at, process);
        let quorum = process.metadata.quorum();
        let leads = quorum.is_leader().then(|| quorum.epoch().0);
        let set_at = quorum.kraft().voters_offset.filter(|at| quorum.high_watermark().is_some_and(|end| end > *at));
        if let Some(at) = set_at.filter(|at| leads.is_some() && *at > self.voters_offset) {
            // The first time they are only written down.
            self.coverage.add("voter changes", u64::from(self.voters_offset.0 >= 0));
            self.voters_offset = at;
        }
        if let Some(epoch) = leads {
            match self.checkers.metadata.on_leader(at, epoch) {
                Ok(true) => self.coverage.count("controller elections"),
                Ok(false) => {}
                Err(what) => verdict = verdict.and(Err(what)),
            }
        }
        if self.checkers.version == self.checkers.compared {
            return self.judge(verdict);
        }
        self.checkers.compared = self.checkers.version;
        verdict = verdict
            .and_then(|()| self.checkers.candidates_are_complete(&self.newest, &self.nodes))
            .and_then(|()| self.checkers.leaders_wait_for_all(&self.newest, &self.nodes))
            .and_then(|()| self.checkers.somebody_has_everything(&self.newest, &self.nodes));
        self.judge(verdict);
    }
}

fn controller_answer(answer: Option<Answer>) -> Result<milena_broker::ControllerResponse, milena_types::ErrorCode> {
    match answer {
        Some(Answer::Controller(answer)) => answer.map(|answer| *answer),
        _ => Err(milena_types::ErrorCode::REQUEST_TIMED_OUT),
    }
}

fn peer_response(answer: Option<Answer>) -> Option<PeerResponse> {
    match answer? {
        Answer::Raft(response) => Some(PeerResponse::Raft(*response)),
        Answer::Controller(response) => response.ok().map(|response| PeerResponse::Controller(*response)),
        Answer::ApiVersions(least, most) => Some(PeerResponse::ApiVersions(least, most)),
        _ => None,
    }
}

/// The checkers look at the replicas of a process.
fn watch(checkers: &mut Checkers, at: usize, process: &mut Process) -> Result<(), String> {
    process.broker.as_mut().map_or(Ok(()), |broker| watch_broker(checkers, at, broker))
}

fn watch_broker(checkers: &mut Checkers, at: usize, broker: &mut BrokerHost) -> Result<(), String> {
    broker.replicas.values_mut().try_for_each(|replica| checkers.on_replica(at, replica))
}

/// Pieces of files are read when they are sent.
fn loaded(answer: Answer) -> Answer {
    let Answer::Raft(mut response) = answer else { return answer };
    match &mut *response {
        RaftResponse::Fetch(fetch) => {
            for data in fetch.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
                if let Some(records) = &mut data.records {
                    *records = Records::Bytes(in_memory(records).unwrap_or_default());
                }
            }
        }
        RaftResponse::FetchSnapshot(fetch) => {
            for data in fetch.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                data.unaligned_records = Records::Bytes(in_memory(&data.unaligned_records).unwrap_or_default());
            }
        }
        _ => {}
    }
    Answer::Raft(response)
}
