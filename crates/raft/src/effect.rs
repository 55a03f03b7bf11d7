//! What the quorum wants done. Effects are performed in the order given; each says what must be durable before the next
//! one may be performed.

use milena_types::{BrokerId, LeaderEpoch, Offset};

use crate::accumulator::LeaderBatch;
use crate::election_state::ElectionState;
use crate::identity::{Endpoint, LeaderAndEpoch, OffsetAndEpoch, ReplicaKey};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Replace `quorum-state`. Must be synced before any later effect: a vote or an epoch once spoken is never undone.
    WriteQuorumState(ElectionState),
    /// Append these batches at the end of the log. They may be sent to fetchers at once; when they are synced, report
    /// it by `Quorum::on_durable`.
    Append(Vec<LeaderBatch>),
    /// Cut the log to this end, synced before the next fetch.
    Truncate(Offset),
    /// Append the records of the fetch response being handled, sync them, then report by `Quorum::on_follower_append`.
    AppendFetched,
    /// Everything below is committed: give it to the state machines.
    Commit(Offset),
    /// Who leads has changed. If this node leads, `start_offset` is where its epoch begins: the state machine is
    /// current once it has replayed everything below.
    LeaderChanged { leader: LeaderAndEpoch, start_offset: Option<Offset> },
    /// The leader's log has grown or its high watermark has moved: parked fetches look again.
    WakeFetches,
    /// Send a request; its answer comes back to the handler of its kind.
    Send { to: Destination, request: Outbound },
}

/// Whom to send to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A node whose controller listener is known.
    Node { id: BrokerId, endpoints: Vec<Endpoint> },
    /// Any of `controller.quorum.bootstrap.servers`.
    AnyBootstrapServer,
}

/// A request to another member of the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outbound {
    Vote(VoteOut),
    BeginQuorumEpoch { voter: ReplicaKey, leader: BrokerId, epoch: LeaderEpoch },
    EndQuorumEpoch { leader: BrokerId, epoch: LeaderEpoch, preferred: Vec<ReplicaKey> },
    Fetch(FetchOut),
    FetchSnapshot(SnapshotFetchOut),
}

/// A Vote request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteOut {
    pub voter: ReplicaKey,
    pub candidate: ReplicaKey,
    pub epoch: LeaderEpoch,
    pub last: OffsetAndEpoch,
    pub pre_vote: bool,
}

/// A Fetch of the metadata log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchOut {
    pub replica: ReplicaKey,
    pub epoch: LeaderEpoch,
    pub from: OffsetAndEpoch,
    /// What the fetcher knows as committed (KIP-1166); `Offset::NONE` if nothing.
    pub high_watermark: Offset,
    pub max_wait_ms: i32,
}

/// A FetchSnapshot; `position` is set by the host that downloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotFetchOut {
    pub replica: ReplicaKey,
    pub epoch: LeaderEpoch,
    pub snapshot: OffsetAndEpoch,
}
