//! The thread that owns the metadata: log, quorum, controller and committed image. Events come in through a channel;
//! whatever came while the disk was syncing is decided together and shares the next sync.
//!
//! Order within one turn: events are decided and replayed into the controller; queued batches are appended; the log is
//! synced; what is then committed is published, and only after that are callers answered (classes `KafkaRaftClient`,
//! `QuorumController`, `MetadataLoader`).

mod following;
mod proposals;
mod requests;
mod serving;
mod snapshots;
mod start_error;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use milena_controller::{Controller, ControllerSettings};
use milena_metadata::{Delta, Image, VersionedRecord};
use milena_raft::{
    Boot, Destination, Effect, Endpoint, FetchOut, KRaftState, LeaderBatch, Outbound, Quorum, QuorumConfig,
    SnapshotPolicy,
};
use milena_storage::Error;
use milena_storage::disk::Disk;
use milena_types::{BrokerId, ErrorCode, Offset, Timestamp};

use super::metadata_log::MetadataLog;
use super::raft_requests::{RaftDone, RaftRequest, RaftResponse};
use super::replayer::Replayer;
use crate::clock::Clock;
use crate::controller_handle::{ControllerDone, ControllerHandle, ControllerRequest};
use proposals::Proposal;
use serving::ParkedFetch;
pub(crate) use snapshots::BesideThread;
pub use snapshots::{Beside, Job};
pub use start_error::MetadataError;
use start_error::check_voters;

/// What fails here is the disk, where nothing else is said.
type Result<T, E = Error> = std::result::Result<T, E>;

/// How many events are taken into one turn, so that no sync is put off for ever.
const EVENTS_PER_TURN_MAX: usize = 1000;

/// Learns of committed metadata, in order. Called from the metadata thread before the answers that depend on it.
pub trait MetadataListener: Send {
    /// `image` is the newest committed one, `delta` what changed since the last call. The first call's says nothing.
    fn publish(&mut self, image: &Arc<Image>, delta: &Delta);

    /// The quorum's `kraft.version`, which is not in the image: once before the first image, and when it changes.
    fn kraft_version(&mut self, level: i16);
}

/// Sends requests to other members; answers come back as [`Event::Reply`].
pub trait RaftSender: Send {
    /// Begins to send; must not block.
    fn send(&mut self, to: Destination, request: Outbound);

    /// Who leads now and where it listens, if known.
    fn leader_changed(&mut self, _leader: Option<(BrokerId, Vec<Endpoint>)>) {}
}

/// A sender for a quorum of one: there is nobody to send to.
#[derive(Debug, Default)]
pub struct NoPeers;

impl RaftSender for NoPeers {
    fn send(&mut self, to: Destination, request: Outbound) {
        tracing::error!(?to, ?request, "a quorum of one has nobody to send to");
    }
}

/// What happens to the metadata thread.
pub enum Event {
    /// A request for the active controller.
    Request { request: ControllerRequest, done: ControllerDone },
    /// A request of another member of the quorum, with the name of the listener it came in on.
    Raft { request: RaftRequest, listener: String, done: RaftDone },
    /// The answer to a metadata fetch, `None` if it failed.
    FetchReply(Option<milena_protocol::messages::FetchResponse>),
    /// A snapshot of this node's own was written beside, or not.
    SnapshotWritten { id: milena_raft::OffsetAndEpoch, outcome: Result<()> },
    /// A snapshot was downloaded whole: its id and bytes. `None` if it failed.
    SnapshotReply(Option<(milena_raft::OffsetAndEpoch, bytes::Bytes)>),
    /// End the thread; called when the log is closed.
    Stop { done: Box<dyn FnOnce() + Send> },
}

/// Everything the thread is made of.
pub struct MetadataParts<D: Disk> {
    pub log: MetadataLog<D>,
    pub quorum: QuorumConfig,
    pub kraft: KRaftState,
    /// `None` on a node without the controller role. Its voters are replaced by those the log knows.
    pub controller: Option<ControllerSettings>,
    /// The broker that lives in this process: when the controller becomes active its last incarnation is certainly
    /// gone, and need not be waited for.
    pub own_broker: Option<BrokerId>,
    /// The content of `bootstrap.checkpoint`.
    pub bootstrap: Vec<VersionedRecord>,
    pub listener: Box<dyn MetadataListener>,
    pub sender: Box<dyn RaftSender>,
    /// Writes snapshots.
    pub beside: Box<dyn Beside>,
    pub clock: Clock,
    pub snapshots: SnapshotPolicy,
    pub cluster_id: String,
    /// The name of the controller listener.
    pub listener_name: String,
    pub random_seed: u64,
    /// Dropped when the thread ends, for whatever reason.
    pub ended: Option<tokio::sync::oneshot::Sender<()>>,
}

/// A way to the thread; cheap to clone.
#[derive(Clone, Debug)]
pub struct MetadataHandle {
    events: Arc<Sender<Event>>,
}

