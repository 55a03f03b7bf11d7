//! Requests of the quorum that came over a connection, and their answers, as one type each.

use milena_protocol::messages::{
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, DescribeClusterRequest, DescribeClusterResponse,
    EndQuorumEpochRequest, EndQuorumEpochResponse, FetchRequest, FetchResponse, FetchSnapshotRequest,
    FetchSnapshotResponse, UpdateRaftVoterRequest, UpdateRaftVoterResponse, VoteRequest, VoteResponse,
};

/// What another member of the quorum asks.
#[derive(Clone, Debug, PartialEq)]
pub enum RaftRequest {
    Fetch(FetchRequest),
    FetchSnapshot(FetchSnapshotRequest),
    Vote(VoteRequest),
    BeginQuorumEpoch(BeginQuorumEpochRequest),
    EndQuorumEpoch(EndQuorumEpochRequest),
    UpdateRaftVoter(UpdateRaftVoterRequest),
    /// Which controllers there are; asked by clients, too.
    DescribeCluster(DescribeClusterRequest),
}

/// The answer to the request of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum RaftResponse {
    Fetch(FetchResponse),
    FetchSnapshot(FetchSnapshotResponse),
    Vote(VoteResponse),
    BeginQuorumEpoch(BeginQuorumEpochResponse),
    EndQuorumEpoch(EndQuorumEpochResponse),
    UpdateRaftVoter(UpdateRaftVoterResponse),
    DescribeCluster(DescribeClusterResponse),
}

/// Called once with the answer, from the metadata thread; must not block.
pub type RaftDone = Box<dyn FnOnce(RaftResponse) + Send>;
