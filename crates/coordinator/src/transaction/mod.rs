//! Transactions and the state of their coordinator (`__transaction_state`).
//!
//! - `record.rs`: what is in the log; `state.rs`: what it amounts to, one `Transaction` for each transactional id;
//! - `machine.rs`: requests in, answers out, one file for each kind of request;
//! - `markers.rs`: which partitions still lack the marker that ends a transaction. Sending is the host's: it takes
//!   `TransactionMachine::take_actions` and reports with `TransactionEvent::Marked`.
//!
//! A request is decided with everything that was decided before it, committed or not, and answered once that is
//! committed. So there is no "pending transition" as Apache Kafka has it, and two brokers that add partitions to one
//! transaction at the same time need not wait for each other. Kafka: `TransactionCoordinator`, `TransactionStateManager`,
//! `TransactionMetadata`.

mod add_partitions;
mod config;
mod describe;
mod end;
mod event;
mod expiry;
mod init_producer_id;
mod machine;
mod markers;
mod record;
mod state;

pub use config::TransactionConfig;
pub use event::{Action, ListFilter, Marking, PartitionKey, TransactionEvent, TransactionReply, TransactionRequest};
pub use machine::{TransactionDecision, TransactionMachine};
pub use record::TransactionRecord;
pub use state::{Status, Transaction, Transactions};

#[cfg(test)]
mod tests;
