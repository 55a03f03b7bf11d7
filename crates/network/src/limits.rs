//! What a connection and all of them together may cost. Field names are Kafka's keys.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How many connections there may be, and how fast they may come. All of it may change while the server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionQuotas {
    /// `max.connections` of the broker; accepting waits for a place.
    pub max_connections: usize,
    /// `max.connections.per.ip`: one more is closed at once.
    pub max_connections_per_ip: usize,
    /// `max.connections.per.ip.overrides`, resolved to addresses.
    pub max_connections_per_ip_overrides: BTreeMap<IpAddr, usize>,
    /// `max.connection.creation.rate`, connections a second; accepting waits.
    pub max_connection_creation_rate: u32,
    /// The bounds of single listeners, by the listener's name.
    pub listeners: BTreeMap<String, ListenerQuotas>,
}

/// The bounds of one listener: `listener.name.<name>.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerQuotas {
    /// `max.connections`; accepting waits for a place.
    pub max_connections: usize,
    /// `max.connection.creation.rate`, connections a second; accepting waits.
    pub max_connection_creation_rate: u32,
}

impl Default for ListenerQuotas {
    fn default() -> Self {
        Self { max_connections: i32::MAX as usize, max_connection_creation_rate: i32::MAX as u32 }
    }
}

impl Default for ConnectionQuotas {
    /// Kafka's defaults: no bounds.
    fn default() -> Self {
        Self {
            max_connections: i32::MAX as usize,
            max_connections_per_ip: i32::MAX as usize,
            max_connections_per_ip_overrides: BTreeMap::new(),
            max_connection_creation_rate: i32::MAX as u32,
            listeners: BTreeMap::new(),
        }
    }
}

/// The bounds on connections and on what one of them may hold.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// `socket.request.max.bytes`: a longer request closes its connection.
    pub socket_request_max_bytes: u32,
    /// What holds when the server starts.
    pub quotas: ConnectionQuotas,
    /// `connections.max.idle.ms`; `None` is for ever.
    pub connections_max_idle: Option<Duration>,
    /// Requests of one connection that may wait for their answer before reading from it stops.
    pub pending_requests_max: usize,
    /// Bytes of answers in memory, of one connection, from which on no further request of it is handled.
    pub pending_answer_bytes_max: usize,
    /// For how long a peer that was granted memory for a request may send nothing of it while others wait for memory.
    pub stalled_request_max: Duration,
    /// How long a shutdown waits for answers that are on their way out.
    pub shutdown_grace: Duration,
}

impl Default for ConnectionLimits {
    /// Kafka's defaults; the last three have no counterpart there.
    fn default() -> Self {
        Self {
            socket_request_max_bytes: 100 << 20,
            quotas: ConnectionQuotas::default(),
            connections_max_idle: Some(Duration::from_millis(600_000)),
            pending_requests_max: 256,
            pending_answer_bytes_max: 1 << 20,
            stalled_request_max: Duration::from_secs(3),
            shutdown_grace: Duration::from_secs(2),
        }
    }
}

/// One listener.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// The name before `://` in `listeners`.
    pub name: String,
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// `socket.listen.backlog.size`.
    pub socket_listen_backlog_size: i32,
    /// `socket.send.buffer.bytes`; -1 leaves it to the kernel.
    pub socket_send_buffer_bytes: i32,
    /// `socket.receive.buffer.bytes`; -1 leaves it to the kernel.
    pub socket_receive_buffer_bytes: i32,
}

impl ListenerConfig {
    /// A listener with Kafka's defaults.
    #[must_use]
    pub fn new(name: &str, address: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            address,
            socket_listen_backlog_size: 50,
            socket_send_buffer_bytes: 100 << 10,
            socket_receive_buffer_bytes: 100 << 10,
        }
    }
}
