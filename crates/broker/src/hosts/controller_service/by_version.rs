//! Answers of the quorum in the versions of their requests: older ones cannot say where the leader listens (`RaftUtil`), nor that
//! somebody else was meant.

use milena_types::ErrorCode;

use crate::hosts::raft_requests::RaftResponse;

/// The first versions with the leader's endpoint.
const FETCH: i16 = 17;
const FETCH_SNAPSHOT: i16 = 1;
const ELECTIONS: i16 = 1;
/// The first version of DescribeCluster that asks for brokers or for controllers.
const ENDPOINT_TYPES: i16 = 1;

/// Takes out, or says in other words, what `version` cannot carry.
pub(super) fn for_version(mut response: RaftResponse, version: i16) -> RaftResponse {
    match &mut response {
        RaftResponse::Fetch(response) if version < FETCH => response.node_endpoints.clear(),
        RaftResponse::FetchSnapshot(response) if version < FETCH_SNAPSHOT => response.node_endpoints.clear(),
        RaftResponse::Vote(response) if version < ELECTIONS => response.node_endpoints.clear(),
        RaftResponse::BeginQuorumEpoch(response) if version < ELECTIONS => response.node_endpoints.clear(),
        RaftResponse::EndQuorumEpoch(response) if version < ELECTIONS => response.node_endpoints.clear(),
        RaftResponse::DescribeCluster(response)
            if version < ENDPOINT_TYPES && response.error_code == ErrorCode::MISMATCHED_ENDPOINT_TYPE.0 =>
        {
            response.error_code = ErrorCode::INVALID_REQUEST.0;
        }
        _ => {}
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_protocol::messages::fetch_response::NodeEndpoint;
    use milena_protocol::messages::{FetchRequest, FetchResponse};
    use milena_protocol::{Request as _, encode_response};

    #[test]
    fn the_leaders_endpoint_does_not_keep_an_older_fetch_from_being_answered() {
        let told = || FetchResponse { node_endpoints: vec![NodeEndpoint::default()], ..Default::default() };
        for version in 12..=18 {
            let RaftResponse::Fetch(answer) = for_version(RaftResponse::Fetch(told()), version) else {
                panic!("another answer");
            };
            assert_eq!(answer.node_endpoints.len(), usize::from(version >= 17), "{version}");
            encode_response(FetchRequest::API_KEY, version, 1, &answer).unwrap();
        }
    }
}
