//! One node: the composition root. Everything is made here, in order, and ended here in the reverse order (classes
//! `KafkaRaftServer`, `SharedServer`, `ControllerServer`, `BrokerServer`).
//!
//! A node with both roles starts without waiting for any timer: metadata thread (which elects, bootstraps and publishes),
//! registration, one heartbeat that unfences, then the listeners begin to accept.

mod bootstrap;
mod error;
mod links;

pub use error::NodeError;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use milena_metadata::{Delta, Image};
use milena_network::{ListenerConfig, Memory, Server};
use milena_protocol::Text;
use milena_protocol::messages::ControllerRegistrationRequest;
use milena_protocol::messages::controller_registration_request::{Feature, Listener};
use milena_raft::{KRaftState, SnapshotPolicy, VoterSet};
use milena_storage::disk::RealDisk;
use milena_storage::{FileCache, LogDir};
use milena_types::{ErrorCode, Uuid};
use tokio::sync::watch;

use crate::broker::{Broker, BrokerParts};
use crate::clock::Clock;
use crate::config::{Endpoint, ServerConfig};
use crate::controller_handle::ControllerHandle;
use crate::dispatch::Dispatcher;
use crate::format::{Formatted, random_uuid};
use crate::hosts::{
    BrokerIdentity, BrokerLifecycle, ControllerService, Event, LifecycleTimes, MetadataHandle, MetadataListener,
    MetadataLog, MetadataOffset, MetadataParts, RaftSender, ask, metadata_channel, start_metadata,
};
use crate::partitions::Maintenance;
use links::Links;

/// How long a stopping broker waits for the controller to move its leaderships
/// (`controlled.shutdown` gives up after three retries of five seconds).
const CONTROLLED_SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// Log files kept open, of all directories together.
const OPEN_FILES_MAX: usize = 2048;

/// A running node.
pub struct Node {
    broker: Option<RunningBroker>,
    controller: Option<Server<ControllerService>>,
    metadata: MetadataHandle,
    metadata_thread: JoinHandle<()>,
    metadata_ended: tokio::sync::oneshot::Receiver<()>,
    addresses: Vec<(String, SocketAddr)>,
    /// The lock on the metadata log's directory where that holds no partitions.
    _metadata_dir: Option<LogDir<RealDisk>>,
}

struct RunningBroker {
    server: Server<Dispatcher>,
    maintenance: Maintenance,
    stop: watch::Sender<bool>,
    lifecycle: tokio::task::JoinHandle<()>,
    epoch: i64,
}

/// Hands committed metadata to the broker.
struct Publisher {
    broker: Option<Arc<Broker>>,
    offset: MetadataOffset,
    is_first: bool,
}

impl MetadataListener for Publisher {
    fn publish(&mut self, image: &Arc<Image>, delta: &Delta) {
        if let Some(broker) = &self.broker {
            broker.apply(Arc::clone(image), (!self.is_first).then_some(delta));
        }
        self.is_first = false;
        self.offset.set(image.offset.0);
    }

    fn kraft_version(&mut self, level: i16) {
        if let Some(broker) = &self.broker {
            broker.set_kraft_version(level);
        }
    }
}

