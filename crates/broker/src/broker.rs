//! What every handler may use: settings, the cluster's image, the partitions, the way to the controller, the clock.

use crate::clock::Clock;
use crate::config::{connection_quotas, reason_without_effect};
use crate::controller_handle::{ControllerHandle, ForController};
use crate::hosts::{GroupCoordinators, TransactionCoordinators};
use crate::log_dirs::LogDirs;
use crate::metrics::Cells;
use crate::partitions::{
    Assigner, Checkpoints, Deadlines, FlushQueue, LocalTopic, Lookup, Moves, Partitions, Quarantine, Rebuilding,
    Registration, broker_texts,
};
use crate::producer_ids::ProducerIds;
use crate::replication::{Following, IsrChanges, ReplicaDirectories, Throttles};
use crate::settings::BrokerSettings;
use arc_swap::{ArcSwap, Guard};
use milena_metadata::{ConfigResource, Delta, Image, Topic};
use milena_network::QuotaHandle;
use milena_protocol::Text;
use milena_replication::{CacheLimits, FetchSessionCache, Lease};
use milena_types::{ErrorCode, PartitionIndex, Timestamp, TopicId, Uuid};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI16, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a broker is made of.
pub struct BrokerParts {
    pub settings: BrokerSettings,
    pub clock: Clock,
    pub controller: Arc<dyn ControllerHandle>,
    pub log_dirs: LogDirs,
    /// What it registers as; before the image has this registration it leads nothing. `None` for one that does not register.
    pub incarnation_id: Option<Uuid>,
}

/// One broker.
pub struct Broker {
    pub settings: BrokerSettings,
    /// Every partition with a replica here.
    pub partitions: Partitions,
    clock: Clock,
    controller: Arc<dyn ControllerHandle>,
    log_dirs: Arc<LogDirs>,
    image: ArcSwap<Image>,
    assigner: Mutex<Assigner>,
    quarantine: Arc<Quarantine>,
    deadlines: Arc<Deadlines>,
    flush_queue: FlushQueue,
    fetch_sessions: Mutex<FetchSessionCache>,
    /// The epoch of this process's registration; -1 before it.
    epoch: AtomicI64,
    lease: Lease,
    following: Following,
    isr_changes: IsrChanges,
    throttles: Throttles,
    replica_directories: ReplicaDirectories,
    producer_ids: ProducerIds,
    rebuilding: Rebuilding,
    moves: Moves,
    /// What is counted for metrics, if somebody may ask.
    cells: Option<Arc<Cells>>,
    groups: GroupCoordinators,
    transactions: TransactionCoordinators,
    /// `transaction.partition.verification.enable`.
    verifies_transactions: AtomicBool,
    kraft_version: AtomicI16,
    /// Topics that are being created on use.
    creating: Mutex<BTreeSet<Text>>,
    /// The bounds on connections of this node's servers, which follow the image.
    connection_quotas: Mutex<Vec<QuotaHandle>>,
}

