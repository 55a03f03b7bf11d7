//! A topic's configuration as its partitions use it: the topic's own values, else the broker's dynamic ones, else those
//! of the broker's file, else Kafka's defaults (`LogConfig.fromProps`, `DynamicBrokerConfig`).

use crate::replication::Throttled;
use crate::settings::BrokerSettings;
use milena_metadata::config::{ConfigValue, TOPIC_CONFIGS, topic_default};
use milena_metadata::{ConfigMap, ConfigResource, Image};
use milena_protocol::Text;
use milena_records::{Codec, Compression, ProduceRules, TargetCompression, TimestampType};
use milena_replication::PartitionConfig;
use milena_storage::LogConfig;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a partition obeys.
#[derive(Clone, Debug)]
pub(crate) struct TopicSettings {
    pub(crate) produce: ProduceRules,
    pub(crate) log: Arc<LogConfig>,
    pub(crate) min_insync_replicas: usize,
    /// `flush.messages`: records after which a flush is asked for.
    pub(crate) flush_messages: i64,
    /// `flush.ms`.
    pub(crate) flush_ms: i64,
    /// `leader.replication.throttled.replicas`.
    pub(crate) throttled_leaders: Throttled,
    /// `follower.replication.throttled.replicas`.
    pub(crate) throttled_followers: Throttled,
}

/// The texts topics' defaults come from: the file's, overlaid by the dynamic ones of all brokers and of this one.
pub(crate) fn broker_texts(settings: &BrokerSettings, image: &Image) -> BTreeMap<String, String> {
    let mut texts = settings.config_texts.clone();
    let own = ConfigResource { kind: ConfigResource::BROKER, name: settings.node_id.to_string().into() };
    for resource in [ConfigResource::all_brokers(), own] {
        for (key, value) in image.configs.get(&resource).iter().flat_map(|configs| configs.iter()) {
            texts.insert(key.to_string(), value.to_string());
        }
    }
    texts
}

impl TopicSettings {
    /// The settings of a topic.
    pub(crate) fn resolve(
        settings: &BrokerSettings,
        texts: &BTreeMap<String, String>,
        own: Option<&ConfigMap>,
    ) -> Self {
        let values = Values { texts, own };
        let policy = values.list("cleanup.policy");
        let log = LogConfig {
            segment_bytes: values.size("segment.bytes"),
            segment_ms: values.number("segment.ms"),
            segment_jitter_ms: values.number("segment.jitter.ms"),
            segment_index_bytes: values.size("segment.index.bytes"),
            index_interval_bytes: values.size("index.interval.bytes"),
            retention_ms: values.number("retention.ms"),
            retention_bytes: values.number("retention.bytes"),
            cleanup_delete: policy.iter().any(|policy| policy == "delete"),
            cleanup_compact: policy.iter().any(|policy| policy == "compact"),
            file_delete_delay_ms: values.number("file.delete.delay.ms"),
            delete_retention_ms: values.number("delete.retention.ms"),
            min_cleanable_dirty_ratio: values
                .value("min.cleanable.dirty.ratio")
                .and_then(|value| value.as_f64())
                .unwrap_or(0.5),
            min_compaction_lag_ms: values.number("min.compaction.lag.ms"),
            max_compaction_lag_ms: values.number("max.compaction.lag.ms"),
            producer_id_expiration_ms: texts
                .get("producer.id.expiration.ms")
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(settings.producer_id_expiration_ms),
            ..LogConfig::default()
        };
        let produce = ProduceRules {
            compression: values.compression(),
            timestamp_type: match values.text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            before_max_ms: values.number("message.timestamp.before.max.ms"),
            after_max_ms: values.number("message.timestamp.after.max.ms"),
            max_message_bytes: i32::try_from(values.number("max.message.bytes")).unwrap_or(i32::MAX),
            segment_bytes: i32::try_from(log.segment_bytes).unwrap_or(i32::MAX),
            compacted: log.cleanup_compact,
            max_rebuilt_bytes: settings.rebuilt_bytes_max,
            ..ProduceRules::default()
        };
        Self {
            produce,
            log: Arc::new(log),
            min_insync_replicas: usize::try_from(values.number("min.insync.replicas")).unwrap_or(1),
            flush_messages: values.number("flush.messages"),
            flush_ms: values.number("flush.ms"),
            throttled_leaders: Throttled::of(&values.list("leader.replication.throttled.replicas"), settings.node_id),
            throttled_followers: Throttled::of(
                &values.list("follower.replication.throttled.replicas"),
                settings.node_id,
            ),
        }
    }

    /// What the replication core needs of them.
    pub(crate) fn replication(&self, settings: &BrokerSettings) -> PartitionConfig {
        PartitionConfig {
            local: settings.node_id,
            durability: settings.durability,
            min_insync_replicas: self.min_insync_replicas,
            replica_lag_time_max_ms: settings.replica_lag_time_max_ms,
        }
    }
}

/// Every topic that has configs of its own, or none.
pub(crate) fn own_configs<'a>(image: &'a Image, topic: &Text) -> Option<&'a ConfigMap> {
    image.configs.topic(topic).map(|configs| &**configs)
}

struct Values<'a> {
    texts: &'a BTreeMap<String, String>,
    own: Option<&'a ConfigMap>,
}

impl Values<'_> {
    /// The strongest value that can be parsed. The controller refuses others; one in the file was refused at start.
    fn value(&self, key: &str) -> Option<ConfigValue> {
        let definition = TOPIC_CONFIGS.find(key)?;
        let own = self.own.and_then(|own| own.get(key)).and_then(|text| definition.parse(text).ok());
        let inherited = || {
            let text = topic_default(key, self.texts).ok().flatten()?;
            definition.parse(&text).ok()
        };
        own.or_else(inherited).or_else(|| definition.parse_default().ok().flatten())
    }

    fn number(&self, key: &str) -> i64 {
        self.value(key).and_then(|value| value.as_i64()).unwrap_or(0)
    }

    fn size(&self, key: &str) -> u32 {
        u32::try_from(self.number(key)).unwrap_or(0)
    }

    fn text(&self, key: &str) -> String {
        self.value(key).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    }

    fn list(&self, key: &str) -> Vec<String> {
        self.value(key).and_then(|value| value.as_list().map(<[String]>::to_vec)).unwrap_or_default()
    }

    fn compression(&self) -> TargetCompression {
        let name = self.text("compression.type");
        let compression = match name.as_str() {
            "uncompressed" => Compression::None,
            other => match Compression::from_name(other) {
                Some(compression) => compression,
                None => return TargetCompression::Producer,
            },
        };
        let level = match compression {
            Compression::Gzip | Compression::Lz4 | Compression::Zstd => {
                i32::try_from(self.number(&format!("compression.{name}.level"))).unwrap_or(0)
            }
            Compression::None | Compression::Snappy => 0,
        };
        TargetCompression::Codec(Codec { compression, level })
    }
}
