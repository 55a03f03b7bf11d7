//! A node's metadata without the thread, for an owner that steps it and carries its messages: the simulator. What is
//! stepped is what the thread runs, and what is carried are the wire's messages.

use std::time::Duration;

use bytes::Bytes;
use milena_metadata::Image;
use milena_protocol::Records;
use milena_raft::{Destination, LeaderAndEpoch, Outbound, PlainRequest, Quorum};
use milena_storage::Error;
use milena_storage::disk::Disk;
use milena_types::{BrokerId, ErrorCode};

use super::{Event, MetadataError, MetadataLoop, MetadataParts, PeerAnswer};
use crate::controller_handle::{ControllerRequest, ControllerResponse};
use crate::hosts::raft_requests::{RaftRequest, RaftResponse};
use crate::hosts::raft_wire;

/// At most this much of a log or of a snapshot in one answer.
const FETCH_MAX_BYTES: i32 = 8 << 20;
/// How long the leader may take to answer a new voter, milliseconds.
const ADD_VOTER_TIMEOUT_MS: i64 = 2000;

/// The metadata of one node.
pub struct SteppedMetadata<D: Disk>(MetadataLoop<D>);

impl<D: Disk> SteppedMetadata<D> {
    /// Opens the metadata, elects where nobody else can, and publishes what is committed.
    ///
    /// # Errors
    /// IO, or a log that cannot be replayed.
    pub fn open(parts: MetadataParts<D>) -> Result<SteppedMetadata<D>, MetadataError> {
        let mut state = MetadataLoop::open(parts)?;
        state.settle()?;
        Ok(SteppedMetadata(state))
    }

    /// Takes one event; a stop is the owner's own business.
    pub fn handle(&mut self, event: Event) {
        if let Some(done) = self.0.handle(event) {
            done();
        }
    }

    /// Everything that follows the events of a turn.
    ///
    /// # Errors
    /// IO: the node can then neither follow nor lead.
    pub fn turn(&mut self) -> Result<(), Error> {
        self.0.turn()
    }

    /// How long the thread would sleep if nothing came.
    #[must_use]
    pub fn until_next_deadline(&self) -> Duration {
        self.0.until_next_deadline()
    }

    /// The member of the quorum.
    #[must_use]
    pub fn quorum(&self) -> &Quorum {
        &self.0.quorum
    }

    /// The state of the active controller, ahead of what is committed; `None` where it is not active.
    #[must_use]
    pub fn decided(&self) -> Option<&Image> {
        self.0.controller.as_ref().map(milena_controller::Controller::image)
    }

    /// Ends cleanly.
    ///
    /// # Errors
    /// IO.
    pub fn close(mut self) -> Result<(), Error> {
        self.0.deactivate();
        self.0.log.close()
    }
}

/// A request of one member to another as it is on the wire.
#[derive(Clone, Debug)]
pub enum PeerRequest {
    Raft(RaftRequest),
    Controller(ControllerRequest),
    ApiVersions,
}

/// The answer to the request of the same name. The answer to ApiVersions is the range of `kraft.version`.
#[derive(Clone, Debug)]
pub enum PeerResponse {
    Raft(RaftResponse),
    Controller(ControllerResponse),
    ApiVersions(i16, i16),
}

impl PeerRequest {
    /// What of the wire says this. Of a snapshot it asks for the piece at `position`.
    #[must_use]
    pub fn new(request: &Outbound, position: i64, cluster_id: &str) -> PeerRequest {
        PeerRequest::Raft(match request {
            Outbound::Fetch(out) => RaftRequest::Fetch(raft_wire::fetch_request(out, cluster_id, FETCH_MAX_BYTES)),
            Outbound::FetchSnapshot(out) => {
                RaftRequest::FetchSnapshot(raft_wire::snapshot_request(out, position, cluster_id, FETCH_MAX_BYTES))
            }
            Outbound::Vote(out) => RaftRequest::Vote(raft_wire::vote_request(out, cluster_id)),
            Outbound::BeginQuorumEpoch { voter, leader, epoch, endpoints } => {
                let leader = LeaderAndEpoch { leader: Some(*leader), epoch: *epoch };
                let request = raft_wire::begin_epoch_request(*voter, leader, endpoints, cluster_id);
                RaftRequest::BeginQuorumEpoch(request)
            }
            Outbound::EndQuorumEpoch { leader, epoch, preferred, endpoints } => {
                let leader = LeaderAndEpoch { leader: Some(*leader), epoch: *epoch };
                let request = raft_wire::end_epoch_request(leader, preferred, endpoints, cluster_id);
                RaftRequest::EndQuorumEpoch(request)
            }
            Outbound::UpdateRaftVoter { voter, epoch } => {
                RaftRequest::UpdateRaftVoter(raft_wire::update_voter_request(voter, *epoch, cluster_id))
            }
            Outbound::AddRaftVoter { voter } => {
                let request = raft_wire::add_voter_request(voter, cluster_id, ADD_VOTER_TIMEOUT_MS);
                return PeerRequest::Controller(ControllerRequest::AddRaftVoter(request));
            }
            Outbound::RemoveRaftVoter { voter } => {
                let request = raft_wire::remove_voter_request(*voter, cluster_id);
                return PeerRequest::Controller(ControllerRequest::RemoveRaftVoter(request));
            }
            Outbound::ApiVersions { .. } => return PeerRequest::ApiVersions,
        })
    }
}

