//! The metadata thread's requests to other members over the network (class `KafkaNetworkChannel`). Each member is reached
//! over two lanes, one for fetches, which wait for news, and one for everything else; a lane is a connection and sends one
//! request after the other. Lanes know nothing of each other: who does not answer delays nobody else.

mod lane;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use milena_controller::{Probe, Probed};
use milena_raft::{Destination, Endpoint, Outbound};
use milena_types::BrokerId;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::metadata_loop::{Event, MetadataHandle, RaftSender};
use super::peers::{Address, all_refuse};
use lane::{Errand, Lane, failure};

/// Requests that may wait in a lane; the quorum asks again what is dropped.
const WAITING_MAX: usize = 32;

/// How long a broker's listener may take to accept or refuse.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);

/// Who can be asked as the active controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActiveController {
    /// This node itself.
    Here,
    /// Another one.
    At(Address),
}

/// Where the active controller is, as far as this node knows.
pub type LeaderWatch = watch::Receiver<Option<ActiveController>>;

/// What a sender has to know.
#[derive(Clone, Debug)]
pub struct SenderSettings {
    pub local: BrokerId,
    pub cluster_id: String,
    /// `controller.quorum.bootstrap.servers`, or the static voters.
    pub bootstrap_servers: Vec<Address>,
    /// `controller.quorum.request.timeout.ms`.
    pub request_timeout: Duration,
    /// `controller.quorum.fetch.max.bytes`.
    pub fetch_max_bytes: i32,
    /// `controller.quorum.fetch.snapshot.max.bytes`.
    pub fetch_snapshot_max_bytes: i32,
    pub client_id: String,
    /// The name of the controllers' listener that is used among nodes.
    pub listener_name: String,
}

/// Hands requests to the lanes.
pub struct NetworkSender {
    settings: Arc<SenderSettings>,
    metadata: MetadataHandle,
    runtime: Handle,
    lanes: BTreeMap<(Address, bool), mpsc::Sender<Errand>>,
    next_bootstrap: usize,
    leader: watch::Sender<Option<ActiveController>>,
}

impl NetworkSender {
    /// Needs a tokio runtime, on which the lanes will run. Also returns where the active controller will be told.
    #[must_use]
    pub fn start(settings: SenderSettings, metadata: MetadataHandle) -> (NetworkSender, LeaderWatch) {
        let (leader, watched) = watch::channel(None);
        let sender = NetworkSender {
            settings: Arc::new(settings),
            metadata,
            runtime: Handle::current(),
            lanes: BTreeMap::new(),
            next_bootstrap: 0,
            leader,
        };
        (sender, watched)
    }

    fn address_of(&mut self, to: &Destination) -> Option<Address> {
        match to {
            Destination::Node { endpoints, .. } => address(endpoints, &self.settings.listener_name),
            Destination::AnyBootstrapServer => {
                let servers = &self.settings.bootstrap_servers;
                let address = servers.get(self.next_bootstrap % servers.len().max(1)).cloned();
                self.next_bootstrap = self.next_bootstrap.wrapping_add(1);
                address
            }
        }
    }

    fn put(&mut self, address: Address, errand: Errand) -> Result<(), Errand> {
        let key = (address, errand.is_fetch());
        let errand = match self.lanes.get(&key).map(|lane| lane.try_send(errand.clone())) {
            Some(Ok(())) => return Ok(()),
            Some(Err(mpsc::error::TrySendError::Full(errand))) => return Err(errand),
            // None yet, or one that had nothing to do for long.
            Some(Err(mpsc::error::TrySendError::Closed(errand))) => errand,
            None => errand,
        };
        let (lane, inbox) = mpsc::channel(WAITING_MAX);
        let address = key.0.clone();
        self.runtime.spawn(Lane::new(address, Arc::clone(&self.settings), self.metadata.clone()).run(inbox));
        let sent = lane.try_send(errand).map_err(mpsc::error::TrySendError::into_inner);
        self.lanes.insert(key, lane);
        sent
    }
}

impl RaftSender for NetworkSender {
    fn send(&mut self, to: Destination, request: Outbound) {
        let address = self.address_of(&to);
        let errand = Errand { to, request };
        let failed = match address {
            Some(address) => self.put(address, errand).err(),
            None => Some(errand),
        };
        if let Some(errand) = failed {
            self.metadata.send(failure(errand));
        }
    }