impl Broker {
    /// A broker with an empty image. Lists the log directories but opens no log: that is done when the first image is
    /// applied.
    #[must_use]
    pub fn open(parts: BrokerParts) -> Arc<Self> {
        let BrokerParts { settings, clock, controller, log_dirs, incarnation_id } = parts;
        let log_dirs = Arc::new(log_dirs);
        let quarantine = Arc::<Quarantine>::default();
        let registration = Registration::new(settings.node_id, incarnation_id);
        let assigner = Assigner::open(&log_dirs, &quarantine, clock.clone(), registration);
        let throttles = Throttles::new(&settings.config_texts);
        let sessions_max = settings.max_incremental_fetch_session_cache_slots;
        let limits = CacheLimits { sessions_max, ..CacheLimits::default() };
        let cells = settings.has_metrics.then(Arc::<Cells>::default);
        let lease = settings.lease_times_ms.map_or_else(Lease::endless, |(session, fetch)| Lease::new(session, fetch));
        Arc::new(Self {
            lease,
            settings,
            partitions: Partitions::default(),
            clock,
            controller,
            log_dirs,
            image: ArcSwap::default(),
            assigner: Mutex::new(assigner),
            quarantine,
            deadlines: Arc::default(),
            flush_queue: FlushQueue::default(),
            fetch_sessions: Mutex::new(FetchSessionCache::new(limits)),
            epoch: AtomicI64::new(-1),
            following: Following::default(),
            isr_changes: IsrChanges::default(),
            throttles,
            replica_directories: ReplicaDirectories::default(),
            producer_ids: ProducerIds::default(),
            rebuilding: Rebuilding::default(),
            moves: Moves::default(),
            cells,
            groups: GroupCoordinators::default(),
            transactions: TransactionCoordinators::default(),
            verifies_transactions: AtomicBool::new(true),
            kraft_version: AtomicI16::new(0),
            creating: Mutex::default(),
            connection_quotas: Mutex::default(),
        })
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How far steady time is ahead of the time of day, milliseconds.
    pub(crate) fn steady_ahead_ms(&self) -> i64 {
        self.clock.steady().0.saturating_sub(self.clock.now().0)
    }

    /// Milliseconds that pass evenly, for what must not depend on the time of day.
    #[must_use]
    pub fn steady(&self) -> Timestamp {
        self.clock.steady()
    }

    /// The epoch of this process's registration; -1 before it.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The controller registered this process.
    pub fn set_epoch(&self, epoch: i64) {
        self.epoch.store(epoch, Ordering::Release);
    }

    /// Until when leaders here may acknowledge alone.
    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    pub(crate) fn following(&self) -> &Following {
        &self.following
    }

    pub(crate) fn isr_changes(&self) -> &IsrChanges {
        &self.isr_changes
    }

    pub(crate) fn throttles(&self) -> &Throttles {
        &self.throttles
    }

    pub(crate) fn replica_directories(&self) -> &ReplicaDirectories {
        &self.replica_directories
    }

    /// The cluster as this broker knows it.
    #[must_use]
    pub fn image(&self) -> Guard<Arc<Image>> {
        self.image.load()
    }

    /// Follows the cluster to `image`: partitions are made, led, reconfigured, deleted; then clients see the image.
    /// `delta` is what changed since the image before, `None` for the first one. Opens logs: blocks for as long as that
    /// takes, and must not be called on a thread that serves connections.
    pub fn apply(self: &Arc<Self>, image: Arc<Image>, delta: Option<&Delta>) {
        let mut assigner = self.assigner.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new_here = assigner.registration.note(&image);
        if delta.is_none_or(|delta| delta.features || changes_brokers(delta)) {
            let texts = broker_texts(&self.settings, &image);
            let cordoned = texts.get("cordoned.log.dirs").map_or("", String::as_str);
            self.log_dirs.set_cordoned(cordoned, image.features.metadata_version.is_cordoned_log_dirs_supported());
        }
        if delta.is_none_or(|delta| delta.has_topics() || !delta.configs.is_empty()) {
            let node_id = self.settings.node_id;
            assigner.set_damaged_aside(&self.partitions, node_id, &image, self.now());
            assigner.apply(&self.partitions, &self.settings, &image, delta, self.now());
            for (partition, log, log_dir) in assigner.take_resumed() {
                self.resume_move(&partition, log, log_dir);
            }
            // What was opened in a directory that failed meanwhile.
            self.settle_failed_log_dirs();
            if assigner.take_cleaned_deleted() || delta.is_none() {
                Checkpoints::default().write_cleaned(self);
            }
        }
        if delta.is_none_or(|delta| delta.has_topics() || !delta.brokers.is_empty()) {
            self.follow_image(&image, delta);
        }
        if delta.is_none_or(changes_brokers) {
            self.apply_broker_configs(&image);
        }
        if delta.is_none_or(|delta| delta.client_quotas) && !image.security.client_quotas.is_empty() {
            let count = image.security.client_quotas.len();
            tracing::warn!("the cluster has {count} client quotas, and Milena does not enforce them yet");
        }
        self.image.store(Arc::clone(&image));
        if delta.is_none_or(|delta| delta.has_topics() || !delta.configs.is_empty()) {
            // After the image is there to be seen: whoever sends this compares with it.
            self.tell_directories(&image, delta);
        }
        drop(assigner);
        self.groups.follow(self, &image, delta);
        self.transactions.follow(self, &image, delta);
        if is_new_here && delta.is_some() {
            // What it had to lead before it was registered.
            self.apply(image, None);
        }
    }

    /// Whether no image is just being applied: partitions, and who is told to lead them, are of the same one.
    pub(crate) fn is_settled(&self) -> bool {
        self.assigner.try_lock().is_ok()
    }

    /// Makes the partitions that could not be made when they came. Blocks as `apply` does.
    pub(crate) fn place_missing(&self) {
        let mut assigner = self.assigner.lock().unwrap_or_else(PoisonError::into_inner);
        let image = self.image.load_full();
        assigner.set_damaged_aside(&self.partitions, self.settings.node_id, &image, self.now());
        assigner.place_missing(&self.partitions, &self.settings, &image, self.now());
        self.follow_image(&image, None);
        drop(assigner);
    }

    /// Hands over a server whose bounds on connections are to follow the image.
    pub(crate) fn add_connection_quotas(&self, quotas: QuotaHandle) {
        self.connection_quotas.lock().unwrap_or_else(PoisonError::into_inner).push(quotas);
    }

    /// What the dynamic configs of brokers say beside the defaults of topics.
    fn apply_broker_configs(&self, image: &Image) {
        let texts = broker_texts(&self.settings, image);
        let verifies = texts.get("transaction.partition.verification.enable").map(|text| text.trim());
        self.verifies_transactions.store(verifies != Some("false"), Ordering::Relaxed);
        let rate =
            texts.get("replica.alter.log.dirs.io.max.bytes.per.second").and_then(|text| text.trim().parse().ok());
        self.moves.set_rate(rate.unwrap_or(i64::MAX));
        self.throttles.set(&texts);
        let quotas = connection_quotas(&texts);
        for handle in self.connection_quotas.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            handle.set(quotas.clone());
        }
        let own = ConfigResource { kind: ConfigResource::BROKER, name: self.settings.node_id.to_string().into() };
        for resource in [ConfigResource::all_brokers(), own] {
            for (name, _) in image.configs.get(&resource).iter().flat_map(|configs| configs.iter()) {
                if let Some(reason) = reason_without_effect(name) {
                    tracing::warn!("{name} is set dynamically and has no effect: {reason}");
                }
            }
        }
    }

