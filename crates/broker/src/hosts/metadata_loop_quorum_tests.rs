//! Three controllers and more on simulated disks, their requests carried by the test as the wire's messages: who leads,
//! what is answered, what becomes of it when controllers are killed or cut off.

use std::collections::BTreeSet;
use std::sync::Mutex;

use milena_protocol::Records;
use milena_protocol::messages::{AddRaftVoterRequest, RemoveRaftVoterRequest, add_raft_voter_request};
use milena_raft::{Destination, Endpoint, Outbound, PlainRequest, ReplicaKey, Voter, VoterSet};
use milena_storage::disk::SimulatedDisk;
use milena_types::{ErrorCode, Uuid};

use super::test_node::{Node, creation, heartbeat, node_of, parts, registration};
use super::*;
use crate::clock::ManualTime;
use crate::controller_handle::{ControllerDone, ControllerRequest, ControllerResponse};
use crate::hosts::raft_requests::RaftRequest;
use crate::hosts::raft_wire;

type Outbox = Arc<Mutex<Vec<(Destination, Outbound)>>>;
type Answer = Arc<Mutex<Option<Result<ControllerResponse, ErrorCode>>>>;

/// A request on its way, and its answer when there is one.
struct Exchange {
    from: usize,
    to: usize,
    destination: Destination,
    request: Outbound,
    response: Arc<Mutex<Option<RaftResponse>>>,
    decision: Answer,
}

/// Controllers 1, 2, 3, ... at places 0, 1, 2, ...
struct Cluster {
    time: Arc<ManualTime>,
    disks: Vec<SimulatedDisk>,
    nodes: Vec<Option<Node>>,
    kraft: KRaftState,
    under_way: Vec<Exchange>,
    cut: BTreeSet<usize>,
    sent: Vec<Outbox>,
    broker_epoch: Option<i64>,
    random: u64,
}

struct Recording(Outbox);

impl RaftSender for Recording {
    fn send(&mut self, to: Destination, request: Outbound) {
        self.0.lock().unwrap().push((to, request));
    }
}

fn key(at: usize) -> ReplicaKey {
    ReplicaKey { id: BrokerId(at as i32 + 1), directory_id: Uuid([at as u8 + 1; 16]) }
}

fn endpoint(at: usize) -> Endpoint {
    Endpoint { listener: "CONTROLLER".to_owned(), host: format!("host{at}"), port: 9093 }
}

impl Cluster {
    fn new(seed: u64, kraft_version: i16, voters: usize, all: usize) -> Cluster {
        let voter = |at| {
            let directory_id = if kraft_version == 0 { Uuid::ZERO } else { key(at).directory_id };
            let key = ReplicaKey { directory_id, ..key(at) };
            Voter { key, endpoints: vec![endpoint(at)], kraft_version_min: 0, kraft_version_max: 1 }
        };
        let voters = VoterSet::new((0..voters).map(voter).collect());
        let mut cluster = Cluster {
            time: ManualTime::new(Timestamp(1_700_000_000_000)),
            disks: (0..all as u64).map(|at| SimulatedDisk::new(seed * 10 + at)).collect(),
            nodes: (0..all).map(|_| None).collect(),
            kraft: KRaftState { kraft_version, voters, voters_offset: None },
            under_way: Vec::new(),
            cut: BTreeSet::new(),
            sent: (0..all).map(|_| Arc::default()).collect(),
            broker_epoch: None,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        };
        (0..all).for_each(|at| cluster.start(at));
        cluster
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound
    }

    fn start(&mut self, at: usize) {
        let id = at as i32 + 1;
        let seed = self.below(u64::MAX);
        let mut parts = parts(&self.disks[at], id, &self.time).unwrap();
        let mut template = test_node::parts(&SimulatedDisk::new(1), 1, &self.time).unwrap();
        parts.controller =
            template.controller.take().map(|settings| ControllerSettings { node_id: BrokerId(id), ..settings });
        parts.quorum.seed = seed | 1;
        parts.quorum.local = key(at);
        parts.quorum.can_vote = true;
        parts.quorum.endpoints = vec![endpoint(at)];
        parts.kraft = self.kraft.clone();
        parts.own_broker = None;
        self.sent[at] = Arc::default();
        let mut node = node_of(parts, &self.time).unwrap();
        // What was sent while it was opened is lost.
        node.state.sender = Box::new(Recording(Arc::clone(&self.sent[at])));
        self.nodes[at] = Some(node);
    }

