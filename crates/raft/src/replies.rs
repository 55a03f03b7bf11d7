//! Requests and answers of the quorum as plain values; the host turns them into the wire's messages.

use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Timestamp};

use crate::identity::{LeaderAndEpoch, OffsetAndEpoch, ReplicaKey};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteAnswer {
    pub from: BrokerId,
    pub pre_vote: bool,
    pub reply: VoteReply,
}

/// A new leader's BeginQuorumEpoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeginEpochAsk {
    pub voter: Option<ReplicaKey>,
    pub leader: BrokerId,
    pub epoch: LeaderEpoch,
}

/// A resigning leader's EndQuorumEpoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndEpochAsk {
    pub leader: BrokerId,
    pub epoch: LeaderEpoch,
    pub preferred: Vec<ReplicaKey>,
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
