//! Whole requests as they arrive at the controller: what is checked before the managers decide (`ControllerApis`).
//! Duplicates are refused here, as are topics nobody may create; authorisation will be.

use std::collections::{BTreeMap, BTreeSet};

use milena_metadata::ConfigResource;
use milena_protocol::Text;
use milena_protocol::messages::delete_topics_response::DeletableTopicResult;
use milena_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
    CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, alter_configs_response, create_partitions_response, create_topics_response,
    incremental_alter_configs_response,
};
use milena_types::{ErrorCode, TopicId};

use crate::config_changes::{AlterOperation, ConfigChange};
use crate::{ApiError, Controller, Decision, Random};

/// The topic of the metadata log, which is not a topic of the cluster.
pub(crate) const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

/// The values that appear more than once.
pub(crate) fn repeated<T: Ord + Clone>(values: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    values.filter(|value| !seen.insert(value.clone())).collect()
}

impl Controller {
    /// CreateTopics as a broker forwards it.
    #[must_use]
    pub fn decide_create_topics_request(
        &self,
        request: &CreateTopicsRequest,
        random: &mut dyn Random,
    ) -> Decision<CreateTopicsResponse> {
        let repeated = repeated(request.topics.iter().map(|topic| topic.name.clone()));
        let mut effective = request.clone();
        let asked_for_metadata = effective.topics.iter().any(|topic| &*topic.name == CLUSTER_METADATA_TOPIC);
        effective.topics.retain(|topic| !repeated.contains(&topic.name) && &*topic.name != CLUSTER_METADATA_TOPIC);
        let mut decision = self.decide_create_topics(&effective, &|_| true, random);
        let refusal = |name: Text, why: &str| create_topics_response::CreatableTopicResult {
            name,
            error_code: ErrorCode::INVALID_REQUEST.0,
            error_message: Some(why.into()),
            configs: Some(Vec::new()),
            ..Default::default()
        };
        let metadata_refused = asked_for_metadata && !repeated.contains(CLUSTER_METADATA_TOPIC);
        let topics = &mut decision.response.topics;
        topics.extend(repeated.into_iter().map(|name| refusal(name, "Duplicate topic name.")));
        if metadata_refused {
            let why = format!("Creation of internal topic {CLUSTER_METADATA_TOPIC} is prohibited.");
            topics.push(refusal(Text::from_static(CLUSTER_METADATA_TOPIC), &why));
        }
        decision
    }

    /// DeleteTopics as a broker forwards it: names and ids in one request.
    #[must_use]
    pub fn decide_delete_topics_request(&self, request: &DeleteTopicsRequest) -> Decision<DeleteTopicsResponse> {
        let mut answer = DeleteAnswer::default();
        let mut names: Vec<Text> = request.topic_names.clone();
        let mut ids: Vec<TopicId> = Vec::new();
        for topic in &request.topics {
            match (&topic.name, topic.topic_id.is_zero()) {
                (None, true) => answer.refuse(None, topic.topic_id, "Neither topic name nor id were specified."),
                (None, false) => ids.push(topic.topic_id),
                (Some(name), true) => names.push(name.clone()),
                (Some(name), false) => {
                    let why = "You may not specify both topic name and topic id.";
                    answer.refuse(Some(name.clone()), topic.topic_id, why);
                }
            }
        }
        let may_delete = self.config_rules().broker_value("delete.topic.enable");
        if may_delete.is_some_and(|text| text.trim().eq_ignore_ascii_case("false")) {
            return answer.disabled(names, ids);
        }
        let (repeated_names, repeated_ids) = (repeated(names.iter().cloned()), repeated(ids.iter().copied()));
        names.retain(|name| !repeated_names.contains(name));
        ids.retain(|id| !repeated_ids.contains(id));
        for name in repeated_names {
            answer.refuse(Some(name), TopicId::ZERO, "Duplicate topic name.");
        }
        for id in &repeated_ids {
            answer.refuse(None, *id, "Duplicate topic id.");
        }
        let mut wanted: BTreeMap<TopicId, Text> = BTreeMap::new();
        for id in ids {
            match self.image.topics.get(id) {
                Some(topic) => drop(wanted.insert(id, topic.name.clone())),
                None => answer.push(None, id, Err(unknown_topic_id())),
            }
        }
        for name in names {
            match self.image.topics.id_of(&name) {
                Some(id) if wanted.contains_key(&id) || repeated_ids.contains(&id) => {
                    wanted.remove(&id);
                    answer.refuse(Some(name), id, "The provided topic name maps to an ID that was already supplied.");
                }
                Some(id) => drop(wanted.insert(id, name)),
                None => answer.push(Some(name), TopicId::ZERO, Err(unknown_topic())),
            }
        }
        let ids: Vec<TopicId> = wanted.keys().copied().collect();
        let decision = self.decide_delete_topics(&ids);
        for (id, outcome) in decision.response {
            answer.push(wanted.remove(&id), id, outcome);
        }
        Decision { records: decision.records, response: answer.response, atomic: decision.atomic }
    }

