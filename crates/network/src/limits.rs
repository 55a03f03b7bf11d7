//! What a connection and all of them together may cost. Field names are Kafka's keys.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The bounds on connections and on what one of them may hold.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// `socket.request.max.bytes`: a longer request closes its connection.
    pub socket_request_max_bytes: u32,
    /// `max.connections` of the broker; accepting waits for a place.
    pub max_connections: usize,
    /// `max.connections.per.ip`: one more is closed at once.
    pub max_connections_per_ip: usize,
    /// `max.connections.per.ip.overrides`, resolved to addresses.
    pub max_connections_per_ip_overrides: BTreeMap<IpAddr, usize>,
    /// `connections.max.idle.ms`; `None` is for ever.
    pub connections_max_idle: Option<Duration>,
    /// Requests of one connection that may wait for their answer before reading from it stops.
    pub pending_requests_max: usize,
    /// How long a shutdown waits for answers that are on their way out.
    pub shutdown_grace: Duration,
}

impl Default for ConnectionLimits {
    /// Kafka's defaults; the last two have no counterpart there.
    fn default() -> Self {
        Self {
            socket_request_max_bytes: 100 << 20,
            max_connections: i32::MAX as usize,
            max_connections_per_ip: i32::MAX as usize,
            max_connections_per_ip_overrides: BTreeMap::new(),
            connections_max_idle: Some(Duration::from_millis(600_000)),
            pending_requests_max: 256,
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
    /// `listener.name.<name>.max.connections`; accepting waits for a place.
    pub max_connections: usize,
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
            max_connections: i32::MAX as usize,
        }
    }
}