    /// The quorum's `kraft.version`, which is not in the image.
    #[must_use]
    pub fn kraft_version(&self) -> i16 {
        self.kraft_version.load(Ordering::Relaxed)
    }

    /// Tells the quorum's `kraft.version`.
    pub fn set_kraft_version(&self, level: i16) {
        self.kraft_version.store(level, Ordering::Relaxed);
    }

    /// Asks the controller; `done` gets its answer, or the reason why there is none, from any thread.
    pub fn submit<R: ForController>(
        &self,
        request: R,
        done: impl FnOnce(Result<R::Response, ErrorCode>) + Send + 'static,
    ) {
        let done = Box::new(move |result: Result<crate::ControllerResponse, ErrorCode>| {
            // Another request's answer would be a mistake of the handle.
            done(result.and_then(|response| R::from_response(response).ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)));
        });
        self.controller.submit(request.into_request(), done);
    }

    pub(crate) fn log_dirs(&self) -> &Arc<LogDirs> {
        &self.log_dirs
    }

    pub(crate) fn quarantine(&self) -> &Arc<Quarantine> {
        &self.quarantine
    }

    pub(crate) fn deadlines(&self) -> &Arc<Deadlines> {
        &self.deadlines
    }

    pub(crate) fn flush_queue(&self) -> &FlushQueue {
        &self.flush_queue
    }

    pub(crate) fn fetch_sessions(&self) -> MutexGuard<'_, FetchSessionCache> {
        self.fetch_sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn creating_topics(&self) -> MutexGuard<'_, BTreeSet<Text>> {
        self.creating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn groups(&self) -> &GroupCoordinators {
        &self.groups
    }

    pub(crate) fn moves(&self) -> &Moves {
        &self.moves
    }

    /// What is counted for metrics, if somebody may ask.
    pub(crate) fn cells(&self) -> Option<&Arc<Cells>> {
        self.cells.as_ref()
    }

    pub(crate) fn rebuilding(&self) -> &Rebuilding {
        &self.rebuilding
    }

    pub(crate) fn transactions(&self) -> &TransactionCoordinators {
        &self.transactions
    }

    /// Whether records of a transaction are held against its coordinator before they are written (KIP-890).
    pub(crate) fn verifies_transactions(&self) -> bool {
        self.verifies_transactions.load(Ordering::Relaxed)
    }

    pub(crate) fn producer_ids(&self) -> &ProducerIds {
        &self.producer_ids
    }

    /// The directories of deleted partitions whose time has come.
    pub(crate) fn take_doomed(&self, now: Timestamp) -> Vec<PathBuf> {
        self.assigner.lock().unwrap_or_else(PoisonError::into_inner).take_doomed(now)
    }

    /// A partition by topic name, as a request that must find it here sees it.
    pub(crate) fn lookup(&self, topic: &str, index: PartitionIndex) -> Lookup {
        let local = self.partitions.named(topic);
        self.lookup_in(local.as_deref(), index, || self.image().topics.named(topic).cloned())
    }

    /// A partition by topic id.
    pub(crate) fn lookup_by_id(&self, id: TopicId, index: PartitionIndex) -> Lookup {
        let local = self.partitions.by_id(id);
        if local.is_none() && self.image().topics.get(id).is_none() {
            return Lookup::Refused(ErrorCode::UNKNOWN_TOPIC_ID);
        }
        self.lookup_in(local.as_deref(), index, || self.image().topics.get(id).cloned())
    }

    /// A partition of a topic that may be here.
    pub(crate) fn lookup_in(
        &self,
        local: Option<&LocalTopic>,
        index: PartitionIndex,
        known: impl FnOnce() -> Option<Arc<Topic>>,
    ) -> Lookup {
        if let Some(partition) = local.and_then(|local| local.get(index)) {
            return Lookup::Here(Arc::clone(partition));
        }
        let Some(assigned) = known().and_then(|topic| topic.partition(index).cloned()) else {
            return Lookup::Refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        };
        // A replica of ours that is not here could not be opened; or its log is in a directory that was offline at the
        // start, and then Apache Kafka says that it does not lead.
        let is_broken = assigned.has_replica(self.settings.node_id) && !self.log_dirs.has_offline();
        Lookup::Refused(if is_broken { ErrorCode::KAFKA_STORAGE_ERROR } else { ErrorCode::NOT_LEADER_OR_FOLLOWER })
    }
}

/// Whether the dynamic configs of brokers changed.
fn changes_brokers(delta: &Delta) -> bool {
    delta.configs.iter().any(|resource| resource.kind == ConfigResource::BROKER)
}