impl Node {
    /// Starts the roles that `process.roles` names; returns when the broker is unfenced and accepts connections.
    ///
    /// # Errors
    /// What keeps the node from starting; nothing of it is left running then.
    pub async fn start(config: &ServerConfig, formatted: &Formatted) -> Result<Node, NodeError> {
        let (metadata, inbox) = metadata_channel();
        let offset = MetadataOffset::default();
        let clock = Clock::System;
        let files = FileCache::new(RealDisk, OPEN_FILES_MAX);
        let (log_dirs, metadata_dir) = lock_directories(&files, formatted)?;
        let previous_epoch = previous_broker_epoch(&log_dirs);
        if config.quorum.voters.len() > 1 {
            return Err(NodeError::SeveralVoters(config.quorum.voters.len()));
        }
        let links = Links::new(config, formatted, &metadata);
        let handle = Arc::clone(&links.controller);
        let broker = if config.node.is_broker {
            let settings = config.broker_settings(formatted);
            let parts = BrokerParts { settings, clock: clock.clone(), controller: Arc::clone(&handle), log_dirs };
            Some(Broker::open(parts).map_err(NodeError::LogDirectories)?)
        } else {
            None
        };
        let memory = config.request_memory();
        let mut controller_server = bind_controller(config, &metadata, memory.clone())?;
        let broker_server = match &broker {
            Some(broker) => Some(bind_broker(config, broker, memory)?),
            None => None,
        };
        let mut addresses = Vec::new();
        addresses.extend(broker_server.iter().flat_map(|server| server.addresses().to_vec()));
        addresses.extend(controller_server.iter().flat_map(|server| server.addresses().to_vec()));

        let publisher = Publisher { broker: broker.clone(), offset: offset.clone(), is_first: true };
        let mut parts = metadata_parts(config, formatted, &files, clock, publisher, links.sender)?;
        let (alive, ended) = tokio::sync::oneshot::channel();
        parts.ended = Some(alive);
        // Opening logs blocks; nothing is served on this runtime yet.
        let metadata_thread = start_metadata(parts, inbox)?;
        if let Some(server) = &mut controller_server {
            server.start();
            register_controller(config, &addresses, &*handle).await?;
        }
        let mut node = Node {
            broker: None,
            controller: controller_server,
            metadata,
            metadata_thread,
            metadata_ended: ended,
            addresses,
            _metadata_dir: metadata_dir,
        };
        if let (Some(broker), Some(server)) = (broker, broker_server) {
            let joined = node.join(config, formatted, previous_epoch, &links.lifecycle, offset).await;
            match joined {
                Ok(lifecycle) => node.broker = Some(run_broker(&broker, server, lifecycle)),
                Err(error) => {
                    node.stop().await;
                    return Err(error);
                }
            }
        }
        Ok(node)
    }

    async fn join(
        &self,
        config: &ServerConfig,
        formatted: &Formatted,
        previous_broker_epoch: i64,
        handle: &Arc<dyn ControllerHandle>,
        offset: MetadataOffset,
    ) -> Result<BrokerLifecycle, NodeError> {
        let identity = BrokerIdentity {
            id: config.node.node_id,
            cluster_id: formatted.cluster_id.clone(),
            incarnation_id: random_uuid().map_err(NodeError::Format)?,
            listeners: with_bound_ports(config.advertised_broker_listeners(), &self.addresses),
            rack: config.node.broker_rack.clone(),
            log_dirs: formatted.log_dirs.iter().map(|dir| dir.id).collect(),
            previous_broker_epoch,
        };
        let millis = |value: i32| Duration::from_millis(u64::try_from(value).unwrap_or(0));
        let times = LifecycleTimes {
            heartbeat: millis(config.node.broker_heartbeat_interval_ms),
            registration: millis(config.node.initial_broker_registration_timeout_ms),
        };
        let lifecycle = BrokerLifecycle::register(identity, times, Arc::clone(handle), offset).await?;
        lifecycle.unfence().await;
        Ok(lifecycle)
    }

    /// The names of all listeners and the addresses they are bound to.
    #[must_use]
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// Returns when the node can no longer follow or lead the cluster, because its metadata log failed. The log says
    /// why; all that is left is to stop.
    pub async fn failed(&mut self) {
        // The sender is only ever dropped.
        let _ = (&mut self.metadata_ended).await;
    }

