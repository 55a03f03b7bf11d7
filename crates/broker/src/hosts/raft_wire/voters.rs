//! AddRaftVoter, RemoveRaftVoter, UpdateRaftVoter, and the one thing asked of ApiVersions (KIP-853).

use milena_metadata::KRAFT_VERSION;
use milena_protocol::Text;
use milena_protocol::messages::{
    AddRaftVoterRequest, ApiVersionsResponse, RemoveRaftVoterRequest, UpdateRaftVoterRequest, UpdateRaftVoterResponse,
    add_raft_voter_request, update_raft_voter_request,
};
use milena_raft::{AddVoterAsk, Endpoint, PlainAnswer, ReplicaKey, UpdateVoterAsk, Voter};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch};

use super::{LeaderView, leader_id, news, told_leader};

/// A voter that asks the leader to take it in.
pub(crate) fn add_voter_request(voter: &Voter, cluster_id: &str, timeout_ms: i64) -> AddRaftVoterRequest {
    let listener = |at: &Endpoint| add_raft_voter_request::Listener {
        name: Text::from(at.listener.as_str()),
        host: Text::from(at.host.as_str()),
        port: at.port,
        ..Default::default()
    };
    AddRaftVoterRequest {
        cluster_id: Some(Text::from(cluster_id)),
        timeout_ms: i32::try_from(timeout_ms).unwrap_or(i32::MAX),
        voter_id: voter.key.id.0,
        voter_directory_id: voter.key.directory_id,
        listeners: voter.endpoints.iter().map(listener).collect(),
        // The answer must not wait for a majority that this voter may belong to.
        ack_when_committed: false,
        ..Default::default()
    }
}

pub(crate) fn add_voter_ask(request: &AddRaftVoterRequest) -> AddVoterAsk {
    let endpoint = |at: &add_raft_voter_request::Listener| Endpoint {
        listener: at.name.to_string(),
        host: at.host.to_string(),
        port: at.port,
    };
    AddVoterAsk {
        voter: ReplicaKey { id: BrokerId(request.voter_id), directory_id: request.voter_directory_id },
        endpoints: request.listeners.iter().map(endpoint).collect(),
        ack_when_committed: request.ack_when_committed,
    }
}

pub(crate) fn remove_voter_request(voter: ReplicaKey, cluster_id: &str) -> RemoveRaftVoterRequest {
    RemoveRaftVoterRequest {
        cluster_id: Some(Text::from(cluster_id)),
        voter_id: voter.id.0,
        voter_directory_id: voter.directory_id,
        ..Default::default()
    }
}

pub(crate) fn remove_voter_key(request: &RemoveRaftVoterRequest) -> ReplicaKey {
    ReplicaKey { id: BrokerId(request.voter_id), directory_id: request.voter_directory_id }
}

/// What a voter tells its leader about itself.
pub(crate) fn update_voter_request(voter: &Voter, epoch: LeaderEpoch, cluster_id: &str) -> UpdateRaftVoterRequest {
    let listener = |at: &Endpoint| update_raft_voter_request::Listener {
        name: Text::from(at.listener.as_str()),
        host: Text::from(at.host.as_str()),
        port: at.port,
        ..Default::default()
    };
    let mut request = UpdateRaftVoterRequest {
        cluster_id: Some(Text::from(cluster_id)),
        current_leader_epoch: epoch.0,
        voter_id: voter.key.id.0,
        voter_directory_id: voter.key.directory_id,
        listeners: voter.endpoints.iter().map(listener).collect(),
        ..Default::default()
    };
    request.kraft_version_feature.min_supported_version = voter.kraft_version_min;
    request.kraft_version_feature.max_supported_version = voter.kraft_version_max;
    request
}

pub(crate) fn update_voter_ask(request: &UpdateRaftVoterRequest) -> UpdateVoterAsk {
    let endpoint = |at: &update_raft_voter_request::Listener| Endpoint {
        listener: at.name.to_string(),
        host: at.host.to_string(),
        port: at.port,
    };
    let voter = Voter {
        key: ReplicaKey { id: BrokerId(request.voter_id), directory_id: request.voter_directory_id },
        endpoints: request.listeners.iter().map(endpoint).collect(),
        kraft_version_min: request.kraft_version_feature.min_supported_version,
        kraft_version_max: request.kraft_version_feature.max_supported_version,
    };
    UpdateVoterAsk { voter, epoch: LeaderEpoch(request.current_leader_epoch) }
}

pub(crate) fn update_voter_response(error: ErrorCode, view: &LeaderView<'_>) -> UpdateRaftVoterResponse {
    let mut response = UpdateRaftVoterResponse { error_code: error.0, ..Default::default() };
    response.current_leader.leader_id = leader_id(view.leader);
    response.current_leader.leader_epoch = view.leader.epoch.0;
    if let Some((_, at)) = view.endpoint() {
        response.current_leader.host = Text::from(at.host.as_str());
        response.current_leader.port = i32::from(at.port);
    }
    response
}

pub(crate) fn update_voter_answer(from: BrokerId, response: UpdateRaftVoterResponse, listener: &str) -> PlainAnswer {
    let leader = response.current_leader;
    let told = told_leader(leader.leader_id, leader.leader_epoch);
    let nodes = [(leader.leader_id, leader.host, leader.port)].into_iter();
    PlainAnswer { from, error: ErrorCode(response.error_code), news: news(told, nodes, listener) }
}

/// The range of `kraft.version` that a voter to be added says it can do.
pub(crate) fn kraft_version_range(response: &ApiVersionsResponse) -> Result<Option<(i16, i16)>, ErrorCode> {
    if response.error_code != 0 {
        return Err(ErrorCode(response.error_code));
    }
    let feature = response.supported_features.iter().find(|feature| &*feature.name == KRAFT_VERSION);
    Ok(feature.map(|feature| (feature.min_version, feature.max_version)))
}
