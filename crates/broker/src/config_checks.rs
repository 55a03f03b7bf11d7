//! What a broker checks before it passes changes of configs on (`ConfigAdminManager.preprocess`): each resource and key
//! once, no null values, and broker configs by the broker that has them.

use std::collections::{BTreeMap, BTreeSet};

use milena_controller::{AlterOperation, ApiError};
use milena_metadata::config::{BROKER_CONFIGS, ValueType, validate_dynamic_broker_configs};
use milena_metadata::{ConfigResource, Image};
use milena_protocol::Text;
use milena_types::{BrokerId, ErrorCode};

use crate::config::ServerConfig;
use crate::partitions::broker_texts;
use crate::settings::BrokerSettings;

/// One key of a request; the legacy request only sets.
pub(crate) struct AskedConfig<'a> {
    pub(crate) name: &'a Text,
    pub(crate) operation: i8,
    pub(crate) value: Option<&'a Text>,
}

/// One resource of a request.
pub(crate) struct AskedResource<'a> {
    pub(crate) kind: i8,
    pub(crate) name: &'a Text,
    pub(crate) configs: Vec<AskedConfig<'a>>,
}

/// Whether the request replaces all configs of a resource or changes single ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Replace,
    Incremental,
}

const SET: i8 = 0;
const DELETE: i8 = 1;

/// For each resource in order: the outcome, or `None` when the controller decides.
pub(crate) fn check(
    resources: &[AskedResource<'_>],
    style: Style,
    image: &Image,
    settings: &BrokerSettings,
) -> Vec<Option<Result<(), ApiError>>> {
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<(i8, &Text)> = resources
        .iter()
        .map(|resource| (resource.kind, resource.name))
        .filter(|resource| !seen.insert(*resource))
        .collect();
    let outcome = |resource: &AskedResource<'_>| {
        if repeated.contains(&(resource.kind, resource.name)) {
            return Some(invalid("Each resource must appear at most once."));
        }
        check_resource(resource, style, image, settings).transpose()
    };
    resources.iter().map(outcome).collect()
}

fn invalid<T>(why: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::new(ErrorCode::INVALID_REQUEST, why))
}

/// `Ok(None)` passes the resource on; `Ok(Some(()))` says it is done here.
fn check_resource(
    resource: &AskedResource<'_>,
    style: Style,
    image: &Image,
    settings: &BrokerSettings,
) -> Result<Option<()>, ApiError> {
    let node = settings.node_id;
    let mut seen = BTreeSet::new();
    if !resource.configs.iter().all(|config| seen.insert(config.name)) {
        return invalid("Error due to duplicate config keys");
    }
    let null = |config: &&AskedConfig<'_>| config.value.is_none() && config.operation != DELETE;
    let null: Vec<&str> = resource.configs.iter().filter(null).map(|config| &**config.name).collect();
    if !null.is_empty() {
        return invalid(format!("Null value not supported for : {}", null.join(", ")));
    }
    match resource.kind {
        ConfigResource::BROKER => {
            check_node(resource.name, node)?;
            check_broker(resource, style, image, settings).map(|()| None)
        }
        ConfigResource::BROKER_LOGGER if style == Style::Incremental => check_logger(resource, node).map(Some),
        ConfigResource::TOPIC | ConfigResource::CLIENT_METRICS | ConfigResource::GROUP => Ok(None),
        kind => invalid(format!("Unknown resource type {kind}")),
    }
}

fn check_node(name: &Text, node: BrokerId) -> Result<(), ApiError> {
    match name.parse::<i32>() {
        _ if name.is_empty() => Ok(()),
        Err(_) => invalid(format!("Node id must be an integer, but it is: {name}")),
        Ok(id) if id != node.0 => invalid(format!("Unexpected broker id, expected {node}, but received {name}")),
        Ok(_) => Ok(()),
    }
}

