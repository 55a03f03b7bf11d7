//! The host of a log-backed state machine: one partition, one writer.

mod machine;
mod timeline;
mod timers;

pub use machine::{Decision, DecisionOf, Machine, RecordPlace, Replicated, Ticket};
pub use timeline::Timeline;
pub use timers::Timers;
