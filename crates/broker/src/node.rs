//! One node: the composition root. Everything is made here, in order, and ended here in the reverse order (classes
//! `KafkaRaftServer`, `SharedServer`, `ControllerServer`, `BrokerServer`).
//!
//! A node with both roles starts without waiting for any timer: metadata thread (which elects, bootstraps and publishes),
//! registration, one heartbeat that unfences, then the listeners begin to accept.

mod bootstrap;
mod directories;
mod error;
mod links;
mod listeners;
mod metadata;
mod registration;

pub use error::NodeError;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use milena_metrics::Endpoint;
use milena_network::{Memory, Server};
use milena_storage::disk::RealDisk;
use milena_storage::{FileCache, LogDir};
use milena_types::Uuid;
use tokio::sync::watch;

use crate::broker::{Broker, BrokerParts};
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::controller_handle::ControllerHandle;
use crate::dispatch::Dispatcher;
use crate::format::{Formatted, random_uuid};
use crate::hosts::{
    BrokerIdentity, BrokerLifecycle, ControllerService, Event, LifecycleTimes, MetadataHandle, MetadataOffset,
    metadata_channel, start_metadata,
};
use crate::metrics::{ControllerView, Scrape, ScrapeParts};
use crate::partitions::Maintenance;
use crate::replication::ReplicationTasks;
use directories::{lock_directories, previous_broker_epoch};
use links::Links;
use listeners::{bind_broker, bind_controller, bind_metrics, quorum_endpoints, with_bound_ports};
use metadata::{Publisher, metadata_parts};
use registration::register_controller;

/// How long a stopping broker waits for the controller to move its leaderships
/// (`controlled.shutdown` gives up after three retries of five seconds).
const CONTROLLED_SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// Log files kept open, of all directories together.
const OPEN_FILES_MAX: usize = 2048;

/// A running node.
pub struct Node {
    broker: Option<RunningBroker>,
    controller: Option<Server<ControllerService>>,
    /// Tells the cluster of this controller until it has heard.
    registration: Option<tokio::task::JoinHandle<()>>,
    metadata: MetadataHandle,
    metadata_thread: JoinHandle<()>,
    metadata_ended: tokio::sync::oneshot::Receiver<()>,
    addresses: Vec<(String, SocketAddr)>,
    metrics: Option<Endpoint>,
    /// What metrics are made from beside the rest.
    observed: (ControllerView, Memory),
    /// The lock on the metadata log's directory where that holds no partitions.
    _metadata_dir: Option<LogDir<RealDisk>>,
}

struct RunningBroker {
    broker: Arc<Broker>,
    server: Server<Dispatcher>,
    maintenance: Maintenance,
    replication: ReplicationTasks,
    stop: watch::Sender<bool>,
    lifecycle: tokio::task::JoinHandle<()>,
}

impl Node {
    /// Starts the roles that `process.roles` names; returns when the broker is unfenced and accepts connections.
    ///
    /// # Errors
    /// What keeps the node from starting; nothing of it is left running then.
    pub async fn start(config: &ServerConfig, formatted: &Formatted) -> Result<Node, NodeError> {
        // Bound first: an address that is taken must not leave half a node behind.
        let listening = bind_metrics(config)?;
        let mut node = Box::pin(Node::start_roles(config, formatted)).await?;
        if let Some(listening) = listening {
            match listening.start(Arc::new(Scrape::new(node.scraped(config)))) {
                Ok(endpoint) => node.metrics = Some(endpoint),
                Err(error) => {
                    node.stop().await;
                    return Err(NodeError::Metrics(error));
                }
            }
        }
        Ok(node)
    }

    fn scraped(&self, config: &ServerConfig) -> ScrapeParts {
        let (view, memory) = self.observed.clone();
        let broker_server = self.broker.as_ref().map(|running| running.server.quotas());
        ScrapeParts {
            broker: self.broker.as_ref().map(|running| Arc::clone(&running.broker)),
            controller: config.node.is_controller.then_some(view),
            connections: broker_server.into_iter().chain(self.controller.as_ref().map(Server::quotas)).collect(),
            memory,
        }
    }

