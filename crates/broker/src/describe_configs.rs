//! What configs come to, and from where: the answer to DescribeConfigs (`ConfigHelper`, `DynamicBrokerConfig`).
//!
//! A broker key is looked up in four layers, the strongest first: set for this broker, set for all brokers, set in the
//! file, the default. The answer lists all layers that have the key or a key that means the same, in that order. Kafka
//! answers in no particular order of names; here it is theirs. Documentation is not sent: clients show their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_controller::{ApiError, validate_topic_name};
use milena_metadata::config::{
    BROKER_CONFIGS, ConfigKey, DYNAMIC_ONLY_BROKER_CONFIGS, GROUP_CONFIGS, TOPIC_CONFIGS, UpdateMode, ValueType,
    broker_key_synonyms, topic_default, topic_synonyms,
};
use milena_metadata::{ConfigMap, ConfigResource, Image};
use milena_protocol::Text;
use milena_protocol::messages::describe_configs_request::DescribeConfigsResource;
use milena_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use milena_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use milena_types::{BrokerId, ErrorCode};

/// `DescribeConfigsResponse.ConfigSource`.
mod source {
    pub(super) const TOPIC: i8 = 1;
    pub(super) const BROKER: i8 = 2;
    pub(super) const ALL_BROKERS: i8 = 3;
    pub(super) const STATIC: i8 = 4;
    pub(super) const DEFAULT: i8 = 5;
    pub(super) const LOGGER: i8 = 6;
    pub(super) const CLIENT_METRICS: i8 = 7;
    pub(super) const GROUP: i8 = 8;
}

/// The keys of a client metrics subscription: name, default, type.
const CLIENT_METRICS_KEYS: [(&str, &str, ValueType); 3] =
    [("interval.ms", "300000", ValueType::Int), ("match", "", ValueType::List), ("metrics", "", ValueType::List)];

/// What Kafka says of INVALID_REQUEST where it says nothing of its own (`Errors.INVALID_REQUEST`).
pub(crate) const INVALID_REQUEST_TEXT: &str = "This most likely occurs because of a request being malformed by the client library \
    or the message was sent to an incompatible broker. See the broker logs for more details.";

/// Where configs are looked up.
pub(crate) struct ConfigView<'a> {
    image: &'a Image,
    node: BrokerId,
    static_texts: BTreeMap<String, String>,
    of_broker: Arc<ConfigMap>,
    of_all_brokers: Arc<ConfigMap>,
}

/// A value in one layer.
struct Layered {
    name: String,
    value: String,
    source: i8,
}

type Described = Result<Vec<DescribeConfigsResourceResult>, ApiError>;

impl<'a> ConfigView<'a> {
    /// The configs of broker `node`, whose file says `static_texts`.
    pub(crate) fn new(image: &'a Image, node: BrokerId, static_texts: &BTreeMap<String, String>) -> Self {
        let mut static_texts = static_texts.clone();
        // Either name of the node sets the other (`KafkaConfig.populateSynonyms`).
        for (from, to) in [("node.id", "broker.id"), ("broker.id", "node.id")] {
            if let Some(text) = static_texts.get(from).cloned() {
                static_texts.entry(to.to_owned()).or_insert(text);
            }
        }
        let own = ConfigResource { kind: ConfigResource::BROKER, name: Text::from(node.to_string()) };
        let of = |resource: &ConfigResource| image.configs.get(resource).cloned().unwrap_or_default();
        ConfigView {
            image,
            node,
            static_texts,
            of_broker: of(&own),
            of_all_brokers: of(&ConfigResource::all_brokers()),
        }
    }

    /// The whole answer.
    pub(crate) fn describe(&self, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
        let has_unknown = request
            .resources
            .iter()
            .any(|resource| matches!(ConfigResource::kind_name(resource.resource_type), "UNKNOWN"));
        let results = request.resources.iter().map(|resource| {
            // A type nobody knows fails the request as a whole.
            let described = if has_unknown {
                invalid(INVALID_REQUEST_TEXT.to_owned())
            } else {
                self.describe_resource(resource, request.include_synonyms)
            };
            result(resource, described)
        });
        DescribeConfigsResponse { results: results.collect(), ..DescribeConfigsResponse::default() }
    }

