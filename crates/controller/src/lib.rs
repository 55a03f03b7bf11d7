//! The controller's core: requests become metadata records, records become state. Pure; see `controller.rs`.
mod activation;
mod api_error;
mod broker_heartbeats;
mod broker_registration;
mod config_changes;
mod config_rules;
mod controller;
#[cfg(test)]
mod controller_tests;
mod create_partitions;
mod create_topics;
mod decision;
mod delete_topics;
mod elect_leaders;
mod elections;
mod features;
mod isr;
mod manual_assignment;
mod partition_change;
mod placement;
mod producer_ids;
pub mod reaches;
mod reassignments;
mod replica_directories;
mod requests;
mod session;
mod suspicions;
mod topic_names;

pub use activation::bootstrap_records;
pub use api_error::ApiError;
pub use config_changes::{AlterOperation, ConfigChange};
pub use config_rules::ConfigRules;
pub use controller::{Controller, ControllerSettings};
pub use decision::{Decision, Random};
pub use suspicions::{Probe, Probed};
pub use topic_names::validate_topic_name;
