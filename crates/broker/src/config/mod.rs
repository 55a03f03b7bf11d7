//! `server.properties` and overrides, made into a checked and typed [`ServerConfig`].
//!
//! Kafka: `KafkaConfig`, `AbstractKafkaConfig`, `SocketServerConfigs`, `java.util.Properties`.

mod built_in;
mod disk;
mod endpoint;
mod groups;
mod listeners;
mod load;
mod own_keys;
mod parts;
mod properties;
mod rules;
mod server_config;
mod transactions;
mod values;

pub use built_in::built_in_defaults;
pub use endpoint::{Endpoint, SecurityProtocol};
pub use listeners::Listeners;
pub(crate) use load::reason_without_effect;
pub use load::{ConfigSource, LoadError, load_config};
pub use milena_replication::Durability;
pub(crate) use parts::connection_quotas;
pub use properties::{MalformedProperties, parse_properties};
pub use server_config::{
    FetchSettings, GroupSettings, LogSettings, MetadataLogSettings, NodeSettings, QuorumSettings, ServerConfig,
    SocketSettings, TopicSettings, Voter,
};

#[cfg(test)]
mod config_tests;
