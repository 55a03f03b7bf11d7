//! What the broker takes from its configuration, typed. Names are Kafka's keys.

use milena_coordinator::group::GroupConfig;
use milena_coordinator::transaction::TransactionConfig;
use milena_records::Codec;
use milena_replication::Durability;
use milena_types::BrokerId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The settings of the group coordinators.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// What groups obey.
    pub config: Arc<GroupConfig>,
    /// Whether `group.coordinator.rebalance.protocols` has `consumer`.
    pub consumer_protocol_enabled: bool,
    /// `offsets.topic.num.partitions`.
    pub offsets_topic_num_partitions: i32,
    /// `offsets.topic.replication.factor`.
    pub offsets_topic_replication_factor: i16,
    /// `offsets.topic.segment.bytes`.
    pub offsets_topic_segment_bytes: i32,
    /// `offsets.topic.compression.codec`.
    pub offsets_topic_codec: Codec,
    /// `offsets.load.buffer.size`.
    pub offsets_load_buffer_size: u32,
    /// What members of classic groups may say of themselves, all together.
    pub member_bytes_max: usize,
}

impl Default for GroupSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            config: Arc::default(),
            consumer_protocol_enabled: true,
            offsets_topic_num_partitions: 50,
            offsets_topic_replication_factor: 3,
            offsets_topic_segment_bytes: 100 << 20,
            offsets_topic_codec: Codec::NONE,
            offsets_load_buffer_size: 5 << 20,
            member_bytes_max: 512 << 20,
        }
    }
}

/// The settings of transactions.
#[derive(Clone, Debug)]
pub struct TransactionSettings {
    /// What the coordinators obey.
    pub config: TransactionConfig,
    /// `transaction.state.log.num.partitions`.
    pub state_log_num_partitions: i32,
    /// `transaction.state.log.replication.factor`.
    pub state_log_replication_factor: i16,
    /// `transaction.state.log.min.isr`.
    pub state_log_min_isr: i32,
    /// `transaction.state.log.segment.bytes`.
    pub state_log_segment_bytes: i32,
    /// `transaction.state.log.load.buffer.size`.
    pub state_log_load_buffer_size: u32,
    /// `add.partitions.to.txn.retry.backoff.ms`.
    pub add_partitions_retry_backoff_ms: u64,
    /// `add.partitions.to.txn.retry.backoff.max.ms`.
    pub add_partitions_retry_backoff_max_ms: u64,
    /// `request.timeout.ms`.
    pub request_timeout_ms: i64,
}

impl Default for TransactionSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            config: TransactionConfig::default(),
            state_log_num_partitions: 50,
            state_log_replication_factor: 3,
            state_log_min_isr: 2,
            state_log_segment_bytes: 100 << 20,
            state_log_load_buffer_size: 5 << 20,
            add_partitions_retry_backoff_ms: 20,
            add_partitions_retry_backoff_max_ms: 100,
            request_timeout_ms: 30_000,
        }
    }
}

/// How a broker copies what others lead.
#[derive(Clone, Debug)]
pub struct ReplicationSettings {
    /// `inter.broker.listener.name`, or the listener of `security.inter.broker.protocol`.
    pub inter_broker_listener_name: String,
    /// `replica.fetch.backoff.ms`.
    pub fetch_backoff_ms: i32,
    /// `replica.fetch.max.bytes`, of one partition.
    pub fetch_max_bytes: i32,
    /// `replica.fetch.min.bytes`.
    pub fetch_min_bytes: i32,
    /// `replica.fetch.response.max.bytes`.
    pub fetch_response_max_bytes: i32,
    /// `replica.fetch.wait.max.ms`.
    pub fetch_wait_max_ms: i32,
    /// `replica.socket.timeout.ms`.
    pub socket_timeout_ms: i32,
    /// `replica.selector.class` is the selector by racks.
    pub reads_from_racks: bool,
}

impl Default for ReplicationSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            inter_broker_listener_name: "PLAINTEXT".to_owned(),
            fetch_backoff_ms: 1000,
            fetch_max_bytes: 1 << 20,
            fetch_min_bytes: 1,
            fetch_response_max_bytes: 10 << 20,
            fetch_wait_max_ms: 500,
            socket_timeout_ms: 30_000,
            reads_from_racks: false,
        }
    }
}

