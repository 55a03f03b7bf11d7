//! The host of a log-backed state machine: one partition, one writer.

mod coordinator;
mod load;
mod machine;
#[cfg(test)]
mod simulation_tests;
mod timeline;
mod timers;

pub use coordinator::{Coordinator, Effect, Phase, RuntimeConfig};
pub use load::LoadError;
pub use machine::{Decision, DecisionOf, Machine, RecordPlace, Replicated, Ticket};
pub use timeline::Timeline;
pub use timers::Timers;
