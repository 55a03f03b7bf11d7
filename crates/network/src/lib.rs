//! Listeners and the in-order connection pump: bytes come in, complete requests go to a [`Service`], answers leave in
//! the order of their requests. Nothing here knows what a request means; TLS and SASL are not here yet.
//! Kafka's counterpart is `SocketServer`.

mod admission;
mod buffers;
mod connection;
mod limits;
mod listener;
mod outgoing;
mod rate;
mod registry;
mod replies;
mod service;
mod sys;

pub use admission::{Memory, Permit};
pub use limits::{ConnectionLimits, ConnectionQuotas, ListenerConfig, ListenerQuotas};
pub use listener::{Error, Server};
pub use registry::QuotaHandle;
pub use replies::{Replies, Reply};
pub use service::{Peer, Service};
