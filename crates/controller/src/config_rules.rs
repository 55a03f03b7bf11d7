//! Whether configs may be as asked, and what a topic's config comes to (`ControllerConfigurationValidator`,
//! `KafkaConfigSchema`). The definitions are those of `milena_metadata::config`.

use std::collections::BTreeMap;

use milena_metadata::config::{
    BROKER_CONFIGS, ConfigError, ConfigKey, GROUP_CONFIGS, TOPIC_CONFIGS, TopicRules, ValueType, topic_default,
    topic_synonyms, validate_topic_configs,
};
use milena_metadata::{ConfigMap, ConfigResource};
use milena_types::ErrorCode;

use crate::ApiError;
use crate::topic_names::validate_topic_name;

pub(crate) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
pub(crate) const UNCLEAN_LEADER_ELECTION: &str = "unclean.leader.election.enable";

/// Where a value comes from, as `DescribeConfigs` and `CreateTopics` number it.
pub(crate) mod source {
    pub(crate) const TOPIC: i8 = 1;
    pub(crate) const BROKER: i8 = 2;
    pub(crate) const ALL_BROKERS: i8 = 3;
    pub(crate) const STATIC: i8 = 4;
    pub(crate) const DEFAULT: i8 = 5;
}

/// The layers a topic's config is looked up in, the strongest first: the node's, all brokers', the file's.
#[derive(Clone, Copy, Debug)]
pub struct ConfigRules<'a> {
    pub static_configs: &'a BTreeMap<String, String>,
    pub cluster_configs: Option<&'a ConfigMap>,
    pub node_configs: Option<&'a ConfigMap>,
}

/// What a topic's config comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Effective {
    pub(crate) value: Option<String>,
    pub(crate) source: i8,
}

fn invalid(error: &ConfigError) -> ApiError {
    ApiError::new(ErrorCode::INVALID_CONFIG, error.message())
}

