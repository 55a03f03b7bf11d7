//! Opens the listeners, accepts, and spawns one task a connection; accepting and spawning are in one function, so that
//! a runtime per core can be tried by changing only that.

use crate::admission::Memory;
use crate::connection::{Connection, Surroundings};
use crate::limits::{ConnectionLimits, ListenerConfig};
use crate::registry::{QuotaHandle, Registry};
use crate::replies::Shared;
use crate::service::{Peer, Service};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long accepting rests after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket could not be made, bound or listened on.
    #[error("Socket server failed to bind to {address}: {source}.")]
    Bind { address: SocketAddr, source: io::Error },
}

/// Listeners that are bound, and later the tasks that serve them.
pub struct Server<S: Service> {
    surroundings: Arc<Surroundings<S>>,
    listeners: Vec<(ListenerConfig, TcpListener)>,
    bound: Vec<(String, SocketAddr)>,
    tasks: Vec<JoinHandle<()>>,
}

impl<S: Service> Server<S> {
    /// Binds all listeners; clients can connect from then on and are served after `start`. Needs a tokio runtime.
    ///
    /// # Errors
    /// The first listener that cannot be bound.
    pub fn bind(
        listeners: Vec<ListenerConfig>,
        limits: ConnectionLimits,
        memory: Memory,
        service: Arc<S>,
    ) -> Result<Self, Error> {
        let registry = Arc::new(Registry::new(limits));
        let surroundings = Arc::new(Surroundings { service, memory, registry });
        let mut server = Self { surroundings, listeners: Vec::new(), bound: Vec::new(), tasks: Vec::new() };
        for config in listeners {
            let address = config.address;
            let listener = bind(&config).map_err(|source| Error::Bind { address, source })?;
            let local = listener.local_addr().map_err(|source| Error::Bind { address, source })?;
            server.bound.push((config.name.clone(), local));
            server.listeners.push((config, listener));
        }
        Ok(server)
    }

    /// The names of the listeners and the addresses they are bound to.
    #[must_use]
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.bound
    }

    /// Connections that are open.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.surroundings.registry.count()
    }

    /// Changes how many connections there may be while the server runs.
    #[must_use]
    pub fn quotas(&self) -> QuotaHandle {
        QuotaHandle::new(&self.surroundings.registry)
    }

    /// Begins to accept.
    pub fn start(&mut self) {
        for (config, listener) in self.listeners.drain(..) {
            self.tasks.push(tokio::spawn(accept(config.name.into(), listener, Arc::clone(&self.surroundings))));
        }
        let registry = &self.surroundings.registry;
        self.tasks.push(tokio::spawn(Arc::clone(registry).sweep()));
        self.tasks.push(tokio::spawn(Arc::clone(registry).make_way(self.surroundings.memory.clone())));
    }

    /// Stops accepting, lets what is ready leave, closes all connections.
    pub async fn shutdown(mut self) {
        self.listeners.clear();
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
        self.surroundings.registry.finish().await;
    }
}

fn bind(config: &ListenerConfig) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(config.address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if config.address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Accepted sockets inherit the sizes; set before listening, the window scale fits them.
    if let Ok(bytes) = usize::try_from(config.socket_receive_buffer_bytes) {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Ok(bytes) = usize::try_from(config.socket_send_buffer_bytes) {
        socket.set_send_buffer_size(bytes)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&config.address.into())?;
    socket.listen(config.socket_listen_backlog_size)?;
    TcpListener::from_std(socket.into())
}

/// Accepts and spawns.
async fn accept<S: Service>(name: Arc<str>, listener: TcpListener, surroundings: Arc<Surroundings<S>>) {
    let registry = &surroundings.registry;
    loop {
        registry.place_free(&name).await;
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(listener = %name, %error, "cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let shared = Arc::new(Shared::default());
        let Some(place) = registry.enter(remote, &name, &shared) else {
            tracing::debug!(peer = %remote, "closed: too many connections from this address");
            continue;
        };
        let Ok(peer) = prepare(&stream, remote, &name) else { continue };
        let connection = Connection::new(stream, &peer, shared, Arc::clone(&surroundings));
        tokio::spawn(async move {
            connection.run(peer).await;
            drop(place);
        });
    }
}

fn prepare(stream: &TcpStream, remote: SocketAddr, listener: &Arc<str>) -> io::Result<Peer> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_keepalive(true)?;
    Ok(Peer { remote, local: stream.local_addr()?, listener: Arc::clone(listener) })
}
