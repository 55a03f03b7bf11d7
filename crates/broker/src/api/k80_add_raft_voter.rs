//! AddRaftVoter, versions 0 and 1 (KIP-853): passed on to the quorum, whose leader answers. Kafka:
//! `KafkaApis.forwardToController`, `AddVoterHandler`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use crate::hosts::description;
use milena_protocol::ApiKey;
use milena_protocol::messages::{AddRaftVoterRequest, AddRaftVoterResponse};

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::ADD_RAFT_VOTER, lane: Lane::Controller, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<AddRaftVoterRequest>() else { return Outcome::Close };
    call.forward(request, |result| {
        result.unwrap_or_else(|error| AddRaftVoterResponse {
            error_code: error.0,
            error_message: Some(description::no_answer(error)),
            ..Default::default()
        })
    })
}
