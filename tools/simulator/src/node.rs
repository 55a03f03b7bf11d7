//! A node: its disk, its clock, and the process that runs on them while it is up.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use milena_broker::config::MetadataLogSettings;
use milena_broker::hosts::{Beside, Job, MetadataListener, MetadataLog, MetadataParts, RaftSender, SteppedMetadata};
use milena_broker::{Clock, ManualTime};
use milena_controller::{ControllerSettings, Probe, bootstrap_records};
use milena_metadata::{Delta, ELIGIBLE_LEADER_REPLICAS_VERSION, Image, MetadataVersion};
use milena_protocol::Text;
use milena_raft::{
    Destination, Endpoint, KRaftState, Outbound, QuorumConfig, ReplicaKey, SnapshotPolicy, Voter, VoterSet,
};
use milena_storage::FileCache;
use milena_storage::disk::SimulatedDisk;
use milena_types::{BrokerId, Timestamp, Uuid};

use crate::broker::{BrokerHost, BrokerSettings, CLUSTER_ID, SESSION_MS};
use crate::draw::Draw;
use crate::message::Answer;
use crate::planted::Planted;

/// When everything begins, milliseconds since 1970.
const BEGIN: i64 = 1_700_000_000_000;
/// How many files a process holds open.
const OPEN_FILES: usize = 40;

/// What the metadata told the world since the last look.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) published: Vec<(Arc<Image>, Delta)>,
    /// As of when that is everything.
    pub(crate) caught_up: Option<Timestamp>,
    pub(crate) sent: Vec<(Destination, Outbound)>,
    pub(crate) leader: Option<BrokerId>,
    pub(crate) probes: Vec<Probe>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) answers: Vec<(u64, Answer)>,
}

/// Listens to everything the metadata says.
#[derive(Clone, Default)]
pub(crate) struct Ear(Arc<Mutex<Told>>);

impl Ear {
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MetadataListener for Ear {
    fn publish(&mut self, image: &Arc<Image>, delta: &Delta) {
        self.told().published.push((Arc::clone(image), delta.clone()));
    }

    fn kraft_version(&mut self, _level: i16) {}

    fn caught_up(&mut self, as_of: Timestamp) {
        self.told().caught_up = Some(as_of);
    }
}

impl RaftSender for Ear {
    fn send(&mut self, to: Destination, request: Outbound) {
        self.told().sent.push((to, request));
    }

    fn probe(&mut self, probe: Probe) {
        self.told().probes.push(probe);
    }

    fn leader_changed(&mut self, leader: Option<(BrokerId, Vec<Endpoint>)>) {
        self.told().leader = leader.map(|(id, _)| id);
    }
}

impl Beside for Ear {
    fn begin(&mut self, job: Job) {
        self.told().jobs.push(job);
    }
}

/// What runs.
pub(crate) struct Process {
    pub(crate) metadata: SteppedMetadata<SimulatedDisk>,
    pub(crate) broker: Option<BrokerHost>,
    pub(crate) ear: Ear,
}

/// A clock that runs a little too fast or too slow.
pub(crate) struct NodeClock {
    time: Arc<ManualTime>,
    passed: i64,
    per_mille: i64,
}

impl NodeClock {
    /// Steady time of the node when the world's clock shows `now`.
    pub(crate) fn at(&mut self, now: i64) -> Timestamp {
        let passed = now * self.per_mille / 1000;
        self.time.pass(Duration::from_millis(u64::try_from(passed - self.passed).unwrap_or(0)));
        self.passed = self.passed.max(passed);
        Timestamp(BEGIN + self.passed)
    }

    /// The same, for those who only look.
    pub(crate) fn shows(&self, now: i64) -> Timestamp {
        Timestamp(BEGIN + self.passed.max(now * self.per_mille / 1000))
    }

    /// How much of the world's time it takes until the node's clock has gone on by `local`.
    pub(crate) fn world_time(&self, local: i64) -> i64 {
        local * 1000 / self.per_mille + 1
    }

    /// Somebody sets the time of day.
    pub(crate) fn jump(&self, millis: i64) {
        self.time.jump(millis);
    }
}

pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) is_controller: bool,
    pub(crate) is_broker: bool,
    pub(crate) disk: SimulatedDisk,
    pub(crate) clock: NodeClock,
    pub(crate) process: Option<Process>,
    /// Counts starts and ends: what was meant for another life is not delivered.
    pub(crate) life: u32,
    pub(crate) paused_until: i64,
    pub(crate) wake_generation: u64,
    /// It ended without closing its logs and is not back in sync everywhere.
    pub(crate) is_unclean: bool,
    /// That end took unsynced data.
    pub(crate) is_lossy: bool,
    /// A call of its disk is about to fail.
    pub(crate) is_breaking: bool,
    /// Without power: nobody is there who could refuse a connection.
    pub(crate) is_dark: bool,
    /// The next packets leave later: the disk was slow.
    pub(crate) disk_delay: i64,
}

impl Node {
    pub(crate) fn new(index: usize, draw: &Draw, seed: u64, per_mille: i64) -> Node {
        Node {
            index,
            is_controller: draw.is_controller(index),
            is_broker: draw.is_broker(index),
            disk: SimulatedDisk::new(seed),
            clock: NodeClock { time: ManualTime::new(Timestamp(BEGIN)), passed: 0, per_mille },
            process: None,
            life: 0,
            paused_until: 0,
            wake_generation: 0,
            is_unclean: false,
            is_lossy: false,
            is_breaking: false,
            is_dark: false,
            disk_delay: 0,
        }
    }

