//! A whole cluster on one thread from a seed: controllers, brokers, clients, networks, disks and clocks that fail, and
//! checkers that look after every step.

mod broker;
mod carrying;
mod checkers;
mod clients;
mod coverage;
mod draw;
mod faults;
mod hints;
mod history;
mod message;
mod node;
mod planted;
mod random;
mod report;
mod run;
mod stepping;
mod world;

pub use coverage::Coverage;
pub use history::{Operation, Outcome};
pub use planted::Planted;
pub use run::{Ran, run};