fn texts(configs: &ConfigMap) -> BTreeMap<String, String> {
    configs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

impl ConfigRules<'_> {
    /// Whether a resource may carry `new`; `old` is what it carries now.
    ///
    /// # Errors
    /// `INVALID_CONFIG`, `INVALID_REQUEST` or `INVALID_TOPIC_EXCEPTION` in Kafka's words.
    pub fn validate(&self, resource: &ConfigResource, new: &ConfigMap, old: &ConfigMap) -> Result<(), ApiError> {
        let refuse = |why: &str| Err(ApiError::new(ErrorCode::INVALID_REQUEST, why));
        match resource.kind {
            ConfigResource::TOPIC if resource.name.is_empty() => refuse("Default topic resources are not allowed."),
            ConfigResource::TOPIC => {
                validate_topic_name(&resource.name)?;
                self.validate_topic(&texts(new), &texts(old))
            }
            ConfigResource::BROKER => validate_broker_name(&resource.name),
            ConfigResource::CLIENT_METRICS => validate_client_metrics(&resource.name, new),
            ConfigResource::GROUP if resource.name.is_empty() => refuse("Default group resources are not allowed."),
            ConfigResource::GROUP => self.validate_group(&texts(new)),
            kind => refuse(&format!("Unknown resource type {}", ConfigResource::kind_name(kind))),
        }
    }

    fn validate_topic(&self, new: &BTreeMap<String, String>, old: &BTreeMap<String, String>) -> Result<(), ApiError> {
        let mut defaults = BTreeMap::new();
        for key in TOPIC_CONFIGS.keys() {
            if let Some(value) = self.effective(key, None).value {
                defaults.insert(key.name.to_owned(), value);
            }
        }
        let remote = self.broker_value("remote.log.storage.system.enable").as_deref() == Some("true");
        let rules = TopicRules { existing: old, defaults: &defaults, remote_storage_enabled: remote };
        validate_topic_configs(new, &rules).map_err(|error| invalid(&error))
    }

    fn validate_group(&self, new: &BTreeMap<String, String>) -> Result<(), ApiError> {
        if let Some(name) = new.keys().find(|name| GROUP_CONFIGS.find(name).is_none()) {
            return Err(ApiError::new(ErrorCode::INVALID_CONFIG, format!("Unknown group config name: {name}")));
        }
        for (name, text) in new {
            let Some(key) = GROUP_CONFIGS.find(name) else { continue };
            let value = key.parse(text).map_err(|error| invalid(&error))?;
            if let Some(number) = value.as_i64() {
                self.check_group_bounds(name, number)?;
            }
        }
        ["consumer", "share", "streams"].into_iter().try_for_each(|kind| self.check_group_session(kind, new))
    }

    /// A session must outlast the time between two heartbeats, whether the group or the broker sets them
    /// (`GroupConfig.validateValues`).
    fn check_group_session(&self, kind: &str, new: &BTreeMap<String, String>) -> Result<(), ApiError> {
        let value = |name: &str| {
            let text = new.get(name).cloned().or_else(|| self.broker_value(&format!("group.{name}")))?;
            text.trim().parse::<i64>().ok()
        };
        let (session, heartbeat) = (format!("{kind}.session.timeout.ms"), format!("{kind}.heartbeat.interval.ms"));
        match (value(&session), value(&heartbeat)) {
            (Some(session_ms), Some(heartbeat_ms)) if session_ms <= heartbeat_ms => {
                Err(ApiError::new(ErrorCode::INVALID_CONFIG, format!("{session} must be greater than {heartbeat}")))
            }
            _ => Ok(()),
        }
    }

    /// A group's number must lie between the broker's `group.<kind>.min.<rest>` and `group.<kind>.max.<rest>`.
    fn check_group_bounds(&self, name: &str, number: i64) -> Result<(), ApiError> {
        let Some((kind, rest)) = name.split_once('.') else { return Ok(()) };
        let bound = |side: &str| {
            let broker_key = format!("group.{kind}.{side}.{rest}");
            let value = self.broker_value(&broker_key)?.parse::<i64>().ok()?;
            Some((broker_key, value))
        };
        let refuse = |why: String| Err(ApiError::new(ErrorCode::INVALID_CONFIG, why));
        match (bound("min"), bound("max")) {
            (Some((key, min)), _) if number < min => refuse(format!("{name} must be greater than or equal to {key}")),
            (_, Some((key, max))) if number > max => refuse(format!("{name} must be less than or equal to {key}")),
            _ => Ok(()),
        }
    }

    /// A broker key's value on this node: dynamic, static or the default.
    pub(crate) fn broker_value(&self, name: &str) -> Option<String> {
        let dynamic = |layer: Option<&ConfigMap>| layer.and_then(|configs| configs.get(name)).map(ToString::to_string);
        dynamic(self.node_configs)
            .or_else(|| dynamic(self.cluster_configs))
            .or_else(|| self.static_configs.get(name).cloned())
            .or_else(|| BROKER_CONFIGS.find(name)?.default_text().map(str::to_owned))
    }

    /// What a topic key comes to for a topic that carries `topic_value`.
    pub(crate) fn effective(&self, key: &ConfigKey, topic_value: Option<&str>) -> Effective {
        if let Some(value) = topic_value {
            return Effective { value: Some(value.to_owned()), source: source::TOPIC };
        }
        let synonyms = topic_synonyms(key.name);
        let dynamic = |layer: Option<&ConfigMap>| -> BTreeMap<String, String> {
            let set = synonyms
                .iter()
                .filter_map(|synonym| Some((synonym.name.to_owned(), layer?.get(synonym.name)?.to_string())));
            set.collect()
        };
        let fixed = synonyms
            .iter()
            .filter_map(|synonym| Some((synonym.name.to_owned(), self.static_configs.get(synonym.name)?.clone())))
            .collect();
        let layers = [
            (dynamic(self.node_configs), source::BROKER),
            (dynamic(self.cluster_configs), source::ALL_BROKERS),
            (fixed, source::STATIC),
        ];
        for (texts, source) in layers {
            if !texts.is_empty() {
                return Effective { value: topic_default(key.name, &texts).ok().flatten(), source };
            }
        }
        Effective { value: topic_default(key.name, &BTreeMap::new()).ok().flatten(), source: source::DEFAULT }
    }

    /// Whether values can be appended to and subtracted from a key.
    pub(crate) fn is_list(kind: i8, name: &str) -> bool {
        Self::key(kind, name).is_some_and(|key| key.value_type == ValueType::List)
    }

    /// The default a list is appended to when it is not set.
    pub(crate) fn default_text(kind: i8, name: &str) -> Option<&'static str> {
        Self::key(kind, name)?.default_text()
    }

    fn key(kind: i8, name: &str) -> Option<&'static ConfigKey> {
        match kind {
            ConfigResource::TOPIC => TOPIC_CONFIGS.find(name),
            ConfigResource::BROKER => BROKER_CONFIGS.find(name),
            ConfigResource::GROUP => GROUP_CONFIGS.find(name),
            ConfigResource::CLIENT_METRICS => None,
            _ => None,
        }
    }
}