    /// Leaves the cluster in a controlled way, closes everything and marks the logs as cleanly closed.
    pub async fn stop(self) {
        if let Some(broker) = self.broker {
            broker.stop.send_replace(true);
            if broker.lifecycle.await.is_err() {
                tracing::error!("the broker's lifecycle task failed");
            }
            broker.server.shutdown().await;
            let (maintenance, epoch) = (broker.maintenance, broker.epoch);
            let closed = tokio::task::spawn_blocking(move || maintenance.stop(epoch)).await;
            if closed.is_err() {
                tracing::error!("the logs were not closed cleanly");
            }
        }
        if let Some(server) = self.controller {
            server.shutdown().await;
        }
        let (ended, end) = tokio::sync::oneshot::channel();
        if self.metadata.send(Event::Stop {
            done: Box::new(move || {
                let _ = ended.send(());
            }),
        }) {
            let _ = end.await;
        }
        let thread = self.metadata_thread;
        if tokio::task::spawn_blocking(move || thread.join()).await.is_err() {
            tracing::error!("the metadata thread failed");
        }
    }
}

fn run_broker(broker: &Arc<Broker>, mut server: Server<Dispatcher>, lifecycle: BrokerLifecycle) -> RunningBroker {
    let maintenance = Maintenance::start(broker);
    server.start();
    let (stop, stopped) = watch::channel(false);
    let epoch = lifecycle.epoch();
    let lifecycle = tokio::spawn(lifecycle.run(stopped, CONTROLLED_SHUTDOWN_PATIENCE));
    RunningBroker { server, maintenance, stop, lifecycle, epoch }
}

fn listener_configs<'a>(
    config: &ServerConfig,
    endpoints: impl Iterator<Item = &'a Endpoint>,
) -> Result<Vec<ListenerConfig>, NodeError> {
    endpoints
        .map(|endpoint| {
            config
                .listener_config(endpoint)
                .map_err(|source| NodeError::Listener { name: endpoint.name.clone(), source })
        })
        .collect()
}

fn bind_broker(config: &ServerConfig, broker: &Arc<Broker>, memory: Memory) -> Result<Server<Dispatcher>, NodeError> {
    let listeners = listener_configs(config, config.listeners.broker())?;
    let service = Arc::new(Dispatcher::new(Arc::clone(broker)));
    Ok(Server::bind(listeners, config.connection_limits(), memory, service)?)
}

fn bind_controller(
    config: &ServerConfig,
    metadata: &MetadataHandle,
    memory: Memory,
) -> Result<Option<Server<ControllerService>>, NodeError> {
    if !config.node.is_controller {
        return Ok(None);
    }
    let listeners = listener_configs(config, config.listeners.controller())?;
    let service = Arc::new(ControllerService::new(metadata.clone()));
    Ok(Some(Server::bind(listeners, config.connection_limits(), memory, service)?))
}

fn metadata_parts(
    config: &ServerConfig,
    formatted: &Formatted,
    files: &Arc<FileCache<RealDisk>>,
    clock: Clock,
    publisher: Publisher,
    sender: Box<dyn RaftSender>,
) -> Result<MetadataParts<RealDisk>, NodeError> {
    let directory = &formatted.metadata_log_dir.path;
    let log = MetadataLog::open(files, directory, &config.metadata_log, clock.now())?;
    let listener_name = config.listeners.controller_listener_names.first().cloned().unwrap_or_default();
    let voters = bootstrap::static_voters(config, &listener_name);
    let seed = seed()?;
    Ok(MetadataParts {
        log,
        quorum: config.quorum_config(formatted, seed),
        kraft: KRaftState { kraft_version: 0, voters, voters_offset: None },
        controller: config.node.is_controller.then(|| config.controller_settings(formatted, &VoterSet::default())),
        own_broker: config.node.is_broker.then_some(config.node.node_id),
        bootstrap: bootstrap::read(directory)?,
        listener: Box::new(publisher),
        sender,
        clock,
        snapshots: SnapshotPolicy {
            max_bytes: u64::try_from(config.metadata_log.max_record_bytes_between_snapshots).unwrap_or(u64::MAX),
            max_interval_ms: config.metadata_log.max_snapshot_interval_ms,
        },
        cluster_id: formatted.cluster_id.clone(),
        listener_name,
        random_seed: seed.rotate_left(17),
        ended: None,
    })
}

