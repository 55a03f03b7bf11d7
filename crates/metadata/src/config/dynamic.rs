//! Which broker keys may be changed while brokers run, and through which resource.
//!
//! Kafka: `DynamicBrokerConfig.validateConfigs`, `DynamicConfig.Broker`.

use std::collections::{BTreeMap, BTreeSet};

use super::BROKER_CONFIGS;
use super::definition::DefaultValue::Value;
use super::definition::Importance::Medium;
use super::definition::ValueType::Long;
use super::definition::{ConfigDef, ConfigKey, UpdateMode, at_least, broker_key};
use super::value::ConfigError;

/// Keys of the broker resource that `server.properties` does not know: replication quotas, in bytes
/// per second.
pub static DYNAMIC_ONLY_BROKER_CONFIGS: ConfigDef = ConfigDef::new(DYNAMIC_ONLY_KEYS);

const UNLIMITED: super::DefaultValue = Value("9223372036854775807");

const fn quota(name: &'static str) -> ConfigKey {
    broker_key(name, Long, UNLIMITED, at_least(0), Medium, UpdateMode::ClusterWide)
}

const DYNAMIC_ONLY_KEYS: &[ConfigKey] = &[
    quota("follower.replication.throttled.rate"),
    quota("leader.replication.throttled.rate"),
    quota("replica.alter.log.dirs.io.max.bytes.per.second"),
];

/// The key behind `listener.name.<listener>.<key>`.
pub(super) fn listener_key(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("listener.name.")?;
    rest.split_once('.').map(|(_listener, key)| key)
}

/// Whether the name sets a key for one listener only.
pub fn is_listener_prefixed(name: &str) -> bool {
    listener_key(name).is_some()
}

/// Listener keys that may nevertheless be set for all brokers at once.
const CLUSTER_LEVEL_LISTENER_KEYS: [&str; 3] =
    ["max.connections", "max.connection.creation.rate", "num.network.threads"];

/// Whether `configs` may be set on a broker (`per_broker`) or as the default of all brokers. Names
/// nobody knows are allowed: plug-ins read them.
///
/// # Errors
/// The first rule that is broken, in Kafka's words.
pub fn validate_dynamic_broker_configs(
    configs: &BTreeMap<String, String>,
    per_broker: bool,
) -> Result<(), ConfigError> {
    refuse(names(configs, is_read_only), "Cannot update these configs dynamically")?;
    refuse(
        names(configs, |name| {
            name.starts_with("ssl.") && mode_of(name).is_some_and(|mode| mode != UpdateMode::ReadOnly)
        }),
        "These security configs can be dynamically updated only per-listener using the listener prefix",
    )?;
    for (name, text) in configs {
        let base = listener_key(name).unwrap_or(name);
        if let Some(key) = BROKER_CONFIGS.find(base).or_else(|| DYNAMIC_ONLY_BROKER_CONFIGS.find(base)) {
            key.parse(text)?;
        }
    }
    if per_broker {
        return Ok(());
    }
    refuse(
        names(configs, |name| match listener_key(name) {
            Some(base) => !CLUSTER_LEVEL_LISTENER_KEYS.contains(&base),
            None => mode_of(name) == Some(UpdateMode::PerBroker),
        }),
        "Cannot update these configs at default cluster level, broker id must be specified",
    )
}

fn mode_of(name: &str) -> Option<UpdateMode> {
    BROKER_CONFIGS.find(name).map(|key| key.update_mode)
}

fn is_read_only(name: &str) -> bool {
    mode_of(name) == Some(UpdateMode::ReadOnly)
}

fn names(configs: &BTreeMap<String, String>, wrong: impl Fn(&str) -> bool) -> BTreeSet<&str> {
    configs.keys().map(String::as_str).filter(|name| wrong(name)).collect()
}

fn refuse(names: BTreeSet<&str>, why: &str) -> Result<(), ConfigError> {
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = names.into_iter().collect();
    Err(ConfigError::new(format!("{why}: [{}]", names.join(", "))))
}
