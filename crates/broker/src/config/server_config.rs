//! The typed config of a node: every group of keys that some part of the broker reads.
//!
//! Fields are Kafka's keys with dots as underscores, less what the group's name already says. Keys that
//! nothing reads yet stay in [`ServerConfig::values`], parsed and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use milena_metadata::config::{ConfigError, ConfigValue, TOPIC_CONFIGS, split_address, topic_default};
use milena_replication::Durability;
use milena_types::BrokerId;

use super::disk::{RESERVE_BYTES_MAX_KEY, RESERVE_PERCENT_KEY, SCRUB_INTERVAL_KEY, SCRUB_RATE_KEY, disk_settings};
use super::listeners::{Listeners, parse_map};
use super::load::LoadError;
use super::own_keys::{DURABILITY_KEY, LEASE_KEY, METRICS_KEY, durability, leader_lease, metrics_listener};
use super::values::Values;
use crate::settings::{DiskSettings, ReplicationSettings};

/// Keys of Milena's own.
pub(super) const OWN_KEYS: [&str; 7] = [
    DURABILITY_KEY,
    METRICS_KEY,
    LEASE_KEY,
    RESERVE_PERCENT_KEY,
    RESERVE_BYTES_MAX_KEY,
    SCRUB_INTERVAL_KEY,
    SCRUB_RATE_KEY,
];

/// Who the node is and where it keeps its data.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    pub node_id: BrokerId,
    pub is_broker: bool,
    pub is_controller: bool,
    pub broker_rack: Option<String>,
    pub log_dirs: Vec<PathBuf>,
    /// Holds `__cluster_metadata-0`; the first log dir unless `metadata.log.dir` says otherwise.
    pub metadata_log_dir: PathBuf,
    /// `milena.durability`: what must have happened to a record before `acks=all` is answered.
    pub durability: Durability,
    /// `milena.metrics.listener`: host and port where metrics are served, if they are.
    pub metrics_listener: Option<(String, u16)>,
    /// `milena.disk.*`, `milena.scrub.*`.
    pub disk: DiskSettings,
    /// `milena.leader.lease.enable`: whether a leader that no controller answers stops acknowledging alone.
    pub has_leader_lease: bool,
    pub broker_heartbeat_interval_ms: i32,
    pub broker_session_timeout_ms: i32,
    pub initial_broker_registration_timeout_ms: i32,
    /// `log.dir.failure.timeout.ms`.
    pub log_dir_failure_timeout: Duration,
}

/// One entry of `controller.quorum.voters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    pub id: BrokerId,
    pub host: String,
    pub port: u16,
}

/// The quorum of controllers.
#[derive(Clone, Debug)]
pub struct QuorumSettings {
    pub voters: Vec<Voter>,
    pub bootstrap_servers: Vec<(String, u16)>,
    pub election_timeout_ms: i32,
    pub election_backoff_max_ms: i32,
    pub fetch_timeout_ms: i32,
    pub fetch_max_bytes: i32,
    pub fetch_snapshot_max_bytes: i32,
    pub append_linger_ms: i32,
    pub request_timeout_ms: i32,
    pub retry_backoff_ms: i32,
    pub auto_join_enable: bool,
}

/// The metadata log.
#[derive(Clone, Debug)]
pub struct MetadataLogSettings {
    pub segment_bytes: i32,
    pub segment_ms: i64,
    pub max_record_bytes_between_snapshots: i64,
    pub max_snapshot_interval_ms: i64,
    /// 0 writes no records only to move the offset.
    pub max_idle_interval_ms: i32,
    pub max_retention_bytes: i64,
    pub max_retention_ms: i64,
}

/// Connections and requests.
#[derive(Clone, Debug)]
pub struct SocketSettings {
    /// -1 leaves the choice to the system.
    pub send_buffer_bytes: i32,
    /// -1 leaves the choice to the system.
    pub receive_buffer_bytes: i32,
    pub request_max_bytes: i32,
    pub listen_backlog_size: i32,
    /// Negative keeps idle connections for ever.
    pub connections_max_idle_ms: i64,
    pub queued_max_requests: i32,
    /// -1 sets no bound.
    pub queued_max_request_bytes: i64,
    pub max_connections: i32,
    pub max_connections_per_ip: i32,
    pub max_connections_per_ip_overrides: BTreeMap<String, i32>,
}

