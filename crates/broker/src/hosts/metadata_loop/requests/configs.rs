//! AlterConfigs and IncrementalAlterConfigs: requests to changes, with a refusal for each resource that cannot be changed
//! (class `ControllerApis.handleIncrementalAlterConfigs`).

use std::collections::BTreeMap;

use milena_controller::{AlterOperation, ApiError, ConfigChange, Controller, Decision};
use milena_metadata::ConfigResource;
use milena_protocol::Text;
use milena_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    alter_configs_response, incremental_alter_configs_response,
};
use milena_types::ErrorCode;

use super::wrap;

type Refusals = Vec<(ConfigResource, ApiError)>;

/// The resource types of Kafka (`ConfigResource.Type`); 0 and all others are unknown.
const KNOWN_TYPES: [i8; 6] = [2, 4, 8, 16, 32, 1];

/// Sorts resources into those that are asked for once and refusals of the others.
fn admit<C>(resources: impl Iterator<Item = (ConfigResource, C)>) -> (Vec<(ConfigResource, C)>, Refusals) {
    let mut counts: BTreeMap<(i8, Text), usize> = BTreeMap::new();
    let all: Vec<_> = resources.collect();
    for (resource, _) in &all {
        *counts.entry((resource.kind, resource.name.clone())).or_default() += 1;
    }
    let (mut admitted, mut refused) = (Vec::new(), Vec::new());
    for (resource, changes) in all {
        let count = counts.get_mut(&(resource.kind, resource.name.clone()));
        if !KNOWN_TYPES.contains(&resource.kind) {
            let message = format!("Unknown resource type {}.", resource.kind);
            refused.push((resource, ApiError::new(ErrorCode::UNSUPPORTED_VERSION, message)));
            continue;
        }
        match count.map(std::mem::take) {
            Some(1) => admitted.push((resource, changes)),
            // Zero: refused already when its first copy was met.
            Some(0) | None => {}
            Some(_) => refused.push((resource, ApiError::new(ErrorCode::INVALID_REQUEST, "Duplicate resource."))),
        }
    }
    (admitted, refused)
}

fn outcome_of(outcome: Result<(), ApiError>) -> (i16, Option<Text>) {
    match outcome {
        Ok(()) => (ErrorCode::NONE.0, None),
        Err(error) => (error.error.0, error.text()),
    }
}

pub(super) fn change(
    controller: &Controller,
    request: &IncrementalAlterConfigsRequest,
) -> Decision<IncrementalAlterConfigsResponse> {
    let mut unknown_operations = Refusals::new();
    let resources = request.resources.iter().filter_map(|resource| {
        let key = ConfigResource { kind: resource.resource_type, name: resource.resource_name.clone() };
        let changes = resource.configs.iter().map(|config| {
            let operation = AlterOperation::from_id(config.config_operation);
            operation.map(|operation| ConfigChange {
                name: config.name.clone(),
                operation,
                value: config.value.clone(),
            })
        });
        match changes.collect::<Option<Vec<_>>>() {
            Some(changes) => Some((key, changes)),
            None => {
                let error = ApiError::new(ErrorCode::INVALID_REQUEST, "Unknown config operation.");
                unknown_operations.push((key, error));
                None
            }
        }
    });
    let (admitted, mut refused) = admit(resources);
    refused.append(&mut unknown_operations);
    wrap(controller.decide_incremental_alter_configs(&admitted, request.validate_only), |outcomes| {
        let refused = refused.into_iter().map(|(resource, error)| (resource, Err(error)));
        let responses = refused.chain(outcomes).map(|(resource, outcome)| {
            let (error_code, error_message) = outcome_of(outcome);
            incremental_alter_configs_response::AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: resource.kind,
                resource_name: resource.name,
                ..Default::default()
            }
        });
        IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() }
    })
}

pub(super) fn replace(controller: &Controller, request: &AlterConfigsRequest) -> Decision<AlterConfigsResponse> {
    let resources = request.resources.iter().map(|resource| {
        let key = ConfigResource { kind: resource.resource_type, name: resource.resource_name.clone() };
        let values = resource.configs.iter().map(|config| (config.name.clone(), config.value.clone()));
        (key, values.collect::<BTreeMap<_, _>>())
    });
    let (admitted, refused) = admit(resources);
    wrap(controller.decide_alter_configs(&admitted, request.validate_only), |outcomes| {
        let refused = refused.into_iter().map(|(resource, error)| (resource, Err(error)));
        let responses = refused.chain(outcomes).map(|(resource, outcome)| {
            let (error_code, error_message) = outcome_of(outcome);
            alter_configs_response::AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: resource.kind,
                resource_name: resource.name,
                ..Default::default()
            }
        });
        AlterConfigsResponse { responses: responses.collect(), ..Default::default() }
    })
}
