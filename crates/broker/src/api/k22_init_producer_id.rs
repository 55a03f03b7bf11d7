//! InitProducerId, versions 0 to 5: an id for an idempotent producer, or for a transactional one an epoch that shuts out
//! whoever had its transactional id before (KIP-98, KIP-360). Kafka: `KafkaApis.handleInitProducerIdRequest`,
//! `TransactionCoordinator.handleInitProducerId`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_coordinator::runtime::Producer;
use milena_coordinator::transaction::{TransactionReply, TransactionRequest};
use milena_protocol::ApiKey;
use milena_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use milena_types::{ErrorCode, ProducerEpoch, ProducerId};
use std::sync::Arc;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::INIT_PRODUCER_ID, lane: Lane::Coordinator, handle };

/// The first version that knows `PRODUCER_FENCED`.
const FENCED_FROM_VERSION: i16 = 4;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<InitProducerIdRequest>() else { return Outcome::Close };
    let version = call.version();
    let producer = Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) };
    let (has_id, has_epoch) = (producer.id != ProducerId::NONE, producer.epoch != ProducerEpoch::NONE);
    if has_id != has_epoch || request.transactional_id.as_deref() == Some("") {
        return call.answer(&failed(ErrorCode::INVALID_REQUEST));
    }
    let Some(later) = call.park() else { return Outcome::Close };
    let broker = Arc::clone(call.broker);
    let Some(id) = request.transactional_id else {
        let done = Box::new(move |result: Result<ProducerId, ErrorCode>| {
            later.answer(&match result {
                Ok(id) => InitProducerIdResponse { producer_id: id.0, producer_epoch: 0, ..Default::default() },
                Err(error) => failed(error),
            });
        });
        broker.producer_ids().generate(&broker, done);
        return Outcome::Pending;
    };
    let request = TransactionRequest::InitProducerId {
        id,
        timeout_ms: request.transaction_timeout_ms,
        expected: has_id.then_some(producer),
        fresh: None,
    };
    let done = Box::new(move |reply| {
        let TransactionReply::InitProducerId(result) = reply else { return };
        later.answer(&match result {
            Ok(producer) => InitProducerIdResponse {
                producer_id: producer.id.0,
                producer_epoch: producer.epoch.0,
                ..Default::default()
            },
            Err(error) => failed(super::fenced_before(FENCED_FROM_VERSION, version, error)),
        });
    });
    broker.transactions().submit(&broker, request, done);
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
