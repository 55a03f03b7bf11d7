//! Kafka's configuration keys: their definitions, how values are parsed, validated and refused.

mod broker_configs;
mod broker_status;
mod definition;
mod dynamic;
mod group_configs;
mod status;
mod synonyms;
mod topic_configs;
mod topic_rules;
mod validator;
mod value;

pub use broker_configs::BROKER_CONFIGS;
pub use broker_status::BROKER_STATUS;
pub use definition::{ConfigDef, ConfigKey, DefaultValue, Importance, UpdateMode, Validator, ValueType};
pub use dynamic::{DYNAMIC_ONLY_BROKER_CONFIGS, is_listener_prefixed, validate_dynamic_broker_configs};
pub use group_configs::GROUP_CONFIGS;
pub use status::{KeyStatus, broker_key_status, compatibility_table};
pub use synonyms::{
    BrokerSynonym, TOPIC_SYNONYMS, TopicSynonym, Unit, broker_key_synonyms, topic_default, topic_synonyms,
};
pub use topic_configs::TOPIC_CONFIGS;
pub use topic_rules::{TopicRules, validate_topic_configs};
pub use value::{ConfigError, ConfigValue, java_double_to_string, split_address};

#[cfg(test)]
mod config_tests;
