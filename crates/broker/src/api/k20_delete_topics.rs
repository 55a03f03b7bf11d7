//! DeleteTopics (KIP-4, KIP-516, KIP-599), versions 1 to 6: answered by the controller (`controller/requests`). Version 6
//! names topics by name or id. Versions before 3 do not know that deletion can be turned off and are told that the request
//! is invalid. Kafka: `ControllerApis.deleteTopics`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_protocol::ApiKey;
use milena_protocol::messages::delete_topics_request::DeleteTopicState;
use milena_protocol::messages::delete_topics_response::DeletableTopicResult;
use milena_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::DELETE_TOPICS, lane: Lane::Controller, handle };

/// The first version that knows TOPIC_DELETION_DISABLED.
const DELETION_DISABLED_SINCE: i16 = 3;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<DeleteTopicsRequest>() else { return Outcome::Close };
    let version = call.version();
    let request = as_newest(request);
    let asked: Vec<_> = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id)).collect();
    call.forward(request, move |result| {
        let failed = |error: ErrorCode| DeleteTopicsResponse {
            responses: asked
                .into_iter()
                .map(|(name, topic_id)| DeletableTopicResult {
                    name,
                    topic_id,
                    error_code: error.0,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        for_version(result.unwrap_or_else(failed), version)
    })
}

/// Names where version 6 has them: a controller in another process is asked in the newest version.
fn as_newest(mut request: DeleteTopicsRequest) -> DeleteTopicsRequest {
    let names = std::mem::take(&mut request.topic_names);
    let named = names.into_iter().map(|name| DeleteTopicState { name: Some(name), ..Default::default() });
    request.topics.extend(named);
    request
}

fn for_version(mut response: DeleteTopicsResponse, version: i16) -> DeleteTopicsResponse {
    if version < DELETION_DISABLED_SINCE {
        for result in &mut response.responses {
            if result.error_code == ErrorCode::TOPIC_DELETION_DISABLED.0 {
                result.error_code = ErrorCode::INVALID_REQUEST.0;
            }
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_old_versions_name_is_passed_on_in_the_newest() {
        let old = DeleteTopicsRequest { topic_names: vec!["one".into(), "two".into()], ..Default::default() };
        let passed_on = as_newest(old);
        assert!(passed_on.topic_names.is_empty(), "version 6 does not carry them");
        let names: Vec<_> = passed_on.topics.iter().map(|topic| topic.name.as_deref()).collect();
        assert_eq!(names, [Some("one"), Some("two")]);
        assert!(passed_on.topics.iter().all(|topic| topic.topic_id.is_zero()));
    }

    #[test]
    fn old_versions_are_not_told_that_deletion_is_disabled() {
        let result = DeletableTopicResult { error_code: ErrorCode::TOPIC_DELETION_DISABLED.0, ..Default::default() };
        let response = DeleteTopicsResponse { responses: vec![result], ..Default::default() };
        let code = |version| for_version(response.clone(), version).responses[0].error_code;
        assert_eq!(code(2), ErrorCode::INVALID_REQUEST.0);
        assert_eq!(code(3), ErrorCode::TOPIC_DELETION_DISABLED.0);
    }
}
