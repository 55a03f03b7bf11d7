//! CreateTopics (KIP-4, KIP-464, KIP-525, KIP-599), versions 2 to 7: answered by the controller, which checks duplicates,
//! names, configs and assignments (`controller/create_topics`). From version 5 the answer tells the configs of the new
//! topics, from version 7 their ids. Kafka: `ControllerApis.handleCreateTopics`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_protocol::ApiKey;
use milena_protocol::messages::create_topics_response::CreatableTopicResult;
use milena_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::CREATE_TOPICS, lane: Lane::Controller, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<CreateTopicsRequest>() else { return Outcome::Close };
    let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    call.forward(request, move |result| {
        let failed = |error: ErrorCode| CreateTopicsResponse {
            topics: names
                .into_iter()
                .map(|name| CreatableTopicResult {
                    name,
                    error_code: error.0,
                    error_message: None,
                    configs: Some(Vec::new()),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        result.unwrap_or_else(failed)
    })
}
