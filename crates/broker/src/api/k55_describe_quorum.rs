//! DescribeQuorum, versions 0 to 2 (KIP-595, KIP-836, KIP-853): passed on to the quorum, whose leader answers. Kafka:
//! `KafkaApis.handleDescribeQuorumRequest`, `KafkaRaftClient.handleDescribeQuorumRequest`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use crate::hosts::description;
use milena_protocol::ApiKey;
use milena_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::DESCRIBE_QUORUM, lane: Lane::Controller, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<DescribeQuorumRequest>() else { return Outcome::Close };
    let version = call.version();
    call.forward(request, move |result| match result {
        Ok(response) => description::for_version(response, version),
        Err(error) => DescribeQuorumResponse {
            error_code: error.0,
            error_message: Some(description::no_answer(error)),
            ..Default::default()
        },
    })
}