    fn probe(&mut self, probe: Probe) {
        let metadata = self.metadata.clone();
        self.runtime.spawn(async move {
            let Probe { broker, broker_epoch, endpoints } = probe;
            let addresses: Vec<Address> = endpoints.iter().map(|at| (at.host.to_string(), at.port)).collect();
            let refused = all_refuse(&addresses, PROBE_PATIENCE).await;
            let probed = if refused { Probed::AllRefused } else { Probed::NotSo };
            metadata.send(Event::Probed { broker, broker_epoch, probed });
        });
    }

    fn leader_changed(&mut self, leader: Option<(BrokerId, Vec<Endpoint>)>) {
        let active = leader.and_then(|(id, endpoints)| {
            if id == self.settings.local {
                return Some(ActiveController::Here);
            }
            address(&endpoints, &self.settings.listener_name).map(ActiveController::At)
        });
        self.leader.send_replace(active);
    }
}

/// Where a member listens for other nodes.
fn address(endpoints: &[Endpoint], listener: &str) -> Option<Address> {
    let named = endpoints.iter().find(|endpoint| endpoint.listener == listener).or(endpoints.first());
    named.map(|endpoint| (endpoint.host.clone(), endpoint.port))
}

#[cfg(test)]
mod tests {
    use milena_raft::{OffsetAndEpoch, ReplicaKey, VoteOut};
    use milena_types::{LeaderEpoch, Uuid};

    use super::*;
    use crate::hosts::metadata_loop::metadata_channel;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_probe_tells_who_is_gone_from_who_listens_somewhere() {
        let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = |listener: &std::net::TcpListener| ("127.0.0.1".to_owned(), listener.local_addr().unwrap().port());
        let (open_at, closed_at) = (at(&open), at(&closed));
        drop(closed);
        let refuse = |addresses: Vec<Address>| async move { all_refuse(&addresses, PROBE_PATIENCE).await };
        assert!(refuse(vec![closed_at.clone()]).await);
        assert!(!refuse(vec![closed_at, open_at]).await);
        assert!(!refuse(Vec::new()).await, "of a broker without listeners nothing is known");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_does_not_answer_delays_nobody_else() {
        // One that takes connections and says nothing, and a port where nobody is.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ports = [silent.local_addr().unwrap().port(), closed.local_addr().unwrap().port()];
        drop(closed);
        let settings = SenderSettings {
            local: BrokerId(9),
            cluster_id: "cluster".to_owned(),
            bootstrap_servers: Vec::new(),
            request_timeout: Duration::from_secs(600),
            fetch_max_bytes: 1 << 20,
            fetch_snapshot_max_bytes: 1 << 20,
            client_id: "test".to_owned(),
            listener_name: "CONTROLLER".to_owned(),
        };
        let (metadata, inbox) = metadata_channel();
        let (mut sender, _leader) = NetworkSender::start(settings, metadata);
        let key = |id| ReplicaKey { id: BrokerId(id), directory_id: Uuid::ZERO };
        let mut vote = |id: i32, port| {
            let endpoint = Endpoint { listener: "CONTROLLER".to_owned(), host: "127.0.0.1".to_owned(), port };
            let last = OffsetAndEpoch::BOOTSTRAP;
            let out = VoteOut { voter: key(id), candidate: key(9), epoch: LeaderEpoch(1), last, pre_vote: true };
            sender.send(Destination::Node { id: BrokerId(id), endpoints: vec![endpoint] }, Outbound::Vote(out));
        };
        vote(1, ports[0]);
        vote(2, ports[1]);
        let first = tokio::task::spawn_blocking(move || inbox.0.recv_timeout(Duration::from_secs(60)).unwrap());
        let Event::SendFailed { to: Destination::Node { id, .. }, .. } = first.await.unwrap() else {
            panic!("a request failed")
        };
        assert_eq!(id, BrokerId(2));
        // As many as fit wait for the silent one; more fail at once and are asked for again.
        (0..=WAITING_MAX).for_each(|_| vote(1, ports[0]));
    }
}
