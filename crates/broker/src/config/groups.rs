//! What the group coordinators are given of the config (`GroupCoordinatorConfig`).

use milena_coordinator::group::{Bounded, GroupConfig, MigrationPolicy};
use milena_protocol::Text;
use milena_records::{Codec, Compression};
use std::sync::Arc;

use super::ServerConfig;
use crate::settings::GroupSettings;

impl ServerConfig {
    /// For the group coordinators.
    #[must_use]
    pub fn group_settings(&self) -> GroupSettings {
        let codec = match self.number("offsets.topic.compression.codec") {
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            _ => Compression::None,
        };
        let protocols = self.values.get("group.coordinator.rebalance.protocols").and_then(|value| value.as_list());
        let protocols = protocols.unwrap_or_default();
        GroupSettings {
            config: Arc::new(self.group_config()),
            consumer_protocol_enabled: protocols.iter().any(|protocol| protocol == "consumer"),
            offsets_topic_num_partitions: self.topics.offsets_topic_num_partitions,
            offsets_topic_replication_factor: self.topics.offsets_topic_replication_factor,
            offsets_topic_segment_bytes: self.int("offsets.topic.segment.bytes"),
            offsets_topic_codec: Codec::from(codec),
            offsets_load_buffer_size: u32::try_from(self.int("offsets.load.buffer.size")).unwrap_or(u32::MAX),
            member_bytes_max: usize::try_from(self.request_memory_bytes()).unwrap_or(usize::MAX),
        }
    }

    fn group_config(&self) -> GroupConfig {
        let assignors = self.values.get("group.consumer.assignors").and_then(|value| value.as_list());
        GroupConfig {
            append_linger_ms: self.number("group.coordinator.append.linger.ms"),
            offsets_commit_timeout_ms: self.number("offsets.commit.timeout.ms"),
            offset_metadata_max_bytes: self.size("offset.metadata.max.bytes"),
            offsets_retention_ms: self.number("offsets.retention.minutes").saturating_mul(60_000),
            offsets_retention_check_interval_ms: self.number("offsets.retention.check.interval.ms"),
            group_min_session_timeout_ms: self.int("group.min.session.timeout.ms"),
            group_max_session_timeout_ms: self.int("group.max.session.timeout.ms"),
            group_initial_rebalance_delay_ms: self.int("group.initial.rebalance.delay.ms"),
            group_max_size: self.size("group.max.size"),
            consumer_session_timeout_ms: self.bounded("session.timeout.ms"),
            consumer_heartbeat_interval_ms: self.bounded("heartbeat.interval.ms"),
            consumer_assignment_interval_ms: self.bounded("assignment.interval.ms"),
            consumer_max_size: self.size("group.consumer.max.size"),
            consumer_assignors: assignors
                .unwrap_or_default()
                .iter()
                .map(|name| Text::from(assignor_name(name)))
                .collect(),
            consumer_migration_policy: match self.text("group.consumer.migration.policy").to_ascii_lowercase().as_str()
            {
                "disabled" => MigrationPolicy::Disabled,
                "downgrade" => MigrationPolicy::Downgrade,
                "upgrade" => MigrationPolicy::Upgrade,
                _ => MigrationPolicy::Bidirectional,
            },
            consumer_regex_refresh_interval_ms: self.number("group.consumer.regex.refresh.interval.ms"),
        }
    }

    pub(super) fn number(&self, key: &str) -> i64 {
        self.values.get(key).and_then(|value| value.as_i64()).unwrap_or(0)
    }

    pub(super) fn int(&self, key: &str) -> i32 {
        i32::try_from(self.number(key)).unwrap_or(i32::MAX)
    }

    fn size(&self, key: &str) -> usize {
        usize::try_from(self.number(key)).unwrap_or(0)
    }

    fn text(&self, key: &str) -> &str {
        self.values.get(key).and_then(|value| value.as_str()).unwrap_or_default()
    }

    fn bounded(&self, what: &str) -> Bounded {
        Bounded {
            value: self.int(&format!("group.consumer.{what}")),
            min: self.int(&format!("group.consumer.min.{what}")),
            max: self.int(&format!("group.consumer.max.{what}")),
        }
    }
}

/// The built-in assignors may be named by their classes.
fn assignor_name(name: &str) -> &str {
    match name {
        "org.apache.kafka.coordinator.group.assignor.UniformAssignor" => "uniform",
        "org.apache.kafka.coordinator.group.assignor.RangeAssignor" => "range",
        other => other,
    }
}
