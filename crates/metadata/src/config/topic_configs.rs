//! The keys a topic may carry, one row a key, sorted by name.
//!
//! Kafka 4.3.1: `LogConfig.CONFIG`. Which broker key gives a topic its default is in `synonyms`.

use super::definition::DefaultValue::Null as NULL;
use super::definition::Importance::Medium as MEDIUM;
use super::definition::Validator::{Any as ANY, GzipLevel, OneOf, ThrottledReplicas};
use super::definition::ValueType::{
    Boolean as BOOLEAN, Double as DOUBLE, Int as INT, List as LIST, Long as LONG, Text as STRING,
};
use super::definition::{ConfigDef, ConfigKey, at_least, between, between_f, entity_key as key, list, value};

/// Every topic key of Kafka 4.3.1.
pub static TOPIC_CONFIGS: ConfigDef = ConfigDef::new(TOPIC_CONFIGS_KEYS);

#[rustfmt::skip]
const TOPIC_CONFIGS_KEYS: &[ConfigKey] = &[
    key("cleanup.policy", LIST, value("delete"), list(&["compact", "delete"]), MEDIUM),
    key("compression.gzip.level", INT, value("-1"), GzipLevel, MEDIUM),
    key("compression.lz4.level", INT, value("9"), between(1, 17), MEDIUM),
    key("compression.type", STRING, value("producer"), OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), MEDIUM),
    key("compression.zstd.level", INT, value("3"), between(-131072, 22), MEDIUM),
    key("delete.retention.ms", LONG, value("86400000"), at_least(0), MEDIUM),
    key("file.delete.delay.ms", LONG, value("60000"), at_least(0), MEDIUM),
    key("flush.messages", LONG, value("9223372036854775807"), at_least(1), MEDIUM),
    key("flush.ms", LONG, value("9223372036854775807"), at_least(0), MEDIUM),
    key("follower.replication.throttled.replicas", LIST, value(""), ThrottledReplicas, MEDIUM),
    key("index.interval.bytes", INT, value("4096"), at_least(0), MEDIUM),
    key("internal.segment.bytes", INT, NULL, ANY, MEDIUM).internal(),
    key("leader.replication.throttled.replicas", LIST, value(""), ThrottledReplicas, MEDIUM),
    key("local.retention.bytes", LONG, value("-2"), at_least(-2), MEDIUM),
    key("local.retention.ms", LONG, value("-2"), at_least(-2), MEDIUM),
    key("max.compaction.lag.ms", LONG, value("9223372036854775807"), at_least(1), MEDIUM),
    key("max.message.bytes", INT, value("1048588"), at_least(0), MEDIUM),
    key("message.timestamp.after.max.ms", LONG, value("3600000"), at_least(0), MEDIUM),
    key("message.timestamp.before.max.ms", LONG, value("9223372036854775807"), at_least(0), MEDIUM),
    key("message.timestamp.type", STRING, value("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]), MEDIUM),
    key("min.cleanable.dirty.ratio", DOUBLE, value("0.5"), between_f(0.0, 1.0), MEDIUM),
    key("min.compaction.lag.ms", LONG, value("0"), at_least(0), MEDIUM),
    key("min.insync.replicas", INT, value("1"), at_least(1), MEDIUM),
    key("preallocate", BOOLEAN, value("false"), ANY, MEDIUM),
    key("remote.log.copy.disable", BOOLEAN, value("false"), ANY, MEDIUM),
    key("remote.log.delete.on.disable", BOOLEAN, value("false"), ANY, MEDIUM),
    key("remote.storage.enable", BOOLEAN, value("false"), ANY, MEDIUM),
    key("retention.bytes", LONG, value("-1"), ANY, MEDIUM),
    key("retention.ms", LONG, value("604800000"), at_least(-1), MEDIUM),
    key("segment.bytes", INT, value("1073741824"), at_least(1048576), MEDIUM),
    key("segment.index.bytes", INT, value("10485760"), at_least(4), MEDIUM),
    key("segment.jitter.ms", LONG, value("0"), at_least(0), MEDIUM),
    key("segment.ms", LONG, value("604800000"), at_least(1), MEDIUM),
    key("unclean.leader.election.enable", BOOLEAN, value("false"), ANY, MEDIUM),
];
