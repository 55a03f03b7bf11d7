//! Answers that say of each thing asked for that the controller is another (`AbstractRequest.getErrorResponse`).

use milena_protocol::Text;
use milena_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as Altered;
use milena_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use milena_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use milena_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use milena_protocol::messages::create_topics_response::CreatableTopicResult;
use milena_protocol::messages::delete_topics_response::DeletableTopicResult;
use milena_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use milena_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as Changed;
use milena_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ControllerRegistrationRequest, ControllerRegistrationResponse, CreatePartitionsRequest, CreatePartitionsResponse,
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, ElectLeadersRequest,
    ElectLeadersResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

/// Why the controller does not answer.
pub(super) struct Refusal {
    pub(super) error: i16,
    /// Who leads, where Kafka would say it.
    pub(super) why: Option<Text>,
    /// Of the answer.
    pub(super) version: i16,
}

/// Puts it where an answer has room for it.
pub(super) type Refuse<T> = fn(&mut T, &Refusal);

pub(super) fn creations(request: &CreateTopicsRequest) -> CreateTopicsResponse {
    let topics =
        request.topics.iter().map(|topic| CreatableTopicResult { name: topic.name.clone(), ..Default::default() });
    CreateTopicsResponse { topics: topics.collect(), ..CreateTopicsResponse::default() }
}

pub(super) fn refuse_creations(response: &mut CreateTopicsResponse, refusal: &Refusal) {
    response
        .topics
        .iter_mut()
        .for_each(|topic| (topic.error_code, topic.error_message) = (refusal.error, refusal.why.clone()));
}

pub(super) fn deletions(request: &DeleteTopicsRequest) -> DeleteTopicsResponse {
    let named = |name: &Text| DeletableTopicResult { name: Some(name.clone()), ..DeletableTopicResult::default() };
    let asked = request.topics.iter().map(|topic| DeletableTopicResult {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        ..DeletableTopicResult::default()
    });
    let responses = request.topic_names.iter().map(named).chain(asked);
    DeleteTopicsResponse { responses: responses.collect(), ..DeleteTopicsResponse::default() }
}

pub(super) fn refuse_deletions(response: &mut DeleteTopicsResponse, refusal: &Refusal) {
    // Kafka's gives no reason here (`DeleteTopicsRequest.getErrorResponse`).
    response.responses.iter_mut().for_each(|topic| topic.error_code = refusal.error);
}

pub(super) fn additions(request: &CreatePartitionsRequest) -> CreatePartitionsResponse {
    let result = |name: &Text| CreatePartitionsTopicResult { name: name.clone(), ..Default::default() };
    let results = request.topics.iter().map(|topic| result(&topic.name));
    CreatePartitionsResponse { results: results.collect(), ..CreatePartitionsResponse::default() }
}

pub(super) fn refuse_additions(response: &mut CreatePartitionsResponse, refusal: &Refusal) {
    response
        .results
        .iter_mut()
        .for_each(|topic| (topic.error_code, topic.error_message) = (refusal.error, refusal.why.clone()));
}

pub(super) fn configs(request: &AlterConfigsRequest) -> AlterConfigsResponse {
    let responses = request.resources.iter().map(|resource| Altered {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Altered::default()
    });
    AlterConfigsResponse { responses: responses.collect(), ..AlterConfigsResponse::default() }
}

pub(super) fn refuse_configs(response: &mut AlterConfigsResponse, refusal: &Refusal) {
    response
        .responses
        .iter_mut()
        .for_each(|resource| (resource.error_code, resource.error_message) = (refusal.error, refusal.why.clone()));
}

pub(super) fn changes(request: &IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let responses = request.resources.iter().map(|resource| Changed {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Changed::default()
    });
    IncrementalAlterConfigsResponse { responses: responses.collect(), ..IncrementalAlterConfigsResponse::default() }
}

pub(super) fn refuse_changes(response: &mut IncrementalAlterConfigsResponse, refusal: &Refusal) {
    response
        .responses
        .iter_mut()
        .for_each(|resource| (resource.error_code, resource.error_message) = (refusal.error, refusal.why.clone()));
}

pub(super) fn elections(request: &ElectLeadersRequest) -> ElectLeadersResponse {
    let partition = |index: &i32| PartitionResult { partition_id: *index, ..Default::default() };
    let results = request.topic_partitions.iter().flatten().map(|asked| ReplicaElectionResult {
        topic: asked.topic.clone(),
        partition_result: asked.partitions.iter().map(partition).collect(),
        ..Default::default()
    });
    ElectLeadersResponse { replica_election_results: results.collect(), ..ElectLeadersResponse::default() }
}

pub(super) fn refuse_elections(response: &mut ElectLeadersResponse, refusal: &Refusal) {
    // Version 0 has it with the partitions alone.
    response.error_code = if refusal.version > 0 { refusal.error } else { 0 };
    for partition in response.replica_election_results.iter_mut().flat_map(|topic| &mut topic.partition_result) {
        (partition.error_code, partition.error_message) = (refusal.error, refusal.why.clone());
    }
}

pub(super) fn moves(request: &AlterPartitionReassignmentsRequest) -> AlterPartitionReassignmentsResponse {
    let partition = |asked: &ReassignablePartition| ReassignablePartitionResponse {
        partition_index: asked.partition_index,
        ..Default::default()
    };
    let topics = request.topics.iter().map(|asked| ReassignableTopicResponse {
        name: asked.name.clone(),
        partitions: asked.partitions.iter().map(partition).collect(),
        ..Default::default()
    });
    AlterPartitionReassignmentsResponse { responses: topics.collect(), ..Default::default() }
}

pub(super) fn refuse_moves(response: &mut AlterPartitionReassignmentsResponse, refusal: &Refusal) {
    for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
        (partition.error_code, partition.error_message) = (refusal.error, refusal.why.clone());
    }
    (response.error_code, response.error_message) = (refusal.error, refusal.why.clone());
}

pub(super) fn nothing(_: &ControllerRegistrationRequest) -> ControllerRegistrationResponse {
    ControllerRegistrationResponse::default()
}

/// With the error's own text (`ControllerRegistrationRequest.getErrorResponse`).
pub(super) fn refuse_controller(response: &mut ControllerRegistrationResponse, refusal: &Refusal) {
    let own = Text::from_static("This is not the correct controller for this cluster.");
    (response.error_code, response.error_message) = (refusal.error, refusal.why.as_ref().map(|_| own));
}
