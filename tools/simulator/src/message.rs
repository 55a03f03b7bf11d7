//! What processes and clients say to each other. Metadata requests are the wire's own messages; those of the data plane
//! are what the wire's messages say.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use milena_broker::hosts::{PeerRequest, RaftResponse};
use milena_broker::{ControllerRequest, ControllerResponse};
use milena_metadata::Image;
use milena_raft::{Destination, Outbound};
use milena_replication::{EpochEnd, IsrChange, PartitionKey, RequestedPartition};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset};

/// A fetch, of a follower or a consumer.
#[derive(Clone, Debug)]
pub(crate) struct FetchCall {
    pub(crate) session_id: i32,
    pub(crate) session_epoch: i32,
    pub(crate) partitions: Vec<(PartitionKey, RequestedPartition)>,
    pub(crate) forgotten: Vec<PartitionKey>,
    /// The follower with the epoch of its registration.
    pub(crate) replica: Option<(BrokerId, i64)>,
    pub(crate) max_wait_ms: i64,
}

/// One partition of the answer.
#[derive(Clone, Debug)]
pub(crate) struct FetchedData {
    pub(crate) error: ErrorCode,
    pub(crate) high_watermark: Offset,
    pub(crate) log_start: Offset,
    pub(crate) diverging: Option<EpochEnd>,
    pub(crate) records: Bytes,
}

/// The answer to a fetch.
#[derive(Clone, Debug)]
pub(crate) struct FetchReply {
    pub(crate) error: ErrorCode,
    pub(crate) session_id: i32,
    pub(crate) partitions: Vec<(PartitionKey, FetchedData)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Request {
    Peer(PeerRequest),
    Controller(ControllerRequest),
    Fetch(FetchCall),
    /// Where the log begins and ends, for a follower.
    Range {
        key: PartitionKey,
        leader_epoch: LeaderEpoch,
    },
    /// One batch with acks=all.
    Produce {
        key: PartitionKey,
        batch: Bytes,
        timeout_ms: i64,
    },
    /// The cluster as that broker knows it.
    Metadata,
}

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Raft(Box<RaftResponse>),
    /// The range of `kraft.version`.
    ApiVersions(i16, i16),
    Controller(Result<Box<ControllerResponse>, ErrorCode>),
    Fetch(FetchReply),
    Range(Result<(Offset, Offset), ErrorCode>),
    /// The offset of the batch's first record.
    Produce(Result<Offset, ErrorCode>),
    Metadata(Arc<Image>),
}

/// What the caller does with the answer.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// A request of the quorum, with who was asked.
    Raft {
        to: Destination,
        from: BrokerId,
        request: Outbound,
    },
    Snapshot {
        request: Outbound,
        so_far: Vec<u8>,
    },
    Register,
    Heartbeat,
    AlterPartition(BTreeMap<PartitionKey, IsrChange>),
    ReplicaFetch {
        leader: BrokerId,
        wanted: BTreeMap<PartitionKey, RequestedPartition>,
    },
    Range {
        leader: BrokerId,
        key: PartitionKey,
        asked: RequestedPartition,
    },
    Client,
}

/// Each has a connection of its own between two processes, on which nothing overtakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    Raft,
    RaftFetch,
    Controller,
    Replica,
    Client,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Request(Request),
    Answer(Answer),
}

/// A message on its way. Places are nodes by index, then clients.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) call: u64,
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// The life of the receiving process that the connection leads to.
    pub(crate) to_life: u32,
    pub(crate) body: Body,
}
