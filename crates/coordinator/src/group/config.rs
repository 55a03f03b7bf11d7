//! The settings of groups, typed; names are Kafka's keys. Kafka: `GroupCoordinatorConfig`, `GroupConfig`.

use milena_metadata::{ConfigResource, Image};
use milena_protocol::Text;

/// `group.consumer.migration.policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MigrationPolicy {
    Disabled,
    Downgrade,
    Upgrade,
    Bidirectional,
}

impl MigrationPolicy {
    /// Whether classic groups may become consumer groups while they have members.
    #[must_use]
    pub fn allows_upgrade(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    /// Whether consumer groups may become classic groups while they have members.
    #[must_use]
    pub fn allows_downgrade(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

/// The settings of all groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupConfig {
    /// `group.coordinator.append.linger.ms`; -1 takes what is there and does not wait.
    pub append_linger_ms: i64,
    /// `offsets.commit.timeout.ms`.
    pub offsets_commit_timeout_ms: i64,
    /// `offset.metadata.max.bytes`, which Kafka compares with the number of characters.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: i64,
    /// `group.min.session.timeout.ms`.
    pub group_min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub group_max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub group_initial_rebalance_delay_ms: i32,
    /// `group.max.size`.
    pub group_max_size: usize,
    /// `group.consumer.session.timeout.ms` with its bounds.
    pub consumer_session_timeout_ms: Bounded,
    /// `group.consumer.heartbeat.interval.ms` with its bounds.
    pub consumer_heartbeat_interval_ms: Bounded,
    /// `group.consumer.assignment.interval.ms` with its bounds.
    pub consumer_assignment_interval_ms: Bounded,
    /// `group.consumer.max.size`.
    pub consumer_max_size: usize,
    /// `group.consumer.assignors`; the first is the default.
    pub consumer_assignors: Vec<Text>,
    /// `group.consumer.migration.policy`.
    pub consumer_migration_policy: MigrationPolicy,
    /// `group.consumer.regex.refresh.interval.ms`.
    pub consumer_regex_refresh_interval_ms: i64,
}

/// A value and what a group's own config may make of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounded {
    pub value: i32,
    pub min: i32,
    pub max: i32,
}

/// What a consumer group obeys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsumerTimeouts {
    pub session_timeout_ms: i32,
    pub heartbeat_interval_ms: i32,
    pub assignment_interval_ms: i32,
}

impl Default for GroupConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        GroupConfig {
            append_linger_ms: -1,
            offsets_commit_timeout_ms: 5_000,
            offset_metadata_max_bytes: 4096,
            offsets_retention_ms: 10_080 * 60_000,
            offsets_retention_check_interval_ms: 600_000,
            group_min_session_timeout_ms: 6_000,
            group_max_session_timeout_ms: 1_800_000,
            group_initial_rebalance_delay_ms: 3_000,
            group_max_size: i32::MAX as usize,
            consumer_session_timeout_ms: Bounded { value: 45_000, min: 45_000, max: 60_000 },
            consumer_heartbeat_interval_ms: Bounded { value: 5_000, min: 5_000, max: 15_000 },
            consumer_assignment_interval_ms: Bounded { value: 1_000, min: 0, max: 15_000 },
            consumer_max_size: i32::MAX as usize,
            consumer_assignors: vec![Text::from_static("uniform"), Text::from_static("range")],
            consumer_migration_policy: MigrationPolicy::Bidirectional,
            consumer_regex_refresh_interval_ms: 600_000,
        }
    }
}

impl GroupConfig {
    /// The timeouts of one group: its own configs, held within the broker's bounds (`GroupConfig.evaluate`).
    #[must_use]
    pub fn consumer_timeouts(&self, image: &Image, group: &Text) -> ConsumerTimeouts {
        let resource = ConfigResource { kind: ConfigResource::GROUP, name: group.clone() };
        let own = image.configs.get(&resource);
        let resolve = |key: &str, bounded: Bounded| {
            let value = own.and_then(|own| own.get(key)).and_then(|text| text.trim().parse::<i32>().ok());
            value.map_or(bounded.value, |value| value.max(bounded.min).min(bounded.max))
        };
        ConsumerTimeouts {
            session_timeout_ms: resolve("consumer.session.timeout.ms", self.consumer_session_timeout_ms),
            heartbeat_interval_ms: resolve("consumer.heartbeat.interval.ms", self.consumer_heartbeat_interval_ms),
            assignment_interval_ms: resolve("consumer.assignment.interval.ms", self.consumer_assignment_interval_ms),
        }
    }
}
