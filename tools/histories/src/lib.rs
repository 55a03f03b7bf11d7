//! Histories of what clients asked and were told, and the anomalies in them: `operation.rs` is the format, `check.rs` the
//! checker. Nothing here knows where a history comes from: a simulation, a bank, a laboratory of processes.

mod anomaly;
mod check;
mod cycles;
mod figures;
mod index;
mod last_reader;
mod operation;
mod polls;
mod sends;
mod writes;

pub use anomaly::{Anomaly, Report};
pub use check::{Rules, check};
pub use figures::Figures;
pub use last_reader::unread;
pub use operation::{Malformed, Operation, Outcome, What, parse};