/// What the broker would carry must be allowed to change while it runs.
fn check_broker(
    resource: &AskedResource<'_>,
    style: Style,
    image: &Image,
    settings: &BrokerSettings,
) -> Result<(), ApiError> {
    let mut configs: BTreeMap<String, String> = BTreeMap::new();
    if style == Style::Incremental {
        let key = ConfigResource { kind: ConfigResource::BROKER, name: resource.name.clone() };
        if let Some(current) = image.configs.get(&key) {
            configs.extend(current.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        }
    }
    for config in &resource.configs {
        let (name, value) = (config.name.to_string(), config.value.map(ToString::to_string).unwrap_or_default());
        match AlterOperation::from_id(config.operation) {
            Some(AlterOperation::Set) => {
                configs.insert(name, value);
            }
            Some(AlterOperation::Delete) => {
                configs.remove(&name);
            }
            Some(operation) => {
                let list = changed_list(operation, &name, configs.get(&name), &value)?;
                configs.insert(name, list);
            }
            None => return invalid(format!("Unknown operations type {}", config.operation)),
        }
    }
    validate_dynamic_broker_configs(&configs, !resource.name.is_empty())
        .map_err(|error| ApiError::new(ErrorCode::INVALID_REQUEST, error.message()))?;
    check_needs_restart(resource)?;
    let current = broker_texts(settings, image);
    check_whole(&with(settings, image, resource.name, configs), &current)
}

/// What the broker would run with: its file, what all brokers have, what it has itself, one of them changed.
fn with(
    settings: &BrokerSettings,
    image: &Image,
    changed: &Text,
    configs: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut texts = settings.config_texts.clone();
    for name in ["".to_owned(), settings.node_id.to_string()] {
        if **changed == *name {
            texts.extend(configs.clone());
            continue;
        }
        let resource = ConfigResource { kind: ConfigResource::BROKER, name: name.into() };
        let others = image.configs.get(&resource);
        texts.extend(
            others.iter().flat_map(|map| map.iter()).map(|(name, value)| (name.to_string(), value.to_string())),
        );
    }
    texts
}

/// The config as a whole must hold (`KafkaConfig.validateValues`), and numbers of threads change by no more than a half
/// or the double (`DynamicThreadPool`, `LogCleaner.validateReconfiguration`), though here they are only shown.
fn check_whole(texts: &BTreeMap<String, String>, current: &BTreeMap<String, String>) -> Result<(), ApiError> {
    // A broker of a test has no file.
    if texts.contains_key("process.roles")
        && let Err(error) = ServerConfig::from_texts(texts.clone())
    {
        return invalid(error.to_string());
    }
    for name in THREAD_COUNTS {
        let Some(key) = BROKER_CONFIGS.find(name) else { continue };
        let count = |texts: &BTreeMap<String, String>| match texts.get(name) {
            Some(text) => key.parse(text).ok().and_then(|value| value.as_i64()),
            None => key.parse_default().ok().flatten().and_then(|value| value.as_i64()),
        };
        let (Some(new), Some(old)) = (count(texts), count(current)) else { continue };
        let cleaner = name == "log.cleaner.threads";
        let why = match new {
            _ if new > old * 2 && cleaner => {
                "Log cleaner threads cannot be increased to more than double the current value"
            }
            _ if new < old / 2 && cleaner => {
                "Log cleaner threads cannot be reduced to less than half the current value"
            }
            _ if new > old * 2 => "value should not be greater than double the current value",
            _ if new < old / 2 => "value should be at least half the current value",
            _ => continue,
        };
        let head = if cleaner {
            String::new()
        } else {
            format!("Dynamic thread count update validation failed for {name}={new}, ")
        };
        return invalid(format!(
            "Invalid value org.apache.kafka.common.config.ConfigException: {head}{why} {old} for configuration Invalid dynamic configuration"
        ));
    }
    Ok(())
}

const THREAD_COUNTS: [&str; 6] = [
    "background.threads",
    "log.cleaner.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

/// Keys that Apache Kafka changes while it runs and Milena takes from its file only: to accept them without effect
/// would leave a person waiting for a listener that never opens.
const NEED_RESTART: [&str; 2] = ["listener.security.protocol.map", "listeners"];

fn check_needs_restart(resource: &AskedResource<'_>) -> Result<(), ApiError> {
    let asked =
        resource.configs.iter().find(|config| config.operation != DELETE && NEED_RESTART.contains(&&**config.name));
    match asked {
        None => Ok(()),
        Some(config) => invalid(format!(
            "{} cannot be changed while the broker runs: set it in server.properties and restart",
            config.name
        )),
    }
}

fn changed_list(
    operation: AlterOperation,
    name: &str,
    current: Option<&String>,
    value: &str,
) -> Result<String, ApiError> {
    let refuse = |why: String| Err(ApiError::new(ErrorCode::INVALID_CONFIG, why));
    let Some(key) = BROKER_CONFIGS.find(name) else { return refuse(format!("Unknown config name: {name}")) };
    let word = if operation == AlterOperation::Append { "append" } else { "subtract" };
    if key.value_type != ValueType::List {
        return refuse(format!("Config value {word} is not allowed for config key: {name}"));
    }
    let start = current.map(String::as_str).or_else(|| key.default_text()).unwrap_or_default();
    let mut list: Vec<&str> = start.split(',').filter(|part| !part.is_empty()).collect();
    for part in value.split(',') {
        let at = list.iter().position(|known| *known == part);
        match (operation, at) {
            (AlterOperation::Append, None) => list.push(part),
            (AlterOperation::Subtract, Some(at)) => drop(list.remove(at)),
            _ => {}
        }
    }
    Ok(list.join(","))
}

/// Levels of loggers: there is one, which cannot be changed while the process runs.
fn check_logger(resource: &AskedResource<'_>, node: BrokerId) -> Result<(), ApiError> {
    if resource.name.is_empty() {
        return invalid("Node id must be an integer, but it is: ");
    }
    check_node(resource.name, node)?;
    let refuse = |why: String| Err(ApiError::new(ErrorCode::INVALID_CONFIG, why));
    for config in &resource.configs {
        if &**config.name != "root" {
            return refuse(format!("Logger {} does not exist!", config.name));
        }
        let level = config.value.map_or("", |value| &**value);
        if config.operation != SET || !level.eq_ignore_ascii_case("info") {
            return refuse("Levels of loggers cannot be changed while the broker runs".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(
        kind: i8,
        resource: &str,
        configs: &[(&str, i8, Option<&str>)],
        style: Style,
    ) -> Option<Result<(), String>> {
        let texts: Vec<(Text, i8, Option<Text>)> = configs
            .iter()
            .map(|(name, operation, value)| (Text::from(*name), *operation, value.map(Text::from)))
            .collect();
        let name = Text::from(resource);
        let asked = AskedResource {
            kind,
            name: &name,
            configs: texts
                .iter()
                .map(|(name, operation, value)| AskedConfig { name, operation: *operation, value: value.as_ref() })
                .collect(),
        };
        let outcome = check(&[asked], style, &Image::default(), &BrokerSettings::default()).remove(0);
        outcome.map(|outcome| outcome.map_err(|error| error.message.unwrap_or_default()))
    }

    #[test]
    fn what_a_broker_refuses_is_said_in_kafkas_words() {
        use ConfigResource as R;
        let cases = [
            (R::TOPIC, "t", ("retention.ms", 0, None), "Null value not supported for : retention.ms"),
            (R::BROKER, "2", ("log.cleaner.threads", 0, Some("2")), "Unexpected broker id, expected 1, but received 2"),
            (R::BROKER, "x", ("log.cleaner.threads", 0, Some("2")), "Node id must be an integer, but it is: x"),
            (
                R::BROKER,
                "1",
                ("log.cleaner.threads", 0, Some("x")),
                "Invalid value x for configuration log.cleaner.threads: Not a number of type INT",
            ),
            (R::BROKER, "1", ("broker.id", 0, Some("2")), "Cannot update these configs dynamically: [broker.id]"),
            (
                R::BROKER,
                "",
                ("listeners", 0, Some("PLAINTEXT://:1")),
                "Cannot update these configs at default cluster level, broker id must be specified: [listeners]",
            ),
            (
                R::BROKER,
                "1",
                ("log.cleaner.threads", 2, Some("2")),
                "Config value append is not allowed for config key: log.cleaner.threads",
            ),
            (
                R::BROKER,
                "1",
                ("listeners", 0, Some("PLAINTEXT://:1")),
                "listeners cannot be changed while the broker runs: set it in server.properties and restart",
            ),
            (R::BROKER_LOGGER, "1", ("kafka.server", 0, Some("DEBUG")), "Logger kafka.server does not exist!"),
            (1, "q", ("a", 0, Some("b")), "Unknown resource type 1"),
        ];
        for (kind, name, config, text) in cases {
            assert_eq!(outcome(kind, name, &[config], Style::Incremental), Some(Err(text.to_owned())));
        }
        let twice = [("a", 0, Some("1")), ("a", 0, Some("2"))];
        assert_eq!(
            outcome(R::TOPIC, "t", &twice, Style::Replace),
            Some(Err("Error due to duplicate config keys".to_owned()))
        );
    }

    #[test]
    fn what_the_broker_cannot_judge_goes_to_the_controller() {
        let set = [("retention.ms", 0, Some("x"))];
        assert_eq!(outcome(ConfigResource::TOPIC, "t", &set, Style::Incremental), None);
        let unknown = [("foo.bar", 0, Some("2"))];
        assert_eq!(outcome(ConfigResource::BROKER, "1", &unknown, Style::Replace), None);
    }
}
