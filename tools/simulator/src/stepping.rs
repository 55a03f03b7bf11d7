//! A node takes its turn: what happened to it, then everything that follows, then what it wants of the world.

use std::sync::Arc;

use milena_broker::hosts::{Event as MetadataEvent, Job, RaftRequest, RaftResponse, raft_request};
use milena_protocol::Records;
use milena_raft::{Destination, Outbound};
use milena_replication::PartitionKey;
use milena_storage::FlushHandle;
use milena_storage::disk::SimulatedDisk;
use milena_types::Timestamp;

use crate::broker::{CLUSTER_ID, Note, Outbox, in_memory};
use crate::faults::End;
use crate::message::{Answer, Lane, Purpose, Request};
use crate::node::Process;
use crate::world::{Call, Event, World};

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
        let mut turned = process.metadata.turn().is_ok();
        let published = std::mem::take(&mut process.ear.told().published);
        if let Some(broker) = &mut process.broker {
            for (image, delta) in &published {
                turned = turned && broker.apply(image, delta, local, &mut out).is_ok();
            }
            if turned {
                broker.pump(local, &mut out);
            }
        }
        let life = node.life;
        for (image, _) in &published {
            if image.offset > self.newest.offset {
                self.count_changes(image);
                self.newest = Arc::clone(image);
            }
            let verdict = self.checkers.metadata.on_published(at, life, image);
            self.judge(verdict);
        }
        if !turned {
            self.tell(|| format!("n{at} its disk failed"));
            self.end(at, End::DiskFailed);
            return;
        }
        self.perform(at, out);
        self.look_at(at);
        self.set_alarm(at);
    }

    /// What a node wants of the world.
    fn perform(&mut self, at: usize, out: Outbox) {
        let Outbox { calls, answers, flushes, notes } = out;
        for note in notes {
            self.on_note(at, note);
        }
        let Some(process) = self.nodes.get(at).and_then(|node| node.process.as_ref()) else { return };
        let (sent, told, jobs) = {
            let mut told = process.ear.told();
            (std::mem::take(&mut told.sent), std::mem::take(&mut told.answers), std::mem::take(&mut told.jobs))
        };
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
        let Some(wire) = raft_request(&request, 0, CLUSTER_ID) else { return };
        let (lane, purpose) = match (&wire, &request) {
            (RaftRequest::FetchSnapshot(_), Outbound::FetchSnapshot(out)) => {
                let (id, so_far) = (out.snapshot, Vec::new());
                (Lane::RaftFetch, Purpose::Snapshot { id, request, so_far })
            }
            (RaftRequest::Fetch(_), _) => (Lane::RaftFetch, Purpose::Raft(request)),
            _ => (Lane::Raft, Purpose::Raft(request)),
        };
        self.call_place(at, target, lane, Request::Raft(wire), purpose);
    }

    /// An answer came to a node, or will not come.
    pub(crate) fn take_answer(&mut self, call: Call, answer: Option<Answer>) {
        let at = call.from;
        match (call.purpose, answer) {
            (Purpose::Raft(Outbound::Fetch(_)), answer) => {
                let response = match answer {
                    Some(Answer::Raft(response)) => match *response {
                        RaftResponse::Fetch(response) => Some(response),
                        _ => None,
                    },
                    _ => None,
                };
                self.step(at, |process, _, _| process.metadata.handle(MetadataEvent::FetchReply(response)));
            }
            (Purpose::Raft(request), answer) => self.take_raft(at, request, answer),
            (Purpose::Snapshot { id, request, so_far }, answer) => self.take_piece(at, (id, request, so_far), answer),
            (Purpose::RegisterController | Purpose::Client, _) => {}
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

    /// Votes and announcements: only quorums of several send them.
    fn take_raft(&mut self, _at: usize, _request: Outbound, _answer: Option<Answer>) {}

    fn take_piece(
        &mut self,
        at: usize,
        (id, request, mut so_far): (milena_raft::OffsetAndEpoch, Outbound, Vec<u8>),
        answer: Option<Answer>,
    ) {
        let piece = match answer {
            Some(Answer::Raft(response)) => match *response {
                RaftResponse::FetchSnapshot(response) => {
                    response.topics.into_iter().next().and_then(|topic| topic.partitions.into_iter().next())
                }
                _ => None,
            },
            _ => None,
        };
        let piece = piece.filter(|piece| piece.error_code == 0);
        let more = piece.and_then(|piece| match piece.unaligned_records {
            Records::Bytes(bytes) if !bytes.is_empty() => Some((bytes, piece.size)),
            _ => None,
        });
        let Some((bytes, size)) = more else {
            self.step(at, |process, _, _| process.metadata.handle(MetadataEvent::SnapshotReply(None)));
            return;
        };
        so_far.extend_from_slice(&bytes);
        let position = i64::try_from(so_far.len()).unwrap_or(i64::MAX);
        if position < size {
            let leader = self.nodes.get(at).and_then(|node| node.process.as_ref()?.ear.told().leader);
            let target = leader.and_then(|id| usize::try_from(id.0).ok());
            if let Some(wire) = raft_request(&request, position, CLUSTER_ID) {
                let purpose = Purpose::Snapshot { id, request, so_far };
                self.call_place(at, target, Lane::RaftFetch, Request::Raft(wire), purpose);
            }
            return;
        }
        self.coverage.count("snapshot loads");
        self.tell(|| format!("n{at} has downloaded the snapshot {id:?}"));
        let snapshot = Some((id, so_far.into()));
        self.step(at, |process, _, _| process.metadata.handle(MetadataEvent::SnapshotReply(snapshot)));
    }

    fn with_broker(&mut self, at: usize, act: impl FnOnce(&mut crate::broker::BrokerHost, Timestamp, &mut Outbox)) {
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
        let mut verdict = Ok(());
        if let Some(broker) = &mut process.broker {
            for replica in broker.replicas.values_mut() {
                verdict = verdict.and_then(|()| self.checkers.on_replica(at, replica));
            }
        }
        let quorum = process.metadata.quorum();
        let leads = quorum.is_leader().then(|| quorum.epoch().0);
        if let Some(epoch) = leads {
            match self.checkers.metadata.on_leader(at, epoch) {
                Ok(true) => self.coverage.count("controller elections"),
                Ok(false) => {}
                Err(what) => verdict = verdict.and(Err(what)),
            }
        }
        verdict = verdict
            .and_then(|()| self.checkers.candidates_are_complete(&self.newest, &self.nodes))
            .and_then(|()| self.checkers.leaders_wait_for_all(&self.newest, &self.nodes))
            .and_then(|()| self.checkers.somebody_has_everything(&self.newest, &self.nodes));
        self.judge(verdict);
    }
}

fn controller_answer(
    answer: Option<Answer>,
) -> Result<milena_broker::ControllerResponse, milena_types::ErrorCode> {
    match answer {
        Some(Answer::Controller(answer)) => answer.map(|answer| *answer),
        _ => Err(milena_types::ErrorCode::REQUEST_TIMED_OUT),
    }
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

