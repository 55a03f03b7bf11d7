//! The thread that owns the metadata: log, quorum, controller and committed image. Events come in through a channel;
//! whatever came while the disk was syncing is decided together and shares the next sync.
//!
//! Order within one turn: events are decided and replayed into the controller; queued batches are appended; the log is
//! synced; what is then committed is published, and only after that are callers answered (classes `KafkaRaftClient`,
//! `QuorumController`, `MetadataLoader`).

mod elsewhere;
mod following;
mod leading;
mod parts;
mod performing;
mod proposals;
mod requests;
mod serving;
mod snapshots;
mod start_error;
mod stepped;
mod voter_changes;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use milena_controller::{Controller, ControllerSettings};
use milena_metadata::{Image, VersionedRecord};
use milena_raft::{Boot, Effect, KRaftState, LeaderAndEpoch, Quorum, RoleName, SnapshotPolicy, Ticket};
use milena_storage::Error;
use milena_storage::disk::Disk;
use milena_types::{BrokerId, Offset, Timestamp};

use super::metadata_log::MetadataLog;
use super::raft_requests::{RaftDone, RaftResponse};
use super::replayer::Replayer;
use crate::clock::Clock;
use following::InFlight;
use leading::Leaving;
pub use parts::{
    Event, MetadataHandle, MetadataInbox, MetadataListener, MetadataParts, PeerAnswer, RaftSender, metadata_channel,
};
use proposals::Proposal;
use serving::ParkedFetch;
pub(crate) use snapshots::BesideThread;
pub use snapshots::{Beside, Job};
pub use start_error::MetadataError;
pub use stepped::{PeerRequest, PeerResponse, SteppedMetadata, answer_event, snapshot_piece};
use voter_changes::VoterChange;

/// What fails here is the disk, where nothing else is said.
type Result<T, E = Error> = std::result::Result<T, E>;

/// How many events are taken into one turn, so that no sync is put off for ever.
const EVENTS_PER_TURN_MAX: usize = 1000;

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
    in_flight: Option<InFlight>,
    retry_fetch_at: Timestamp,
    /// When a fetch was sent that the leader has answered, and the high watermark it told.
    told: Option<(Timestamp, Offset)>,
    fetched: Option<(bytes::Bytes, Offset)>,
    /// Callers that wait for a change of the voters.
    voter_changes: BTreeMap<Ticket, VoterChange>,
    next_ticket: u64,
    /// EndQuorumEpoch requests that are under way.
    farewells: usize,
    /// Set once this node gave leadership up in order to stop.
    leaving: Option<Leaving>,
    /// What cannot be gone on after, found while an event was handled.
    failure: Option<Error>,
    told_kraft_version: i16,
    /// Who led, and as what this node saw it, when that was last logged.
    told_role: Option<(LeaderAndEpoch, RoleName)>,
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

impl<D: Disk> MetadataLoop<D> {
    pub(crate) fn open(parts: MetadataParts<D>) -> Result<MetadataLoop<D>, MetadataError> {
        let now = parts.clock.steady();
        let log = parts.log;
        let kraft = log.kraft_history(parts.kraft.clone())?;
        let boot = Boot { election: log.read_election()?, log: log.epoch_cache(), kraft };
        let mut listener = parts.listener;
        let told_kraft_version = boot.kraft.current().kraft_version;
        listener.kraft_version(told_kraft_version);
        let mut fx = Vec::new();
        let mut replayer = Replayer::new();
        log.load_latest_snapshot(&mut replayer)?;
        let quorum = Quorum::open(parts.quorum, boot, now, &mut fx);
        Ok(MetadataLoop {
            log,
            quorum,
            settings: parts.controller,
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
            in_flight: None,
            retry_fetch_at: now,
            told: None,
            fetched: None,
            voter_changes: BTreeMap::new(),
            next_ticket: 0,
            farewells: 0,
            leaving: None,
            failure: None,
            told_kraft_version,
            told_role: None,
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
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let now = self.clock.steady();
        self.quorum.tick(now, &mut self.fx);
        self.tick_controller();
        self.settle()?;
        self.tell_caught_up(now);
        self.expire_parked(now);
        self.fetch_if_due(now);
        self.settle()?;
        self.leave_if_told(now);
        self.snapshot_if_due(now);
        self.clean_if_due(now)
    }

    /// Takes one event; returns the callback of a stop.
    pub(crate) fn handle(&mut self, event: Event) -> Option<Box<dyn FnOnce() + Send>> {
        match event {
            Event::Request { request, done } => self.handle_request(request, done),
            Event::Elsewhere { request, done } => self.handle_elsewhere(request, done),
            Event::Raft { request, listener, done } => self.handle_raft(request, listener, done),
            Event::FetchReply { asked, response } => self.on_fetch_reply(asked, response),
            Event::Answer { to, request, answer } => self.on_answer(&to, &request, answer),
            Event::SendFailed { to, request } => self.on_send_failed(&to, &request),
            Event::LeaderRefused { leader, asked } => {
                self.quorum.on_leader_refused(leader, asked.epoch, self.clock.steady());
            }
            Event::ConnectionLost { broker, broker_epoch } => self.on_connection_lost(broker, broker_epoch),
            Event::Probed { broker, broker_epoch, probed } => self.on_probed(broker, broker_epoch, probed),
            Event::SnapshotPiece { asked, error, news } => self.on_snapshot_piece(&asked, error, news),
            Event::SnapshotReply { asked, bytes } => self.on_snapshot_reply(asked, bytes),
            Event::Resign { done } => self.resign(done),
            Event::SnapshotWritten { id, outcome } => self.on_snapshot_written(id, outcome),
            Event::Stop { done } => return Some(done),
        }
        None
    }

    fn until_next_deadline(&self) -> Duration {
        let now = self.clock.steady();
        let until = |at: Timestamp| Duration::from_millis(u64::try_from(at.0 - now.0).unwrap_or(0));
        let quorum = self.quorum.next_deadline().map(until);
        let parked = self.parked.iter().map(|fetch| until(fetch.deadline)).min();
        let fetch =
            (self.in_flight.is_none() && self.quorum.next_fetch().is_some()).then(|| until(self.retry_fetch_at));
        let no_op = self.next_no_op().map(until);
        let clean = Some(until(self.next_clean));
        let leaving = self.leaving_deadline().map(until);
        let deadlines = [quorum, parked, fetch, no_op, clean, leaving, self.until_controller_deadline()];
        deadlines.into_iter().flatten().min().unwrap_or(Duration::from_secs(3600))
    }
}

#[cfg(test)]
mod lying_disk;
#[cfg(test)]
#[path = "metadata_loop_quorum_tests.rs"]
mod quorum_tests;
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
