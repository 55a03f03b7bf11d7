//! Requests of the quorum that came over a connection, and their answers, as one type each.

use milena_protocol::messages::{
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, EndQuorumEpochRequest, EndQuorumEpochResponse, FetchRequest,
    FetchResponse, FetchSnapshotRequest, FetchSnapshotResponse, VoteRequest, VoteResponse,
};

/// What another member of the quorum asks.
#[derive(Clone, Debug, PartialEq)]
pub enum RaftRequest {
    Fetch(FetchRequest),
    FetchSnapshot(FetchSnapshotRequest),
    Vote(VoteRequest),
    BeginQuorumEpoch(BeginQuorumEpochRequest),
    EndQuorumEpoch(EndQuorumEpochRequest),
}

/// The answer to the request of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum RaftResponse {
    Fetch(FetchResponse),
    FetchSnapshot(FetchSnapshotResponse),
    Vote(VoteResponse),
    BeginQuorumEpoch(BeginQuorumEpochResponse),
    EndQuorumEpoch(EndQuorumEpochResponse),
}

/// Called once with the answer, from the metadata thread; must not block.
pub type RaftDone = Box<dyn FnOnce(RaftResponse) + Send>;
