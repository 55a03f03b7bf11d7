//! What each part of the broker is given of the config, in that part's own types.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use milena_controller::ControllerSettings;
use milena_metadata::config::BROKER_CONFIGS;
use milena_network::{ConnectionLimits, ConnectionQuotas, ListenerConfig, ListenerQuotas, Memory};
use milena_raft::{QuorumConfig, ReplicaKey, VoterSet};

use super::listeners::parse_map;
use super::{Endpoint, ServerConfig};
use crate::format::Formatted;
use crate::settings::BrokerSettings;

/// `queued.max.request.bytes` of -1 sets no bound in Apache Kafka; here requests in flight are always
/// bounded, by this many bytes unless one request may be larger.
const DEFAULT_MEMORY_BYTES: u64 = 512 << 20;

/// A batch written anew may inflate to this part of the memory for requests: while buffers grow it is there several times.
const REBUILT_SHARE: u64 = 8;

/// A count of a config as a size; negative counts were refused or mean "none".
fn size<T: TryInto<u64>>(count: T) -> usize {
    count.try_into().ok().and_then(|count: u64| usize::try_from(count).ok()).unwrap_or_default()
}

/// A time of a config that is never negative.
fn span<T: TryInto<u64>>(millis: T) -> u64 {
    millis.try_into().unwrap_or_default()
}

impl ServerConfig {
    /// For the broker's data plane; `formatted` tells the cluster.
    #[must_use]
    pub fn broker_settings(&self, formatted: &Formatted) -> BrokerSettings {
        BrokerSettings {
            node_id: self.node.node_id,
            cluster_id: formatted.cluster_id.clone(),
            config_texts: self.texts.clone(),
            auto_create_topics_enable: self.topics.auto_create_topics_enable,
            num_partitions: self.topics.num_partitions,
            default_replication_factor: self.default_replication_factor(),
            fetch_max_bytes: self.fetch.max_bytes.unsigned_abs(),
            max_incremental_fetch_session_cache_slots: size(self.fetch.session_cache_slots),
            max_request_partition_size_limit: self.topics.request_partition_size_limit,
            replication: self.replication.clone(),
            replica_lag_time_max_ms: self.log.replica_lag_time_max_ms,
            durability: self.node.durability,
            disk: self.node.disk,
            log_retention_check_interval_ms: span(self.log.retention_check_interval_ms),
            log_flush_offset_checkpoint_interval_ms: span(self.log.flush_offset_checkpoint_interval_ms),
            log_flush_start_offset_checkpoint_interval_ms: span(self.log.flush_start_offset_checkpoint_interval_ms),
            replica_high_watermark_checkpoint_interval_ms: span(self.log.replica_high_watermark_checkpoint_interval_ms),
            log_flush_scheduler_interval_ms: span(self.log.flush_scheduler_interval_ms),
            log_initial_task_delay_ms: span(self.log.initial_task_delay_ms),
            producer_id_expiration_check_interval_ms: span(self.log.producer_id_expiration_check_interval_ms),
            producer_id_expiration_ms: i64::from(self.log.producer_id_expiration_ms),
            num_recovery_threads_per_data_dir: size(self.log.num_recovery_threads_per_data_dir),
            rebuilt_bytes_max: self.request_memory_bytes() / REBUILT_SHARE,
            groups: self.group_settings(),
            transactions: self.transaction_settings(),
            lease_times_ms: self.lease_times_ms(),
            has_metrics: self.node.metrics_listener.is_some(),
        }
    }

    fn lease_times_ms(&self) -> Option<(i64, i64)> {
        let times = (self.node.broker_session_timeout_ms.into(), self.quorum.fetch_timeout_ms.into());
        self.node.has_leader_lease.then_some(times)
    }

    /// For the controller's core. `voters` are those of the quorum, from the log or from
    /// `controller.quorum.voters`.
    #[must_use]
    pub fn controller_settings(&self, formatted: &Formatted, voters: &VoterSet) -> ControllerSettings {
        ControllerSettings {
            cluster_id: formatted.cluster_id.as_str().into(),
            node_id: self.node.node_id,
            voters: voters.voters().iter().map(|voter| voter.key.id).collect(),
            default_partitions: self.topics.num_partitions,
            default_replication_factor: self.default_replication_factor(),
            session_timeout: Duration::from_millis(span(self.node.broker_session_timeout_ms)),
            static_configs: self.static_broker_configs(),
        }
    }

    /// For the quorum's core; `seed` spreads the election timeouts of different nodes.
    #[must_use]
    pub fn quorum_config(&self, formatted: &Formatted, seed: u64) -> QuorumConfig {
        let local = ReplicaKey { id: self.node.node_id, directory_id: formatted.metadata_log_dir.id };
        let mut config = QuorumConfig::new(local, self.node.is_controller, seed);
        config.election_timeout_ms = i64::from(self.quorum.election_timeout_ms);
        config.election_backoff_max_ms = i64::from(self.quorum.election_backoff_max_ms);
        config.fetch_timeout_ms = i64::from(self.quorum.fetch_timeout_ms);
        config.retry_backoff_ms = i64::from(self.quorum.retry_backoff_ms);
        config.request_timeout_ms = i64::from(self.quorum.request_timeout_ms);
        config.auto_join = self.quorum.auto_join_enable;
        config
    }

