//! InitProducerId, versions 0 to 5: an id for an idempotent producer. Transactional ids are refused with
//! COORDINATOR_NOT_AVAILABLE until there is a transaction coordinator. Kafka: `KafkaApis.handleInitProducerIdRequest`,
//! `TransactionCoordinator.handleInitProducerId`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_protocol::ApiKey;
use milena_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use milena_types::{ErrorCode, ProducerEpoch, ProducerId};
use std::sync::Arc;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::INIT_PRODUCER_ID, lane: Lane::Coordinator, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<InitProducerIdRequest>() else { return Outcome::Close };
    let has_id = request.producer_id != ProducerId::NONE.0;
    let has_epoch = request.producer_epoch != ProducerEpoch::NONE.0;
    if has_id != has_epoch {
        return call.answer(&failed(ErrorCode::INVALID_REQUEST));
    }
    match request.transactional_id.as_deref() {
        None => {}
        Some("") => return call.answer(&failed(ErrorCode::INVALID_REQUEST)),
        Some(_) => return call.answer(&failed(ErrorCode::COORDINATOR_NOT_AVAILABLE)),
    }
    let Some(later) = call.park() else { return Outcome::Close };
    let done = Box::new(move |result: Result<ProducerId, ErrorCode>| {
        later.answer(&match result {
            Ok(id) => InitProducerIdResponse { producer_id: id.0, producer_epoch: 0, ..Default::default() },
            Err(error) => failed(error),
        });
    });
    let broker = Arc::clone(call.broker);
    broker.producer_ids().generate(&broker, done);
    Outcome::Pending
}

fn failed(error: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: error.0,
        producer_id: ProducerId::NONE.0,
        producer_epoch: ProducerEpoch::NONE.0,
        ..Default::default()
    }
}
