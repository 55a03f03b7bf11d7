//! What the pump asks of the broker.

use crate::Replies;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;

/// The two ends of one connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address.
    pub remote: SocketAddr,
    /// The address the client dialled.
    pub local: SocketAddr,
    /// The listener's name as in `listeners`, for instance `PLAINTEXT`.
    pub listener: Arc<str>,
}

/// Answers requests. Called on the connection's task: it must not block, sleep or wait.
pub trait Service: Send + Sync + 'static {
    /// What is remembered for one connection.
    type Session: Send + 'static;

    /// A connection was accepted.
    fn open(&self, peer: &Peer) -> Self::Session;

    /// Handles every complete request that one read brought, in order, without their size prefixes. Every frame gets
    /// exactly one answer through `replies`, in the same order, unless the connection is closed. Frames that were
    /// handled are taken out of `frames`, from its front; once `replies.is_full()` the rest is left there and comes
    /// again later. Views of frames that outlive the call keep the read buffer from being used again.
    fn handle(&self, session: &mut Self::Session, frames: &mut Vec<Bytes>, replies: &mut Replies<'_>);
}