fn seed() -> Result<u64, NodeError> {
    let Uuid(bytes) = random_uuid().map_err(NodeError::Format)?;
    Ok(bytes.first_chunk().map_or(1, |bytes| u64::from_le_bytes(*bytes)))
}

/// Tells the cluster where this controller listens and what it can do; every start is a new incarnation.
async fn register_controller(
    config: &ServerConfig,
    addresses: &[(String, SocketAddr)],
    handle: &dyn ControllerHandle,
) -> Result<(), NodeError> {
    let listener = |endpoint: Endpoint| Listener {
        name: Text::from(endpoint.name.as_str()),
        host: Text::from(endpoint.host.as_str()),
        port: endpoint.port,
        security_protocol: endpoint.protocol.code(),
        ..Listener::default()
    };
    let feature = |(name, min, max): (&'static str, i16, i16)| Feature {
        name: Text::from_static(name),
        min_supported_version: min,
        max_supported_version: max,
        ..Feature::default()
    };
    let endpoints = with_bound_ports(config.advertised_controller_listeners(), addresses);
    let request = ControllerRegistrationRequest {
        controller_id: config.node.node_id.0,
        incarnation_id: random_uuid().map_err(NodeError::Format)?,
        listeners: endpoints.into_iter().map(listener).collect(),
        features: milena_metadata::supported_features().map(feature).collect(),
        ..ControllerRegistrationRequest::default()
    };
    match ask(handle, request).await {
        Ok(response) if response.error_code == 0 => Ok(()),
        // Clusters of before KIP-919 do not register controllers.
        Ok(response) if ErrorCode(response.error_code) == ErrorCode::UNSUPPORTED_VERSION => Ok(()),
        Ok(response) => Err(NodeError::ControllerRegistration(ErrorCode(response.error_code))),
        Err(error) => Err(NodeError::ControllerRegistration(error)),
    }
}

/// Listeners that took any free port tell the one they got.
fn with_bound_ports(endpoints: Vec<Endpoint>, addresses: &[(String, SocketAddr)]) -> Vec<Endpoint> {
    let bound = |endpoint: &Endpoint| addresses.iter().find(|(name, _)| *name == endpoint.name);
    let with_port = |mut endpoint: Endpoint| {
        if endpoint.port == 0
            && let Some((_, address)) = bound(&endpoint)
        {
            endpoint.port = address.port();
        }
        endpoint
    };
    endpoints.into_iter().map(with_port).collect()
}

/// The directories of the partitions, and that of the metadata log if it is another one.
type LockedDirectories = (Vec<LogDir<RealDisk>>, Option<LogDir<RealDisk>>);

/// Locks the directories of the partitions, and that of the metadata log if it is another one.
fn lock_directories(files: &Arc<FileCache<RealDisk>>, formatted: &Formatted) -> Result<LockedDirectories, NodeError> {
    let open = |path| LogDir::open(files, path);
    let log_dirs = formatted.log_dirs.iter().map(|dir| open(&dir.path)).collect::<Result<Vec<_>, _>>()?;
    let metadata = &formatted.metadata_log_dir.path;
    let is_locked = formatted.log_dirs.iter().any(|dir| dir.path == *metadata);
    let metadata_dir = if is_locked { None } else { Some(open(metadata)?) };
    Ok((log_dirs, metadata_dir))
}

/// The epoch all log directories say the last broker left with, -1 if they do not agree
/// (`CleanShutdownFileHandler`).
fn previous_broker_epoch(log_dirs: &[LogDir<RealDisk>]) -> i64 {
    let mut epochs = log_dirs.iter().map(|dir| dir.previous_shutdown().and_then(|mark| mark.broker_epoch));
    let Some(Some(first)) = epochs.next() else {
        return -1;
    };
    if epochs.all(|epoch| epoch == Some(first)) { first } else { -1 }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