    fn describe_resource(&self, resource: &DescribeConfigsResource, with_synonyms: bool) -> Described {
        let name = &*resource.resource_name;
        let mut entries = match resource.resource_type {
            ConfigResource::TOPIC => self.describe_topic(&resource.resource_name)?,
            ConfigResource::BROKER if name.is_empty() => self.describe_all_brokers(),
            ConfigResource::BROKER => {
                let why = format!("Unexpected broker id, expected {} or empty string, but received {name}", self.node);
                self.check_node(name, why)?;
                self.describe_broker()
            }
            ConfigResource::BROKER_LOGGER if name.is_empty() => {
                return invalid("Broker id must not be empty".to_owned());
            }
            ConfigResource::BROKER_LOGGER => {
                let why = format!("Unexpected broker id, expected {} but received {name}", self.node);
                self.check_node(name, why)?;
                vec![logger()]
            }
            ConfigResource::CLIENT_METRICS if name.is_empty() => {
                return invalid("Client metrics subscription name must not be empty".to_owned());
            }
            ConfigResource::CLIENT_METRICS => self.describe_client_metrics(&resource.resource_name),
            _ if name.is_empty() => return invalid("Group name must not be empty".to_owned()),
            _ => self.describe_group(&resource.resource_name),
        };
        if let Some(keys) = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty()) {
            let wanted: BTreeSet<&str> = keys.iter().map(|key| &**key).collect();
            entries.retain(|entry| wanted.contains(&*entry.name));
        }
        if !with_synonyms {
            entries.iter_mut().for_each(|entry| entry.synonyms.clear());
        }
        Ok(entries)
    }

    fn check_node(&self, name: &str, why: String) -> Result<(), ApiError> {
        let Ok(id) = name.parse::<i32>() else {
            let why = format!("Broker id must be an integer, but it is: {name}");
            return Err(ApiError::new(ErrorCode::INVALID_REQUEST, why));
        };
        if id == self.node.0 { Ok(()) } else { Err(ApiError::new(ErrorCode::INVALID_REQUEST, why)) }
    }

    fn describe_topic(&self, name: &Text) -> Described {
        validate_topic_name(name)?;
        if self.image.topics.named(name).is_none() {
            return Err(ApiError::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ""));
        }
        let own = self.image.configs.topic(name).cloned().unwrap_or_default();
        let texts = self.broker_texts();
        let entry = |key: &ConfigKey| {
            let synonym = topic_synonyms(key.name).first();
            let mut layers = synonym.map_or_else(Vec::new, |synonym| self.layers(synonym.name));
            let set = own.get(key.name).map(ToString::to_string);
            if let Some(value) = &set {
                layers.insert(0, Layered { name: key.name.to_owned(), value: value.clone(), source: source::TOPIC });
            }
            let value = set.or_else(|| topic_default(key.name, &texts).ok().flatten());
            describe_key(key.name, Some(key), value, layers)
        };
        Ok(TOPIC_CONFIGS.keys().iter().filter(|key| !key.internal).map(entry).collect())
    }

    fn describe_broker(&self) -> Vec<DescribeConfigsResourceResult> {
        let known = BROKER_CONFIGS.keys().iter().filter(|key| !key.internal).map(|key| key.name.to_owned());
        let of_file = self.static_texts.keys().cloned();
        let dynamic = self.of_broker.keys().chain(self.of_all_brokers.keys()).map(ToString::to_string);
        let names: BTreeSet<String> = known.chain(of_file).chain(dynamic).collect();
        names.iter().map(|name| self.describe_broker_key(name, true)).collect()
    }

    fn describe_all_brokers(&self) -> Vec<DescribeConfigsResourceResult> {
        self.of_all_brokers.keys().map(|name| self.describe_broker_key(name, false)).collect()
    }

    fn describe_broker_key(&self, name: &str, of_this_broker: bool) -> DescribeConfigsResourceResult {
        let key = BROKER_CONFIGS.find(name).or_else(|| DYNAMIC_ONLY_BROKER_CONFIGS.find(name));
        let mut layers = self.layers(name);
        layers.retain(|layer| of_this_broker || layer.source == source::ALL_BROKERS);
        let value = if of_this_broker {
            self.broker_value(name)
        } else {
            self.of_all_brokers.get(name).map(ToString::to_string)
        };
        let read_only = key.is_none_or(|key| key.update_mode == UpdateMode::ReadOnly);
        DescribeConfigsResourceResult { read_only, ..describe_key(name, key, value, layers) }
    }

    fn describe_group(&self, group: &Text) -> Vec<DescribeConfigsResourceResult> {
        let resource = ConfigResource { kind: ConfigResource::GROUP, name: group.clone() };
        let own = self.image.configs.get(&resource).cloned().unwrap_or_default();
        let entry = |key: &ConfigKey| {
            // The broker's default of `consumer.x` is `group.consumer.x`.
            let broker_name = format!("group.{}", key.name);
            let default = self.broker_value(&broker_name).or_else(|| key.default_text().map(str::to_owned));
            let mut layers = if BROKER_CONFIGS.find(&broker_name).is_some() {
                self.layers(&broker_name)
            } else {
                let value = default.clone().unwrap_or_default();
                vec![Layered { name: key.name.to_owned(), value, source: source::DEFAULT }]
            };
            let set = own.get(key.name).map(ToString::to_string);
            if let Some(value) = &set {
                layers.insert(0, Layered { name: key.name.to_owned(), value: value.clone(), source: source::GROUP });
            }
            describe_key(key.name, Some(key), set.or(default), layers)
        };
        GROUP_CONFIGS.keys().iter().filter(|key| !key.internal).map(entry).collect()
    }

    fn describe_client_metrics(&self, subscription: &Text) -> Vec<DescribeConfigsResourceResult> {
        let resource = ConfigResource { kind: ConfigResource::CLIENT_METRICS, name: subscription.clone() };
        let own = self.image.configs.get(&resource).cloned().unwrap_or_default();
        let entry = |(name, default, value_type): (&'static str, &str, ValueType)| {
            let set = own.get(name).map(ToString::to_string);
            let layer = |value: String| Layered { name: name.to_owned(), value, source: source::CLIENT_METRICS };
            let layers = set.iter().cloned().map(layer).collect();
            let value = set.clone().or_else(|| Some(default.to_owned()));
            let described = describe_key(name, None, value.clone(), layers);
            DescribeConfigsResourceResult {
                value: value.map(Text::from),
                is_sensitive: false,
                config_type: value_type.wire_code(),
                synonyms: described
                    .synonyms
                    .into_iter()
                    .map(|synonym| DescribeConfigsSynonym { value: set.clone().map(Text::from), ..synonym })
                    .collect(),
                ..described
            }
        };
        CLIENT_METRICS_KEYS.into_iter().map(entry).collect()
    }

    /// A broker key's value: the strongest layer that has it under its own name.
    fn broker_value(&self, name: &str) -> Option<String> {
        let dynamic = |layer: &ConfigMap| layer.get(name).map(ToString::to_string);
        dynamic(&self.of_broker)
            .or_else(|| dynamic(&self.of_all_brokers))
            .or_else(|| self.static_texts.get(name).cloned())
            .or_else(|| BROKER_CONFIGS.find(name)?.default_text().map(str::to_owned))
    }

    /// What the broker's keys are set to, by any layer but the defaults.
    fn broker_texts(&self) -> BTreeMap<String, String> {
        let mut texts = self.static_texts.clone();
        for layer in [&self.of_all_brokers, &self.of_broker] {
            texts.extend(layer.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        }
        texts
    }

    /// Every layer's value of a broker key and of the keys that mean the same, from the first that has the key itself.
    fn layers(&self, name: &str) -> Vec<Layered> {
        let names = broker_key_synonyms(name);
        let mut layers: Vec<Layered> = Vec::new();
        let mut add = |source: i8, find: &dyn Fn(&str) -> Option<String>| {
            for synonym in &names {
                if let Some(value) = find(synonym) {
                    layers.push(Layered { name: (*synonym).to_owned(), value, source });
                }
            }
        };
        add(source::BROKER, &|name| self.of_broker.get(name).map(ToString::to_string));
        add(source::ALL_BROKERS, &|name| self.of_all_brokers.get(name).map(ToString::to_string));
        add(source::STATIC, &|name| self.static_texts.get(name).cloned());
        add(source::DEFAULT, &|name| BROKER_CONFIGS.find(name)?.default_text().map(str::to_owned));
        let first = layers.iter().position(|layer| layer.name == name).unwrap_or(layers.len());
        layers.split_off(first)
    }
}