    async fn start_roles(config: &ServerConfig, formatted: &Formatted) -> Result<Node, NodeError> {
        let (metadata, inbox) = metadata_channel();
        let offset = MetadataOffset::default();
        let clock = Clock::system();
        let files = FileCache::new(RealDisk, OPEN_FILES_MAX);
        let (log_dirs, metadata_dir) = lock_directories(&files, formatted)?;
        let previous_epoch = previous_broker_epoch(&log_dirs);
        let links = Links::new(config, formatted, &metadata);
        let handle = Arc::clone(&links.controller);
        let incarnation_id = random_uuid().map_err(NodeError::Format)?;
        let broker = if config.node.is_broker {
            let settings = config.broker_settings(formatted);
            let (clock, controller, incarnation_id) = (clock.clone(), Arc::clone(&handle), Some(incarnation_id));
            let parts = BrokerParts { settings, clock, controller, log_dirs, incarnation_id };
            Some(Broker::open(parts))
        } else {
            None
        };
        let memory = config.request_memory();
        let mut controller_server = bind_controller(config, &metadata, memory.clone())?;
        let broker_server = match &broker {
            Some(broker) => Some(bind_broker(config, broker, memory.clone())?),
            None => None,
        };
        if let Some(broker) = &broker {
            broker_server.iter().for_each(|server| broker.add_connection_quotas(server.quotas()));
            controller_server.iter().for_each(|server| broker.add_connection_quotas(server.quotas()));
        }
        let of_broker = broker_server.iter().flat_map(|server| server.addresses().to_vec());
        let of_controller = controller_server.iter().flat_map(|server| server.addresses().to_vec());
        let addresses: Vec<_> = of_broker.chain(of_controller).collect();

        let (publisher, view) = Publisher::new(broker.clone(), links.leader, &offset);
        let mut parts = metadata_parts(config, formatted, &files, clock, publisher, links.sender, &metadata)?;
        let (alive, ended) = tokio::sync::oneshot::channel();
        parts.ended = Some(alive);
        parts.quorum.endpoints = quorum_endpoints(config, &addresses);
        // Opening logs blocks; nothing is served on this runtime yet.
        let metadata_thread = start_metadata(parts, inbox)?;
        let mut registration = None;
        if let Some(server) = &mut controller_server {
            server.start();
            registration = Some(register_controller(config, &addresses, &handle)?);
        }
        let mut node = Node {
            broker: None,
            controller: controller_server,
            registration,
            metadata,
            metadata_thread,
            metadata_ended: ended,
            addresses,
            metrics: None,
            observed: (view, memory),
            _metadata_dir: metadata_dir,
        };
        if let (Some(broker), Some(server)) = (broker, broker_server) {
            let previous = (previous_epoch, incarnation_id);
            match node.join(config, formatted, previous, &links.lifecycle, offset, &broker).await {
                Ok(lifecycle) => {
                    let replication = ReplicationTasks::start(&broker, Arc::clone(&links.isr_changes));
                    lifecycle.unfence().await;
                    node.broker = Some(run_broker(&broker, server, lifecycle, replication));
                }
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
        (previous_broker_epoch, incarnation_id): (i64, Uuid),
        handle: &Arc<dyn ControllerHandle>,
        offset: MetadataOffset,
        broker: &Arc<Broker>,
    ) -> Result<BrokerLifecycle, NodeError> {
        let identity = BrokerIdentity {
            id: config.node.node_id,
            cluster_id: formatted.cluster_id.clone(),
            incarnation_id,
            listeners: with_bound_ports(config.advertised_broker_listeners(), &self.addresses),
            rack: config.node.broker_rack.clone(),
            previous_broker_epoch,
        };
        let millis = |value: i32| Duration::from_millis(u64::try_from(value).unwrap_or(0));
        let heartbeat = millis(config.node.broker_heartbeat_interval_ms);
        let lease_ms = u64::try_from(broker.lease().length_ms()).ok().filter(|length| *length > 0);
        let times = LifecycleTimes {
            // A heartbeat that is lost does not end the lease.
            heartbeat: lease_ms.map_or(heartbeat, |length| heartbeat.min(Duration::from_millis(length / 2))),
            registration: millis(config.node.initial_broker_registration_timeout_ms),
            log_dir_failure: config.node.log_dir_failure_timeout,
        };
        Ok(BrokerLifecycle::register(identity, times, Arc::clone(handle), offset, Arc::clone(broker)).await?)
    }

    /// The names of all listeners and the addresses they are bound to.
    #[must_use]
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// Where metrics are served, if they are.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(Endpoint::address)
    }

    /// Returns when the node cannot go on, because its metadata log or its log directories failed. The log says why; all
    /// that is left is to stop.
    pub async fn failed(&mut self) {
        let news = self.broker.as_ref().map(|running| running.broker.log_dirs().news());
        let directories = async {
            match news {
                // The sender lives as long as the broker.
                Some(mut news) => drop(news.wait_for(|news| news.is_fatal).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The sender is only ever dropped.
            _ = &mut self.metadata_ended => {}
            () = directories => {}
        }
    }

    /// Leaves the cluster in a controlled way, closes everything and marks the logs as cleanly closed.
    pub async fn stop(self) {
        if let Some(endpoint) = self.metrics {
            // It may be making a page.
            let _ = tokio::task::spawn_blocking(move || drop(endpoint)).await;
        }
        if let Some(broker) = self.broker {
            broker.stop.send_replace(true);
            if broker.lifecycle.await.is_err() {
                tracing::error!("the broker's lifecycle task failed");
            }
            // Members that wait for a rebalance learn that they wait in vain.
            broker.broker.groups().stop();
            broker.broker.transactions().stop();
            broker.server.shutdown().await;
            broker.replication.stop().await;
            let (maintenance, epoch) = (broker.maintenance, broker.broker.epoch());
            let closed = tokio::task::spawn_blocking(move || maintenance.stop(epoch)).await;
            if closed.is_err() {
                tracing::error!("the logs were not closed cleanly");
            }
        }
        self.registration.iter().for_each(tokio::task::JoinHandle::abort);
        // The others elect a leader while this one still answers.
        said(&self.metadata, |done| Event::Resign { done }).await;
        if let Some(server) = self.controller {
            server.shutdown().await;
        }
        said(&self.metadata, |done| Event::Stop { done }).await;
        let thread = self.metadata_thread;
        if tokio::task::spawn_blocking(move || thread.join()).await.is_err() {
            tracing::error!("the metadata thread failed");
        }
    }
}

/// Tells the metadata thread something and waits until it is done.
async fn said(metadata: &MetadataHandle, event: impl FnOnce(Box<dyn FnOnce() + Send>) -> Event) {
    let (done, wait) = tokio::sync::oneshot::channel();
    let told = metadata.send(event(Box::new(move || {
        let _ = done.send(());
    })));
    if told {
        let _ = wait.await;
    }
}

fn run_broker(
    broker: &Arc<Broker>,
    mut server: Server<Dispatcher>,
    lifecycle: BrokerLifecycle,
    replication: ReplicationTasks,
) -> RunningBroker {
    let maintenance = Maintenance::start(broker);
    server.start();
    let (stop, stopped) = watch::channel(false);
    let lifecycle = tokio::spawn(lifecycle.run(stopped, CONTROLLED_SHUTDOWN_PATIENCE));
    RunningBroker { broker: Arc::clone(broker), server, maintenance, replication, stop, lifecycle }
}

#[cfg(test)]
#[path = "node_quorum_tests.rs"]
mod quorum_tests;
#[cfg(test)]
#[path = "node_replication_tests.rs"]
mod replication_tests;
#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
