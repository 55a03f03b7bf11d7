//! AddOffsetsToTxn, versions 0 to 4: the offsets of a group become part of a transaction, which is the partition of
//! `__consumer_offsets` they are on. Kafka: `KafkaApis.handleAddOffsetsToTxnRequest`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use crate::hosts::{OFFSETS_TOPIC, group_partition};
use milena_coordinator::runtime::Producer;
use milena_coordinator::transaction::{PartitionKey, TransactionReply, TransactionRequest};
use milena_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use milena_protocol::{ApiKey, Text};
use milena_types::{ErrorCode, ProducerEpoch, ProducerId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::ADD_OFFSETS_TO_TXN, lane: Lane::Coordinator, handle };

/// The first version that knows `PRODUCER_FENCED`.
const FENCED_FROM_VERSION: i16 = 2;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<AddOffsetsToTxnRequest>() else { return Outcome::Close };
    let version = call.version();
    let answer = |error: ErrorCode| AddOffsetsToTxnResponse { error_code: error.0, ..Default::default() };
    if request.transactional_id.is_empty() {
        return call.answer(&answer(ErrorCode::INVALID_REQUEST));
    }
    let index = group_partition(call.broker, &request.group_id);
    let Some(later) = call.park() else { return Outcome::Close };
    let offsets = PartitionKey { topic: Text::from_static(OFFSETS_TOPIC), index };
    let request = TransactionRequest::AddPartitions {
        id: request.transactional_id,
        producer: Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) },
        partitions: BTreeSet::from([offsets]),
        client_version: 0,
    };
    let done = Box::new(move |reply| {
        if let TransactionReply::AddPartitions(error) = reply {
            later.answer(&answer(super::fenced_before(FENCED_FROM_VERSION, version, error)));
        }
    });
    let broker = Arc::clone(call.broker);
    broker.transactions().submit(&broker, request, done);
    Outcome::Pending
}
