//! InitProducerId: a producer takes over its transactional id, or goes on after an error (KIP-360). Kafka:
//! `TransactionCoordinator.handleInitProducerId`, `prepareInitProducerIdTransit`.

use super::end;
use super::event::TransactionReply;
use super::machine::{Context, TransactionDecision};
use super::state::{Status, Transaction, is_exhausted};
use crate::runtime::{Decision, Producer, Ticket};
use milena_protocol::Text;
use milena_types::{ErrorCode, ProducerEpoch, ProducerId, Timestamp};
use std::collections::BTreeSet;

/// The request's timeout, the producer it believes itself to be, and a producer id for it if it needs one.
pub(super) type Asked = (i32, Option<Producer>, Option<ProducerId>);

pub(super) fn init(context: &mut Context<'_>, ticket: Ticket, id: &Text, asked: Asked) -> TransactionDecision {
    let (timeout_ms, expected, fresh) = asked;
    let refused = |error| Decision::reply(ticket, TransactionReply::InitProducerId(Err(error)), Vec::new());
    if !(1..=context.machine.config.transaction_max_timeout_ms).contains(&timeout_ms) {
        return Decision::at_once(
            ticket,
            TransactionReply::InitProducerId(Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT)),
        );
    }
    let state = context.state;
    let Some(current) = state.get(id) else {
        let Some(producer_id) = fresh else { return Decision::at_once(ticket, TransactionReply::NeedsProducerId) };
        return begin(context, ticket, &id.detached(), empty(producer_id, timeout_ms, context.now));
    };
    if !expected.is_none_or(|expected| may_go_on(current, expected)) {
        return refused(ErrorCode::PRODUCER_FENCED);
    }
    match current.status {
        Status::PrepareCommit | Status::PrepareAbort => refused(ErrorCode::CONCURRENT_TRANSACTIONS),
        Status::Ongoing => {
            // The producer comes again, and then gets an epoch of its own.
            let reply = TransactionReply::InitProducerId(Err(ErrorCode::CONCURRENT_TRANSACTIONS));
            match end::fence(context, id, current, fresh) {
                Some(mut decision) => {
                    decision.replies.push((ticket, reply));
                    decision
                }
                None => Decision::at_once(ticket, TransactionReply::NeedsProducerId),
            }
        }
        _ => {
            let rotates =
                current.is_exhausted() && expected.is_none_or(|expected| expected.epoch == current.producer_epoch);
            let next = if rotates {
                let Some(fresh) = fresh else {
                    return Decision::at_once(ticket, TransactionReply::NeedsProducerId);
                };
                let last = if expected.is_some() { current.producer_epoch } else { ProducerEpoch::NONE };
                Ok((Producer { id: fresh, epoch: ProducerEpoch(0) }, last))
            } else {
                next_epoch(current, expected)
            };
            match next {
                Ok((producer, last_producer_epoch)) => {
                    let next = Transaction {
                        producer_id: producer.id,
                        previous_producer_id: current.producer_id,
                        producer_epoch: producer.epoch,
                        last_producer_epoch,
                        timeout_ms,
                        status: Status::Empty,
                        partitions: BTreeSet::new(),
                        start: Timestamp::NONE,
                        last_update: context.now,
                        ..current.clone()
                    };
                    begin(context, ticket, id, next)
                }
                Err(error) => refused(error),
            }
        }
    }
}

fn begin(context: &Context<'_>, ticket: Ticket, id: &Text, next: Transaction) -> TransactionDecision {
    let reply = TransactionReply::InitProducerId(Ok(next.producer()));
    Decision::reply(ticket, reply, vec![context.record(&id.detached(), next)])
}

fn empty(producer_id: ProducerId, timeout_ms: i32, now: Timestamp) -> Transaction {
    Transaction {
        producer_id,
        previous_producer_id: producer_id,
        next_producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch(0),
        last_producer_epoch: ProducerEpoch::NONE,
        timeout_ms,
        status: Status::Empty,
        partitions: BTreeSet::new(),
        start: Timestamp::NONE,
        last_update: now,
        client_version: 0,
    }
}

/// Whether the producer may be the one the id belongs to: by its id, or because its epochs were used up and it did not get
/// the answer that told it the new id. Its epoch is looked at later.
fn may_go_on(current: &Transaction, expected: Producer) -> bool {
    expected.id == current.producer_id || expected.id == current.previous_producer_id && is_exhausted(expected.epoch)
}

/// `TransactionMetadata.prepareIncrementProducerEpoch`: the producer and the epoch it is recognised by when it asks again.
fn next_epoch(current: &Transaction, expected: Option<Producer>) -> Result<(Producer, ProducerEpoch), ErrorCode> {
    if current.is_exhausted() {
        // There is no epoch to give, and the request's own says that another producer was here.
        return Err(ErrorCode::UNKNOWN_SERVER_ERROR);
    }
    let next = Producer { id: current.producer_id, epoch: ProducerEpoch(current.producer_epoch.0 + 1) };
    match expected {
        None => Ok((next, ProducerEpoch::NONE)),
        Some(expected) if expected.epoch == current.producer_epoch => Ok((next, current.producer_epoch)),
        // It asks again: the answer was lost.
        Some(expected) if expected.epoch == current.last_producer_epoch => {
            Ok((current.producer(), current.last_producer_epoch))
        }
        Some(_) => Err(ErrorCode::PRODUCER_FENCED),
    }
}
