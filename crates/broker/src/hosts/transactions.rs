//! The transaction coordinators of this broker: one for each partition of `__transaction_state` that it leads.
//!
//! `directory.rs` finds the coordinator of a transactional id and does what one wants done beside its log; `marking.rs` has
//! markers written where the partitions are led; `verification.rs` asks a coordinator, wherever it is, whether partitions are
//! in a transaction; `errands.rs` carries both to other brokers. Coordinators run in `hosts/coordinators`. Kafka:
//! `TransactionCoordinator`, `TransactionMarkerChannelManager`, `AddPartitionsToTxnManager`.

mod directory;
mod errands;
mod marking;
mod verification;

pub(crate) use directory::{TRANSACTION_TOPIC, TransactionCoordinators, partition_of};
pub(crate) use errands::run as run_errands;
pub(crate) use verification::{Query, Verified, ask as ask_coordinator};
