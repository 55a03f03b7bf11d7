//! DeleteTopics: names and ids to topics, with a refusal for each that is none (class `ControllerApis.deleteTopics`).

use std::collections::BTreeMap;

use milena_controller::{Controller, Decision};
use milena_protocol::Text;
use milena_protocol::messages::delete_topics_response::DeletableTopicResult;
use milena_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use milena_types::{ErrorCode, TopicId};

use super::wrap;

/// What is to be deleted and what cannot be.
#[derive(Default)]
struct Wanted {
    /// How often each was given.
    names: BTreeMap<Text, usize>,
    ids: BTreeMap<TopicId, usize>,
    refused: Vec<DeletableTopicResult>,
}

impl Wanted {
    fn refuse(&mut self, name: Option<Text>, topic_id: TopicId, error: ErrorCode, message: Option<&'static str>) {
        self.refused.push(DeletableTopicResult {
            name,
            topic_id,
            error_code: error.0,
            error_message: message.map(Text::from_static),
            ..DeletableTopicResult::default()
        });
    }

    fn read(request: &DeleteTopicsRequest) -> Wanted {
        let mut wanted = Wanted::default();
        for name in &request.topic_names {
            *wanted.names.entry(name.clone()).or_default() += 1;
        }
        for topic in &request.topics {
            match (&topic.name, topic.topic_id) {
                (None, id) if id.is_zero() => {
                    let message = Some("Neither topic name nor id were specified.");
                    wanted.refuse(None, id, ErrorCode::INVALID_REQUEST, message);
                }
                (None, id) => *wanted.ids.entry(id).or_default() += 1,
                (Some(name), id) if id.is_zero() => *wanted.names.entry(name.clone()).or_default() += 1,
                (Some(name), id) => {
                    let message = Some("You may not specify both topic name and topic id.");
                    wanted.refuse(Some(name.clone()), id, ErrorCode::INVALID_REQUEST, message);
                }
            }
        }
        wanted
    }

    /// Resolves everything to topics that exist and were named once.
    fn resolve(&mut self, controller: &Controller) -> BTreeMap<TopicId, Text> {
        let topics = &controller.image().topics;
        let mut found = BTreeMap::new();
        for (id, count) in std::mem::take(&mut self.ids) {
            match topics.get(id) {
                _ if count > 1 => self.refuse(None, id, ErrorCode::INVALID_REQUEST, Some("Duplicate topic id.")),
                Some(topic) => drop(found.insert(id, topic.name.clone())),
                None => self.refuse(None, id, ErrorCode::UNKNOWN_TOPIC_ID, unknown(ErrorCode::UNKNOWN_TOPIC_ID)),
            }
        }
        for (name, count) in std::mem::take(&mut self.names) {
            match topics.named(&name) {
                _ if count > 1 => {
                    let message = Some("Duplicate topic name.");
                    self.refuse(Some(name), TopicId::ZERO, ErrorCode::INVALID_REQUEST, message);
                }
                Some(topic) if found.contains_key(&topic.id) => {
                    found.remove(&topic.id);
                    let message = Some("The provided topic name maps to an ID that was already supplied.");
                    self.refuse(Some(name), topic.id, ErrorCode::INVALID_REQUEST, message);
                }
                Some(topic) => drop(found.insert(topic.id, name)),
                None => {
                    let error = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                    self.refuse(Some(name), TopicId::ZERO, error, unknown(error));
                }
            }
        }
        found
    }
}

/// The texts of Kafka's exceptions for absent topics.
fn unknown(error: ErrorCode) -> Option<&'static str> {
    match error {
        ErrorCode::UNKNOWN_TOPIC_ID => Some("This server does not host this topic ID."),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Some("This server does not host this topic-partition."),
        _ => None,
    }
}

pub(super) fn delete(controller: &Controller, request: &DeleteTopicsRequest) -> Decision<DeleteTopicsResponse> {
    let mut wanted = Wanted::read(request);
    let found = wanted.resolve(controller);
    let ids: Vec<TopicId> = found.keys().copied().collect();
    wrap(controller.decide_delete_topics(&ids), |outcomes| {
        let mut responses = wanted.refused;
        for (topic_id, outcome) in outcomes {
            let error = outcome.err();
            responses.push(DeletableTopicResult {
                name: found.get(&topic_id).cloned(),
                topic_id,
                error_code: error.as_ref().map_or(ErrorCode::NONE, |error| error.error).0,
                error_message: error.and_then(|error| error.text()),
                ..DeletableTopicResult::default()
            });
        }
        DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }
    })
}
