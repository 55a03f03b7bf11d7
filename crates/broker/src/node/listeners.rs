//! The listeners of a node: bound before anything is served, so that the ports are known when the node registers.

use std::net::SocketAddr;
use std::sync::Arc;

use milena_metrics::Listening;
use milena_network::{ListenerConfig, Memory, Server};

use super::NodeError;
use crate::broker::Broker;
use crate::config::{Endpoint, ServerConfig};
use crate::dispatch::Dispatcher;
use crate::hosts::{ControllerService, MetadataHandle};

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

pub(super) fn bind_broker(
    config: &ServerConfig,
    broker: &Arc<Broker>,
    memory: Memory,
) -> Result<Server<Dispatcher>, NodeError> {
    let listeners = listener_configs(config, config.listeners.broker())?;
    let service = Arc::new(Dispatcher::new(Arc::clone(broker)));
    Ok(Server::bind(listeners, config.connection_limits(), memory, service)?)
}

pub(super) fn bind_controller(
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

pub(super) fn bind_metrics(config: &ServerConfig) -> Result<Option<Listening>, NodeError> {
    let address = config.metrics_address().map_err(NodeError::Metrics)?;
    address.map(Listening::bind).transpose().map_err(NodeError::Metrics)
}

/// Where the other members of the quorum reach this one. A listener on every interface that is not advertised says nothing
/// of that: then what the voters know already is left alone, and a controller that joins by itself tells this machine's name.
pub(super) fn quorum_endpoints(
    config: &ServerConfig,
    addresses: &[(String, SocketAddr)],
) -> Vec<milena_raft::Endpoint> {
    let advertised = &config.listeners.advertised_controller;
    let is_told = advertised.iter().all(|endpoint| !matches!(endpoint.host.as_str(), "" | "0.0.0.0" | "::"));
    if !config.node.is_controller || !(is_told || config.quorum.auto_join_enable) {
        return Vec::new();
    }
    let endpoints = with_bound_ports(config.advertised_controller_listeners(), addresses);
    let endpoint = |Endpoint { name: listener, host, port, .. }| milena_raft::Endpoint { listener, host, port };
    endpoints.into_iter().map(endpoint).collect()
}

/// Listeners that took any free port tell the one they got.
pub(super) fn with_bound_ports(endpoints: Vec<Endpoint>, addresses: &[(String, SocketAddr)]) -> Vec<Endpoint> {
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