    /// CreatePartitions as a broker forwards it.
    #[must_use]
    pub fn decide_create_partitions_request(
        &self,
        request: &CreatePartitionsRequest,
        random: &mut dyn Random,
    ) -> Decision<CreatePartitionsResponse> {
        let repeated = repeated(request.topics.iter().map(|topic| topic.name.clone()));
        let mut effective = request.clone();
        effective.topics.retain(|topic| !repeated.contains(&topic.name));
        let mut decision = self.decide_create_partitions(&effective, random);
        let refusal = |name| create_partitions_response::CreatePartitionsTopicResult {
            name,
            error_code: ErrorCode::INVALID_REQUEST.0,
            error_message: Some("Duplicate topic name.".into()),
            ..Default::default()
        };
        decision.response.results.extend(repeated.into_iter().map(refusal));
        decision
    }

    /// IncrementalAlterConfigs as a broker forwards it.
    #[must_use]
    pub fn decide_incremental_alter_configs_request(
        &self,
        request: &IncrementalAlterConfigsRequest,
    ) -> Decision<IncrementalAlterConfigsResponse> {
        let resource = |kind: i8, name: &Text| ConfigResource { kind, name: name.clone() };
        let asked: Vec<ConfigResource> =
            request.resources.iter().map(|asked| resource(asked.resource_type, &asked.resource_name)).collect();
        let (refused, accepted) = admit(asked);
        let mut outcomes = refused;
        let mut changes = Vec::new();
        for asked in &request.resources {
            let resource = resource(asked.resource_type, &asked.resource_name);
            if !accepted.contains(&resource) {
                continue;
            }
            // A key given twice keeps its last change, as in Kafka's map.
            let mut by_name = BTreeMap::new();
            let mut unknown = None;
            for config in &asked.configs {
                let Some(operation) = AlterOperation::from_id(config.config_operation) else {
                    unknown = Some(config.config_operation);
                    break;
                };
                let (name, value) = (config.name.clone(), config.value.clone());
                by_name.insert(name.clone(), ConfigChange { name, operation, value });
            }
            match unknown {
                Some(id) => {
                    let why = format!("Unknown operations type {id}");
                    outcomes.push((resource, Err(ApiError::new(ErrorCode::INVALID_REQUEST, why))));
                }
                None => changes.push((resource, by_name.into_values().collect())),
            }
        }
        let decision = self.decide_incremental_alter_configs(&changes, request.validate_only);
        outcomes.extend(decision.response);
        let responses = outcomes.into_iter().map(|(resource, outcome)| {
            let (error_code, error_message) = wire(outcome);
            incremental_alter_configs_response::AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: resource.kind,
                resource_name: resource.name,
                ..Default::default()
            }
        });
        let response = IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() };
        Decision { records: decision.records, response, atomic: decision.atomic }
    }

    /// AlterConfigs as a broker forwards it.
    #[must_use]
    pub fn decide_alter_configs_request(&self, request: &AlterConfigsRequest) -> Decision<AlterConfigsResponse> {
        let resource = |kind: i8, name: &Text| ConfigResource { kind, name: name.clone() };
        let asked: Vec<ConfigResource> =
            request.resources.iter().map(|asked| resource(asked.resource_type, &asked.resource_name)).collect();
        let (refused, accepted) = admit(asked);
        let mut outcomes = refused;
        let replacements: Vec<(ConfigResource, BTreeMap<Text, Option<Text>>)> = request
            .resources
            .iter()
            .map(|asked| {
                let configs = asked.configs.iter().map(|config| (config.name.clone(), config.value.clone()));
                (resource(asked.resource_type, &asked.resource_name), configs.collect())
            })
            .filter(|(resource, _)| accepted.contains(resource))
            .collect();
        let decision = self.decide_alter_configs(&replacements, request.validate_only);
        outcomes.extend(decision.response);
        let responses = outcomes.into_iter().map(|(resource, outcome)| {
            let (error_code, error_message) = wire(outcome);
            alter_configs_response::AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: resource.kind,
                resource_name: resource.name,
                ..Default::default()
            }
        });
        let response = AlterConfigsResponse { responses: responses.collect(), ..Default::default() };
        Decision { records: decision.records, response, atomic: decision.atomic }
    }
}

