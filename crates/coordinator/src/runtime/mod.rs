//! The host of a log-backed state machine: one partition, one writer.

mod collect;
mod coordinator;
mod end_transaction;
mod load;
mod machine;
#[cfg(test)]
mod simulation_tests;
mod timeline;
mod timers;

pub use coordinator::{AppendTerms, Coordinator, Effect, Phase, RuntimeConfig};
pub use load::LoadError;
pub use machine::{Decision, DecisionOf, EndOfTransaction, Machine, Producer, RecordPlace, Replicated, Scope, Ticket};
pub use timeline::Timeline;
pub use timers::Timers;
