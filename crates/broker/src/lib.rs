//! The broker: the only place where the cores, the log and the network meet. `dispatch` takes what a connection read,
//! `api` has one file for each key, `partitions` is the data plane; `hosts` runs the pure cores.

mod api;
mod broker;
mod call;
mod clock;
pub mod config;
mod config_checks;
mod controller_handle;
mod describe;
mod describe_configs;
#[cfg(test)]
mod describe_configs_tests;
mod dispatch;
pub mod doctor;
pub mod format;
pub mod hosts;
mod internal_topics;
mod leaders;
mod log_dirs;
mod metrics;
mod node;
mod partitions;
mod producer_ids;
mod random;
mod replication;
mod settings;
mod topic_names;

pub use api::{Api, Handle, Lane, apis, find as find_api};
pub use broker::{Broker, BrokerParts};
pub use call::{Call, Later, Outcome};
pub use clock::{Clock, ManualTime};
pub use controller_handle::{ControllerDone, ControllerHandle, ControllerRequest, ControllerResponse, ForController};
pub use dispatch::{Dispatcher, Session};
pub use log_dirs::{Directory, DirectoryNews, LogDirs};
pub use metrics::METRICS;
pub use node::{Node, NodeError};
pub use partitions::{Maintenance, Partition, Partitions, assignment_of};
pub use replication::{ReplicationTasks, alter_partition_request, decided_assignment};
pub use settings::{BrokerSettings, GroupSettings, ReplicationSettings};
