//! The metadata thread's state, stepped by hand on a simulated disk: what survives restarts and power cuts, what a
//! snapshot holds, what an observer fetches.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicI64;

use milena_controller::bootstrap_records;
use milena_metadata::MetadataVersion;
use milena_protocol::Text;
use milena_protocol::messages::create_topics_request::CreatableTopic;
use milena_protocol::messages::{
    BrokerHeartbeatRequest, BrokerRegistrationRequest, CreateTopicsRequest, broker_registration_request,
};
use milena_raft::{OffsetAndEpoch, ReplicaKey, VoterSet};
use milena_storage::FileCache;
use milena_storage::disk::SimulatedDisk;
use milena_types::{BrokerId, LeaderEpoch, Uuid};

use super::*;
use crate::config::MetadataLogSettings;
use crate::controller_handle::ControllerResponse;
use crate::hosts::raft_requests::RaftResponse;

#[derive(Clone, Default)]
struct Published(Arc<Mutex<Vec<Arc<Image>>>>);

impl MetadataListener for Published {
    fn publish(&mut self, image: &Arc<Image>, _delta: &Delta) {
        self.0.lock().unwrap().push(Arc::clone(image));
    }

    fn kraft_version(&mut self, _level: i16) {}
}

#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<Outbound>>>);

impl RaftSender for Sent {
    fn send(&mut self, _to: Destination, request: Outbound) {
        self.0.lock().unwrap().push(request);
    }
}

struct Node {
    state: MetadataLoop<SimulatedDisk>,
    published: Published,
    sent: Sent,
    time: Arc<AtomicI64>,
}

fn settings() -> MetadataLogSettings {
    MetadataLogSettings {
        segment_bytes: 1 << 20,
        segment_ms: i64::MAX,
        max_record_bytes_between_snapshots: 2048,
        max_snapshot_interval_ms: 0,
        max_idle_interval_ms: 500,
        max_retention_bytes: 1 << 20,
        max_retention_ms: -1,
    }
}

fn node(disk: &SimulatedDisk, id: i32) -> Node {
    let time = Arc::new(AtomicI64::new(1_000_000));
    let clock = Clock::Manual(Arc::clone(&time));
    let cache = FileCache::new(disk.clone(), 100);
    let log = MetadataLog::open(&cache, Path::new("/"), &settings(), clock.now()).unwrap();
    let key = ReplicaKey { id: BrokerId(id), directory_id: Uuid([id as u8; 16]) };
    let voters = VoterSet::parse_static("1@localhost:9093", "CONTROLLER").unwrap();
    let controller = ControllerSettings {
        cluster_id: Text::from("cluster"),
        node_id: BrokerId(id),
        voters: vec![BrokerId(1)],
        default_partitions: 1,
        default_replication_factor: 1,
        session_timeout: Duration::from_secs(9),
        static_configs: BTreeMap::new(),
    };
    let (published, sent) = (Published::default(), Sent::default());
    let parts = MetadataParts {
        log,
        quorum: QuorumConfig::new(key, id == 1, 42),
        kraft: KRaftState { kraft_version: 0, voters, voters_offset: None },
        controller: (id == 1).then_some(controller),
        own_broker: (id == 1).then_some(BrokerId(1)),
        bootstrap: bootstrap_records(MetadataVersion::LATEST, &BTreeMap::new()),
        listener: Box::new(published.clone()),
        sender: Box::new(sent.clone()),
        clock,
        snapshots: SnapshotPolicy { max_bytes: 2048, max_interval_ms: 0 },
        cluster_id: "cluster".to_owned(),
        listener_name: "CONTROLLER".to_owned(),
        random_seed: 7,
        ended: None,
    };
    let mut state = MetadataLoop::open(parts).unwrap();
    state.settle().unwrap();
    Node { state, published, sent, time }
}

