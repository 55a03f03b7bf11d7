//! Whether a topic may carry a set of configs: names, values, and how they agree with each other.
//!
//! Kafka: `LogConfig.validate`.

use std::collections::BTreeMap;

use super::TOPIC_CONFIGS;
use super::value::{ConfigError, ConfigValue};

/// What the rules look at beyond the configs themselves.
#[derive(Clone, Copy, Debug)]
pub struct TopicRules<'a> {
    /// What the topic carries now; empty for a new topic.
    pub existing: &'a BTreeMap<String, String>,
    /// The broker's defaults of topic keys, as topic keys.
    pub defaults: &'a BTreeMap<String, String>,
    /// `remote.log.storage.system.enable`.
    pub remote_storage_enabled: bool,
}

/// Checks `configs`, all that the topic would carry.
///
/// # Errors
/// What Kafka answers with `INVALID_CONFIG`.
pub fn validate_topic_configs(configs: &BTreeMap<String, String>, rules: &TopicRules<'_>) -> Result<(), ConfigError> {
    for name in configs.keys() {
        if TOPIC_CONFIGS.find(name).is_none() {
            return Err(ConfigError::new(format!("Unknown topic config name: {name}")));
        }
    }
    let mut combined = rules.defaults.clone();
    combined.extend(configs.iter().map(|(name, text)| (name.clone(), text.clone())));
    let values = Values(TOPIC_CONFIGS.parse_all(&combined)?);
    check_compaction_lag(&values)?;
    let remote = values.flag("remote.storage.enable");
    if !remote {
        let was_remote = rules.existing.get("remote.storage.enable").is_some_and(|text| text == "true");
        return check_turning_off_remote(&values, was_remote);
    }
    if !rules.remote_storage_enabled {
        return Err(ConfigError::new(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        ));
    }
    let policy = values.0.get("cleanup.policy").and_then(ConfigValue::as_list).unwrap_or_default();
    if policy.iter().any(|entry| entry == "compact") {
        return Err(ConfigError::new("Remote log storage is unsupported for the compacted topics"));
    }
    check_local(&values, "local.retention.bytes", "retention.bytes")?;
    check_local(&values, "local.retention.ms", "retention.ms")?;
    check_copy_disabled(&values)
}

/// The parsed values of a topic; every key that is not null is there.
struct Values(BTreeMap<&'static str, ConfigValue>);

impl Values {
    fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(ConfigValue::as_bool).unwrap_or_default()
    }

    fn number(&self, name: &str) -> i64 {
        self.0.get(name).and_then(ConfigValue::as_i64).unwrap_or_default()
    }
}

fn check_compaction_lag(values: &Values) -> Result<(), ConfigError> {
    let (least, most) = (values.number("min.compaction.lag.ms"), values.number("max.compaction.lag.ms"));
    if least > most {
        return Err(ConfigError::new(format!(
            "conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
        )));
    }
    Ok(())
}

fn check_turning_off_remote(values: &Values, was_remote: bool) -> Result<(), ConfigError> {
    if was_remote && !values.flag("remote.log.delete.on.disable") {
        return Err(ConfigError::new(
            "It is invalid to disable remote storage without deleting remote data. \
             If you want to keep the remote data and turn to read only, please set \
             `remote.storage.enable=true,remote.log.copy.disable=true`. \
             If you want to disable remote storage and delete all remote data, please set \
             `remote.storage.enable=false,remote.log.delete.on.disable=true`.",
        ));
    }
    Ok(())
}

fn check_local(values: &Values, local_name: &str, total_name: &str) -> Result<(), ConfigError> {
    let (local, total) = (values.number(local_name), values.number(total_name));
    if total <= -1 || local == -2 {
        return Ok(());
    }
    if local == -1 {
        let reason = format!("Value must not be -1 as {total_name} value is set as {total}.");
        return Err(ConfigError::invalid(local_name, local, reason));
    }
    if local > total {
        let reason = format!("Value must not be more than {total_name} property value: {total}");
        return Err(ConfigError::invalid(local_name, local, reason));
    }
    Ok(())
}

fn check_copy_disabled(values: &Values) -> Result<(), ConfigError> {
    if !values.flag("remote.log.copy.disable") {
        return Ok(());
    }
    for (local_name, total_name) in
        [("local.retention.bytes", "retention.bytes"), ("local.retention.ms", "retention.ms")]
    {
        let (local, total) = (values.number(local_name), values.number(total_name));
        if local != -2 && local != total {
            return Err(ConfigError::new(format!(
                "When `remote.log.copy.disable` is set to true, the `{local_name}` and `{total_name}` must be set to \
                 the identical value because there will be no more logs copied to the remote storage."
            )));
        }
    }
    Ok(())
}
