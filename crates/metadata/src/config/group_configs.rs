//! The keys a group may carry, one row a key, sorted by name.
//!
//! Kafka 4.3.1: `GroupConfig.CONFIG_DEF`.

use super::definition::Importance::Medium as MEDIUM;
use super::definition::Validator::{Any as ANY, OneOf, ShareAutoOffsetReset};
use super::definition::ValueType::{Boolean as BOOLEAN, Int as INT, Text as STRING};
use super::definition::{ConfigDef, ConfigKey, at_least, entity_key as key, value};

/// Every group key of Kafka 4.3.1.
pub static GROUP_CONFIGS: ConfigDef = ConfigDef::new(GROUP_CONFIGS_KEYS);

#[rustfmt::skip]
const GROUP_CONFIGS_KEYS: &[ConfigKey] = &[
    key("consumer.assignment.interval.ms", INT, value("1000"), at_least(0), MEDIUM),
    key("consumer.heartbeat.interval.ms", INT, value("5000"), at_least(1), MEDIUM),
    key("consumer.session.timeout.ms", INT, value("45000"), at_least(1), MEDIUM),
    key("share.assignment.interval.ms", INT, value("1000"), at_least(0), MEDIUM),
    key("share.auto.offset.reset", STRING, value("latest"), ShareAutoOffsetReset, MEDIUM),
    key("share.delivery.count.limit", INT, value("5"), at_least(2), MEDIUM),
    key("share.heartbeat.interval.ms", INT, value("5000"), at_least(1), MEDIUM),
    key("share.isolation.level", STRING, value("read_uncommitted"), OneOf(&["read_committed", "read_uncommitted"]), MEDIUM),
    key("share.partition.max.record.locks", INT, value("2000"), at_least(100), MEDIUM),
    key("share.record.lock.duration.ms", INT, value("30000"), at_least(1000), MEDIUM),
    key("share.renew.acknowledge.enable", BOOLEAN, value("true"), ANY, MEDIUM),
    key("share.session.timeout.ms", INT, value("45000"), at_least(1), MEDIUM),
    key("streams.assignment.interval.ms", INT, value("1000"), at_least(0), MEDIUM),
    key("streams.heartbeat.interval.ms", INT, value("5000"), at_least(1), MEDIUM),
    key("streams.initial.rebalance.delay.ms", INT, value("3000"), at_least(0), MEDIUM),
    key("streams.num.standby.replicas", INT, value("0"), at_least(0), MEDIUM),
    key("streams.session.timeout.ms", INT, value("45000"), at_least(1), MEDIUM),
];