    pub(crate) fn id(&self) -> BrokerId {
        broker_id(self.index)
    }

    pub(crate) fn broker(&self) -> Option<&BrokerHost> {
        self.process.as_ref()?.broker.as_ref()
    }

    /// Starts a process on what the disk holds.
    pub(crate) fn start(
        &mut self,
        draw: &Draw,
        planted: Option<Planted>,
        now: i64,
        seed: u64,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let local = self.clock.at(now);
        let cache = FileCache::new(self.disk.clone(), OPEN_FILES);
        let broker = if self.is_broker {
            let settings = BrokerSettings {
                id: self.id(),
                log_dir_id: directory_id(self.index),
                durability: draw.durability,
                segment_bytes: draw.segment_bytes,
                planted,
            };
            Some(BrokerHost::open(settings, &cache, local, seed)?)
        } else {
            None
        };
        let ear = Ear::default();
        let metadata = SteppedMetadata::open(self.parts(draw, &cache, &ear, seed)?)?;
        self.process = Some(Process { metadata, broker, ear });
        self.life += 1;
        self.is_dark = false;
        Ok(())
    }

    fn parts(
        &self,
        draw: &Draw,
        cache: &Arc<FileCache<SimulatedDisk>>,
        ear: &Ear,
        seed: u64,
    ) -> Result<MetadataParts<SimulatedDisk>, milena_storage::Error> {
        let clock = Clock::Manual(Arc::clone(&self.clock.time));
        let settings = metadata_log_settings(draw);
        let log = MetadataLog::open(cache, Path::new("/"), &settings, clock.now())?;
        let key = ReplicaKey { id: self.id(), directory_id: directory_id(self.index) };
        let voters = voters(draw);
        let endpoints = if self.is_controller { vec![endpoint(self.index)] } else { Vec::new() };
        let controller = ControllerSettings {
            cluster_id: Text::from_static(CLUSTER_ID),
            node_id: self.id(),
            voters: voters.voters().iter().map(|voter| voter.key.id).collect(),
            default_partitions: 1,
            default_replication_factor: 1,
            session_timeout: Duration::from_millis(SESSION_MS.unsigned_abs()),
            static_configs: BTreeMap::new(),
        };
        let features = BTreeMap::from([(ELIGIBLE_LEADER_REPLICAS_VERSION.to_owned(), 1)]);
        Ok(MetadataParts {
            log,
            quorum: QuorumConfig { endpoints, ..QuorumConfig::new(key, self.is_controller, seed) },
            kraft: KRaftState { kraft_version: i16::from(draw.dynamic_voters), voters, voters_offset: None },
            controller: self.is_controller.then_some(controller),
            own_broker: (self.is_controller && self.is_broker).then_some(self.id()),
            bootstrap: bootstrap_records(MetadataVersion::LATEST, &features),
            listener: Box::new(ear.clone()),
            sender: Box::new(ear.clone()),
            beside: Box::new(ear.clone()),
            clock,
            snapshots: SnapshotPolicy { max_bytes: draw.snapshot_bytes, max_interval_ms: 0 },
            cluster_id: CLUSTER_ID.to_owned(),
            listener_name: "CONTROLLER".to_owned(),
            random_seed: seed | 1,
            ended: None,
        })
    }
}

fn metadata_log_settings(draw: &Draw) -> MetadataLogSettings {
    MetadataLogSettings {
        segment_bytes: 8000,
        segment_ms: i64::MAX,
        max_record_bytes_between_snapshots: i64::try_from(draw.snapshot_bytes).unwrap_or(i64::MAX),
        max_snapshot_interval_ms: 0,
        max_idle_interval_ms: 2000,
        max_retention_bytes: 20_000,
        max_retention_ms: -1,
    }
}

/// The voters of the configuration.
pub(crate) fn voters(draw: &Draw) -> VoterSet {
    let controllers = (0..draw.nodes()).filter(|index| draw.is_controller(*index));
    VoterSet::new(controllers.map(|index| voter(index, draw)).collect())
}

/// A controller as the voters know it.
pub(crate) fn voter(index: usize, draw: &Draw) -> Voter {
    Voter {
        key: ReplicaKey {
            id: broker_id(index),
            directory_id: if draw.dynamic_voters { directory_id(index) } else { Uuid::ZERO },
        },
        endpoints: vec![endpoint(index)],
        kraft_version_min: 0,
        kraft_version_max: i16::from(draw.dynamic_voters),
    }
}

/// Where a node's controller listens.
pub(crate) fn endpoint(index: usize) -> Endpoint {
    let port = u16::try_from(9000 + index).unwrap_or(9000);
    Endpoint { listener: "CONTROLLER".to_owned(), host: format!("node-{index}"), port }
}

pub(crate) fn broker_id(index: usize) -> BrokerId {
    BrokerId(i32::try_from(index).unwrap_or(i32::MAX))
}

pub(crate) fn directory_id(index: usize) -> Uuid {
    Uuid([u8::try_from(index).unwrap_or(200) + 10; 16])
}