/// Topics and what new ones start with.
#[derive(Clone, Debug)]
pub struct TopicSettings {
    pub auto_create_topics_enable: bool,
    pub delete_topic_enable: bool,
    pub num_partitions: i32,
    pub default_replication_factor: i32,
    /// `max.request.partition.size.limit`.
    pub request_partition_size_limit: i32,
    /// Topic keys and the value a topic has that sets none itself; null ones are left out.
    pub defaults: BTreeMap<String, String>,
    pub offsets_topic_replication_factor: i16,
    pub offsets_topic_num_partitions: i32,
    pub transaction_state_log_replication_factor: i16,
    pub transaction_state_log_num_partitions: i32,
    pub transaction_state_log_min_isr: i32,
}

/// What runs behind the logs.
#[derive(Clone, Debug)]
pub struct LogSettings {
    pub flush_scheduler_interval_ms: i64,
    pub flush_offset_checkpoint_interval_ms: i32,
    pub flush_start_offset_checkpoint_interval_ms: i32,
    pub retention_check_interval_ms: i64,
    pub initial_task_delay_ms: i64,
    pub num_recovery_threads_per_data_dir: i32,
    pub producer_id_expiration_ms: i32,
    pub producer_id_expiration_check_interval_ms: i32,
    pub replica_high_watermark_checkpoint_interval_ms: i64,
    pub replica_lag_time_max_ms: i64,
}

/// Fetch requests.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    /// `fetch.max.bytes`.
    pub max_bytes: i32,
    /// `max.incremental.fetch.session.cache.slots`.
    pub session_cache_slots: i32,
}

/// What `InitProducerId` and its like check.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    pub transaction_max_timeout_ms: i32,
    pub offset_metadata_max_bytes: i32,
}

/// A node's whole config, checked.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub node: NodeSettings,
    pub listeners: Listeners,
    pub quorum: QuorumSettings,
    pub metadata_log: MetadataLogSettings,
    pub sockets: SocketSettings,
    pub topics: TopicSettings,
    pub log: LogSettings,
    pub fetch: FetchSettings,
    pub replication: ReplicationSettings,
    pub groups: GroupSettings,
    /// What was set, as written: the static keys that `DescribeConfigs` tells from defaults.
    pub texts: BTreeMap<String, String>,
    /// The names among `texts` that a person chose, rather than the built-in defaults.
    pub chosen: BTreeSet<String>,
    /// Every broker key that is not null.
    pub values: BTreeMap<&'static str, ConfigValue>,
    /// To be logged at start.
    pub warnings: Vec<String>,
}

impl ServerConfig {
    /// `texts` is what was set, `completed` has the synonyms filled in. Nothing is checked against
    /// anything else here; `values` is put in by the caller at the end.
    pub(super) fn read(
        texts: BTreeMap<String, String>,
        completed: &BTreeMap<String, String>,
        values: &Values,
    ) -> Result<Self, LoadError> {
        let listeners = Listeners::read(values, completed).map_err(LoadError::Rule)?;
        check_early_start(values, &listeners).map_err(LoadError::Rule)?;
        Ok(Self {
            replication: replication(values, &listeners),
            node: NodeSettings {
                durability: durability(completed)?,
                metrics_listener: metrics_listener(completed)?,
                has_leader_lease: leader_lease(completed)?,
                disk: disk_settings(completed)?,
                ..node(values)
            },
            listeners,
            quorum: quorum(values),
            metadata_log: metadata_log(values),
            sockets: sockets(values).map_err(LoadError::Rule)?,
            topics: topics(values, completed)?,
            log: log(values),
            fetch: FetchSettings {
                max_bytes: values.int("fetch.max.bytes"),
                session_cache_slots: values.int("max.incremental.fetch.session.cache.slots"),
            },
            groups: GroupSettings {
                transaction_max_timeout_ms: values.int("transaction.max.timeout.ms"),
                offset_metadata_max_bytes: values.int("offset.metadata.max.bytes"),
            },
            chosen: texts.keys().cloned().collect(),
            texts,
            values: BTreeMap::new(),
            warnings: Vec::new(),
        })
    }
}

