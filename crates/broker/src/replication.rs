//! Copying between brokers: fetchers that follow what others lead, and the changes of in-sync replicas that this broker
//! asks the controller for. Kafka's counterparts are `ReplicaFetcherManager` and `AlterPartitionManager`. What is decided
//! is in the rooms `replication` and `partitions`; here are the tasks.

mod alter_partition;
mod directories;
mod fetcher;
mod following;
mod isr_changes;
mod out_of_range;
mod requests;
mod tasks;
mod throttles;

pub use alter_partition::{alter_partition_request, decided_assignment};
pub(crate) use directories::ReplicaDirectories;
pub(crate) use following::Following;
pub(crate) use isr_changes::IsrChanges;
pub use tasks::ReplicationTasks;
pub(crate) use throttles::{Throttled, Throttles};
