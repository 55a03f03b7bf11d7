//! EndTxn, and ending a transaction over its producer's head. Kafka: `TransactionCoordinator.endTransaction`,
//! `endTransactionWithTV1`, `TransactionMetadata.prepareAbortOrCommit`.
//!
//! With version 2 of the protocol every end raises the producer's epoch, so that nothing of the transaction can be written
//! after it (KIP-890); a repeated request is recognised by the epoch before, or, when that was the last one of a producer
//! id, by the id before.

use super::event::TransactionReply;
use super::machine::{After, Context, TransactionDecision};
use super::state::{Status, Transaction};
use crate::runtime::{Decision, Producer, Ticket};
use milena_protocol::Text;
use milena_types::{ErrorCode, ProducerEpoch, ProducerId, Timestamp};

/// The version of the protocol from which on an end raises the epoch.
pub(super) const EPOCH_BUMP_FROM: i16 = 2;
/// The last epoch a producer writes with.
const LAST_USED_EPOCH: i16 = i16::MAX - 1;

/// EndTxn.
pub(super) struct Asked {
    pub(super) producer: Producer,
    pub(super) is_committed: bool,
    pub(super) client_version: i16,
    pub(super) fresh: Option<ProducerId>,
}

/// What becomes of a request.
enum Step {
    /// The transaction ends; without one that has begun, its start is now.
    Prepare { has_begun: bool },
    /// It has ended so already.
    Done,
}

pub(super) fn end(context: &Context<'_>, ticket: Ticket, id: &Text, asked: &Asked) -> TransactionDecision {
    let refused = |error| Decision::reply(ticket, TransactionReply::End(Err(error)), Vec::new());
    let Some(current) = context.state.get(id) else { return refused(ErrorCode::INVALID_PRODUCER_ID_MAPPING) };
    let bumps = asked.client_version >= EPOCH_BUMP_FROM;
    let step = if bumps { step_with_bump(current, asked) } else { step_without_bump(current, asked) };
    match step {
        Ok(Step::Done) => {
            let producer = bumps.then(|| current.producer());
            Decision::reply(ticket, TransactionReply::End(Ok(producer)), Vec::new())
        }
        Ok(Step::Prepare { has_begun }) => {
            if bumps && current.is_exhausted() && asked.fresh.is_none() {
                return Decision::at_once(ticket, TransactionReply::NeedsProducerId);
            }
            // Without a transaction that has begun there is only aborting.
            let status = if asked.is_committed && has_begun { Status::PrepareCommit } else { Status::PrepareAbort };
            let start = if has_begun { current.start } else { context.now };
            let version = if bumps { asked.client_version } else { 0 };
            let next = prepare(current, (status, start, context.now), version, asked.fresh);
            let producer = bumps.then(|| producer_after(&next));
            let mut decision = prepared(context, id, next);
            decision.replies.push((ticket, TransactionReply::End(Ok(producer))));
            decision
        }
        Err(error) => refused(error),
    }
}

fn step_without_bump(current: &Transaction, asked: &Asked) -> Result<Step, ErrorCode> {
    if current.producer_id != asked.producer.id {
        return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    }
    if current.producer_epoch != asked.producer.epoch {
        return Err(ErrorCode::PRODUCER_FENCED);
    }
    match (current.status, asked.is_committed) {
        (Status::Ongoing, _) => Ok(Step::Prepare { has_begun: true }),
        (Status::CompleteCommit, true) | (Status::CompleteAbort, false) => Ok(Step::Done),
        (Status::PrepareCommit, true) | (Status::PrepareAbort, false) => Err(ErrorCode::CONCURRENT_TRANSACTIONS),
        _ => Err(ErrorCode::INVALID_TXN_STATE),
    }
}

fn step_with_bump(current: &Transaction, asked: &Asked) -> Result<Step, ErrorCode> {
    let epoch = asked.producer.epoch;
    let is_same = current.producer_epoch == epoch;
    let after_overflow = current.previous_producer_id == asked.producer.id
        && epoch.0 == LAST_USED_EPOCH
        && current.producer_epoch.0 == 0;
    let after_bump = i32::from(current.producer_epoch.0) == i32::from(epoch.0) + 1;
    if current.producer_id != asked.producer.id && !after_overflow {
        return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    }
    let is_valid = match current.status {
        Status::PrepareCommit | Status::PrepareAbort => after_bump,
        Status::CompleteCommit | Status::CompleteAbort => after_bump || after_overflow || is_same,
        _ => is_same,
    };
    if !is_valid {
        return Err(ErrorCode::PRODUCER_FENCED);
    }
    let is_repeated = after_bump || after_overflow;
    match (current.status, asked.is_committed) {
        (Status::Ongoing, _) => Ok(Step::Prepare { has_begun: true }),
        (Status::CompleteCommit, true) | (Status::CompleteAbort, false) if is_repeated => Ok(Step::Done),
        // The client could not know whether a write that failed had begun the transaction.
        (Status::CompleteCommit, false) if !is_repeated => Ok(Step::Prepare { has_begun: false }),
        (Status::CompleteAbort | Status::Empty, false) => Ok(Step::Prepare { has_begun: false }),
        (Status::PrepareCommit, true) | (Status::PrepareAbort, false) => Err(ErrorCode::CONCURRENT_TRANSACTIONS),
        _ => Err(ErrorCode::INVALID_TXN_STATE),
    }
}

/// Aborts an ongoing transaction so that its producer can write no more. `None` if a producer id is needed.
pub(super) fn fence(
    context: &Context<'_>,
    id: &Text,
    current: &Transaction,
    fresh: Option<ProducerId>,
) -> Option<TransactionDecision> {
    let version = context.machine.version;
    let times = (Status::PrepareAbort, current.start, context.now);
    let next = if version >= EPOCH_BUMP_FROM {
        if current.is_exhausted() && fresh.is_none() {
            return None;
        }
        prepare(current, times, version, fresh)
    } else {
        let bumped = Transaction {
            producer_epoch: ProducerEpoch(current.producer_epoch.0.saturating_add(1)),
            last_producer_epoch: ProducerEpoch::NONE,
            ..current.clone()
        };
        prepare(&bumped, times, 0, None)
    };
    Some(prepared(context, id, next))
}

fn prepare(
    current: &Transaction,
    (status, start, now): (Status, Timestamp, Timestamp),
    version: i16,
    fresh: Option<ProducerId>,
) -> Transaction {
    let bumps = version >= EPOCH_BUMP_FROM;
    let (producer_epoch, last_producer_epoch) = if bumps {
        (ProducerEpoch(current.producer_epoch.0.saturating_add(1)), current.producer_epoch)
    } else {
        (current.producer_epoch, current.last_producer_epoch)
    };
    Transaction {
        previous_producer_id: current.producer_id,
        next_producer_id: fresh.filter(|_| bumps && current.is_exhausted()).unwrap_or(ProducerId::NONE),
        producer_epoch,
        last_producer_epoch,
        status,
        start,
        last_update: now,
        client_version: version,
        ..current.clone()
    }
}

fn prepared(context: &Context<'_>, id: &Text, next: Transaction) -> TransactionDecision {
    let id = id.detached();
    let record = context.record(&id, next);
    TransactionDecision { records: vec![record], after: vec![After::Prepared { id }], ..Decision::default() }
}

/// The producer once the markers are written.
pub(super) fn producer_after(prepared: &Transaction) -> Producer {
    if prepared.client_version >= EPOCH_BUMP_FROM && prepared.next_producer_id.is_some() {
        return Producer { id: prepared.next_producer_id, epoch: ProducerEpoch(0) };
    }
    prepared.producer()
}
