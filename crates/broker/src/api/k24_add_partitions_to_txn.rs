//! AddPartitionsToTxn, versions 0 to 3 of clients, 4 and 5 of brokers: partitions become part of a transaction, or are
//! looked up in it; from version 4 for several transactions (KIP-890). Kafka:
//! `KafkaApis.handleAddPartitionsToTxnRequest`.

use super::{Api, Lane};
use crate::broker::Broker;
use crate::call::{Call, Later, Outcome};
use milena_coordinator::runtime::Producer;
use milena_coordinator::transaction::{PartitionKey, TransactionReply, TransactionRequest};
use milena_metadata::Image;
use milena_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use milena_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use milena_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use milena_protocol::{ApiKey, Text};
use milena_types::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::ADD_PARTITIONS_TO_TXN, lane: Lane::Coordinator, handle };

/// The first version that knows `PRODUCER_FENCED`.
const FENCED_FROM_VERSION: i16 = 2;
/// From this version on brokers ask, for several transactions.
const BATCHED_FROM_VERSION: i16 = 4;
/// The version of the protocol of transactions whose partitions brokers add.
const ADDED_BY_BROKERS: i16 = 2;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<AddPartitionsToTxnRequest>() else { return Outcome::Close };
    let version = call.version();
    let transactions = transactions_of(request, version);
    if transactions.is_empty() {
        // Nothing ever completes Apache Kafka's answer to it; an empty one does no harm.
        return call.answer(&AddPartitionsToTxnResponse::default());
    }
    let Some(later) = call.park() else { return Outcome::Close };
    let answers = Answers::new(transactions.len(), later);
    let image = call.broker.image();
    let mut asked = Vec::new();
    for (at, transaction) in transactions.into_iter().enumerate() {
        match refused(&image, &transaction) {
            Some(result) => answers.add(at, result),
            None => asked.push((at, transaction)),
        }
    }
    drop(image);
    for (at, transaction) in asked {
        ask(call.broker, version, at, transaction, &answers);
    }
    Outcome::Pending
}

/// Clients have one transaction, whose fields stand outside.
fn transactions_of(request: AddPartitionsToTxnRequest, version: i16) -> Vec<AddPartitionsToTxnTransaction> {
    if version >= BATCHED_FROM_VERSION {
        return request.transactions;
    }
    vec![AddPartitionsToTxnTransaction {
        transactional_id: request.v3_and_below_transactional_id,
        producer_id: request.v3_and_below_producer_id,
        producer_epoch: request.v3_and_below_producer_epoch,
        verify_only: false,
        topics: request.v3_and_below_topics,
        ..Default::default()
    }]
}

/// One partition that does not exist refuses the transaction.
fn refused(image: &Image, transaction: &AddPartitionsToTxnTransaction) -> Option<AddPartitionsToTxnResult> {
    let exists = |topic: &Text, index: i32| {
        image.topics.named(topic).is_some_and(|known| known.partition(PartitionIndex(index)).is_some())
    };
    let all_exist =
        transaction.topics.iter().all(|topic| topic.partitions.iter().all(|index| exists(&topic.name, *index)));
    (!all_exist).then(|| {
        result(transaction, |topic, index| {
            if exists(topic, index) {
                ErrorCode::OPERATION_NOT_ATTEMPTED
            } else {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            }
        })
    })
}

fn ask(
    broker: &Arc<Broker>,
    version: i16,
    at: usize,
    transaction: AddPartitionsToTxnTransaction,
    answers: &Arc<Answers>,
) {
    let answers = Arc::clone(answers);
    if transaction.transactional_id.is_empty() {
        return answers.add(at, result(&transaction, |_, _| ErrorCode::INVALID_REQUEST));
    }
    let id = transaction.transactional_id.clone();
    let producer =
        Producer { id: ProducerId(transaction.producer_id), epoch: ProducerEpoch(transaction.producer_epoch) };
    let key = |topic: &AddPartitionsToTxnTopic, index: &i32| PartitionKey { topic: topic.name.clone(), index: *index };
    let partitions: BTreeSet<PartitionKey> = transaction
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |index| key(topic, index)))
        .collect();
    let request = if transaction.verify_only {
        TransactionRequest::Verify { id, producer, partitions }
    } else {
        let client_version = if version >= BATCHED_FROM_VERSION { ADDED_BY_BROKERS } else { 0 };
        TransactionRequest::AddPartitions { id, producer, partitions, client_version }
    };
    let done = Box::new(move |reply| {
        let all = |error| {
            let error = super::fenced_before(FENCED_FROM_VERSION, version, error);
            result(&transaction, |_, _| error)
        };
        answers.add(
            at,
            match reply {
                TransactionReply::AddPartitions(error) | TransactionReply::Verify(Err(error)) => all(error),
                TransactionReply::Verify(Ok(verified)) => result(&transaction, |topic, index| {
                    let found = verified.iter().find(|(key, _)| key.topic == *topic && key.index == index);
                    found.map_or(ErrorCode::UNKNOWN_SERVER_ERROR, |(_, error)| *error)
                }),
                _ => all(ErrorCode::UNKNOWN_SERVER_ERROR),
            },
        );
    });
    broker.transactions().submit(broker, request, done);
}

fn result(
    transaction: &AddPartitionsToTxnTransaction,
    error: impl Fn(&Text, i32) -> ErrorCode,
) -> AddPartitionsToTxnResult {
    let topics = transaction.topics.iter().map(|topic| AddPartitionsToTxnTopicResult {
        name: topic.name.clone(),
        results_by_partition: topic
            .partitions
            .iter()
            .map(|index| AddPartitionsToTxnPartitionResult {
                partition_index: *index,
                partition_error_code: error(&topic.name, *index).0,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    AddPartitionsToTxnResult {
        transactional_id: transaction.transactional_id.clone(),
        topic_results: topics.collect(),
        ..Default::default()
    }
}

/// The answer as it comes together.
struct Answers {
    state: Mutex<(Vec<Option<AddPartitionsToTxnResult>>, Option<Later>)>,
}

impl Answers {
    fn new(count: usize, later: Later) -> Arc<Answers> {
        Arc::new(Answers { state: Mutex::new((vec![None; count], Some(later))) })
    }

    fn add(&self, at: usize, result: AddPartitionsToTxnResult) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = state.0.get_mut(at) {
            *slot = Some(result);
        }
        if state.0.iter().any(Option::is_none) {
            return;
        }
        let (results, later) = (std::mem::take(&mut state.0), state.1.take());
        drop(state);
        let Some(later) = later else { return };
        let mut results = results.into_iter().flatten();
        let response = if later.version() >= BATCHED_FROM_VERSION {
            AddPartitionsToTxnResponse { results_by_transaction: results.collect(), ..Default::default() }
        } else {
            let topics = results.next().map(|result| result.topic_results).unwrap_or_default();
            AddPartitionsToTxnResponse { results_by_topic_v3_and_below: topics, ..Default::default() }
        };
        later.answer(&response);
    }
}
