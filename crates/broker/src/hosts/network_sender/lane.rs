//! One connection to one member, and what is sent over it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use milena_protocol::messages::ApiVersionsRequest;
use milena_protocol::{Records, Request, Text};
use milena_raft::{
    Destination, LeaderAndEpoch, LeaderNews, Outbound, PlainAnswer, PlainRequest, SnapshotFetchOut, VoteAnswer,
    VoteReply,
};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch};
use tokio::sync::mpsc;

use super::SenderSettings;
use crate::hosts::metadata_loop::{Event, MetadataHandle, PeerAnswer};
use crate::hosts::peers::{Address, Link};
use crate::hosts::raft_wire;

/// A lane with nothing to do ends after this.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A request and whom it is for.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) to: Destination,
    pub(super) request: Outbound,
}

impl Errand {
    pub(super) fn is_fetch(&self) -> bool {
        matches!(self.request, Outbound::Fetch(_) | Outbound::FetchSnapshot(_))
    }

    fn to_id(&self) -> BrokerId {
        match self.to {
            Destination::Node { id, .. } => id,
            Destination::AnyBootstrapServer => BrokerId::NONE,
        }
    }
}

/// What the metadata thread is told of a request that was not answered.
pub(super) fn failure(errand: Errand) -> Event {
    match errand.request {
        Outbound::Fetch(asked) => Event::FetchReply { asked, response: None },
        Outbound::FetchSnapshot(asked) => Event::SnapshotReply { asked, bytes: None },
        request => Event::SendFailed { to: errand.to, request },
    }
}

pub(super) struct Lane {
    address: Address,
    settings: Arc<SenderSettings>,
    metadata: MetadataHandle,
    link: Link,
}

impl Lane {
    pub(super) fn new(address: Address, settings: Arc<SenderSettings>, metadata: MetadataHandle) -> Lane {
        Lane { address, settings, metadata, link: Link::default() }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Errand>) {
        loop {
            let next = match tokio::time::timeout(IDLE_MAX, inbox.recv()).await {
                Ok(next) => next,
                Err(_) => {
                    // What came at the last moment is still done; what comes now finds another lane.
                    inbox.close();
                    inbox.recv().await
                }
            };
            let Some(errand) = next else { return };
            let event = match self.go(&errand).await {
                Ok(event) => event,
                Err(error) => {
                    tracing::debug!(address = ?self.address, %error, request = ?errand.request, "not answered");
                    if error.kind() == io::ErrorKind::ConnectionRefused
                        && let (Destination::Node { id, .. }, Outbound::Fetch(asked)) = (&errand.to, &errand.request)
                    {
                        self.metadata.send(Event::LeaderRefused { leader: *id, asked: *asked });
                    }
                    failure(errand)
                }
            };
            if !self.metadata.send(event) {
                return;
            }
        }
    }

    async fn ask<R: Request>(&mut self, request: &R, wait: Duration) -> io::Result<R::Response> {
        let SenderSettings { client_id, request_timeout, .. } = &*self.settings;
        self.link.ask(&self.address, client_id, *request_timeout, request, wait).await
    }

