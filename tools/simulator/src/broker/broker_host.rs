//! The broker's state, how it starts on what its disk holds, and what it does whenever it is looked at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_metadata::Image;
use milena_replication::{
    CacheLimits, Durability, FetchContext, FetchPlan, FetchSessionCache, FetchSessionClient, IsrChange, Lease,
    PartitionKey,
};
use milena_storage::checkpoint::{
    CleanShutdown, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT,
};
use milena_storage::disk::{Disk, SimulatedDisk};
use milena_storage::{DirectoryKind, FileCache, LogDir, TopicPartition};
use milena_types::{BrokerId, LeaderEpoch, Offset, Timestamp, Uuid};

use super::lifecycle::{FETCH_TIMEOUT_MS, SESSION_MS};
use super::outbox::Outbox;
use super::replica::Replica;
use crate::planted::Planted;
use crate::random::Random;

/// The log directory; the metadata log is in it, too.
pub(crate) const LOG_DIR: &str = "/";

/// What a broker is told once.
#[derive(Clone, Debug)]
pub(crate) struct BrokerSettings {
    pub(crate) id: BrokerId,
    pub(crate) log_dir_id: Uuid,
    pub(crate) durability: Durability,
    pub(crate) segment_bytes: u32,
    pub(crate) planted: Option<Planted>,
}

impl BrokerSettings {
    pub(crate) fn has(&self, planted: Planted) -> bool {
        self.planted == Some(planted)
    }
}

/// How far a broker's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Not registered: it follows the metadata and nothing else.
    Joining,
    /// Registered and fenced: it follows leaders and serves nobody.
    Fenced,
    Serving,
    /// Asks to leave.
    Leaving,
}

/// A log found on disk and not opened yet.
#[derive(Clone, Debug)]
pub(super) struct FoundLog {
    pub(super) recovery_point: Offset,
    pub(super) high_watermark: Offset,
}

/// Copies what is followed from one leader.
pub(super) struct Fetcher {
    pub(super) plan: FetchPlan,
    pub(super) session: FetchSessionClient,
    pub(super) in_flight: bool,
    pub(super) retry_at: Timestamp,
}

impl Default for Fetcher {
    fn default() -> Self {
        Fetcher {
            plan: FetchPlan::default(),
            session: FetchSessionClient::default(),
            in_flight: false,
            retry_at: Timestamp(0),
        }
    }
}

/// A fetch that waits for records.
pub(super) struct ParkedFetch {
    pub(super) call: u64,
    pub(super) context: FetchContext,
    pub(super) replica: Option<(BrokerId, i64)>,
    pub(super) deadline: Timestamp,
}

/// When what is next due.
pub(super) struct Due {
    pub(super) heartbeat: Timestamp,
    pub(super) in_sync: Timestamp,
    pub(super) checkpoints: Timestamp,
    pub(super) sync: Timestamp,
    pub(super) alter: Timestamp,
}

/// One broker's process.
pub(crate) struct BrokerHost {
    pub(crate) settings: BrokerSettings,
    pub(crate) phase: Phase,
    /// It was asked to stop before it served.
    pub(super) is_told_to_leave: bool,
    /// The epoch of its registration; -1 before.
    pub(crate) epoch: i64,
    /// Somebody else has the registration by now.
    pub(super) is_displaced: bool,
    /// The epoch under which it ended cleanly; -1 if it did not.
    pub(crate) previous_epoch: i64,
    pub(crate) incarnation: Uuid,
    /// An image had this registration: it may lead.
    pub(super) is_registered: bool,
    pub(crate) replicas: BTreeMap<PartitionKey, Replica>,
    pub(crate) image: Arc<Image>,
    pub(super) is_first_image: bool,
    pub(super) log_dir: LogDir<SimulatedDisk>,
    pub(super) cache: Arc<FileCache<SimulatedDisk>>,
    pub(super) clean_start: bool,
    pub(super) found: BTreeMap<TopicPartition, FoundLog>,
    pub(super) doomed: Vec<(Timestamp, PathBuf)>,
    pub(super) fetchers: BTreeMap<BrokerId, Fetcher>,
    /// What is to be followed; a fetcher takes it over between two exchanges.
    pub(super) targets: BTreeMap<BrokerId, BTreeMap<PartitionKey, LeaderEpoch>>,
    pub(super) sessions: FetchSessionCache,
    pub(super) parked: Vec<ParkedFetch>,
    pub(super) pending_isr: BTreeMap<PartitionKey, IsrChange>,
    pub(super) is_altering: bool,
    pub(super) is_asking: bool,
    /// Until when it may acknowledge alone.
    pub(crate) lease: Lease,
    /// When the last heartbeat was sent.
    pub(super) beat: Timestamp,
    pub(super) due: Due,
    pub(super) random: Random,
    /// Something changed that parked fetches and waiting producers may wait for.
    pub(super) dirty: bool,
}