/// The room that records of clients leave free, and how often what is on disk is read to see whether it still is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// `milena.disk.reserve.percent`, of each log directory's file system; 0 keeps nothing back.
    pub reserve_percent: u32,
    /// `milena.disk.reserve.max.bytes`: no more than this, however large the file system is.
    pub reserve_bytes_max: u64,
    /// `milena.scrub.interval.ms`: from the begin of one scrub to that of the next; 0 for none.
    pub scrub_interval_ms: u64,
    /// `milena.scrub.max.bytes.per.second`; 0 for none.
    pub scrub_bytes_per_second: u64,
}

impl Default for DiskSettings {
    fn default() -> Self {
        Self {
            reserve_percent: 1,
            reserve_bytes_max: 1 << 30,
            scrub_interval_ms: 7 * 24 * 3_600_000,
            scrub_bytes_per_second: 16 << 20,
        }
    }
}

/// The settings of a broker.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// `node.id`.
    pub node_id: BrokerId,
    /// `cluster.id` of `meta.properties`.
    pub cluster_id: String,
    /// The texts of the broker's own configuration (file, overrides), for the defaults of topics.
    pub config_texts: BTreeMap<String, String>,
    /// `auto.create.topics.enable`.
    pub auto_create_topics_enable: bool,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: u32,
    /// `max.incremental.fetch.session.cache.slots`.
    pub max_incremental_fetch_session_cache_slots: usize,
    /// `max.request.partition.size.limit`.
    pub max_request_partition_size_limit: i32,
    /// Copying from other brokers.
    pub replication: ReplicationSettings,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max_ms: i64,
    /// `milena.durability`.
    pub durability: Durability,
    /// `milena.disk.*`, `milena.scrub.*`.
    pub disk: DiskSettings,
    /// `log.retention.check.interval.ms`.
    pub log_retention_check_interval_ms: u64,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub log_flush_offset_checkpoint_interval_ms: u64,
    /// `log.flush.start.offset.checkpoint.interval.ms`.
    pub log_flush_start_offset_checkpoint_interval_ms: u64,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub replica_high_watermark_checkpoint_interval_ms: u64,
    /// `log.flush.scheduler.interval.ms`.
    pub log_flush_scheduler_interval_ms: u64,
    /// `log.initial.task.delay.ms`.
    pub log_initial_task_delay_ms: u64,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// `producer.id.expiration.check.interval.ms`.
    pub producer_id_expiration_check_interval_ms: u64,
    /// `num.recovery.threads.per.data.dir`.
    pub num_recovery_threads_per_data_dir: usize,
    /// Bytes that a batch may inflate to if its topic wants another codec: an eighth of the memory for requests.
    pub rebuilt_bytes_max: u64,
    /// The group coordinators.
    pub groups: GroupSettings,
    /// Transactions.
    pub transactions: TransactionSettings,
    /// `broker.session.timeout.ms` and `controller.quorum.fetch.timeout.ms`, which leases follow from; none with
    /// `milena.leader.lease.enable=false`.
    pub lease_times_ms: Option<(i64, i64)>,
    /// Whether somebody may ask for metrics (`milena.metrics.listener`): what costs something is counted only then.
    pub has_metrics: bool,
}

impl Default for BrokerSettings {
    /// Kafka's defaults, node 1.
    fn default() -> Self {
        Self {
            node_id: BrokerId(1),
            cluster_id: String::new(),
            config_texts: BTreeMap::new(),
            auto_create_topics_enable: true,
            num_partitions: 1,
            default_replication_factor: 1,
            fetch_max_bytes: 57_671_680,
            max_incremental_fetch_session_cache_slots: 1000,
            max_request_partition_size_limit: 2000,
            replication: ReplicationSettings::default(),
            replica_lag_time_max_ms: 30_000,
            durability: Durability::Os,
            disk: DiskSettings::default(),
            log_retention_check_interval_ms: 300_000,
            log_flush_offset_checkpoint_interval_ms: 60_000,
            log_flush_start_offset_checkpoint_interval_ms: 60_000,
            replica_high_watermark_checkpoint_interval_ms: 5_000,
            log_flush_scheduler_interval_ms: u64::MAX,
            log_initial_task_delay_ms: 30_000,
            producer_id_expiration_ms: 86_400_000,
            producer_id_expiration_check_interval_ms: 600_000,
            num_recovery_threads_per_data_dir: 2,
            rebuilt_bytes_max: 128 << 20,
            groups: GroupSettings::default(),
            transactions: TransactionSettings::default(),
            lease_times_ms: None,
            has_metrics: false,
        }
    }
}
