//! Transactions that take longer than their producer said, and ids that nobody uses. Kafka:
//! `TransactionCoordinator.abortTimedOutTransactions`, `TransactionStateManager.removeExpiredTransactionalIds`.

use super::end;
use super::event::Action;
use super::machine::{Context, Timer, TransactionDecision};
use super::record::TransactionRecord;
use super::state::{Status, Transaction};
use crate::runtime::Decision;
use milena_protocol::Text;
use milena_types::{ProducerId, Timestamp};

pub(super) fn schedule(context: &mut Context<'_>) {
    let config = context.machine.config;
    set(context, Timer::AbortTimedOut, config.abort_timed_out_interval_ms);
    set(context, Timer::RemoveExpired, config.remove_expired_interval_ms);
}

fn set(context: &mut Context<'_>, timer: Timer, ms: i64) {
    let at = Timestamp(context.now.0.saturating_add(ms));
    context.machine.timers.set(timer, at);
}

/// Looks at all transactions.
pub(super) fn abort_all_timed_out(context: &mut Context<'_>) -> TransactionDecision {
    let interval_ms = context.machine.config.abort_timed_out_interval_ms;
    set(context, Timer::AbortTimedOut, interval_ms);
    let (state, now) = (context.state, context.now);
    let late: Vec<Text> = state.iter().filter(|(_, one)| is_late(one, now)).map(|(id, _)| id.clone()).collect();
    let mut decision = TransactionDecision::default();
    for id in late {
        decision.extend(abort_timed_out(context, &id, None));
    }
    decision
}

/// Aborts one transaction if it is late; asks for a producer id if that takes one.
pub(super) fn abort_timed_out(context: &mut Context<'_>, id: &Text, fresh: Option<ProducerId>) -> TransactionDecision {
    let state = context.state;
    let Some(current) = state.get(id).filter(|one| is_late(one, context.now)) else {
        return TransactionDecision::default();
    };
    end::fence(context, id, current, fresh).unwrap_or_else(|| {
        context.machine.actions.push(Action::GetProducerId { id: id.clone() });
        TransactionDecision::default()
    })
}

fn is_late(transaction: &Transaction, now: Timestamp) -> bool {
    transaction.status == Status::Ongoing
        && !transaction.has_no_timeout()
        && transaction.start.0.saturating_add(i64::from(transaction.timeout_ms)) < now.0
}

/// Removes ids whose last change is long ago.
pub(super) fn remove_expired(context: &mut Context<'_>) -> TransactionDecision {
    let config = context.machine.config;
    set(context, Timer::RemoveExpired, config.remove_expired_interval_ms);
    let before = context.now.0.saturating_sub(config.transactional_id_expiration_ms);
    let is_expired = |one: &Transaction| one.status.is_over() && one.last_update.0 <= before;
    let expired = context.state.iter().filter(|(_, one)| is_expired(one));
    let tombstone = |(id, _): (&Text, &Transaction)| TransactionRecord { id: id.clone(), value: None, version: 0 };
    Decision::separable(expired.map(tombstone).collect())
}
