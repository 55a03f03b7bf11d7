//! The metadata thread's requests to the leader over the network: fetches and snapshots, one after the other (class
//! `KafkaNetworkChannel`).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use milena_protocol::Records;
use milena_raft::{Destination, Endpoint, OffsetAndEpoch, Outbound, SnapshotFetchOut};
use milena_types::{BrokerId, ErrorCode};
use tokio::sync::{mpsc, watch};

use super::metadata_loop::{Event, MetadataHandle, RaftSender};
use super::peers::{Address, Link};
use super::raft_wire::{fetch_request, snapshot_request};

/// Where the active controller is, as far as this node knows.
pub type LeaderWatch = watch::Receiver<Option<Address>>;

/// What a sender has to know.
#[derive(Clone, Debug)]
pub struct SenderSettings {
    pub cluster_id: String,
    /// `controller.quorum.bootstrap.servers`, or the static voters.
    pub bootstrap_servers: Vec<Address>,
    /// `controller.quorum.request.timeout.ms`.
    pub request_timeout: Duration,
    pub client_id: String,
}

/// Hands requests to a task that owns the connection.
pub struct NetworkSender {
    requests: mpsc::UnboundedSender<(Destination, Outbound)>,
    leader: watch::Sender<Option<Address>>,
}

impl NetworkSender {
    /// Starts the task; needs a tokio runtime. Also returns where the leader will be told.
    #[must_use]
    pub fn start(settings: SenderSettings, metadata: MetadataHandle) -> (NetworkSender, LeaderWatch) {
        let (requests, inbox) = mpsc::unbounded_channel();
        let (leader, watched) = watch::channel(None);
        tokio::spawn(Sending { settings, metadata, link: Link::default(), next_bootstrap: 0 }.run(inbox));
        (NetworkSender { requests, leader }, watched)
    }
}

impl RaftSender for NetworkSender {
    fn send(&mut self, to: Destination, request: Outbound) {
        // A task that is gone means that the node is stopping.
        let _ = self.requests.send((to, request));
    }

    fn leader_changed(&mut self, leader: Option<(BrokerId, Vec<Endpoint>)>) {
        let address = leader.and_then(|(_, endpoints)| endpoints.into_iter().next());
        self.leader.send_replace(address.map(|endpoint| (endpoint.host, endpoint.port)));
    }
}

struct Sending {
    settings: SenderSettings,
    metadata: MetadataHandle,
    link: Link,
    next_bootstrap: usize,
}

impl Sending {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<(Destination, Outbound)>) {
        while let Some((to, request)) = inbox.recv().await {
            let address = self.address_of(&to);
            let event = match (request, address) {
                (Outbound::Fetch(fetch), Some(address)) => {
                    let wait = Duration::from_millis(u64::try_from(fetch.max_wait_ms).unwrap_or(0));
                    let request = fetch_request(&fetch, &self.settings.cluster_id);
                    let SenderSettings { client_id, request_timeout, .. } = &self.settings;
                    let answer = self.link.ask(&address, client_id, *request_timeout, &request, wait).await;
                    if let Err(error) = &answer {
                        tracing::debug!(?address, %error, "no metadata from this controller");
                    }
                    Event::FetchReply(answer.ok())
                }
                (Outbound::FetchSnapshot(out), Some(address)) => {
                    let snapshot = self.download(&address, &out).await;
                    if let Err(error) = &snapshot {
                        tracing::warn!(?address, %error, "a metadata snapshot could not be downloaded");
                    }
                    Event::SnapshotReply(snapshot.ok())
                }
                (Outbound::Fetch(_), None) => Event::FetchReply(None),
                (Outbound::FetchSnapshot(_), None) => Event::SnapshotReply(None),
                // Only voters among several send these, and such a node does not start yet.
                (other, _) => {
                    tracing::error!(?other, "this node has no other voters");
                    continue;
                }
            };
            if !self.metadata.send(event) {
                return;
            }
        }
    }

    fn address_of(&mut self, to: &Destination) -> Option<Address> {
        if let Destination::Node { endpoints, .. } = to
            && let Some(endpoint) = endpoints.first()
        {
            return Some((endpoint.host.clone(), endpoint.port));
        }
        let servers = &self.settings.bootstrap_servers;
        let address = servers.get(self.next_bootstrap % servers.len().max(1)).cloned();
        self.next_bootstrap = self.next_bootstrap.wrapping_add(1);
        address
    }

    async fn download(
        &mut self,
        address: &Address,
        out: &SnapshotFetchOut,
    ) -> std::io::Result<(OffsetAndEpoch, Bytes)> {
        let mut whole = BytesMut::new();
        loop {
            let position = i64::try_from(whole.len()).unwrap_or(i64::MAX);
            let request = snapshot_request(out, position, &self.settings.cluster_id);
            let SenderSettings { client_id, request_timeout, .. } = &self.settings;
            let answer = self.link.ask(address, client_id, *request_timeout, &request, Duration::ZERO).await?;
            let piece = answer.topics.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
            let piece = piece.ok_or_else(|| std::io::Error::other(ErrorCode(answer.error_code).to_string()))?;
            if piece.error_code != ErrorCode::NONE.0 {
                return Err(std::io::Error::other(ErrorCode(piece.error_code).to_string()));
            }
            let Records::Bytes(bytes) = piece.unaligned_records else {
                return Err(std::io::Error::other("an answer holds no files"));
            };
            whole.extend_from_slice(&bytes);
            let size = u64::try_from(piece.size).unwrap_or(0);
            if whole.len() as u64 >= size {
                return Ok((out.snapshot, whole.freeze()));
            }
            if bytes.is_empty() {
                return Err(std::io::Error::other("the snapshot has no more bytes than it says"));
            }
        }
    }
}
