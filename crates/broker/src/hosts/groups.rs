//! The group coordinators of this broker: one for each partition of `__consumer_offsets` that it leads.
//!
//! `directory.rs` finds the coordinator of a group and tells all of them what changed; `requests.rs` has the requests that
//! are about groups of several coordinators. They run in `hosts/coordinators`. Kafka: `GroupCoordinatorService`.

mod directory;
mod requests;
mod survey;

pub(crate) use directory::{GroupCoordinators, OFFSETS_TOPIC, partition_of};
pub(crate) use requests::listed;
pub(crate) use survey::Survey;
