//! Which broker keys give a topic key its default, and in which unit.
//!
//! Kafka: `ServerTopicConfigSynonyms`, `DynamicBrokerConfig.brokerConfigSynonyms`.

use std::collections::BTreeMap;

use super::value::ConfigError;
use super::{BROKER_CONFIGS, TOPIC_CONFIGS};

/// What a broker key's number is multiplied with to become the topic key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Same,
    MinutesToMs,
    HoursToMs,
}

/// One broker key behind a topic key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerSynonym {
    pub name: &'static str,
    pub unit: Unit,
}

/// A topic key and the broker keys behind it, the strongest first.
#[derive(Clone, Copy, Debug)]
pub struct TopicSynonym {
    pub topic_key: &'static str,
    pub broker_keys: &'static [BrokerSynonym],
}

const fn same(name: &'static str) -> BrokerSynonym {
    BrokerSynonym { name, unit: Unit::Same }
}

const fn hours(name: &'static str) -> BrokerSynonym {
    BrokerSynonym { name, unit: Unit::HoursToMs }
}

const fn minutes(name: &'static str) -> BrokerSynonym {
    BrokerSynonym { name, unit: Unit::MinutesToMs }
}

const fn row(topic_key: &'static str, broker_keys: &'static [BrokerSynonym]) -> TopicSynonym {
    TopicSynonym { topic_key, broker_keys }
}

/// Sorted by topic key. Topic keys that are not here have no broker key behind them.
#[rustfmt::skip]
pub static TOPIC_SYNONYMS: &[TopicSynonym] = &[
    row("cleanup.policy", &[same("log.cleanup.policy")]),
    row("compression.gzip.level", &[same("compression.gzip.level")]),
    row("compression.lz4.level", &[same("compression.lz4.level")]),
    row("compression.type", &[same("compression.type")]),
    row("compression.zstd.level", &[same("compression.zstd.level")]),
    row("delete.retention.ms", &[same("log.cleaner.delete.retention.ms")]),
    row("file.delete.delay.ms", &[same("log.segment.delete.delay.ms")]),
    row("flush.messages", &[same("log.flush.interval.messages")]),
    row("flush.ms", &[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")]),
    row("index.interval.bytes", &[same("log.index.interval.bytes")]),
    row("local.retention.bytes", &[same("log.local.retention.bytes")]),
    row("local.retention.ms", &[same("log.local.retention.ms")]),
    row("max.compaction.lag.ms", &[same("log.cleaner.max.compaction.lag.ms")]),
    row("max.message.bytes", &[same("message.max.bytes")]),
    row("message.timestamp.after.max.ms", &[same("log.message.timestamp.after.max.ms")]),
    row("message.timestamp.before.max.ms", &[same("log.message.timestamp.before.max.ms")]),
    row("message.timestamp.type", &[same("log.message.timestamp.type")]),
    row("min.cleanable.dirty.ratio", &[same("log.cleaner.min.cleanable.ratio")]),
    row("min.compaction.lag.ms", &[same("log.cleaner.min.compaction.lag.ms")]),
    row("min.insync.replicas", &[same("min.insync.replicas")]),
    row("preallocate", &[same("log.preallocate")]),
    row("retention.bytes", &[same("log.retention.bytes")]),
    row("retention.ms", &[same("log.retention.ms"), minutes("log.retention.minutes"), hours("log.retention.hours")]),
    row("segment.bytes", &[same("log.segment.bytes")]),
    row("segment.index.bytes", &[same("log.index.size.max.bytes")]),
    row("segment.jitter.ms", &[same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")]),
    row("segment.ms", &[same("log.roll.ms"), hours("log.roll.hours")]),
    row("unclean.leader.election.enable", &[same("unclean.leader.election.enable")]),
];

/// The broker keys behind a topic key, the strongest first; empty if there are none.
pub fn topic_synonyms(topic_key: &str) -> &'static [BrokerSynonym] {
    TOPIC_SYNONYMS
        .binary_search_by(|row| row.topic_key.cmp(topic_key))
        .ok()
        .and_then(|index| TOPIC_SYNONYMS.get(index))
        .map_or(&[], |row| row.broker_keys)
}

/// The broker keys that set the same thing as `name`, the strongest first, `name` among them.
/// A key of one listener (`listener.name.external.max.connections`) falls back to the plain key.
pub fn broker_key_synonyms(name: &str) -> Vec<&str> {
    match name {
        "log.roll.ms" | "log.roll.hours" => vec!["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => vec!["log.roll.jitter.ms", "log.roll.jitter.hours"],
        "log.flush.interval.ms" => vec!["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
            vec!["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
        }
        _ => match super::dynamic::listener_key(name) {
            Some(base) => {
                let mechanism_key = MECHANISM_KEYS.iter().find(|key| base.ends_with(**key));
                vec![name, mechanism_key.copied().unwrap_or(base)]
            }
            None => vec![name],
        },
    }
}

/// Keys that may also carry a SASL mechanism between the listener's prefix and their name.
const MECHANISM_KEYS: [&str; 5] = [
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.server.callback.handler.class",
    "connections.max.reauth.ms",
];

/// The default of a topic key on a broker whose set keys are `broker_texts`: the strongest broker key
/// that is set, converted; else the strongest that has a default; else the topic key's own default.
/// `None` where that is null.
///
/// # Errors
/// A broker key's value cannot be parsed.
pub fn topic_default(topic_key: &str, broker_texts: &BTreeMap<String, String>) -> Result<Option<String>, ConfigError> {
    let synonyms = topic_synonyms(topic_key);
    for synonym in synonyms {
        if let Some(text) = broker_texts.get(synonym.name) {
            return convert(topic_key, *synonym, text).map(Some);
        }
    }
    for synonym in synonyms {
        if let Some(text) = BROKER_CONFIGS.find(synonym.name).and_then(|key| key.default_text()) {
            return convert(topic_key, *synonym, text).map(Some);
        }
    }
    Ok(TOPIC_CONFIGS.find(topic_key).and_then(|key| key.default_text()).map(str::to_owned))
}

fn convert(topic_key: &str, synonym: BrokerSynonym, text: &str) -> Result<String, ConfigError> {
    let value = match BROKER_CONFIGS.find(synonym.name) {
        Some(key) => key.parse(text)?,
        None => return Ok(text.to_owned()),
    };
    let factor: i64 = match synonym.unit {
        Unit::Same => 1,
        Unit::MinutesToMs => 60 * 1000,
        Unit::HoursToMs => 60 * 60 * 1000,
    };
    match value.as_i64() {
        // Every negative retention means forever. Kafka: AbstractKafkaConfig.logRetentionTimeMillis.
        Some(number) if topic_key == "retention.ms" && number < 0 => Ok("-1".to_owned()),
        Some(number) => Ok(number.saturating_mul(factor).to_string()),
        None => Ok(value.to_text()),
    }
}