impl MetadataHandle {
    /// Queues an event. Returns false when the thread has ended; the event is dropped then.
    pub fn send(&self, event: Event) -> bool {
        self.events.send(event).is_ok()
    }
}

impl ControllerHandle for MetadataHandle {
    fn submit(&self, request: ControllerRequest, done: ControllerDone) {
        if let Err(failed) = self.events.send(Event::Request { request, done })
            && let Event::Request { done, .. } = failed.0
        {
            done(Err(ErrorCode::NOT_CONTROLLER));
        }
    }
}

/// The state of the thread.
pub(crate) struct MetadataLoop<D: Disk> {
    log: MetadataLog<D>,
    quorum: Quorum,
    settings: Option<ControllerSettings>,
    own_broker: Option<BrokerId>,
    bootstrap: Vec<VersionedRecord>,
    /// Present while this node is the active controller; ahead of what is committed by the proposals.
    controller: Option<Controller>,
    /// The committed state.
    replayer: Replayer,
    published: Arc<Image>,
    listener: Box<dyn MetadataListener>,
    sender: Box<dyn RaftSender>,
    beside: Box<dyn Beside>,
    proposals: VecDeque<Proposal>,
    parked: Vec<ParkedFetch>,
    answers_when_settled: Vec<(RaftDone, RaftResponse)>,
    fx: Vec<Effect>,
    /// Set while this node leads but its controller is not active yet: the start of the epoch.
    activating: Option<Offset>,
    fetch_in_flight: bool,
    retry_fetch_at: Timestamp,
    fetched: Option<(bytes::Bytes, Offset)>,
    /// The fetch that is under way, or was last.
    asked: Option<FetchOut>,
    /// The voters and version of the configuration.
    configured: KRaftState,
    clock: Clock,
    snapshots: SnapshotPolicy,
    last_snapshot: Timestamp,
    snapshot_in_flight: bool,
    /// When to look for what is past retention.
    next_clean: Timestamp,
    /// When the log was last appended to as the leader.
    last_append: Timestamp,
    cluster_id: String,
    listener_name: String,
    random: u64,
    _ended: Option<tokio::sync::oneshot::Sender<()>>,
}

/// Opens the metadata, elects where nobody else can, publishes what is committed, and starts the thread.
///
/// # Errors
/// IO, or a log that cannot be replayed.
pub fn start_metadata<D: Disk>(
    parts: MetadataParts<D>,
    inbox: MetadataInbox,
) -> Result<std::thread::JoinHandle<()>, MetadataError> {
    let mut state = MetadataLoop::open(parts)?;
    state.settle()?;
    std::thread::Builder::new()
        .name("metadata".to_owned())
        .spawn(move || state.run(&inbox.0))
        .map_err(MetadataError::Thread)
}

/// The way to a metadata thread that is not started yet, and what the thread will read from.
#[must_use]
pub fn metadata_channel() -> (MetadataHandle, MetadataInbox) {
    let (events, inbox) = channel();
    (MetadataHandle { events: Arc::new(events) }, MetadataInbox(inbox))
}

/// What a metadata thread reads its events from.
#[derive(Debug)]
pub struct MetadataInbox(Receiver<Event>);

impl<D: Disk> MetadataLoop<D> {
    pub(crate) fn open(parts: MetadataParts<D>) -> Result<MetadataLoop<D>, MetadataError> {
        let now = parts.clock.steady();
        let log = parts.log;
        let kraft = log.kraft_history(parts.kraft.clone())?;
        check_voters(&kraft.current().voters, &parts.quorum)?;
        let voters = kraft.current().voters.voters().iter().map(|voter| voter.key.id).collect();
        let settings = parts.controller.map(|settings| ControllerSettings { voters, ..settings });
        let boot = Boot { election: log.read_election()?, log: log.epoch_cache(), kraft };
        let mut listener = parts.listener;
        listener.kraft_version(boot.kraft.current().kraft_version);
        let mut fx = Vec::new();
        let mut replayer = Replayer::new();
        log.load_latest_snapshot(&mut replayer)?;
        let quorum = Quorum::open(parts.quorum, boot, now, &mut fx);
        Ok(MetadataLoop {
            log,
            quorum,
            settings,
            own_broker: parts.own_broker,
            bootstrap: parts.bootstrap,
            controller: None,
            replayer,
            published: Arc::default(),
            listener,
            sender: parts.sender,
            beside: parts.beside,
            proposals: VecDeque::new(),
            parked: Vec::new(),
            answers_when_settled: Vec::new(),
            fx,
            activating: None,
            fetch_in_flight: false,
            retry_fetch_at: now,
            fetched: None,
            asked: None,
            configured: parts.kraft,
            clock: parts.clock,
            snapshots: parts.snapshots,
            last_snapshot: now,
            snapshot_in_flight: false,
            next_clean: now,
            last_append: now,
            cluster_id: parts.cluster_id,
            listener_name: parts.listener_name,
            random: parts.random_seed | 1,
            _ended: parts.ended,
        })
    }

