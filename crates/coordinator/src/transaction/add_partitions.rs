//! AddPartitionsToTxn, AddOffsetsToTxn, and the question whether a partition is in a transaction. Kafka:
//! `TransactionCoordinator.handleAddPartitionsToTransaction`, `handleVerifyPartitionsInTransaction`.

use super::event::{PartitionKey, TransactionReply};
use super::machine::{Context, TransactionDecision};
use super::state::{Status, Transaction, Transactions};
use crate::runtime::{Decision, Producer, Ticket};
use milena_protocol::Text;
use milena_types::ErrorCode;
use std::collections::BTreeSet;

/// Who adds what, by which version of the protocol.
pub(super) type Asked = (Producer, BTreeSet<PartitionKey>, i16);

pub(super) fn add(context: &Context<'_>, ticket: Ticket, id: &Text, asked: Asked) -> TransactionDecision {
    let (producer, partitions, client_version) = asked;
    let reply = |error| TransactionReply::AddPartitions(error);
    let current = match writable(context.state, id, producer) {
        Ok(current) => current,
        Err(error) => return Decision::reply(ticket, reply(error), Vec::new()),
    };
    if current.status == Status::Ongoing && partitions.is_subset(&current.partitions) {
        return Decision::reply(ticket, reply(ErrorCode::NONE), Vec::new());
    }
    let mut next = Transaction {
        previous_producer_id: current.producer_id,
        status: Status::Ongoing,
        start: if current.status.is_over() { context.now } else { current.start },
        last_update: context.now,
        client_version,
        ..current.clone()
    };
    let detached = |key: PartitionKey| PartitionKey { topic: key.topic.detached(), index: key.index };
    next.partitions.extend(partitions.into_iter().map(detached));
    Decision::reply(ticket, reply(ErrorCode::NONE), vec![context.record(&id.detached(), next)])
}

pub(super) fn verify(
    state: &Transactions,
    id: &Text,
    producer: Producer,
    partitions: BTreeSet<PartitionKey>,
) -> Result<Vec<(PartitionKey, ErrorCode)>, ErrorCode> {
    let current = writable(state, id, producer)?;
    let error = |key: &PartitionKey| {
        if current.partitions.contains(key) { ErrorCode::NONE } else { ErrorCode::TRANSACTION_ABORTABLE }
    };
    Ok(partitions.into_iter().map(|key| (key.clone(), error(&key))).collect())
}

/// The transaction if this producer may write in it now.
fn writable<'a>(state: &'a Transactions, id: &str, producer: Producer) -> Result<&'a Transaction, ErrorCode> {
    let current = state.get(id).ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
    if current.producer_id != producer.id {
        return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    }
    if current.producer_epoch != producer.epoch {
        return Err(ErrorCode::PRODUCER_FENCED);
    }
    if current.status.is_prepared() {
        return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
    }
    Ok(current)
}