    fn kill(&mut self, at: usize, power_cut: bool) {
        self.nodes[at] = None;
        self.under_way.retain(|exchange| exchange.from != at && exchange.to != at);
        if power_cut {
            self.disks[at] = self.disks[at].cut_power();
        }
    }

    fn node(&mut self, at: usize) -> &mut Node {
        self.nodes[at].as_mut().expect("it runs")
    }

    /// Carries requests and answers until there are no more.
    fn carry(&mut self) {
        for _ in 0..200 {
            for node in self.nodes.iter_mut().flatten() {
                node.state.turn().unwrap();
                node.do_what_was_begun();
            }
            let mut is_quiet = true;
            for from in 0..self.nodes.len() {
                let sent: Vec<_> = self.sent[from].lock().unwrap().drain(..).collect();
                is_quiet &= sent.is_empty();
                sent.into_iter().for_each(|(to, request)| self.deliver(from, to, request));
            }
            is_quiet &= !self.answer();
            if is_quiet {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn pass(&mut self, millis: u64) {
        for step in 0..millis / 20 {
            self.time.pass(Duration::from_millis(20));
            if step % 50 == 0 {
                self.beat();
            }
            self.carry();
        }
    }

    /// The broker is there.
    fn beat(&mut self) {
        if let (Some(broker_epoch), Some(leader)) = (self.broker_epoch, self.leader()) {
            let offset = self.node(leader).image().offset.0;
            let request = ControllerRequest::BrokerHeartbeat(heartbeat(1, broker_epoch, offset));
            self.node(leader).state.handle(Event::Request { request, done: Box::new(drop) });
        }
    }

    fn reachable(&self, from: usize, to: usize) -> bool {
        self.nodes[to].is_some() && !self.cut.contains(&from) && !self.cut.contains(&to)
    }

    fn deliver(&mut self, from: usize, destination: Destination, request: Outbound) {
        let to = match &destination {
            Destination::Node { id, .. } => id.0 as usize - 1,
            Destination::AnyBootstrapServer => {
                let step = 1 + self.below(self.nodes.len() as u64 - 1) as usize;
                (from + step) % self.nodes.len()
            }
        };
        if !self.reachable(from, to) {
            // Nobody answers: found out at the next step at the earliest, as an answer would be.
            return self.fail(from, destination, request);
        }
        let exchange = Exchange {
            from,
            to,
            destination,
            request: request.clone(),
            response: Arc::default(),
            decision: Arc::default(),
        };
        let slot = Arc::clone(&exchange.response);
        let done = Box::new(move |response| *slot.lock().unwrap() = Some(response));
        let slot = Arc::clone(&exchange.decision);
        let decided: ControllerDone = Box::new(move |answer| *slot.lock().unwrap() = Some(answer));
        let raft = |request| Event::Raft { request, listener: "CONTROLLER".to_owned(), done };
        let event = match &request {
            Outbound::Fetch(out) => raft(RaftRequest::Fetch(raft_wire::fetch_request(out, "cluster", 1 << 20))),
            Outbound::FetchSnapshot(out) => {
                raft(RaftRequest::FetchSnapshot(raft_wire::snapshot_request(out, 0, "cluster", 1 << 20)))
            }
            Outbound::Vote(out) => raft(RaftRequest::Vote(raft_wire::vote_request(out, "cluster"))),
            Outbound::BeginQuorumEpoch { voter, leader, epoch, endpoints } => {
                let leader = LeaderAndEpoch { leader: Some(*leader), epoch: *epoch };
                let request = raft_wire::begin_epoch_request(*voter, leader, endpoints, "cluster");
                raft(RaftRequest::BeginQuorumEpoch(request))
            }
            Outbound::EndQuorumEpoch { leader, epoch, preferred, endpoints } => {
                let leader = LeaderAndEpoch { leader: Some(*leader), epoch: *epoch };
                let request = raft_wire::end_epoch_request(leader, preferred, endpoints, "cluster");
                raft(RaftRequest::EndQuorumEpoch(request))
            }
            Outbound::UpdateRaftVoter { voter, epoch } => {
                raft(RaftRequest::UpdateRaftVoter(raft_wire::update_voter_request(voter, *epoch, "cluster")))
            }
            Outbound::AddRaftVoter { voter } => {
                let request = ControllerRequest::AddRaftVoter(raft_wire::add_voter_request(voter, "cluster", 2000));
                Event::Request { request, done: decided }
            }
            Outbound::RemoveRaftVoter { voter } => {
                let request = ControllerRequest::RemoveRaftVoter(raft_wire::remove_voter_request(*voter, "cluster"));
                Event::Request { request, done: decided }
            }
            Outbound::ApiVersions { .. } => {
                let answer = PeerAnswer::KRaftVersions(key(to).id, Ok(Some((0, 1))));
                let event = Event::Answer { to: exchange.destination, request, answer };
                self.node(from).state.handle(event);
                return;
            }
        };
        self.node(to).state.handle(event);
        self.under_way.push(exchange);
    }

    fn fail(&mut self, from: usize, to: Destination, request: Outbound) {
        let event = match request {
            Outbound::Fetch(asked) => Event::FetchReply { asked, response: None },
            Outbound::FetchSnapshot(asked) => Event::SnapshotReply { asked, bytes: None },
            request => Event::SendFailed { to, request },
        };
        self.node(from).state.handle(event);
    }

    /// Carries answers back; those of members cut off meanwhile are lost.
    fn answer(&mut self) -> bool {
        let mut any = false;
        for exchange in std::mem::take(&mut self.under_way) {
            let response = exchange.response.lock().unwrap().take();
            let decision = exchange.decision.lock().unwrap().take();
            if response.is_none() && decision.is_none() {
                self.under_way.push(exchange);
                continue;
            }
            any = true;
            let Exchange { from, to, destination, request, .. } = exchange;
            if !self.reachable(from, to) {
                self.fail(from, destination, request);
                continue;
            }
            let events = match (response, decision) {
                (Some(response), _) => events(to, destination, request, response),
                (None, Some(decision)) => {
                    let error = match decision {
                        Ok(ControllerResponse::AddRaftVoter(response)) => response.error_code,
                        Ok(ControllerResponse::RemoveRaftVoter(response)) => response.error_code,
                        other => panic!("{other:?}"),
                    };
                    let answer = PeerAnswer::VoterChange(ErrorCode(error), None);
                    vec![Event::Answer { to: destination, request, answer }]
                }
                (None, None) => vec![],
            };
            for event in events {
                self.node(from).state.handle(event);
            }
        }
        any
    }

    /// The one that is the active controller and knows of no newer one.
    fn leader(&self) -> Option<usize> {
        let active = |at: &usize| self.nodes[*at].as_ref().is_some_and(|node| node.state.controller.is_some());
        (0..self.nodes.len())
            .filter(active)
            .max_by_key(|at| self.nodes[*at].as_ref().map(|node| node.state.quorum.epoch()))
    }

    fn await_leader(&mut self) -> usize {
        for _ in 0..200 {
            if let Some(at) = self.leader().filter(|at| !self.cut.contains(at)) {
                return at;
            }
            self.pass(100);
        }
        panic!("nobody leads within 20 s");
    }

    fn ask(&mut self, at: usize, request: ControllerRequest) -> Answer {
        let answer = Answer::default();
        let slot = Arc::clone(&answer);
        let done: ControllerDone = Box::new(move |result| *slot.lock().unwrap() = Some(result));
        self.node(at).state.handle(Event::Request { request, done });
        self.carry();
        answer
    }

    /// A broker that topics can be put on.
    fn join(&mut self, at: usize) {
        let answer = self.ask(at, ControllerRequest::BrokerRegistration(registration(1, 1)));
        let Some(Ok(ControllerResponse::BrokerRegistration(registered))) = answer.lock().unwrap().take() else {
            panic!("not answered")
        };
        self.broker_epoch = Some(registered.broker_epoch);
        let offset = self.node(at).image().offset.0;
        let beat = heartbeat(1, registered.broker_epoch, offset);
        let answer = self.ask(at, ControllerRequest::BrokerHeartbeat(beat));
        assert!(matches!(answer.lock().unwrap().take(), Some(Ok(_))));
    }

    fn create(&mut self, at: usize, name: &str) -> Answer {
        self.ask(at, ControllerRequest::CreateTopics(creation(name)))
    }

    fn names(&self, at: usize) -> Vec<String> {
        let mut names = self.nodes[at].as_ref().expect("it runs").topic_names();
        names.sort();
        names
    }
}

fn created(answer: &Answer) -> Option<Result<i16, ErrorCode>> {
    answer.lock().unwrap().as_ref().map(|answer| match answer {
        Ok(ControllerResponse::CreateTopics(response)) => Ok(response.topics[0].error_code),
        Err(error) => Err(*error),
        Ok(other) => panic!("{other:?}"),
    })
}

/// What the network makes of an answer.
fn events(from: usize, to: Destination, request: Outbound, response: RaftResponse) -> Vec<Event> {
    let (id, listener) = (key(from).id, "CONTROLLER");
    let plain = |kind, answer| PeerAnswer::Plain(kind, answer);
    let answer = match (&request, response) {
        (Outbound::Fetch(asked), RaftResponse::Fetch(mut response)) => {
            for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
                partition.records = partition.records.take().map(in_memory);
            }
            return vec![Event::FetchReply { asked: *asked, response: Some(response) }];
        }
        (Outbound::FetchSnapshot(asked), RaftResponse::FetchSnapshot(response)) => {
            let (error, news) = raft_wire::snapshot_answer(&response, listener);
            let piece = response.topics.into_iter().next().and_then(|mut topic| topic.partitions.pop());
            let bytes = piece.filter(|_| error.is_none()).map(|piece| match in_memory(piece.unaligned_records) {
                Records::Bytes(bytes) => bytes,
                Records::File(_) => unreachable!(),
            });
            return vec![
                Event::SnapshotPiece { asked: *asked, error, news },
                Event::SnapshotReply { asked: *asked, bytes },
            ];
        }
        (Outbound::Vote(out), RaftResponse::Vote(response)) => {
            PeerAnswer::Vote(raft_wire::vote_answer(id, out.pre_vote, response, listener))
        }
        (_, RaftResponse::BeginQuorumEpoch(response)) => {
            plain(PlainRequest::BeginQuorumEpoch, raft_wire::begin_epoch_answer(id, response, listener))
        }
        (_, RaftResponse::EndQuorumEpoch(response)) => {
            plain(PlainRequest::EndQuorumEpoch, raft_wire::end_epoch_answer(id, response, listener))
        }
        (_, RaftResponse::UpdateRaftVoter(response)) => {
            plain(PlainRequest::UpdateRaftVoter, raft_wire::update_voter_answer(id, response, listener))
        }
        other => panic!("{other:?}"),
    };
    vec![Event::Answer { to, request, answer }]
}

fn in_memory(records: Records) -> Records {
    let Records::File(slice) = records else { return records };
    let mut bytes = vec![0; slice.len as usize];
    slice.source.read_exact_at(&mut bytes, slice.position).unwrap();
    Records::Bytes(bytes.into())
}

#[test]
fn three_elect_one_and_an_answer_is_known_to_all() {
    for kraft_version in [0, 1] {
        let mut cluster = Cluster::new(1, kraft_version, 3, 3);
        let leader = cluster.await_leader();
        cluster.join(leader);
        let answer = cluster.create(leader, "orders");
        cluster.pass(40);
        assert_eq!(created(&answer), Some(Ok(0)));
        for at in 0..3 {
            assert_eq!(cluster.names(at), ["orders"], "node {at}");
        }
        let other = (leader + 1) % 3;
        let answer = cluster.create(other, "elsewhere");
        assert_eq!(created(&answer), Some(Err(ErrorCode::NOT_CONTROLLER)), "a follower sends who asks on");
    }
}

#[test]
fn what_was_answered_outlives_its_leader_which_comes_back_as_a_follower() {
    let mut cluster = Cluster::new(2, 1, 3, 3);
    let first = cluster.await_leader();
    cluster.join(first);
    assert_eq!(created(&cluster.create(first, "before")), Some(Ok(0)));
    cluster.kill(first, true);
    let second = cluster.await_leader();
    assert_ne!(first, second);
    let answer = cluster.create(second, "after");
    cluster.pass(40);
    assert_eq!(created(&answer), Some(Ok(0)));
    cluster.start(first);
    cluster.pass(3000);
    assert_eq!(cluster.leader(), Some(second), "who comes back does not disturb");
    assert_eq!(cluster.names(first), ["after", "before"]);
}

#[test]
fn a_leader_that_is_cut_off_gives_up_and_what_it_had_not_committed_is_gone() {
    let mut cluster = Cluster::new(3, 1, 3, 3);
    let first = cluster.await_leader();
    cluster.join(first);
    cluster.cut.insert(first);
    let answer = cluster.create(first, "lost");
    assert_eq!(created(&answer), None, "there is no majority");
    cluster.pass(4000);
    assert_eq!(created(&answer), Some(Err(ErrorCode::NOT_CONTROLLER)));
    let second = cluster.await_leader();
    assert_eq!(created(&cluster.create(second, "kept")), Some(Ok(0)));
    cluster.cut.clear();
    cluster.pass(4000);
    for at in 0..3 {
        assert_eq!(cluster.names(at), ["kept"], "node {at}");
    }
}

#[test]
fn a_leader_that_stops_tells_the_others_and_they_do_not_wait_for_a_timeout() {
    let mut cluster = Cluster::new(4, 1, 3, 3);
    let first = cluster.await_leader();
    let told = Arc::new(Mutex::new(false));
    let slot = Arc::clone(&told);
    let done = Box::new(move || *slot.lock().unwrap() = true);
    cluster.node(first).state.handle(Event::Resign { done });
    cluster.carry();
    assert!(*told.lock().unwrap());
    cluster.kill(first, false);
    cluster.pass(100);
    assert!(cluster.leader().is_some_and(|leader| leader != first));
}

#[test]
fn voters_are_added_and_removed_at_run_time() {
    let mut cluster = Cluster::new(5, 1, 3, 4);
    let leader = cluster.await_leader();
    cluster.join(leader);
    cluster.pass(1000);
    let listener = |at: usize| add_raft_voter_request::Listener {
        name: "CONTROLLER".into(),
        host: endpoint(at).host.into(),
        port: 9093,
        ..Default::default()
    };
    let add = AddRaftVoterRequest {
        cluster_id: None,
        voter_id: 4,
        voter_directory_id: key(3).directory_id,
        listeners: vec![listener(3)],
        ..Default::default()
    };
    let answer = cluster.ask(leader, ControllerRequest::AddRaftVoter(add.clone()));
    cluster.pass(100);
    let answer = answer.lock().unwrap().take();
    assert!(matches!(&answer, Some(Ok(ControllerResponse::AddRaftVoter(done))) if done.error_code == 0), "{answer:?}");
    let again = cluster.ask(leader, ControllerRequest::AddRaftVoter(add)).lock().unwrap().take();
    let duplicate = ErrorCode::DUPLICATE_VOTER.0;
    assert!(matches!(&again, Some(Ok(ControllerResponse::AddRaftVoter(done))) if done.error_code == duplicate));
    for at in 0..4 {
        assert_eq!(cluster.node(at).state.quorum.kraft().voters.voters().len(), 4, "node {at}");
    }
    // The leader removes itself: another one leads.
    let remove = RemoveRaftVoterRequest {
        cluster_id: None,
        voter_id: key(leader).id.0,
        voter_directory_id: key(leader).directory_id,
        ..Default::default()
    };
    let answer = cluster.ask(leader, ControllerRequest::RemoveRaftVoter(remove));
    cluster.pass(3000);
    let answer = answer.lock().unwrap().take();
    assert!(
        matches!(&answer, Some(Ok(ControllerResponse::RemoveRaftVoter(done))) if done.error_code == 0),
        "{answer:?}"
    );
    let next = cluster.await_leader();
    assert_ne!(next, leader);
    assert_eq!(created(&cluster.create(next, "orders")), Some(Ok(0)));
    assert_eq!(cluster.names(leader), ["orders"], "it goes on as an observer");
}

#[test]
fn nothing_answered_is_lost_whatever_is_killed_or_cut_off() {
    let (mut answered, mut changes) = (0, 0);
    for seed in 0..30 {
        let outcome = std::panic::catch_unwind(|| history(seed));
        let (topics, epochs) = outcome.unwrap_or_else(|cause| {
            eprintln!("the seed is {seed}");
            std::panic::resume_unwind(cause)
        });
        answered += topics;
        changes += epochs;
    }
    assert!(answered > 200 && changes > 60, "{answered} topics in {changes} epochs are too few to mean anything");
}

/// One history: topics are created while members are killed, with and without power, and cut off. Returns how many were
/// answered and how many epochs there were.
fn history(seed: u64) -> (usize, i32) {
    let mut cluster = Cluster::new(100 + seed, (seed % 2) as i16, 3, 3);
    let first = cluster.await_leader();
    cluster.join(first);
    let mut answers: Vec<(String, Answer)> = Vec::new();
    for step in 0..40 {
        let anyone = cluster.below(3) as usize;
        let at = if cluster.below(2) == 0 { cluster.leader().unwrap_or(anyone) } else { anyone };
        match cluster.below(8) {
            0 if cluster.nodes.iter().flatten().count() == 3 && cluster.cut.is_empty() => {
                let power_cut = cluster.below(2) == 0;
                cluster.kill(at, power_cut);
            }
            1 if cluster.cut.is_empty() && cluster.nodes.iter().flatten().count() == 3 => {
                cluster.cut.insert(at);
            }
            2 => cluster.cut.clear(),
            3 => (0..3).for_each(|at| {
                if cluster.nodes[at].is_none() {
                    cluster.start(at);
                }
            }),
            4 => {
                let millis = 100 + cluster.below(3000);
                cluster.pass(millis);
            }
            _ => {
                // Whoever thinks that it leads is asked, one that was cut off and does not know yet as well.
                let asked = cluster.nodes[at].as_ref().filter(|node| node.state.controller.is_some()).map(|_| at);
                if let Some(at) = asked.or(cluster.leader()) {
                    let name = format!("topic-{step}");
                    answers.push((name.clone(), cluster.create(at, &name)));
                }
            }
        }
    }
    cluster.cut.clear();
    (0..3).for_each(|at| {
        if cluster.nodes[at].is_none() {
            cluster.start(at);
        }
    });
    cluster.pass(4000);
    let leader = cluster.await_leader();
    let answer = cluster.create(leader, "last");
    cluster.pass(1000);
    assert_eq!(created(&answer), Some(Ok(0)));
    let names = cluster.names(leader);
    let kept = answers.iter().filter(|(_, answer)| created(answer) == Some(Ok(0)));
    let kept: Vec<&String> = kept.map(|(name, _)| name).collect();
    for name in &kept {
        assert!(names.contains(name), "{name} was answered and is gone: {names:?}");
    }
    for at in 0..3 {
        assert_eq!(cluster.names(at), names, "node {at}");
    }
    (kept.len(), cluster.node(leader).state.quorum.epoch().0)
}
