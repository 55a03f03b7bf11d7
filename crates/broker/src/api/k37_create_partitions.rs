//! CreatePartitions (KIP-195, KIP-599), versions 0 to 3: answered by the controller (`controller/create_partitions`).
//! Kafka: `ControllerApis.handleCreatePartitions`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_protocol::ApiKey;
use milena_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use milena_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::CREATE_PARTITIONS, lane: Lane::Controller, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<CreatePartitionsRequest>() else { return Outcome::Close };
    let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    call.forward(request, move |result| {
        let failed = |error: ErrorCode| CreatePartitionsResponse {
            results: names
                .into_iter()
                .map(|name| CreatePartitionsTopicResult { name, error_code: error.0, ..Default::default() })
                .collect(),
            ..Default::default()
        };
        result.unwrap_or_else(failed)
    })
}