    async fn go(&mut self, errand: &Errand) -> io::Result<Event> {
        match &errand.request {
            Outbound::Fetch(asked) => {
                let wait = Duration::from_millis(u64::try_from(asked.max_wait_ms).unwrap_or(0));
                let request = raft_wire::fetch_request(asked, &self.settings.cluster_id, self.settings.fetch_max_bytes);
                let response = self.ask(&request, wait).await?;
                Ok(Event::FetchReply { asked: *asked, response: Some(response) })
            }
            Outbound::FetchSnapshot(asked) => {
                let bytes = self.download(asked).await?;
                Ok(Event::SnapshotReply { asked: *asked, bytes: Some(bytes) })
            }
            request => {
                let answer = match self.exchange(errand.to_id(), request).await {
                    // Older members do not know every request, nor pre-votes.
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                        unsupported(errand.to_id(), request).ok_or(error)?
                    }
                    answer => answer?,
                };
                Ok(Event::Answer { to: errand.to.clone(), request: request.clone(), answer })
            }
        }
    }

    async fn exchange(&mut self, from: BrokerId, request: &Outbound) -> io::Result<PeerAnswer> {
        let settings = Arc::clone(&self.settings);
        let (cluster_id, listener) = (settings.cluster_id.as_str(), settings.listener_name.as_str());
        match request {
            Outbound::Vote(out) => {
                let response = self.ask(&raft_wire::vote_request(out, cluster_id), Duration::ZERO).await?;
                Ok(PeerAnswer::Vote(raft_wire::vote_answer(from, out.pre_vote, response, listener)))
            }
            Outbound::BeginQuorumEpoch { voter, leader, epoch, endpoints } => {
                let leader = LeaderAndEpoch { leader: Some(*leader), epoch: *epoch };
                let request = raft_wire::begin_epoch_request(*voter, leader, endpoints, cluster_id);
                let response = self.ask(&request, Duration::ZERO).await?;
                let answer = raft_wire::begin_epoch_answer(from, response, listener);
                Ok(PeerAnswer::Plain(PlainRequest::BeginQuorumEpoch, answer))
            }
            Outbound::EndQuorumEpoch { leader, epoch, preferred, endpoints } => {
                let leader = LeaderAndEpoch { leader: Some(*leader), epoch: *epoch };
                let request = raft_wire::end_epoch_request(leader, preferred, endpoints, cluster_id);
                let response = self.ask(&request, Duration::ZERO).await?;
                let answer = raft_wire::end_epoch_answer(from, response, listener);
                Ok(PeerAnswer::Plain(PlainRequest::EndQuorumEpoch, answer))
            }
            Outbound::UpdateRaftVoter { voter, epoch } => {
                let request = raft_wire::update_voter_request(voter, *epoch, cluster_id);
                let response = self.ask(&request, Duration::ZERO).await?;
                let answer = raft_wire::update_voter_answer(from, response, listener);
                Ok(PeerAnswer::Plain(PlainRequest::UpdateRaftVoter, answer))
            }
            Outbound::AddRaftVoter { voter } => {
                let timeout_ms = i64::try_from(settings.request_timeout.as_millis()).unwrap_or(i64::MAX);
                let request = raft_wire::add_voter_request(voter, cluster_id, timeout_ms);
                // The leader looks at this member before it answers.
                let response = self.ask(&request, settings.request_timeout).await?;
                let message = response.error_message.map(|text| text.to_string());
                Ok(PeerAnswer::VoterChange(ErrorCode(response.error_code), message))
            }
            Outbound::RemoveRaftVoter { voter } => {
                let request = raft_wire::remove_voter_request(*voter, cluster_id);
                let response = self.ask(&request, settings.request_timeout).await?;
                let message = response.error_message.map(|text| text.to_string());
                Ok(PeerAnswer::VoterChange(ErrorCode(response.error_code), message))
            }
            Outbound::ApiVersions { .. } => {
                // Features are told from version 3 on, which wants to know who asks.
                let request = ApiVersionsRequest {
                    client_software_name: Text::from_static("milena"),
                    client_software_version: Text::from_static(env!("CARGO_PKG_VERSION")),
                    ..ApiVersionsRequest::default()
                };
                let response = self.ask(&request, Duration::ZERO).await?;
                Ok(PeerAnswer::KRaftVersions(from, raft_wire::kraft_version_range(&response)))
            }
            Outbound::Fetch(_) | Outbound::FetchSnapshot(_) => Err(io::Error::other("fetches have a way of their own")),
        }
    }

    /// All pieces of a snapshot; the thread is told of each, which shows it that the leader is there.
    async fn download(&mut self, asked: &SnapshotFetchOut) -> io::Result<Bytes> {
        let mut whole = BytesMut::new();
        loop {
            let position = i64::try_from(whole.len()).unwrap_or(i64::MAX);
            let SenderSettings { cluster_id, fetch_snapshot_max_bytes, .. } = &*self.settings;
            let request = raft_wire::snapshot_request(asked, position, cluster_id, *fetch_snapshot_max_bytes);
            let answer = self.ask(&request, Duration::ZERO).await?;
            let (error, news) = raft_wire::snapshot_answer(&answer, &self.settings.listener_name);
            self.metadata.send(Event::SnapshotPiece { asked: *asked, error, news });
            let piece = answer.topics.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
            let Some(piece) = piece.filter(|_| error.is_none()) else {
                return Err(io::Error::other(error.to_string()));
            };
            let Records::Bytes(bytes) = piece.unaligned_records else {
                return Err(io::Error::other("an answer holds no files"));
            };
            whole.extend_from_slice(&bytes);
            if whole.len() as u64 >= u64::try_from(piece.size).unwrap_or(0) {
                return Ok(whole.freeze());
            }
            if bytes.is_empty() {
                return Err(io::Error::other("the snapshot has no more bytes than it says"));
            }
        }
    }
}

/// What a member that does not know a request would say, if the quorum wants to know that.
fn unsupported(from: BrokerId, request: &Outbound) -> Option<PeerAnswer> {
    let error = ErrorCode::UNSUPPORTED_VERSION;
    let leader = LeaderAndEpoch { leader: None, epoch: LeaderEpoch::NONE };
    match request {
        Outbound::Vote(out) => {
            let reply = VoteReply { error, leader, granted: false };
            Some(PeerAnswer::Vote(VoteAnswer { from, pre_vote: out.pre_vote, reply, endpoints: Vec::new() }))
        }
        Outbound::UpdateRaftVoter { epoch, .. } => {
            let news = LeaderNews { leader: LeaderAndEpoch { epoch: *epoch, ..leader }, endpoints: Vec::new() };
            Some(PeerAnswer::Plain(PlainRequest::UpdateRaftVoter, PlainAnswer { from, error, news }))
        }
        _ => None,
    }
}