impl Node {
    fn ask(&mut self, request: ControllerRequest) -> Result<ControllerResponse, ErrorCode> {
        let answer = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&answer);
        let done: ControllerDone = Box::new(move |result| *slot.lock().unwrap() = Some(result));
        self.state.handle(Event::Request { request, done });
        self.state.turn().unwrap();
        answer.lock().unwrap().take().expect("answered in the turn that committed it")
    }

    fn join(&mut self) {
        let listener = broker_registration_request::Listener {
            name: Text::from("PLAINTEXT"),
            host: Text::from("localhost"),
            port: 9092,
            ..Default::default()
        };
        let feature = |(name, min, max): (&'static str, i16, i16)| broker_registration_request::Feature {
            name: Text::from(name),
            min_supported_version: min,
            max_supported_version: max,
            ..Default::default()
        };
        let request = BrokerRegistrationRequest {
            broker_id: 1,
            cluster_id: Text::from("cluster"),
            incarnation_id: Uuid([self.state.quorum.epoch().0 as u8; 16]),
            listeners: vec![listener],
            features: milena_metadata::supported_features().map(feature).collect(),
            log_dirs: vec![Uuid([1; 16])],
            ..Default::default()
        };
        let answer = self.ask(ControllerRequest::BrokerRegistration(request)).unwrap();
        let ControllerResponse::BrokerRegistration(registered) = answer else { panic!("{answer:?}") };
        assert_eq!(registered.error_code, 0);
        let heartbeat = BrokerHeartbeatRequest {
            broker_id: 1,
            broker_epoch: registered.broker_epoch,
            current_metadata_offset: self.image().offset.0,
            ..Default::default()
        };
        let answer = self.ask(ControllerRequest::BrokerHeartbeat(heartbeat)).unwrap();
        let ControllerResponse::BrokerHeartbeat(beat) = answer else { panic!("{answer:?}") };
        assert_eq!((beat.error_code, beat.is_fenced), (0, false));
    }

    fn create_topic(&mut self, name: &str) -> i16 {
        let topic = CreatableTopic {
            name: Text::from(name),
            num_partitions: 1,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
        match self.ask(ControllerRequest::CreateTopics(request)).unwrap() {
            ControllerResponse::CreateTopics(response) => response.topics[0].error_code,
            other => panic!("{other:?}"),
        }
    }

    fn image(&self) -> Arc<Image> {
        Arc::clone(self.published.0.lock().unwrap().last().expect("something was published"))
    }

    fn topic_names(&self) -> Vec<String> {
        self.image().topics.iter().map(|topic| topic.name.to_string()).collect()
    }
}

#[test]
fn a_node_alone_leads_bootstraps_and_answers_after_commit() {
    let disk = SimulatedDisk::new(1);
    let mut node = node(&disk, 1);
    assert_eq!(node.image().features.metadata_version, MetadataVersion::LATEST);
    node.join();
    assert_eq!(node.create_topic("orders"), 0);
    assert_eq!(node.create_topic("orders"), ErrorCode::TOPIC_ALREADY_EXISTS.0);
    assert_eq!(node.topic_names(), ["orders"]);
}

#[test]
fn what_was_answered_survives_a_power_cut_and_each_start_is_a_new_epoch() {
    let mut disk = SimulatedDisk::new(2);
    for round in 1..=5 {
        let mut node = node(&disk, 1);
        assert_eq!(node.state.quorum.epoch(), LeaderEpoch(round));
        node.join();
        assert_eq!(node.create_topic(&format!("topic-{round}")), 0);
        let expected: Vec<String> = (1..=round).map(|at| format!("topic-{at}")).collect();
        assert_eq!(node.topic_names(), expected);
        let image = node.image();
        let leaders: Vec<i32> = image.topics.iter().map(|topic| topic.partitions[0].leader.0).collect();
        assert!(leaders.iter().all(|leader| *leader == 1), "a lone replica leads again after each crash: {leaders:?}");
        disk = disk.cut_power();
    }
}

#[test]
fn a_failing_disk_never_lets_an_answer_out_that_a_restart_does_not_know() {
    for seed in 0..60 {
        let disk = SimulatedDisk::new(seed);
        let mut first = node(&disk, 1);
        first.join();
        disk.fail_call(disk.calls() + 1 + seed % 12, true);
        let mut answered = Vec::new();
        for at in 0..4 {
            let name = format!("t{at}");
            let topic = CreatableTopic {
                name: Text::from(name.as_str()),
                num_partitions: 1,
                replication_factor: 1,
                ..Default::default()
            };
            let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
            let slot = Arc::new(Mutex::new(false));
            let ok = Arc::clone(&slot);
            let done: ControllerDone = Box::new(move |result| *ok.lock().unwrap() = result.is_ok());
            first.state.handle(Event::Request { request: ControllerRequest::CreateTopics(request), done });
            if first.state.turn().is_err() {
                break;
            }
            if *slot.lock().unwrap() {
                answered.push(name);
            }
        }
        disk.fail_call(0, false);
        let after = disk.cut_power();
        let again = node(&after, 1);
        let names = again.topic_names();
        assert!(answered.iter().all(|name| names.contains(name)), "seed {seed}: {answered:?} not in {names:?}");
    }
}

