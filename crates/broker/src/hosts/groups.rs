//! The group coordinators of this broker: one for each partition of `__consumer_offsets` that it leads.
//!
//! `directory.rs` finds the coordinator of a group and follows the leaderships; `host.rs` runs one coordinator on the
//! threads that bring its events; `loader.rs` reads the log of one that begins; `requests.rs` has the requests that
//! are about groups of several coordinators. Kafka: `GroupCoordinatorService`, the threads of `CoordinatorRuntime`.

mod directory;
mod host;
mod loader;
mod requests;

pub(crate) use directory::{GroupCoordinators, OFFSETS_TOPIC, partition_of};
pub(crate) use requests::listed;
