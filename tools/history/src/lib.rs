//! Histories: what clients asked and were told, and what must hold of it whoever wrote it down, the simulator or real clients.

mod check;
mod operation;

pub use check::{Figures, anomalies, unread};
pub use operation::{Operation, Outcome, What, parse};
