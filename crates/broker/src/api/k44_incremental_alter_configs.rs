//! IncrementalAlterConfigs (KIP-339), versions 0 and 1: sets, deletes, appends to and subtracts from single keys. The
//! broker checks what concerns itself (`config_checks`), the controller decides the rest.
//! Kafka: `KafkaApis.handleIncrementalAlterConfigsRequest`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use crate::config_checks::{AskedConfig, AskedResource, Style, check};
use milena_controller::ApiError;
use milena_protocol::ApiKey;
use milena_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use milena_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use milena_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::INCREMENTAL_ALTER_CONFIGS, lane: Lane::Controller, handle };

type Answers = Vec<Option<AlterConfigsResourceResponse>>;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(mut request) = call.decode::<IncrementalAlterConfigsRequest>() else { return Outcome::Close };
    let asked: Vec<AskedResource<'_>> = request.resources.iter().map(asked).collect();
    let outcomes = check(&asked, Style::Incremental, &call.broker.image(), &call.broker.settings);
    let answers: Answers = outcomes
        .into_iter()
        .zip(&request.resources)
        .map(|(outcome, resource)| outcome.map(|outcome| answer(resource, outcome)))
        .collect();
    let open = |at: usize| answers.get(at).is_some_and(Option::is_none);
    let waiting: Vec<AlterConfigsResource> =
        request.resources.drain(..).enumerate().filter(|(at, _)| open(*at)).map(|(_, resource)| resource).collect();
    if waiting.is_empty() {
        return call.answer(&assemble(answers, Vec::new()));
    }
    request.resources.clone_from(&waiting);
    call.forward(request, move |result| {
        let failed = |error: ErrorCode| {
            let answers = waiting.iter().map(|resource| answer(resource, Err(error.into())));
            IncrementalAlterConfigsResponse { responses: answers.collect(), ..Default::default() }
        };
        assemble(answers, result.unwrap_or_else(failed).responses)
    })
}

fn asked(resource: &AlterConfigsResource) -> AskedResource<'_> {
    AskedResource {
        kind: resource.resource_type,
        name: &resource.resource_name,
        configs: resource.configs.iter().map(asked_config).collect(),
    }
}

fn asked_config(config: &AlterableConfig) -> AskedConfig<'_> {
    AskedConfig { name: &config.name, operation: config.config_operation, value: config.value.as_ref() }
}

fn answer(resource: &AlterConfigsResource, outcome: Result<(), ApiError>) -> AlterConfigsResourceResponse {
    let error = outcome.err();
    AlterConfigsResourceResponse {
        error_code: error.as_ref().map_or(0, |error| error.error.0),
        error_message: error.and_then(|error| error.text()),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Default::default()
    }
}

/// What was refused here, then what the controller decided.
fn assemble(answers: Answers, decided: Vec<AlterConfigsResourceResponse>) -> IncrementalAlterConfigsResponse {
    let mut responses: Vec<AlterConfigsResourceResponse> = answers.into_iter().flatten().collect();
    responses.extend(decided);
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}
