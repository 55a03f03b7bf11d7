//! A node's metadata thread taken apart for tests: its state on a simulated disk, stepped by hand, its clock in the test's
//! hands, and the work it has done beside done when the test says so.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use milena_controller::bootstrap_records;
use milena_metadata::{Delta, MetadataVersion};
use milena_protocol::Text;
use milena_protocol::messages::create_topics_request::CreatableTopic;
use milena_protocol::messages::{
    BrokerHeartbeatRequest, BrokerRegistrationRequest, CreateTopicsRequest, broker_registration_request,
};
use milena_raft::{Destination, Outbound, QuorumConfig, ReplicaKey, VoterSet};
use milena_storage::FileCache;
use milena_storage::disk::SimulatedDisk;
use milena_types::{BrokerId, ErrorCode, Uuid};

use super::*;
use crate::clock::ManualTime;
use crate::config::MetadataLogSettings;
use crate::controller_handle::{ControllerDone, ControllerRequest, ControllerResponse};

#[derive(Clone, Default)]
pub(super) struct Published(pub(super) Arc<Mutex<Vec<Arc<Image>>>>);

impl MetadataListener for Published {
    fn publish(&mut self, image: &Arc<Image>, _delta: &Delta) {
        self.0.lock().unwrap().push(Arc::clone(image));
    }

    fn kraft_version(&mut self, _level: i16) {}

    fn caught_up(&mut self, _as_of: Timestamp) {}
}

#[derive(Clone, Default)]
pub(super) struct Sent(pub(super) Arc<Mutex<Vec<Outbound>>>);

impl RaftSender for Sent {
    fn send(&mut self, _to: Destination, request: Outbound) {
        self.0.lock().unwrap().push(request);
    }
}

/// Work that was begun beside and is not done.
#[derive(Clone, Default)]
pub(super) struct Begun(pub(super) Arc<Mutex<Vec<Job>>>);

impl Beside for Begun {
    fn begin(&mut self, job: Job) {
        self.0.lock().unwrap().push(job);
    }
}

pub(super) struct Node<D: Disk = SimulatedDisk> {
    pub(super) state: MetadataLoop<D>,
    pub(super) published: Published,
    pub(super) sent: Sent,
    pub(super) begun: Begun,
    pub(super) time: Arc<ManualTime>,
}

