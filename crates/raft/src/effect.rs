//! What the quorum wants done. Effects are performed in the order given; each says what must be durable before the next
//! one may be performed.

use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Timestamp};

use crate::accumulator::LeaderBatch;
use crate::election_state::ElectionState;
use crate::identity::{Endpoint, LeaderAndEpoch, OffsetAndEpoch, ReplicaKey};
use crate::replies::Ticket;
use crate::voters::Voter;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Replace `quorum-state`. Must be synced before any later effect, and before the answer to the request that caused
    /// it is sent: a vote or an epoch once spoken is never undone.
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
    /// Who leads has changed, or this node no longer leads. If this node leads, `start_offset` is where its epoch
    /// begins: the state machine is current once it has replayed everything below.
    LeaderChanged { leader: LeaderAndEpoch, start_offset: Option<Offset> },
    /// The leader's log has grown, its high watermark has moved, or it leads no more: parked fetches look again.
    WakeFetches,
    /// Send a request; its answer comes back to the handler of its kind, a failure to `Quorum::on_send_failed`.
    Send { to: Destination, request: Outbound },
    /// The answer to a request that adds or removes a voter.
    AnswerVoterChange { ticket: Ticket, error: ErrorCode, message: Option<String> },
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
    BeginQuorumEpoch {
        voter: ReplicaKey,
        leader: BrokerId,
        epoch: LeaderEpoch,
        endpoints: Vec<Endpoint>,
    },
    EndQuorumEpoch {
        leader: BrokerId,
        epoch: LeaderEpoch,
        preferred: Vec<ReplicaKey>,
        endpoints: Vec<Endpoint>,
    },
    Fetch(FetchOut),
    FetchSnapshot(SnapshotFetchOut),
    /// Which kraft.version a voter to be added can do.
    ApiVersions {
        voter: ReplicaKey,
    },
    /// What the leader must know of this voter.
    UpdateRaftVoter {
        voter: Voter,
        epoch: LeaderEpoch,
    },
    /// This member joins by itself (`controller.quorum.auto.join.enable`); acknowledged before it is committed.
    AddRaftVoter {
        voter: Voter,
    },
    /// This member's node once had another directory: the voter of that one goes first.
    RemoveRaftVoter {
        voter: ReplicaKey,
    },
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FetchOut {
    pub replica: ReplicaKey,
    pub epoch: LeaderEpoch,
    pub from: OffsetAndEpoch,
    /// What the fetcher knows as committed (KIP-1166); `Offset::NONE` if nothing.
    pub high_watermark: Offset,
    pub max_wait_ms: i32,
    /// Set by the host that sends: it tells attempts apart, and since when the answer holds.
    pub sent: Timestamp,
}

/// A FetchSnapshot; `position` is set by the host that downloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotFetchOut {
    pub replica: ReplicaKey,
    pub epoch: LeaderEpoch,
    pub snapshot: OffsetAndEpoch,
}
