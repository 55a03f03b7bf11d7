//! EndTxn, versions 0 to 5: a transaction is committed or aborted. From version 5 on the producer gets another epoch with
//! the answer (KIP-890). Kafka: `KafkaApis.handleEndTxnRequest`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_coordinator::runtime::Producer;
use milena_coordinator::transaction::{TransactionReply, TransactionRequest};
use milena_protocol::ApiKey;
use milena_protocol::messages::{EndTxnRequest, EndTxnResponse};
use milena_types::{ErrorCode, ProducerEpoch, ProducerId};
use std::sync::Arc;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::END_TXN, lane: Lane::Coordinator, handle };

/// The first version that knows `PRODUCER_FENCED`.
const FENCED_FROM_VERSION: i16 = 2;
/// From this version on the end of a transaction raises the epoch.
const EPOCH_BUMP_FROM_VERSION: i16 = 5;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<EndTxnRequest>() else { return Outcome::Close };
    let version = call.version();
    let failed = |error: ErrorCode| EndTxnResponse { error_code: error.0, ..Default::default() };
    if request.transactional_id.is_empty() {
        return call.answer(&failed(ErrorCode::INVALID_REQUEST));
    }
    let Some(later) = call.park() else { return Outcome::Close };
    let request = TransactionRequest::End {
        id: request.transactional_id,
        producer: Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) },
        is_committed: request.committed,
        client_version: if version >= EPOCH_BUMP_FROM_VERSION { 2 } else { 0 },
        fresh: None,
    };
    let done = Box::new(move |reply| {
        let TransactionReply::End(result) = reply else { return };
        later.answer(&match result {
            Ok(None) => EndTxnResponse::default(),
            Ok(Some(next)) => {
                EndTxnResponse { producer_id: next.id.0, producer_epoch: next.epoch.0, ..EndTxnResponse::default() }
            }
            Err(error) => failed(super::fenced_before(FENCED_FROM_VERSION, version, error)),
        });
    });
    let broker = Arc::clone(call.broker);
    broker.transactions().submit(&broker, request, done);
    Outcome::Pending
}