impl BrokerHost {
    /// Looks at what the disk holds; no log is opened before the first image.
    pub(crate) fn open(
        settings: BrokerSettings,
        cache: &Arc<FileCache<SimulatedDisk>>,
        now: Timestamp,
        seed: u64,
    ) -> Result<BrokerHost, milena_storage::Error> {
        let path = Path::new(LOG_DIR);
        let log_dir = LogDir::open(cache, path)?;
        let mut random = Random::new(seed);
        let read = |name| log_dir.read_checkpoint(name).unwrap_or_else(|_| OffsetCheckpoint::new());
        let (recovery_points, high_watermarks) = (read(RECOVERY_POINT_CHECKPOINT), read(REPLICATION_OFFSET_CHECKPOINT));
        let previous = log_dir.previous_shutdown();
        CleanShutdown::remove(cache.disk(), path)?;
        if previous.is_none() && settings.durability == Durability::Fsync {
            // What the last process wrote and did not sync counts as kept from now on.
            log_dir.sync_file_system()?;
        }
        let mut found = BTreeMap::new();
        let mut doomed = Vec::new();
        let listed = cache.disk().list(path);
        for entry in listed.map_err(|source| io("list", path, source))?.iter().filter(|entry| entry.is_directory) {
            match DirectoryKind::parse(&entry.name) {
                Some(DirectoryKind::Log(name)) if &*name.topic != "__cluster_metadata" => {
                    let at = |offsets: &OffsetCheckpoint| offsets.get(&name).copied().unwrap_or(Offset(0));
                    let log = FoundLog { recovery_point: at(&recovery_points), high_watermark: at(&high_watermarks) };
                    found.insert(name, log);
                }
                Some(DirectoryKind::Delete(_)) => doomed.push((now, path.join(&entry.name))),
                _ => {}
            }
        }
        let incarnation = Uuid(std::array::from_fn(|_| u8::try_from(random.below(256)).unwrap_or(7)));
        let mut previous_epoch = previous.and_then(|mark| mark.broker_epoch).unwrap_or(-1);
        if settings.has(Planted::UncleanSaysClean) && previous_epoch == -1 {
            previous_epoch = -2;
        }
        Ok(BrokerHost {
            phase: Phase::Joining,
            is_told_to_leave: false,
            epoch: -1,
            is_displaced: false,
            previous_epoch,
            incarnation,
            is_registered: false,
            replicas: BTreeMap::new(),
            image: Arc::default(),
            is_first_image: true,
            log_dir,
            cache: Arc::clone(cache),
            clean_start: previous.is_some(),
            found,
            doomed,
            fetchers: BTreeMap::new(),
            targets: BTreeMap::new(),
            sessions: FetchSessionCache::new(CacheLimits { sessions_max: 20, ..CacheLimits::default() }),
            parked: Vec::new(),
            pending_isr: BTreeMap::new(),
            is_altering: false,
            is_asking: false,
            lease: Lease::new(
                if settings.has(Planted::LeaseTooLong) { SESSION_MS * 2 } else { SESSION_MS },
                FETCH_TIMEOUT_MS,
            ),
            beat: now,
            due: Due { heartbeat: now, in_sync: now, checkpoints: now, sync: now, alter: now },
            random,
            dirty: false,
            settings,
        })
    }

    pub(crate) fn id(&self) -> BrokerId {
        self.settings.id
    }

    /// Whether clients and followers can connect.
    pub(crate) fn is_serving(&self) -> bool {
        self.phase >= Phase::Serving || self.settings.has(Planted::ServesFenced)
    }

    /// Does whatever is due, and whatever became possible.
    pub(crate) fn pump(&mut self, now: Timestamp, out: &mut Outbox) {
        self.live(now, out);
        if self.phase >= Phase::Fenced {
            self.look_for_isr_changes(now);
            self.send_isr_changes(now, out);
            self.fetch_what_is_due(now, out);
        }
        self.keep_on_disk(now, out);
        self.finish_waiting(now, out);
        self.finish_parked(now, out);
        self.start_flushes(out);
    }

    /// When it must be looked at again.
    pub(crate) fn next_deadline(&self) -> Timestamp {
        let due = &self.due;
        let mut next = due.checkpoints.min(due.sync);
        if !self.is_asking {
            next = next.min(due.heartbeat);
        }
        if self.phase >= Phase::Fenced {
            next = next.min(due.in_sync);
            if !self.pending_isr.is_empty() && !self.is_altering {
                next = next.min(due.alter);
            }
            for fetcher in self.fetchers.values().filter(|fetcher| !fetcher.in_flight) {
                let waits = fetcher.plan.next_due().map_or(fetcher.retry_at, |at| at.max(fetcher.retry_at));
                next = if waits.0 > 0 { next.min(waits.max(Timestamp(1))) } else { next };
            }
        }
        let parked = self.parked.iter().map(|parked| parked.deadline);
        let waiting = self.replicas.values().flat_map(|replica| replica.waiting.iter().map(|ack| ack.deadline));
        parked.chain(waiting).fold(next, Timestamp::min)
    }
}

pub(super) fn io(operation: &'static str, path: &Path, source: std::io::Error) -> milena_storage::Error {
    milena_storage::Error::Io { operation, path: path.to_owned(), source }
}
