//! How a node reaches the active controller: it is itself one, or there is one over the network.

use std::sync::Arc;
use std::time::Duration;

use crate::config::ServerConfig;
use crate::controller_handle::ControllerHandle;
use crate::format::Formatted;
use crate::hosts::{LeaderWatch, MetadataHandle, NetworkSender, RaftSender, RemoteController, SenderSettings};

/// The ways to the controller.
pub(super) struct Links {
    pub(super) sender: Box<dyn RaftSender>,
    /// For what clients ask.
    pub(super) controller: Arc<dyn ControllerHandle>,
    /// For registration and heartbeats, which must not queue behind clients' requests.
    pub(super) lifecycle: Arc<dyn ControllerHandle>,
    /// Who is active.
    pub(super) leader: LeaderWatch,
    /// For changes of in-sync replicas.
    pub(super) isr_changes: Arc<dyn ControllerHandle>,
}

impl Links {
    pub(super) fn new(config: &ServerConfig, formatted: &Formatted, metadata: &MetadataHandle) -> Links {
        let voters = config.quorum.voters.iter().map(|voter| (voter.host.clone(), voter.port));
        let servers = config.quorum.bootstrap_servers.iter().cloned();
        // Who looks for the leader need not ask itself.
        let own: Vec<_> =
            config.listeners.advertised_controller.iter().map(|own| (own.host.clone(), own.port)).collect();
        let is_other = |server: &(String, u16)| !config.node.is_controller || !own.contains(server);
        let settings = SenderSettings {
            local: config.node.node_id,
            cluster_id: formatted.cluster_id.clone(),
            bootstrap_servers: servers.chain(voters).filter(is_other).collect(),
            request_timeout: Duration::from_millis(u64::try_from(config.quorum.request_timeout_ms).unwrap_or(2000)),
            fetch_max_bytes: config.quorum.fetch_max_bytes,
            fetch_snapshot_max_bytes: config.quorum.fetch_snapshot_max_bytes,
            client_id: format!("raft-client-{}", config.node.node_id),
            listener_name: config.listeners.controller_listener_names.first().cloned().unwrap_or_default(),
        };
        let (sender, leader) = NetworkSender::start(settings, metadata.clone());
        let local = config.node.is_controller.then(|| metadata.clone());
        let channel = |name: &str| -> Arc<dyn ControllerHandle> {
            let client_id = format!("{name}-{}", config.node.node_id);
            Arc::new(RemoteController::start(leader.clone(), local.clone(), &client_id))
        };
        Links {
            sender: Box::new(sender),
            controller: channel("forwarding"),
            lifecycle: channel("heartbeat"),
            isr_changes: channel("alter-partition"),
            leader: leader.clone(),
        }
    }
}
