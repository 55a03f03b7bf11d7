//! RemoveRaftVoter, version 0 (KIP-853): passed on to the quorum, whose leader answers. Kafka:
//! `KafkaApis.forwardToController`, `RemoveVoterHandler`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use crate::hosts::description;
use milena_protocol::ApiKey;
use milena_protocol::messages::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::REMOVE_RAFT_VOTER, lane: Lane::Controller, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<RemoveRaftVoterRequest>() else { return Outcome::Close };
    call.forward(request, |result| {
        result.unwrap_or_else(|error| RemoveRaftVoterResponse {
            error_code: error.0,
            error_message: Some(description::no_answer(error)),
            ..Default::default()
        })
    })
}