    /// For the network: bounds on connections.
    #[must_use]
    pub fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits {
            socket_request_max_bytes: self.sockets.request_max_bytes.unsigned_abs(),
            quotas: connection_quotas(&self.texts),
            connections_max_idle: u64::try_from(self.sockets.connections_max_idle_ms).ok().map(Duration::from_millis),
            ..ConnectionLimits::default()
        }
    }

    /// For the network: what all requests in flight may hold together.
    #[must_use]
    pub fn request_memory(&self) -> Memory {
        Memory::new(self.request_memory_bytes())
    }

    /// `queued.max.request.bytes`, or what stands in for it.
    pub(super) fn request_memory_bytes(&self) -> u64 {
        let asked = u64::try_from(self.sockets.queued_max_request_bytes).ok().filter(|bytes| *bytes > 0);
        let least = u64::from(self.sockets.request_max_bytes.unsigned_abs());
        asked.unwrap_or_else(|| DEFAULT_MEMORY_BYTES.max(least))
    }

    /// For the network: a listener, its host resolved.
    ///
    /// # Errors
    /// The host is unknown.
    pub fn listener_config(&self, endpoint: &Endpoint) -> io::Result<ListenerConfig> {
        let mut listener = ListenerConfig::new(&endpoint.name, bind_address(endpoint)?);
        listener.socket_listen_backlog_size = self.sockets.listen_backlog_size;
        listener.socket_send_buffer_bytes = self.sockets.send_buffer_bytes;
        // A fixed size turns the kernel's own sizing off, and Kafka's default is less than one full request: what is
        // set is honoured, what is not is left to the kernel (decision 9).
        let is_set = self.texts.contains_key("socket.receive.buffer.bytes");
        listener.socket_receive_buffer_bytes = if is_set { self.sockets.receive_buffer_bytes } else { -1 };
        Ok(listener)
    }

    /// Where metrics are served, if they are; the host resolved.
    ///
    /// # Errors
    /// The host is unknown.
    pub fn metrics_address(&self) -> io::Result<Option<SocketAddr>> {
        let Some((host, port)) = &self.node.metrics_listener else { return Ok(None) };
        let found = (host.as_str(), *port).to_socket_addrs()?.next();
        found.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address")))
    }

    /// What clients are told: an empty host is replaced by this machine's name.
    #[must_use]
    pub fn advertised_broker_listeners(&self) -> Vec<Endpoint> {
        self.listeners.advertised_broker.iter().map(with_host_name).collect()
    }

    /// What other nodes are told of this controller; an empty host is replaced by this machine's name.
    #[must_use]
    pub fn advertised_controller_listeners(&self) -> Vec<Endpoint> {
        self.listeners.advertised_controller.iter().map(with_host_name).collect()
    }

    /// The directory of the metadata log's partition.
    #[must_use]
    pub fn metadata_partition_dir(&self) -> PathBuf {
        self.node.metadata_log_dir.join("__cluster_metadata-0")
    }

    fn default_replication_factor(&self) -> i16 {
        i16::try_from(self.topics.default_replication_factor).unwrap_or(i16::MAX)
    }

    /// The broker keys that were set, without names that Kafka does not know.
    fn static_broker_configs(&self) -> BTreeMap<String, String> {
        let known = self.texts.iter().filter(|(name, _)| BROKER_CONFIGS.find(name).is_some());
        known.map(|(name, text)| (name.clone(), text.clone())).collect()
    }
}

/// How many connections there may be, from the texts of the file or of that and what was changed since. Values that
/// cannot be read were refused before they got here.
pub(crate) fn connection_quotas(texts: &BTreeMap<String, String>) -> ConnectionQuotas {
    let number = |name: &str, key: &str| {
        let key = BROKER_CONFIGS.find(key)?;
        let value = texts.get(name).and_then(|text| key.parse(text).ok());
        value.or_else(|| key.parse_default().ok().flatten())?.as_i64().and_then(|number| u32::try_from(number).ok())
    };
    let count = |name: &str, key: &str| number(name, key).unwrap_or(i32::MAX as u32);
    let own = |name: &str| count(name, name);
    let mut quotas = ConnectionQuotas {
        max_connections: own("max.connections") as usize,
        max_connections_per_ip: own("max.connections.per.ip") as usize,
        max_connection_creation_rate: own("max.connection.creation.rate"),
        ..ConnectionQuotas::default()
    };
    let key = "max.connections.per.ip.overrides";
    for (host, count) in parse_map(key, texts.get(key).map_or("", String::as_str)).unwrap_or_default() {
        // A name that cannot be resolved now bounds nobody, as in Apache Kafka it bounds nobody it
        // does not resolve to.
        for address in (host.as_str(), 0).to_socket_addrs().into_iter().flatten() {
            quotas.max_connections_per_ip_overrides.insert(address.ip(), count.parse().unwrap_or(usize::MAX));
        }
    }
    for name in texts.keys() {
        let Some((listener, _)) = name.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.')) else {
            continue;
        };
        let of = |key: &str| count(&format!("listener.name.{listener}.{key}"), key);
        let own = ListenerQuotas {
            max_connections: of("max.connections") as usize,
            max_connection_creation_rate: of("max.connection.creation.rate"),
        };
        quotas.listeners.insert(listener.to_uppercase(), own);
    }
    quotas
}

/// Where to listen. A name with several addresses is bound to the first of version 4, as Java does.
fn bind_address(endpoint: &Endpoint) -> io::Result<SocketAddr> {
    if endpoint.host.is_empty() {
        return Ok(SocketAddr::new(any_address(), endpoint.port));
    }
    let addresses: Vec<SocketAddr> = (endpoint.host.as_str(), endpoint.port).to_socket_addrs()?.collect();
    let first = addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first());
    first.copied().ok_or_else(|| io::Error::other(format!("{} has no address", endpoint.host)))
}

/// Every interface: of both versions where the system has version 6.
fn any_address() -> IpAddr {
    match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Err(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

fn with_host_name(endpoint: &Endpoint) -> Endpoint {
    let mut named = endpoint.clone();
    if named.host.is_empty() {
        let name = rustix::system::uname();
        named.host = name.nodename().to_str().unwrap_or("localhost").to_owned();
    }
    named
}