    fn run(mut self, inbox: &Receiver<Event>) {
        let stopped = loop {
            match inbox.recv_timeout(self.until_next_deadline()) {
                Ok(event) => {
                    if let Some(done) = self.handle(event) {
                        break Some(done);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break None,
            }
            let mut stop = None;
            for event in inbox.try_iter().take(EVENTS_PER_TURN_MAX) {
                stop = self.handle(event);
                if stop.is_some() {
                    break;
                }
            }
            if let Err(error) = self.turn() {
                tracing::error!(%error, "the metadata log failed: this node can no longer follow or lead the cluster");
                self.deactivate();
                break stop;
            }
            if stop.is_some() {
                break stop;
            }
        };
        self.deactivate();
        // The directory's lock is given up after this: nothing of this node may write then.
        self.beside.finish();
        if let Err(error) = self.log.close() {
            tracing::error!(%error, "the metadata log was not closed cleanly");
        }
        if let Some(done) = stopped {
            done();
        }
    }

    /// Everything that follows the events of a turn.
    pub(crate) fn turn(&mut self) -> Result<()> {
        let now = self.clock.steady();
        self.quorum.tick(now, &mut self.fx);
        self.tick_controller();
        self.settle()?;
        self.expire_parked(now);
        self.fetch_if_due(now);
        self.settle()?;
        self.snapshot_if_due(now);
        self.clean_if_due(now)
    }

    /// Takes one event; returns the callback of a stop.
    pub(crate) fn handle(&mut self, event: Event) -> Option<Box<dyn FnOnce() + Send>> {
        match event {
            Event::Request { request, done } => self.handle_request(request, done),
            Event::Raft { request, listener, done } => self.handle_raft(request, listener, done),
            Event::FetchReply(response) => self.on_fetch_reply(response),
            Event::SnapshotReply(snapshot) => self.on_snapshot_reply(snapshot),
            Event::SnapshotWritten { id, outcome } => self.on_snapshot_written(id, outcome),
            Event::Stop { done } => return Some(done),
        }
        None
    }

    /// Performs effects until none is left; one sync covers all appends of a round.
    pub(crate) fn settle(&mut self) -> Result<()> {
        loop {
            self.quorum.drain(&mut self.fx);
            if self.fx.is_empty() {
                self.send_answers();
                return Ok(());
            }
            let mut appended = false;
            for effect in std::mem::take(&mut self.fx) {
                appended |= self.perform(effect)?;
            }
            if appended {
                let durable = self.log.sync()?;
                self.quorum.on_durable(durable, self.clock.steady(), &mut self.fx);
            }
        }
    }

    /// Returns whether something was appended that must be synced and reported.
    fn perform(&mut self, effect: Effect) -> Result<bool> {
        match effect {
            Effect::WriteQuorumState(state) => self.log.write_election(&state, self.quorum.kraft())?,
            Effect::Append(batches) => {
                self.last_append = self.clock.steady();
                for batch in batches {
                    // The quorum's own time is steady; what is written down is the time of day.
                    self.log.append_batch(&LeaderBatch { timestamp: self.clock.now(), ..batch })?;
                }
                return Ok(true);
            }
            Effect::Truncate(end) => self.log.truncate(end, self.clock.now())?,
            Effect::AppendFetched => self.append_fetched()?,
            Effect::Commit(end) => self.on_commit(end)?,
            Effect::LeaderChanged { leader, start_offset } => {
                tracing::info!(epoch = leader.epoch.0, leader = ?leader.leader, role = ?self.quorum.role(), "quorum");
                if start_offset.is_none() {
                    self.deactivate();
                }
                self.activating = start_offset;
                self.sender.leader_changed(self.quorum.leader_endpoints());
            }
            Effect::WakeFetches => self.wake_fetches(),
            Effect::Send { to, request } => self.sender.send(to, request),
            Effect::AnswerVoterChange { ticket, error, .. } => {
                tracing::error!(?ticket, %error, "nobody waits for this")
            }
        }
        Ok(false)
    }

    fn until_next_deadline(&self) -> Duration {
        let now = self.clock.steady();
        let until = |at: Timestamp| Duration::from_millis(u64::try_from(at.0 - now.0).unwrap_or(0));
        let quorum = self.quorum.next_deadline().map(until);
        let parked = self.parked.iter().map(|fetch| until(fetch.deadline)).min();
        let fetch = (!self.fetch_in_flight && self.quorum.next_fetch().is_some()).then(|| until(self.retry_fetch_at));
        let no_op = self.next_no_op().map(until);
        let clean = Some(until(self.next_clean));
        let deadlines = [quorum, parked, fetch, no_op, clean, self.until_controller_deadline()];
        deadlines.into_iter().flatten().min().unwrap_or(Duration::from_secs(3600))
    }
}

#[cfg(test)]
mod lying_disk;
#[cfg(test)]
#[path = "metadata_loop_simulation_tests.rs"]
mod simulation_tests;
#[cfg(test)]
mod test_node;
#[cfg(test)]
#[path = "metadata_loop_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "metadata_loop_vote_tests.rs"]
mod vote_tests;
