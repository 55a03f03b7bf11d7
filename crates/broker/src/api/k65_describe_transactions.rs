//! DescribeTransactions, version 0 (KIP-664): what the coordinator knows of transactional ids. Kafka:
//! `KafkaApis.handleDescribeTransactionsRequest`, `TransactionCoordinator.handleDescribeTransactions`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_coordinator::transaction::{PartitionKey, Transaction};
use milena_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use milena_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use milena_protocol::{ApiKey, Text};
use milena_types::ErrorCode;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::DESCRIBE_TRANSACTIONS, lane: Lane::Coordinator, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<DescribeTransactionsRequest>() else { return Outcome::Close };
    let ids = request.transactional_ids;
    let asked: Vec<Text> = ids.iter().filter(|id| !id.is_empty()).map(Text::detached).collect();
    let Some(later) = call.park() else { return Outcome::Close };
    let broker = Arc::clone(call.broker);
    broker.transactions().describe(&broker, asked, move |described| {
        let described: BTreeMap<Text, Result<Transaction, ErrorCode>> = described.into_iter().collect();
        let state = |id: &Text| match described.get(id) {
            Some(Ok(transaction)) => of(id, transaction),
            Some(Err(error)) => failed(id, *error),
            None => failed(id, ErrorCode::INVALID_REQUEST),
        };
        let transaction_states = ids.iter().map(state).collect();
        later.answer(&DescribeTransactionsResponse { transaction_states, ..Default::default() });
    });
    Outcome::Pending
}

fn failed(id: &Text, error: ErrorCode) -> TransactionState {
    TransactionState { error_code: error.0, transactional_id: id.clone(), ..Default::default() }
}

fn of(id: &Text, transaction: &Transaction) -> TransactionState {
    let mut topics: Vec<TopicData> = Vec::new();
    for PartitionKey { topic, index } in &transaction.partitions {
        match topics.last_mut() {
            Some(last) if last.topic == *topic => last.partitions.push(*index),
            _ => topics.push(TopicData { topic: topic.clone(), partitions: vec![*index], ..Default::default() }),
        }
    }
    TransactionState {
        error_code: ErrorCode::NONE.0,
        transactional_id: id.clone(),
        transaction_state: Text::from_static(transaction.status.name()),
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_start_time_ms: transaction.start.0,
        producer_id: transaction.producer_id.0,
        producer_epoch: transaction.producer_epoch.0,
        topics,
        ..Default::default()
    }
}
