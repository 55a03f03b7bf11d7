//! Requests and answers of the quorum as plain values; the host turns them into the wire's messages.

use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Timestamp};

use crate::identity::{Endpoint, LeaderAndEpoch, OffsetAndEpoch, ReplicaKey};
use crate::voters::Voter;

/// A caller that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Who leads, as a request or an answer tells it, and where the leader listens; without endpoints when it does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderNews {
    pub leader: LeaderAndEpoch,
    pub endpoints: Vec<Endpoint>,
}

/// A Vote or pre-vote request (KIP-595, KIP-996). Who is asked is `None` when the request does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteAsk {
    pub voter: Option<ReplicaKey>,
    pub candidate: ReplicaKey,
    pub epoch: LeaderEpoch,
    pub last: OffsetAndEpoch,
    pub pre_vote: bool,
}

/// The answer to it, also as received from another voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteReply {
    pub error: ErrorCode,
    pub leader: LeaderAndEpoch,
    pub granted: bool,
}

/// A vote answer with who gave it and what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteAnswer {
    pub from: BrokerId,
    pub pre_vote: bool,
    pub reply: VoteReply,
    pub endpoints: Vec<Endpoint>,
}

/// The head of an answer that says no more than whether it went well and who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainAnswer {
    pub from: BrokerId,
    pub error: ErrorCode,
    pub news: LeaderNews,
}

/// What of a member's request kind an answer belongs to, where the head of the answer is all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainRequest {
    BeginQuorumEpoch,
    EndQuorumEpoch,
    UpdateRaftVoter,
}

/// AddRaftVoter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddVoterAsk {
    pub voter: ReplicaKey,
    pub endpoints: Vec<Endpoint>,
    pub ack_when_committed: bool,
}

/// UpdateRaftVoter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateVoterAsk {
    pub voter: Voter,
    pub epoch: LeaderEpoch,
}

/// A new leader's BeginQuorumEpoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeginEpochAsk {
    pub voter: Option<ReplicaKey>,
    pub leader: BrokerId,
    pub epoch: LeaderEpoch,
    /// Where the leader listens; version 0 does not say.
    pub endpoints: Vec<Endpoint>,
}

/// A resigning leader's EndQuorumEpoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndEpochAsk {
    pub leader: BrokerId,
    pub epoch: LeaderEpoch,
    pub preferred: Vec<ReplicaKey>,
    /// Where the leader listens; version 0 does not say.
    pub endpoints: Vec<Endpoint>,
}

/// A Fetch of the metadata log, from a voter or an observer. A client that only reads has id -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchAsk {
    pub replica: ReplicaKey,
    pub epoch: LeaderEpoch,
    pub from: OffsetAndEpoch,
    /// -1 from fetchers that do not tell.
    pub high_watermark: Offset,
}

/// What to answer to a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchVerdict {
    Error(ErrorCode),
    Diverging(OffsetAndEpoch),
    Snapshot(OffsetAndEpoch),
    /// Read the log from the asked offset up to `end`; park if that is nothing and `high_watermark` is no news.
    Read {
        end: Offset,
        high_watermark: Offset,
    },
}

/// A FetchSnapshot request's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotAsk {
    pub replica: ReplicaKey,
    pub epoch: LeaderEpoch,
    pub snapshot: OffsetAndEpoch,
}

/// The head of a fetch answer from the leader; its records, if any, are with the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchAnswer {
    pub error: ErrorCode,
    pub leader: LeaderAndEpoch,
    pub high_watermark: Offset,
    pub diverging: Option<OffsetAndEpoch>,
    pub snapshot: Option<OffsetAndEpoch>,
    pub has_records: bool,
}

/// DescribeQuorum's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumDescription {
    pub leader: LeaderAndEpoch,
    pub high_watermark: Offset,
    /// Key, log end (-1 unknown), last fetch (-1 never), last caught up (-1 never).
    pub voters: Vec<(ReplicaKey, Offset, Timestamp, Timestamp)>,
    pub observers: Vec<(ReplicaKey, Offset, Timestamp, Timestamp)>,
}
