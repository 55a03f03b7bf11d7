//! `milena doctor`: what stands in the way of starting on log directories, and of Apache Kafka starting there again. It
//! reads and never writes, whether a node runs on them or not.

mod batches;
mod diagnosis;
mod directory;
mod facts;
mod lock;
mod releases;

pub use diagnosis::{Diagnosis, Finding, Request, Verdict, examine};
pub use releases::ReleaseAnswer;

#[cfg(test)]
mod doctor_tests;