fn validate_broker_name(name: &str) -> Result<(), ApiError> {
    let refuse = |why: &str| Err(ApiError::new(ErrorCode::INVALID_REQUEST, why));
    match name.parse::<i32>() {
        _ if name.is_empty() => Ok(()),
        Err(_) => refuse("Unable to parse broker name as a base 10 number."),
        Ok(id) if id < 0 => refuse("Invalid negative broker ID."),
        Ok(_) => Ok(()),
    }
}

/// The keys of a client metrics subscription (`ClientMetricsConfigs`, KIP-714).
fn validate_client_metrics(name: &str, configs: &ConfigMap) -> Result<(), ApiError> {
    let refuse = |why: String| Err(ApiError::new(ErrorCode::INVALID_REQUEST, why));
    if name.is_empty() {
        return refuse("Subscription name can't be empty".to_owned());
    }
    for (key, value) in configs {
        match &**key {
            "metrics" | "match" => {}
            "interval.ms" => {
                let Ok(interval) = value.trim().parse::<i32>() else {
                    return Err(ApiError::new(
                        ErrorCode::INVALID_CONFIG,
                        format!("Invalid value {value} for configuration interval.ms: Not a number of type INT"),
                    ));
                };
                if !(100..=3_600_000).contains(&interval) {
                    return refuse(format!(
                        "Invalid value {interval} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
                    ));
                }
            }
            other => return refuse(format!("Unknown client metrics configuration: {other}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_of_a_group_must_outlast_its_heartbeats_whoever_sets_them() {
        let settings = [
            ("group.consumer.min.session.timeout.ms", "1000"),
            ("group.consumer.min.heartbeat.interval.ms", "100"),
            ("group.consumer.heartbeat.interval.ms", "2000"),
        ];
        let static_configs = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let rules = ConfigRules { static_configs: &static_configs, cluster_configs: None, node_configs: None };
        let ask = |configs: &[(&str, &str)]| {
            let new = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            rules.validate_group(&new).map_err(|error| error.message.unwrap_or_default())
        };
        let refused = Err("consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms".to_owned());
        assert_eq!(ask(&[("consumer.session.timeout.ms", "2000")]), refused);
        assert_eq!(ask(&[("consumer.session.timeout.ms", "2001")]), Ok(()));
        let both = |heartbeat| [("consumer.session.timeout.ms", "1000"), ("consumer.heartbeat.interval.ms", heartbeat)];
        assert_eq!(ask(&both("999")), Ok(()));
        assert_eq!(ask(&both("1500")), refused);
    }
}