fn check_early_start(values: &Values, listeners: &Listeners) -> Result<(), String> {
    for name in values.list("early.start.listeners") {
        let known = listeners.is_controller(&name) || listeners.bound.iter().any(|endpoint| endpoint.name == name);
        if !known {
            return Err(format!(
                "early.start.listeners contains listener {name}, but this is not contained in listeners or controller.listener.names"
            ));
        }
    }
    Ok(())
}

/// What Kafka's keys say; Milena's own are at their defaults.
fn node(values: &Values) -> NodeSettings {
    let roles = values.list("process.roles");
    let has = |role: &str| roles.iter().any(|other| other == role);
    let key = if values.get("log.dirs").is_some() { "log.dirs" } else { "log.dir" };
    let log_dirs: Vec<PathBuf> = values.list(key).into_iter().map(PathBuf::from).collect();
    let metadata_log_dir = match values.text_if_set("metadata.log.dir") {
        Some(dir) => PathBuf::from(dir),
        None => log_dirs.first().cloned().unwrap_or_default(),
    };
    NodeSettings {
        node_id: BrokerId(values.int("node.id")),
        is_broker: has("broker"),
        is_controller: has("controller"),
        broker_rack: values.text_if_set("broker.rack"),
        log_dirs,
        metadata_log_dir,
        durability: Durability::Os,
        metrics_listener: None,
        disk: DiskSettings::default(),
        has_leader_lease: true,
        broker_heartbeat_interval_ms: values.int("broker.heartbeat.interval.ms"),
        broker_session_timeout_ms: values.int("broker.session.timeout.ms"),
        initial_broker_registration_timeout_ms: values.int("initial.broker.registration.timeout.ms"),
        log_dir_failure_timeout: Duration::from_millis(values.long("log.dir.failure.timeout.ms").unsigned_abs()),
    }
}

fn quorum(values: &Values) -> QuorumSettings {
    // The validators of both keys have read every entry already.
    let voters = values.list("controller.quorum.voters").iter().filter_map(|entry| parse_voter(entry)).collect();
    let bootstrap_servers = values
        .list("controller.quorum.bootstrap.servers")
        .iter()
        .filter_map(|entry| split_address(entry).map(|(host, port)| (host.to_owned(), port)))
        .collect();
    QuorumSettings {
        voters,
        bootstrap_servers,
        election_timeout_ms: values.int("controller.quorum.election.timeout.ms"),
        election_backoff_max_ms: values.int("controller.quorum.election.backoff.max.ms"),
        fetch_timeout_ms: values.int("controller.quorum.fetch.timeout.ms"),
        fetch_max_bytes: values.int("controller.quorum.fetch.max.bytes"),
        fetch_snapshot_max_bytes: values.int("controller.quorum.fetch.snapshot.max.bytes"),
        append_linger_ms: values.int("controller.quorum.append.linger.ms"),
        request_timeout_ms: values.int("controller.quorum.request.timeout.ms"),
        retry_backoff_ms: values.int("controller.quorum.retry.backoff.ms"),
        auto_join_enable: values.flag("controller.quorum.auto.join.enable"),
    }
}

fn parse_voter(entry: &str) -> Option<Voter> {
    let (id, address) = entry.split_once('@')?;
    let (host, port) = split_address(address)?;
    Some(Voter { id: BrokerId(id.parse().ok()?), host: host.to_owned(), port })
}

fn metadata_log(values: &Values) -> MetadataLogSettings {
    // The internal key exists for tests that need segments below the public key's minimum.
    let segment_key = match values.get("internal.metadata.log.segment.bytes") {
        Some(_) => "internal.metadata.log.segment.bytes",
        None => "metadata.log.segment.bytes",
    };
    MetadataLogSettings {
        segment_bytes: values.int(segment_key),
        segment_ms: values.long("metadata.log.segment.ms"),
        max_record_bytes_between_snapshots: values.long("metadata.log.max.record.bytes.between.snapshots"),
        max_snapshot_interval_ms: values.long("metadata.log.max.snapshot.interval.ms"),
        max_idle_interval_ms: values.int("metadata.max.idle.interval.ms"),
        max_retention_bytes: values.long("metadata.max.retention.bytes"),
        max_retention_ms: values.long("metadata.max.retention.ms"),
    }
}

