//! The host of a log-backed state machine: one partition, one writer.

mod collect;
mod coordinator;
#[cfg(test)]
mod coordinator_tests;
mod end_transaction;
mod load;
mod machine;
mod timeline;
mod timers;

pub use coordinator::{AppendTerms, Coordinator, Effect, Phase, RuntimeConfig};
pub use load::LoadError;
pub use machine::{Decision, DecisionOf, EndOfTransaction, Machine, Producer, RecordPlace, Replicated, Scope, Ticket};
pub use timeline::Timeline;
pub use timers::Timers;
