//! What the metadata thread is made of, what it is told, and whom it tells.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use milena_controller::{ControllerSettings, Probe, Probed};
use milena_metadata::{Delta, Image, VersionedRecord};
use milena_protocol::messages::FetchResponse;
use milena_raft::{
    Destination, Endpoint, FetchOut, KRaftState, LeaderNews, OffsetAndEpoch, Outbound, PlainAnswer, PlainRequest,
    QuorumConfig, SnapshotFetchOut, SnapshotPolicy, VoteAnswer,
};
use milena_storage::disk::Disk;
use milena_types::{BrokerId, ErrorCode, Timestamp};

use super::{Beside, Result};
use crate::clock::Clock;
use crate::controller_handle::{ControllerDone, ControllerHandle, ControllerRequest, ControllerResponse};
use crate::hosts::metadata_log::MetadataLog;
use crate::hosts::raft_requests::{RaftDone, RaftRequest};

/// Learns of committed metadata, in order. Called from the metadata thread before the answers that depend on it.
pub trait MetadataListener: Send {
    /// `image` is the newest committed one, `delta` what changed since the last call. The first call's says nothing.
    fn publish(&mut self, image: &Arc<Image>, delta: &Delta);

    /// The quorum's `kraft.version`, which is not in the image: once before the first image, and when it changes.
    fn kraft_version(&mut self, level: i16);

    /// Everything is published that was committed at `as_of`, on the steady clock: the leader said so later, or this node leads.
    fn caught_up(&mut self, as_of: Timestamp);
}

/// Sends requests to other members; answers come back as events.
pub trait RaftSender: Send {
    /// Begins to send; must not block.
    fn send(&mut self, to: Destination, request: Outbound);

    /// Connects to a broker's listeners, and tells what came of it with [`Event::Probed`]; must not block.
    fn probe(&mut self, _probe: Probe) {}

    /// Who can be asked as the active controller, and where it listens, if known: another one that leads, or this node
    /// once it is active.
    fn leader_changed(&mut self, _leader: Option<(BrokerId, Vec<Endpoint>)>) {}
}

/// What another member answered to a request other than a fetch.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerAnswer {
    Vote(VoteAnswer),
    Plain(PlainRequest, PlainAnswer),
    /// Which range of `kraft.version` it can do, if it names one.
    KRaftVersions(BrokerId, Result<Option<(i16, i16)>, ErrorCode>),
    /// The leader's word on a voter that asks to be added, or to have its former self removed.
    VoterChange(ErrorCode, Option<String>),
}

/// What happens to the metadata thread.
pub enum Event {
    /// A request for the active controller.
    Request { request: ControllerRequest, done: ControllerDone },
    /// A request that this node did not answer, because it is not the active controller.
    Elsewhere { request: ControllerRequest, done: Box<dyn FnOnce(Option<ControllerResponse>, String) + Send> },
    /// A request of another member of the quorum, with the name of the listener it came in on.
    Raft { request: RaftRequest, listener: String, done: RaftDone },
    /// The answer to a metadata fetch, `None` if it failed.
    FetchReply { asked: FetchOut, response: Option<FetchResponse> },
    /// The answer to another request.
    Answer { to: Destination, request: Outbound, answer: PeerAnswer },
    /// A request, no fetch, could not be sent or was not answered in time.
    SendFailed { to: Destination, request: Outbound },
    /// Nobody listens where the leader did that this fetch was for.
    LeaderRefused { leader: BrokerId, asked: FetchOut },
    /// A connection on which this broker sent heartbeats to this node has ended.
    ConnectionLost { broker: BrokerId, broker_epoch: i64 },
    /// What came of a probe.
    Probed { broker: BrokerId, broker_epoch: i64, probed: Probed },
    /// A snapshot of this node's own was written beside, or not.
    SnapshotWritten { id: OffsetAndEpoch, outcome: Result<()> },
    /// The head of the answer to a piece of a snapshot that is being downloaded.
    SnapshotPiece { asked: SnapshotFetchOut, error: ErrorCode, news: LeaderNews },
    /// A snapshot was downloaded whole. `None` if it failed.
    SnapshotReply { asked: SnapshotFetchOut, bytes: Option<Bytes> },
    /// Give leadership up, because this node is about to stop; called when the others know, or have had the time to.
    Resign { done: Box<dyn FnOnce() + Send> },
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
    pub(super) events: Arc<Sender<Event>>,
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

/// The way to a metadata thread that is not started yet, and what the thread will read from.
#[must_use]
pub fn metadata_channel() -> (MetadataHandle, MetadataInbox) {
    let (events, inbox) = channel();
    (MetadataHandle { events: Arc::new(events) }, MetadataInbox(inbox))
}

/// What a metadata thread reads its events from.
#[derive(Debug)]
pub struct MetadataInbox(pub(in crate::hosts) Receiver<Event>);