fn invalid(why: String) -> Described {
    Err(ApiError::new(ErrorCode::INVALID_REQUEST, why))
}

fn result(resource: &DescribeConfigsResource, described: Described) -> DescribeConfigsResult {
    let result = DescribeConfigsResult {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..DescribeConfigsResult::default()
    };
    match described {
        Ok(configs) => DescribeConfigsResult { configs, ..result },
        Err(error) => DescribeConfigsResult { error_code: error.error.0, error_message: error.text(), ..result },
    }
}

/// One entry. A key nobody knows may hold a secret, so its value is not shown.
fn describe_key(
    name: &str,
    key: Option<&ConfigKey>,
    value: Option<String>,
    layers: Vec<Layered>,
) -> DescribeConfigsResourceResult {
    let is_sensitive = key.is_none_or(ConfigKey::is_sensitive);
    let shown = |value: String| (!is_sensitive).then(|| Text::from(value));
    // Numbers and lists are written as Kafka writes them, however they were set.
    let normal = |value: String| key.and_then(|key| key.parse(&value).ok()).map_or(value, |value| value.to_text());
    DescribeConfigsResourceResult {
        name: Text::from(name),
        value: value.map(normal).and_then(shown),
        read_only: false,
        config_source: layers.first().map_or(source::DEFAULT, |layer| layer.source),
        is_sensitive,
        synonyms: layers
            .into_iter()
            .map(|layer| DescribeConfigsSynonym {
                name: Text::from(layer.name),
                value: shown(layer.value),
                source: layer.source,
                ..DescribeConfigsSynonym::default()
            })
            .collect(),
        config_type: key.map_or(0, |key| key.value_type.wire_code()),
        documentation: None,
        ..DescribeConfigsResourceResult::default()
    }
}

/// The only logger whose level is told: the process has one filter for all.
fn logger() -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult {
        name: Text::from_static("root"),
        value: Some(Text::from_static("INFO")),
        config_source: source::LOGGER,
        documentation: None,
        ..DescribeConfigsResourceResult::default()
    }
}