/// What the metadata is told of an answer that `from` gave, or of none. `None` for pieces of snapshots: see
/// [`snapshot_piece`].
#[must_use]
pub fn answer_event(
    to: &Destination,
    from: BrokerId,
    request: &Outbound,
    response: Option<PeerResponse>,
    listener: &str,
) -> Option<Event> {
    let failed = || match request {
        Outbound::Fetch(asked) => Event::FetchReply { asked: *asked, response: None },
        Outbound::FetchSnapshot(asked) => Event::SnapshotReply { asked: *asked, bytes: None },
        request => Event::SendFailed { to: to.clone(), request: request.clone() },
    };
    let Some(response) = response else { return Some(failed()) };
    let answer = match (request, response) {
        (Outbound::Fetch(asked), PeerResponse::Raft(RaftResponse::Fetch(response))) => {
            return Some(Event::FetchReply { asked: *asked, response: Some(response) });
        }
        (Outbound::FetchSnapshot(_), _) => return None,
        (Outbound::Vote(out), PeerResponse::Raft(RaftResponse::Vote(response))) => {
            PeerAnswer::Vote(raft_wire::vote_answer(from, out.pre_vote, response, listener))
        }
        (_, PeerResponse::Raft(RaftResponse::BeginQuorumEpoch(response))) => {
            PeerAnswer::Plain(PlainRequest::BeginQuorumEpoch, raft_wire::begin_epoch_answer(from, response, listener))
        }
        (_, PeerResponse::Raft(RaftResponse::EndQuorumEpoch(response))) => {
            PeerAnswer::Plain(PlainRequest::EndQuorumEpoch, raft_wire::end_epoch_answer(from, response, listener))
        }
        (_, PeerResponse::Raft(RaftResponse::UpdateRaftVoter(response))) => {
            PeerAnswer::Plain(PlainRequest::UpdateRaftVoter, raft_wire::update_voter_answer(from, response, listener))
        }
        (_, PeerResponse::Controller(ControllerResponse::AddRaftVoter(response))) => {
            let message = response.error_message.map(|text| text.to_string());
            PeerAnswer::VoterChange(ErrorCode(response.error_code), message)
        }
        (_, PeerResponse::Controller(ControllerResponse::RemoveRaftVoter(response))) => {
            let message = response.error_message.map(|text| text.to_string());
            PeerAnswer::VoterChange(ErrorCode(response.error_code), message)
        }
        (_, PeerResponse::ApiVersions(least, most)) => PeerAnswer::KRaftVersions(from, Ok(Some((least, most)))),
        _ => return Some(failed()),
    };
    Some(Event::Answer { to: to.clone(), request: request.clone(), answer })
}

/// The head of a piece of a snapshot, and the piece with the size of the whole.
#[must_use]
pub fn snapshot_piece(
    asked: &Outbound,
    response: RaftResponse,
    listener: &str,
) -> Option<(Event, Option<(Bytes, i64)>)> {
    let (Outbound::FetchSnapshot(asked), RaftResponse::FetchSnapshot(response)) = (asked, response) else {
        return None;
    };
    let (error, news) = raft_wire::snapshot_answer(&response, listener);
    let piece = response.topics.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
    let piece = piece.filter(|_| error.is_none()).and_then(|piece| match piece.unaligned_records {
        Records::Bytes(bytes) => Some((bytes, piece.size)),
        Records::File(_) => None,
    });
    Some((Event::SnapshotPiece { asked: *asked, error, news }, piece))
}