#[test]
fn snapshots_are_written_and_loaded_and_replace_the_log() {
    let disk = SimulatedDisk::new(3);
    let mut first = node(&disk, 1);
    first.join();
    for at in 0..100 {
        assert_eq!(first.create_topic(&format!("topic-{at:03}")), 0);
    }
    let snapshots = first.state.quorum.log().snapshots.clone();
    assert!(snapshots.len() > 1, "{snapshots:?}");
    let before = first.image();
    drop(first);
    let again = node(&disk, 1);
    let latest = again.state.quorum.log().snapshots.last().copied();
    assert_eq!(latest, snapshots.last().copied());
    let ids = |image: &Image| image.topics.iter().map(|topic| topic.id).collect::<Vec<_>>();
    assert_eq!(ids(&again.image()), ids(&before));
    let epochs = |image: &Image| image.cluster.brokers.values().map(|broker| broker.epoch).collect::<Vec<_>>();
    assert_eq!(epochs(&again.image()), epochs(&before));
}

fn deliver(leader: &mut Node, observer: &mut Node) -> usize {
    let sent: Vec<Outbound> = observer.sent.0.lock().unwrap().drain(..).collect();
    let count = sent.len();
    for request in sent {
        match request {
            Outbound::Fetch(fetch) => {
                let request = crate::hosts::raft_wire::fetch_request(&fetch, "cluster");
                let slot = Arc::new(Mutex::new(None));
                let answer = Arc::clone(&slot);
                let done: RaftDone = Box::new(move |response| *answer.lock().unwrap() = Some(response));
                let listener = "CONTROLLER".to_owned();
                leader.state.handle(Event::Raft { request: RaftRequest::Fetch(request), listener, done });
                leader.time.fetch_add(600, std::sync::atomic::Ordering::Relaxed);
                leader.state.turn().unwrap();
                let response = slot.lock().unwrap().take();
                let Some(RaftResponse::Fetch(mut response)) = response else { panic!("{response:?}") };
                for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    if let Some(milena_protocol::Records::File(slice)) = &partition.records {
                        let mut bytes = vec![0; slice.len as usize];
                        slice.source.read_exact_at(&mut bytes, slice.position).unwrap();
                        partition.records = Some(milena_protocol::Records::Bytes(bytes.into()));
                    }
                }
                observer.state.handle(Event::FetchReply(Some(response)));
            }
            Outbound::FetchSnapshot(out) => {
                let (file, len) = leader.state.log.open_snapshot(out.snapshot).unwrap().unwrap();
                let mut bytes = vec![0; len as usize];
                file.read_exact_at(&mut bytes, 0).unwrap();
                observer.state.handle(Event::SnapshotReply(Some((out.snapshot, bytes.into()))));
            }
            other => panic!("{other:?}"),
        }
    }
    observer.time.fetch_add(600, std::sync::atomic::Ordering::Relaxed);
    observer.state.turn().unwrap();
    count
}

#[test]
fn an_observer_fetches_log_and_snapshots_and_publishes_what_the_leader_did() {
    for topics in [3, 120] {
        let disk = SimulatedDisk::new(4);
        let mut leader = node(&disk, 1);
        leader.join();
        for at in 0..topics {
            leader.create_topic(&format!("topic-{at:03}"));
        }
        let observers_disk = SimulatedDisk::new(5);
        let mut observer = node(&observers_disk, 9);
        observer.state.turn().unwrap();
        for _ in 0..12 {
            assert!(deliver(&mut leader, &mut observer) > 0, "an observer never stops fetching");
        }
        assert_eq!(observer.image().topics, leader.image().topics);
        leader.create_topic("late");
        for _ in 0..4 {
            deliver(&mut leader, &mut observer);
        }
        assert_eq!(observer.topic_names(), leader.topic_names());
        assert_eq!(leader.state.quorum.describe(Timestamp(0)).unwrap().observers.len(), 1);
        // It goes on from its own disk.
        drop(observer);
        let again = node(&observers_disk, 9);
        assert!(again.state.quorum.log().end().offset > OffsetAndEpoch::BOOTSTRAP.offset);
    }
}

#[test]
fn a_silent_broker_is_fenced() {
    let disk = SimulatedDisk::new(6);
    let mut node = node(&disk, 1);
    node.join();
    assert!(!node.image().cluster.broker(BrokerId(1)).unwrap().is_fenced);
    node.time.fetch_add(9_100, std::sync::atomic::Ordering::Relaxed);
    assert!(node.state.until_next_deadline() == Duration::ZERO);
    node.state.turn().unwrap();
    assert!(node.image().cluster.broker(BrokerId(1)).unwrap().is_fenced);
}
