//! What is told of the controllers. DescribeCluster at a controller listener (KIP-919): those that are registered and who
//! leads; Kafka: `ControllerApis.handleDescribeCluster`. DescribeQuorum (KIP-595, KIP-836, KIP-853): what is refused, what the leader answers, and what older versions do not
//! carry. Kafka: `KafkaRaftClient.handleDescribeQuorumRequest`, `RaftUtil.singletonDescribeQuorumResponse`.

use milena_metadata::Image;
use milena_protocol::Text;
use milena_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use milena_protocol::messages::{
    DescribeClusterRequest, DescribeClusterResponse, DescribeQuorumRequest, DescribeQuorumResponse,
    describe_quorum_response,
};
use milena_raft::{Endpoint, QuorumDescription, ReplicaKey, VoterSet};
use milena_types::{BrokerId, ErrorCode, Offset, Timestamp, Uuid};

use super::raft_wire::{METADATA_TOPIC, leader_id};
use crate::describe::CLUSTER_OPERATIONS;

/// Why only the leader tells of its quorum (`Errors.NOT_LEADER_OR_FOLLOWER`).
const NOT_LEADER: &str = "For requests intended only for the leader, this error indicates that the broker is not the current leader. For \
                          requests intended for any replica, this error indicates that the broker is not a replica of the topic \
                          partition.";
/// The first version with nodes and directories.
const NODES_FROM_VERSION: i16 = 2;

/// The answer to a request that is not about the metadata's one partition.
pub(crate) fn refusal(request: &DescribeQuorumRequest) -> Option<DescribeQuorumResponse> {
    if let [topic] = request.topics.as_slice()
        && let [partition] = topic.partitions.as_slice()
        && &*topic.topic_name == METADATA_TOPIC
        && partition.partition_index == 0
    {
        return None;
    }
    let partition = |index: i32| describe_quorum_response::PartitionData {
        partition_index: index,
        error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0,
        error_message: Some(Text::from_static("This server does not host this topic-partition.")),
        ..Default::default()
    };
    let topics = request.topics.iter().map(|topic| describe_quorum_response::TopicData {
        topic_name: topic.topic_name.clone(),
        partitions: topic.partitions.iter().map(|asked| partition(asked.partition_index)).collect(),
        ..Default::default()
    });
    Some(DescribeQuorumResponse { topics: topics.collect(), ..Default::default() })
}

/// What is said where nobody answered.
pub(crate) fn no_answer(error: ErrorCode) -> Text {
    match error {
        ErrorCode::REQUEST_TIMED_OUT => Text::from_static("The request timed out."),
        other => Text::from_static(other.name().unwrap_or_default()),
    }
}

/// Takes out what a version cannot carry.
pub(crate) fn for_version(mut response: DescribeQuorumResponse, version: i16) -> DescribeQuorumResponse {
    if version < NODES_FROM_VERSION {
        response.nodes.clear();
        for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            for replica in partition.current_voters.iter_mut().chain(&mut partition.observers) {
                replica.replica_directory_id = Uuid::ZERO;
            }
        }
    }
    response
}

/// The answer.
pub(crate) fn response(description: Result<QuorumDescription, ErrorCode>, voters: &VoterSet) -> DescribeQuorumResponse {
    let state = |(key, end, fetched, caught_up): &(ReplicaKey, Offset, Timestamp, Timestamp)| {
        describe_quorum_response::ReplicaState {
            replica_id: key.id.0,
            replica_directory_id: key.directory_id,
            log_end_offset: end.0,
            last_fetch_timestamp: fetched.0,
            last_caught_up_timestamp: caught_up.0,
            ..Default::default()
        }
    };
    let partition = match &description {
        Ok(description) => describe_quorum_response::PartitionData {
            leader_id: leader_id(description.leader),
            leader_epoch: description.leader.epoch.0,
            high_watermark: description.high_watermark.0,
            current_voters: description.voters.iter().map(state).collect(),
            observers: description.observers.iter().map(state).collect(),
            ..Default::default()
        },
        Err(error) => describe_quorum_response::PartitionData {
            error_code: error.0,
            error_message: Some(Text::from_static(NOT_LEADER)),
            ..Default::default()
        },
    };
    let topic = describe_quorum_response::TopicData {
        topic_name: Text::from(METADATA_TOPIC),
        partitions: vec![partition],
        ..Default::default()
    };
    let listener = |endpoint: &Endpoint| describe_quorum_response::Listener {
        name: Text::from(endpoint.listener.as_str()),
        host: Text::from(endpoint.host.as_str()),
        port: endpoint.port,
        ..Default::default()
    };
    let node = |voter: &milena_raft::Voter| describe_quorum_response::Node {
        node_id: voter.key.id.0,
        listeners: voter.endpoints.iter().map(listener).collect(),
        ..Default::default()
    };
    let nodes = if description.is_ok() { voters.voters().iter().map(node).collect() } else { Vec::new() };
    DescribeQuorumResponse { topics: vec![topic], nodes, ..Default::default() }
}

const ENDPOINT_BROKER: i8 = 1;
const ENDPOINT_CONTROLLER: i8 = 2;

/// The answer to a client that asks a controller for controllers.
pub(crate) fn controllers(
    request: &DescribeClusterRequest,
    image: &Image,
    cluster_id: &str,
    leader: Option<BrokerId>,
    listener: &str,
) -> DescribeClusterResponse {
    let refused = |error: ErrorCode, why: String| DescribeClusterResponse {
        error_code: error.0,
        error_message: Some(why.into()),
        ..Default::default()
    };
    match request.endpoint_type {
        ENDPOINT_CONTROLLER => {}
        ENDPOINT_BROKER => {
            let why =
                "The request was sent to an endpoint of type CONTROLLER, but we wanted an endpoint of type BROKER";
            return refused(ErrorCode::MISMATCHED_ENDPOINT_TYPE, why.to_owned());
        }
        other => return refused(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, format!("Unsupported endpoint type {other}")),
    }
    let nodes = image.cluster.controllers.values().filter_map(|controller| {
        let endpoint = controller.endpoints.iter().find(|endpoint| &*endpoint.listener == listener)?;
        Some(DescribeClusterBroker {
            broker_id: controller.id.0,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            ..Default::default()
        })
    });
    let operations = DescribeClusterResponse::default().cluster_authorized_operations;
    let tells_operations = request.include_cluster_authorized_operations;
    DescribeClusterResponse {
        endpoint_type: ENDPOINT_CONTROLLER,
        cluster_id: Text::from(cluster_id),
        controller_id: leader.unwrap_or(BrokerId::NONE).0,
        brokers: nodes.collect(),
        cluster_authorized_operations: if tells_operations { CLUSTER_OPERATIONS } else { operations },
        ..Default::default()
    }
}
