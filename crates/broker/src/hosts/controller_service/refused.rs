//! Answers that say of each thing asked for that the controller is another (`AbstractRequest.getErrorResponse`).

use milena_protocol::Text;
use milena_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as Altered;
use milena_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use milena_protocol::messages::create_topics_response::CreatableTopicResult;
use milena_protocol::messages::delete_topics_response::DeletableTopicResult;
use milena_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as Changed;
use milena_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
    CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

pub(super) fn creations(request: &CreateTopicsRequest) -> CreateTopicsResponse {
    let topics =
        request.topics.iter().map(|topic| CreatableTopicResult { name: topic.name.clone(), ..Default::default() });
    CreateTopicsResponse { topics: topics.collect(), ..CreateTopicsResponse::default() }
}

pub(super) fn refuse_creations(response: &mut CreateTopicsResponse, error: i16) {
    response.topics.iter_mut().for_each(|topic| topic.error_code = error);
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

pub(super) fn refuse_deletions(response: &mut DeleteTopicsResponse, error: i16) {
    response.responses.iter_mut().for_each(|topic| topic.error_code = error);
}

pub(super) fn additions(request: &CreatePartitionsRequest) -> CreatePartitionsResponse {
    let result = |name: &Text| CreatePartitionsTopicResult { name: name.clone(), ..Default::default() };
    let results = request.topics.iter().map(|topic| result(&topic.name));
    CreatePartitionsResponse { results: results.collect(), ..CreatePartitionsResponse::default() }
}

pub(super) fn refuse_additions(response: &mut CreatePartitionsResponse, error: i16) {
    response.results.iter_mut().for_each(|topic| topic.error_code = error);
}

pub(super) fn configs(request: &AlterConfigsRequest) -> AlterConfigsResponse {
    let responses = request.resources.iter().map(|resource| Altered {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Altered::default()
    });
    AlterConfigsResponse { responses: responses.collect(), ..AlterConfigsResponse::default() }
}

pub(super) fn refuse_configs(response: &mut AlterConfigsResponse, error: i16) {
    response.responses.iter_mut().for_each(|resource| resource.error_code = error);
}

pub(super) fn changes(request: &IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let responses = request.resources.iter().map(|resource| Changed {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Changed::default()
    });
    IncrementalAlterConfigsResponse { responses: responses.collect(), ..IncrementalAlterConfigsResponse::default() }
}

pub(super) fn refuse_changes(response: &mut IncrementalAlterConfigsResponse, error: i16) {
    response.responses.iter_mut().for_each(|resource| resource.error_code = error);
}
