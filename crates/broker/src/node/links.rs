//! How a node reaches the active controller: it is itself one, or there is one over the network.

use std::sync::Arc;
use std::time::Duration;

use crate::config::ServerConfig;
use crate::controller_handle::ControllerHandle;
use crate::format::Formatted;
use crate::hosts::{MetadataHandle, NetworkSender, NoPeers, RaftSender, RemoteController, SenderSettings};

/// The ways to the controller.
pub(super) struct Links {
    pub(super) sender: Box<dyn RaftSender>,
    /// For what clients ask.
    pub(super) controller: Arc<dyn ControllerHandle>,
    /// For registration and heartbeats, which must not queue behind clients' requests.
    pub(super) lifecycle: Arc<dyn ControllerHandle>,
    /// For changes of in-sync replicas.
    pub(super) isr_changes: Arc<dyn ControllerHandle>,
}

impl Links {
    pub(super) fn new(config: &ServerConfig, formatted: &Formatted, metadata: &MetadataHandle) -> Links {
        if config.node.is_controller {
            let handle: Arc<dyn ControllerHandle> = Arc::new(metadata.clone());
            let (controller, lifecycle) = (Arc::clone(&handle), Arc::clone(&handle));
            return Links { sender: Box::new(NoPeers), controller, lifecycle, isr_changes: handle };
        }
        let voters = config.quorum.voters.iter().map(|voter| (voter.host.clone(), voter.port));
        let servers = config.quorum.bootstrap_servers.iter().cloned();
        let settings = SenderSettings {
            cluster_id: formatted.cluster_id.clone(),
            bootstrap_servers: servers.chain(voters).collect(),
            request_timeout: Duration::from_millis(u64::try_from(config.quorum.request_timeout_ms).unwrap_or(2000)),
            client_id: format!("raft-client-{}", config.node.node_id),
        };
        let (sender, leader) = NetworkSender::start(settings, metadata.clone());
        let channel = |name: &str| -> Arc<dyn ControllerHandle> {
            Arc::new(RemoteController::start(leader.clone(), &format!("{name}-{}", config.node.node_id)))
        };
        Links {
            sender: Box::new(sender),
            controller: channel("forwarding"),
            lifecycle: channel("heartbeat"),
            isr_changes: channel("alter-partition"),
        }
    }
}