fn sockets(values: &Values) -> Result<SocketSettings, String> {
    let key = "max.connections.per.ip.overrides";
    let mut overrides = BTreeMap::new();
    for (host, count) in parse_map(key, &values.text(key))? {
        let count = count.parse().map_err(|_| format!("For input string: \"{count}\""))?;
        overrides.insert(host, count);
    }
    Ok(SocketSettings {
        send_buffer_bytes: values.int("socket.send.buffer.bytes"),
        receive_buffer_bytes: values.int("socket.receive.buffer.bytes"),
        request_max_bytes: values.int("socket.request.max.bytes"),
        listen_backlog_size: values.int("socket.listen.backlog.size"),
        connections_max_idle_ms: values.long("connections.max.idle.ms"),
        queued_max_requests: values.int("queued.max.requests"),
        queued_max_request_bytes: values.long("queued.max.request.bytes"),
        max_connections: values.int("max.connections"),
        max_connections_per_ip: values.int("max.connections.per.ip"),
        max_connections_per_ip_overrides: overrides,
    })
}

fn topics(values: &Values, texts: &BTreeMap<String, String>) -> Result<TopicSettings, ConfigError> {
    let mut defaults = BTreeMap::new();
    for key in TOPIC_CONFIGS.keys() {
        if let Some(text) = topic_default(key.name, texts)? {
            defaults.insert(key.name.to_owned(), text);
        }
    }
    // Short keys lie within i16 because the parser says so.
    let short = |name: &str| i16::try_from(values.long(name)).unwrap_or(i16::MAX);
    Ok(TopicSettings {
        auto_create_topics_enable: values.flag("auto.create.topics.enable"),
        delete_topic_enable: values.flag("delete.topic.enable"),
        num_partitions: values.int("num.partitions"),
        default_replication_factor: values.int("default.replication.factor"),
        request_partition_size_limit: values.int("max.request.partition.size.limit"),
        defaults,
        offsets_topic_replication_factor: short("offsets.topic.replication.factor"),
        offsets_topic_num_partitions: values.int("offsets.topic.num.partitions"),
        transaction_state_log_replication_factor: short("transaction.state.log.replication.factor"),
        transaction_state_log_num_partitions: values.int("transaction.state.log.num.partitions"),
        transaction_state_log_min_isr: values.int("transaction.state.log.min.isr"),
    })
}

/// The selector of read replicas that Milena knows, by Kafka's name.
pub(super) const RACK_AWARE_SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

fn replication(values: &Values, listeners: &Listeners) -> ReplicationSettings {
    ReplicationSettings {
        inter_broker_listener_name: listeners.inter_broker_listener_name.clone(),
        fetch_backoff_ms: values.int("replica.fetch.backoff.ms"),
        fetch_max_bytes: values.int("replica.fetch.max.bytes"),
        fetch_min_bytes: values.int("replica.fetch.min.bytes"),
        fetch_response_max_bytes: values.int("replica.fetch.response.max.bytes"),
        fetch_wait_max_ms: values.int("replica.fetch.wait.max.ms"),
        socket_timeout_ms: values.int("replica.socket.timeout.ms"),
        reads_from_racks: values.text_if_set("replica.selector.class").as_deref() == Some(RACK_AWARE_SELECTOR),
    }
}

fn log(values: &Values) -> LogSettings {
    LogSettings {
        flush_scheduler_interval_ms: values.long("log.flush.scheduler.interval.ms"),
        flush_offset_checkpoint_interval_ms: values.int("log.flush.offset.checkpoint.interval.ms"),
        flush_start_offset_checkpoint_interval_ms: values.int("log.flush.start.offset.checkpoint.interval.ms"),
        retention_check_interval_ms: values.long("log.retention.check.interval.ms"),
        initial_task_delay_ms: values.long("log.initial.task.delay.ms"),
        num_recovery_threads_per_data_dir: values.int("num.recovery.threads.per.data.dir"),
        producer_id_expiration_ms: values.int("producer.id.expiration.ms"),
        producer_id_expiration_check_interval_ms: values.int("producer.id.expiration.check.interval.ms"),
        replica_high_watermark_checkpoint_interval_ms: values.long("replica.high.watermark.checkpoint.interval.ms"),
        replica_lag_time_max_ms: values.long("replica.lag.time.max.ms"),
    }
}