pub(crate) type ConfigOutcomes = Vec<(ConfigResource, Result<(), ApiError>)>;

/// Which resources may be changed: those of a known type that are named once.
pub(crate) fn admit(asked: Vec<ConfigResource>) -> (ConfigOutcomes, BTreeSet<ConfigResource>) {
    let repeated = repeated(asked.iter().cloned());
    let mut refused = Vec::new();
    let mut accepted = BTreeSet::new();
    for resource in &repeated {
        let why = "Duplicate resource.";
        refused.push((resource.clone(), Err(ApiError::new(ErrorCode::INVALID_REQUEST, why))));
    }
    for resource in asked {
        if ConfigResource::kind_name(resource.kind) == "UNKNOWN" {
            let why = format!("Unknown resource type {}.", resource.kind);
            refused.push((resource, Err(ApiError::new(ErrorCode::UNSUPPORTED_VERSION, why))));
        } else if !repeated.contains(&resource) {
            accepted.insert(resource);
        }
    }
    (refused, accepted)
}

fn wire(outcome: Result<(), ApiError>) -> (i16, Option<Text>) {
    match outcome {
        Ok(()) => (ErrorCode::NONE.0, None),
        Err(error) => (error.error.0, error.text()),
    }
}

fn unknown_topic() -> ApiError {
    ApiError::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition.")
}

fn unknown_topic_id() -> ApiError {
    ApiError::new(ErrorCode::UNKNOWN_TOPIC_ID, "This server does not host this topic ID.")
}

/// The answer to DeleteTopics in the making.
#[derive(Default)]
struct DeleteAnswer {
    response: DeleteTopicsResponse,
}

impl DeleteAnswer {
    fn push(&mut self, name: Option<Text>, topic_id: TopicId, outcome: Result<(), ApiError>) {
        let (error_code, error_message) = wire(outcome);
        let result = DeletableTopicResult { name, topic_id, error_code, error_message, ..Default::default() };
        self.response.responses.push(result);
    }

    fn refuse(&mut self, name: Option<Text>, id: TopicId, why: &str) {
        self.push(name, id, Err(ApiError::new(ErrorCode::INVALID_REQUEST, why)));
    }

    /// `delete.topic.enable` is false.
    fn disabled(mut self, names: Vec<Text>, ids: Vec<TopicId>) -> Decision<DeleteTopicsResponse> {
        let error = || Err(ApiError::new(ErrorCode::TOPIC_DELETION_DISABLED, "Topic deletion is disabled."));
        for name in names {
            self.push(Some(name), TopicId::ZERO, error());
        }
        for id in ids {
            self.push(None, id, error());
        }
        Decision::atomic(Vec::new(), self.response)
    }
}
