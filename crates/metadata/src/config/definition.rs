//! What is known of a key: type, default, allowed values, importance, how it may change.
//!
//! Kafka: `org.apache.kafka.common.config.ConfigDef`. Deliberately not here: documentation strings,
//! groups, widths, recommenders and dependents, which Kafka's own brokers never use either.

use std::collections::BTreeMap;

use super::value::{ConfigError, ConfigValue};

/// The type of a key's value. Kafka: `ConfigDef.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    Boolean,
    Text,
    Int,
    Short,
    Long,
    Double,
    /// Comma separated, blanks around the commas do not count.
    List,
    /// The name of a Java class. Milena keeps the name and never loads anything.
    Class,
    /// A text that is never shown.
    Password,
}

impl ValueType {
    /// Kafka's name of the type, as in its error messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::Text => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }

    /// The number `DescribeConfigs` sends for the type. Kafka: `DescribeConfigsResponse.ConfigType`.
    pub const fn wire_code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::Text => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }
}

/// What a key is worth when nobody sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// There is no default: the key must be set.
    Required,
    /// The value is absent.
    Null,
    /// The default as it would be written in a properties file.
    Value(&'static str),
}

/// How much a person should care. Kafka: `ConfigDef.Importance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// Where a broker key may be changed while the broker runs. Kafka: `DynamicBrokerConfig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    /// Only in `server.properties`, with a restart.
    ReadOnly,
    /// For one broker, never as the cluster's default.
    PerBroker,
    /// For one broker or as the default of all.
    ClusterWide,
}

impl UpdateMode {
    /// Kafka's spelling, as in its documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::PerBroker => "per-broker",
            Self::ClusterWide => "cluster-wide",
        }
    }
}

/// Which values of the right type are allowed. Kafka: the `ConfigDef.Validator`s of the keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Validator {
    Any,
    /// Whole numbers, both ends included.
    Range {
        min: i64,
        max: Option<i64>,
    },
    /// Fractions, both ends included.
    DoubleRange {
        min: f64,
        max: f64,
    },
    OneOf(&'static [&'static str]),
    OneOfIgnoreCase(&'static [&'static str]),
    /// A list without blanks and duplicates; of `allowed` only, unless that is empty.
    Entries {
        allowed: &'static [&'static str],
        may_be_empty: bool,
    },
    NonEmptyString,
    NonNull,
    /// 1 to 9, or -1 for the codec's own choice.
    GzipLevel,
    /// `*`, or `partition:broker` pairs.
    ThrottledReplicas,
    /// `id@host:port` entries.
    QuorumVoters,
    /// `host:port` entries.
    QuorumBootstrapServers,
    /// `earliest`, `latest` or `by_duration:` with an ISO-8601 duration.
    ShareAutoOffsetReset,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct ConfigKey {
    pub name: &'static str,
    pub value_type: ValueType,
    pub default: DefaultValue,
    pub validator: Validator,
    pub importance: Importance,
    /// Known and obeyed, yet not part of Kafka's public surface.
    pub internal: bool,
    /// Only of meaning for broker keys; topic and group keys are always dynamic.
    pub update_mode: UpdateMode,
}

impl ConfigKey {
    /// Whether the value must never be shown. Kafka: `ConfigEntry.isSensitive`.
    pub const fn is_sensitive(&self) -> bool {
        matches!(self.value_type, ValueType::Password)
    }

    /// Parses and validates `text`, the value as written.
    pub fn parse(&self, text: &str) -> Result<ConfigValue, ConfigError> {
        let value = ConfigValue::parse(self.name, self.value_type, text)?;
        self.validator.check(self.name, value)
    }

    /// The default, parsed; `None` where the default is null.
    ///
    /// # Errors
    /// A key that must be set has no default.
    pub fn parse_default(&self) -> Result<Option<ConfigValue>, ConfigError> {
        match self.default {
            DefaultValue::Value(text) => self.parse(text).map(Some),
            DefaultValue::Null => Ok(None),
            DefaultValue::Required => Err(ConfigError::missing(self.name)),
        }
    }

    /// The default as written, if it has one that is not null.
    pub const fn default_text(&self) -> Option<&'static str> {
        match self.default {
            DefaultValue::Value(text) => Some(text),
            DefaultValue::Null | DefaultValue::Required => None,
        }
    }

    pub(super) const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }
}

/// A table of keys sorted by name.
#[derive(Debug)]
pub struct ConfigDef {
    keys: &'static [ConfigKey],
}

impl ConfigDef {
    pub(super) const fn new(keys: &'static [ConfigKey]) -> Self {
        Self { keys }
    }

    /// All keys, sorted by name.
    pub const fn keys(&self) -> &'static [ConfigKey] {
        self.keys
    }

    /// The key of this name.
    pub fn find(&self, name: &str) -> Option<&'static ConfigKey> {
        let index = self.keys.binary_search_by(|key| key.name.cmp(name)).ok()?;
        self.keys.get(index)
    }

    /// Every key of the table with its value: from `texts` or its default. Null values are left out;
    /// names the table does not know are ignored. Kafka: `ConfigDef.parse`.
    pub fn parse_all(
        &self,
        texts: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<&'static str, ConfigValue>, ConfigError> {
        let mut values = BTreeMap::new();
        for key in self.keys {
            let value = match texts.get(key.name) {
                Some(text) => Some(key.parse(text)?),
                None => key.parse_default()?,
            };
            if let Some(value) = value {
                values.insert(key.name, value);
            }
        }
        Ok(values)
    }
}

// What follows lets a row of a table be written in one line.

pub(super) const fn broker_key(
    name: &'static str,
    value_type: ValueType,
    default: DefaultValue,
    validator: Validator,
    importance: Importance,
    update_mode: UpdateMode,
) -> ConfigKey {
    ConfigKey { name, value_type, default, validator, importance, internal: false, update_mode }
}

pub(super) const fn entity_key(
    name: &'static str,
    value_type: ValueType,
    default: DefaultValue,
    validator: Validator,
    importance: Importance,
) -> ConfigKey {
    broker_key(name, value_type, default, validator, importance, UpdateMode::ClusterWide)
}

pub(super) const fn value(text: &'static str) -> DefaultValue {
    DefaultValue::Value(text)
}

pub(super) const fn at_least(min: i64) -> Validator {
    Validator::Range { min, max: None }
}

pub(super) const fn between(min: i64, max: i64) -> Validator {
    Validator::Range { min, max: Some(max) }
}

pub(super) const fn between_f(min: f64, max: f64) -> Validator {
    Validator::DoubleRange { min, max }
}

pub(super) const fn list(allowed: &'static [&'static str]) -> Validator {
    Validator::Entries { allowed, may_be_empty: true }
}

pub(super) const fn filled_list(allowed: &'static [&'static str]) -> Validator {
    Validator::Entries { allowed, may_be_empty: false }
}
