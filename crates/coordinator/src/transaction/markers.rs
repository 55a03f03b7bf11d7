//! Markers: a transaction whose outcome is in the log is over when each of its partitions has the marker. Kafka:
//! `TransactionMarkerChannelManager`, `TransactionMetadata.prepareComplete`.

use super::end::producer_after;
use super::event::{Action, Marking, PartitionKey};
use super::machine::{After, Context, Timer, TransactionDecision};
use super::state::{Status, Transaction};
use crate::runtime::{Decision, Producer};
use milena_protocol::Text;
use milena_types::{ProducerId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// How soon an end that could not be written is written again.
const COMPLETE_AGAIN_MS: i64 = 100;

/// Transactions whose markers are being written.
#[derive(Debug, Default)]
pub(super) struct Markers {
    missing: BTreeMap<Text, Missing>,
}

#[derive(Debug)]
struct Missing {
    producer: Producer,
    partitions: BTreeSet<PartitionKey>,
}

impl Markers {
    /// Nobody waits for these markers any more. The transaction stays as it is until its log is loaded again.
    pub(super) fn abandon(&mut self, id: &Text, producer: Producer) {
        if self.missing.get(id).is_some_and(|missing| missing.producer == producer) {
            self.missing.remove(id);
        }
    }
}

/// Markers of transactions that another coordinator decided.
pub(super) fn loaded(context: &mut Context<'_>) -> TransactionDecision {
    let state = context.state;
    let prepared_ids: Vec<Text> =
        state.iter().filter(|(_, transaction)| transaction.status.is_prepared()).map(|(id, _)| id.clone()).collect();
    let mut decision = TransactionDecision::default();
    for id in prepared_ids {
        decision.extend(prepared(context, &id));
    }
    decision
}

/// The outcome is in the log.
pub(super) fn prepared(context: &mut Context<'_>, id: &Text) -> TransactionDecision {
    let Some(transaction) = context.state.get(id).filter(|transaction| transaction.status.is_prepared()) else {
        return TransactionDecision::default();
    };
    if transaction.partitions.is_empty() {
        return complete(context, id);
    }
    let (producer, partitions) = (transaction.producer(), transaction.partitions.clone());
    let marking = Marking {
        id: id.clone(),
        producer,
        is_committed: transaction.status == Status::PrepareCommit,
        transaction_version: transaction.client_version,
        partitions: partitions.clone(),
    };
    context.machine.markers.missing.insert(id.clone(), Missing { producer, partitions });
    context.machine.actions.push(Action::Mark(marking));
    TransactionDecision::default()
}

/// Partitions have their marker.
pub(super) fn marked(
    context: &mut Context<'_>,
    id: &Text,
    producer: Producer,
    partitions: &[PartitionKey],
) -> TransactionDecision {
    let Some(missing) = context.machine.markers.missing.get_mut(id).filter(|missing| missing.producer == producer)
    else {
        return TransactionDecision::default();
    };
    for partition in partitions {
        missing.partitions.remove(partition);
    }
    if !missing.partitions.is_empty() {
        return TransactionDecision::default();
    }
    context.machine.markers.missing.remove(id);
    complete(context, id)
}

/// All markers are written.
pub(super) fn complete(context: &mut Context<'_>, id: &Text) -> TransactionDecision {
    let Some(current) = context.state.get(id).filter(|transaction| transaction.status.is_prepared()) else {
        return TransactionDecision::default();
    };
    let record = context.record(id, completed(current, context.now));
    TransactionDecision {
        records: vec![record],
        after: vec![After::Completed { id: id.clone() }],
        ..Decision::default()
    }
}

/// The end could not be written.
pub(super) fn complete_later(context: &mut Context<'_>, id: Text) {
    let at = Timestamp(context.now.0.saturating_add(COMPLETE_AGAIN_MS));
    context.machine.timers.set(Timer::Complete(id), at);
}

fn completed(current: &Transaction, now: Timestamp) -> Transaction {
    let is_committed = current.status == Status::PrepareCommit;
    let producer = producer_after(current);
    Transaction {
        producer_id: producer.id,
        previous_producer_id: current.producer_id,
        next_producer_id: ProducerId::NONE,
        producer_epoch: producer.epoch,
        status: if is_committed { Status::CompleteCommit } else { Status::CompleteAbort },
        partitions: BTreeSet::new(),
        last_update: now,
        ..current.clone()
    }
}