pub(super) fn settings() -> MetadataLogSettings {
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

/// What a voter (id 1) or an observer (any other id) is made of.
pub(super) fn parts<D: Disk>(disk: &D, id: i32, time: &Arc<ManualTime>) -> Result<MetadataParts<D>> {
    parts_with(&settings(), disk, id, time)
}

/// The same with other settings of the log.
pub(super) fn parts_with<D: Disk>(
    settings: &MetadataLogSettings,
    disk: &D,
    id: i32,
    time: &Arc<ManualTime>,
) -> Result<MetadataParts<D>> {
    let clock = Clock::Manual(Arc::clone(time));
    let cache = FileCache::new(disk.clone(), 100);
    let log = MetadataLog::open(&cache, Path::new("/"), settings, clock.now())?;
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
    Ok(MetadataParts {
        log,
        quorum: QuorumConfig::new(key, id == 1, 42),
        kraft: KRaftState { kraft_version: 0, voters, voters_offset: None },
        controller: (id == 1).then_some(controller),
        own_broker: (id == 1).then_some(BrokerId(1)),
        bootstrap: bootstrap_records(MetadataVersion::LATEST, &BTreeMap::new()),
        listener: Box::new(Published::default()),
        sender: Box::new(Sent::default()),
        beside: Box::new(Begun::default()),
        clock,
        snapshots: SnapshotPolicy { max_bytes: 2048, max_interval_ms: 0 },
        cluster_id: "cluster".to_owned(),
        listener_name: "CONTROLLER".to_owned(),
        random_seed: 7,
        ended: None,
    })
}

pub(super) fn node(disk: &SimulatedDisk, id: i32) -> Node {
    let time = ManualTime::new(Timestamp(1_700_000_000_000));
    node_of(parts(disk, id, &time).unwrap(), &time).unwrap()
}

/// Opens a node and lets it become what it becomes.
pub(super) fn node_of<D: Disk>(parts: MetadataParts<D>, time: &Arc<ManualTime>) -> Result<Node<D>, MetadataError> {
    let (published, sent, begun) = (Published::default(), Sent::default(), Begun::default());
    let parts = MetadataParts {
        listener: Box::new(published.clone()),
        sender: Box::new(sent.clone()),
        beside: Box::new(begun.clone()),
        ..parts
    };
    let mut state = MetadataLoop::open(parts)?;
    state.settle()?;
    Ok(Node { state, published, sent, begun, time: Arc::clone(time) })
}

impl<D: Disk> Node<D> {
    pub(super) fn ask(&mut self, request: ControllerRequest) -> Result<ControllerResponse, ErrorCode> {
        let answer = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&answer);
        let done: ControllerDone = Box::new(move |result| *slot.lock().unwrap() = Some(result));
        self.state.handle(Event::Request { request, done });
        self.state.turn().unwrap();
        self.do_what_was_begun();
        answer.lock().unwrap().take().expect("answered in the turn that committed it")
    }

    /// Does the work beside, and tells the thread.
    pub(super) fn do_what_was_begun(&mut self) {
        let jobs = std::mem::take(&mut *self.begun.0.lock().unwrap());
        for job in jobs {
            let event = job();
            self.state.handle(event);
            self.state.turn().unwrap();
        }
    }

    pub(super) fn join(&mut self) {
        let request = registration(1, self.state.quorum.epoch().0 as u8);
        let answer = self.ask(ControllerRequest::BrokerRegistration(request)).unwrap();
        let ControllerResponse::BrokerRegistration(registered) = answer else { panic!("{answer:?}") };
        assert_eq!(registered.error_code, 0);
        let heartbeat = heartbeat(1, registered.broker_epoch, self.image().offset.0);
        let answer = self.ask(ControllerRequest::BrokerHeartbeat(heartbeat)).unwrap();
        let ControllerResponse::BrokerHeartbeat(beat) = answer else { panic!("{answer:?}") };
        assert_eq!((beat.error_code, beat.is_fenced), (0, false));
    }

    pub(super) fn create_topic(&mut self, name: &str) -> i16 {
        let request = creation(name);
        match self.ask(ControllerRequest::CreateTopics(request)).unwrap() {
            ControllerResponse::CreateTopics(response) => response.topics[0].error_code,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn image(&self) -> Arc<Image> {
        Arc::clone(self.published.0.lock().unwrap().last().expect("something was published"))
    }

    pub(super) fn topic_names(&self) -> Vec<String> {
        self.image().topics.iter().map(|topic| topic.name.to_string()).collect()
    }
}

/// A broker's registration; `incarnation` tells its starts apart.
pub(super) fn registration(broker: i32, incarnation: u8) -> BrokerRegistrationRequest {
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
    BrokerRegistrationRequest {
        broker_id: broker,
        cluster_id: Text::from("cluster"),
        incarnation_id: Uuid([incarnation; 16]),
        listeners: vec![listener],
        features: milena_metadata::supported_features().map(feature).collect(),
        log_dirs: vec![Uuid([broker as u8; 16])],
        ..Default::default()
    }
}

/// A heartbeat of a broker that has all metadata up to `offset`.
pub(super) fn heartbeat(broker: i32, broker_epoch: i64, offset: i64) -> BrokerHeartbeatRequest {
    BrokerHeartbeatRequest { broker_id: broker, broker_epoch, current_metadata_offset: offset, ..Default::default() }
}

/// A request for one topic.
pub(super) fn creation(name: &str) -> CreateTopicsRequest {
    let topic =
        CreatableTopic { name: Text::from(name), num_partitions: 1, replication_factor: 1, ..Default::default() };
    CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() }
}
