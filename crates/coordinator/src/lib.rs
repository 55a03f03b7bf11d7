//! Coordinators: state that lives in a log of its own and is rebuilt from it. Pure.
//!
//! - `runtime`: hosts any such state machine on one partition. A machine *decides* (state read only) and answers with
//!   records; the records are replayed (the only thing that changes state) and appended in batches; answers wait until
//!   the high watermark has passed the records. Begin with `runtime/machine.rs`.
//! - `assignor`: who of a consumer group shall own which partition (KIP-848).
//! - `group`: consumer groups and their offsets on `__consumer_offsets`: `group/records.rs` (what is in the log),
//!   `group/state.rs` (what it amounts to), `group/machine.rs` (requests in, answers out). One folder for each kind of
//!   group: `classic` (JoinGroup and SyncGroup), `consumer` (KIP-848).
//! - `transaction`: transactions on `__transaction_state`.
//!
//! Kafka's counterparts: `org.apache.kafka.coordinator.common.runtime` `org.apache.kafka.coordinator.group`
//! and `org.apache.kafka.coordinator.transaction`.

pub mod assignor;
pub mod group;
pub mod runtime;
pub mod transaction;
