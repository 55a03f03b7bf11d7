//! Listeners and the in-order connection pump: bytes come in, complete requests go to a [`Service`], answers leave in
//! the order of their requests. Nothing here knows what a request means; TLS and SASL are not here yet.
//! Kafka's counterpart is `SocketServer`.

mod admission;
mod buffers;
mod connection;
mod limits;
mod listener;
mod outgoing;
mod registry;
mod replies;
mod service;
mod sys;

pub use admission::{Memory, Permit};
pub use limits::{ConnectionLimits, ListenerConfig};
pub use listener::{Error, Server};
pub use replies::{Replies, Reply};
pub use service::{Peer, Service};
