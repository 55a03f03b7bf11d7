//! DescribeTransactions and ListTransactions: as committed. Kafka: `TransactionCoordinator.handleDescribeTransactions`,
//! `TransactionStateManager.listTransactionStates`.

use super::event::ListFilter;
use super::machine::Context;
use super::state::{Status, Transaction, Transactions};
use milena_protocol::Text;
use milena_types::{ErrorCode, ProducerId};
use regex::{Regex, RegexBuilder};

/// Most bytes of a compiled expression.
const PROGRAM_BYTES_MAX: usize = 1 << 20;

pub(super) fn describe(state: &Transactions, id: Text) -> (Text, Result<Transaction, ErrorCode>) {
    let found = state.committed(&id).cloned().ok_or(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND);
    (id, found)
}

/// One line of a list: id, producer, name of the state.
pub(super) type Listed = (Text, ProducerId, &'static str);

pub(super) fn list(context: &Context<'_>, filter: &ListFilter) -> Result<Vec<Listed>, ErrorCode> {
    let states: Vec<Status> = filter.states.iter().filter_map(|name| Status::from_name(name)).collect();
    let pattern = match filter.pattern.as_deref() {
        None | Some("") => None,
        Some(pattern) => Some(compile(pattern)?),
    };
    let passes = |id: &Text, one: &Transaction| {
        (filter.producer_ids.is_empty() || filter.producer_ids.contains(&one.producer_id.0))
            && (filter.states.is_empty() || states.contains(&one.status))
            && (filter.duration_ms < 0 || context.now.0.saturating_sub(one.start.0) > filter.duration_ms)
            && pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
    };
    let found = context.state.iter_committed().filter(|(id, one)| passes(id, one));
    Ok(found.map(|(id, one)| (id.clone(), one.producer_id, one.status.name())).collect())
}

/// An expression for the whole id. Java's with look-around or back references are refused.
fn compile(pattern: &str) -> Result<Regex, ErrorCode> {
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(PROGRAM_BYTES_MAX)
        .build()
        .map_err(|_| ErrorCode::INVALID_REGULAR_EXPRESSION)
}

impl ListFilter {
    /// The names that are no states.
    #[must_use]
    pub fn unknown_states(&self) -> Vec<Text> {
        self.states.iter().filter(|name| Status::from_name(name).is_none()).cloned().collect()
    }
}
