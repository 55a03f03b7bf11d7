//! What a controller listener serves (class `ControllerApis`): the quorum's requests, brokers' registrations and
//! heartbeats, and what brokers forward. Everything is handed to the metadata thread and answered from there.

mod answering;
mod by_version;
mod envelope;
mod refused;
mod versions;

use bytes::Bytes;
use milena_network::{Peer, Replies, Service};
use milena_protocol::{ApiKey, Message, Reader, Request, RequestHeader, frame, messages};
use milena_types::{BrokerId, ErrorCode};

use super::description;
use super::metadata_loop::{Event, MetadataHandle};
use super::raft_requests::{RaftRequest, RaftResponse};
use super::remote_controller::is_not_controller;
use crate::call::{DECODED_BYTES_MAX, Later, decoded_bytes};
use crate::controller_handle::{ControllerHandle, ForController};
use answering::Answering;
use by_version::for_version;
use refused::{Refusal, Refuse};
use versions::{answer_versions, served, unsupported_version};

/// The controller as the network sees it.
#[derive(Clone, Debug)]
pub struct ControllerService {
    metadata: MetadataHandle,
}

/// Why a request was not taken: its connection is closed.
struct Unreadable;

/// One connection. That its end comes is a hint that a broker is gone.
#[derive(Debug)]
pub struct Caller {
    peer: Peer,
    /// Whose heartbeats came last, with the epoch of its registration.
    broker: Option<(BrokerId, i64)>,
    metadata: MetadataHandle,
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some((broker, broker_epoch)) = self.broker {
            self.metadata.send(Event::ConnectionLost { broker, broker_epoch });
        }
    }
}

impl Caller {
    fn note(&mut self, header: &RequestHeader, body: &Reader) {
        if header.api_key == ApiKey::BROKER_HEARTBEAT
            && let Ok(beat) = messages::BrokerHeartbeatRequest::decode(&mut body.clone(), header.api_version)
        {
            self.broker = Some((BrokerId(beat.broker_id), beat.broker_epoch));
        }
    }
}

impl ControllerService {
    /// Serves what the metadata thread knows.
    #[must_use]
    pub fn new(metadata: MetadataHandle) -> ControllerService {
        ControllerService { metadata }
    }

    fn dispatch(
        &self,
        peer: &Peer,
        header: &RequestHeader,
        body: &mut Reader,
        replies: &mut Replies<'_>,
    ) -> Result<(), Unreadable> {
        let (key, version) = (header.api_key, header.api_version);
        if !served(key).contains(&version) {
            return if key == ApiKey::API_VERSIONS { unsupported_version(header, replies) } else { Err(Unreadable) };
        }
        match key {
            ApiKey::API_VERSIONS => answer_versions(header, body, replies),
            ApiKey::FETCH => self.raft(peer, header, body, replies, RaftRequest::Fetch),
            ApiKey::FETCH_SNAPSHOT => self.raft(peer, header, body, replies, RaftRequest::FetchSnapshot),
            ApiKey::VOTE => self.raft(peer, header, body, replies, RaftRequest::Vote),
            ApiKey::BEGIN_QUORUM_EPOCH => self.raft(peer, header, body, replies, RaftRequest::BeginQuorumEpoch),
            ApiKey::END_QUORUM_EPOCH => self.raft(peer, header, body, replies, RaftRequest::EndQuorumEpoch),
            ApiKey::UPDATE_RAFT_VOTER => self.raft(peer, header, body, replies, RaftRequest::UpdateRaftVoter),
            ApiKey::DESCRIBE_CLUSTER => self.raft(peer, header, body, replies, RaftRequest::DescribeCluster),
            ApiKey::ENVELOPE => {
                let envelope = messages::EnvelopeRequest::decode(body, version).map_err(|_| Unreadable)?;
                self.open_envelope(header, envelope, replies)
            }
            _ => self
                .ask_controller(header, body, |header, held| Some(Answering::new(header, replies.park_holding(held)?))),
        }
    }

    /// Hands a request to the controller. Its answer goes to what `park` makes, once the body has been read, for what it
    /// holds in bytes until then.
    fn ask_controller(
        &self,
        header: &RequestHeader,
        body: &mut Reader,
        park: impl FnOnce(&RequestHeader, usize) -> Option<Answering>,
    ) -> Result<(), Unreadable> {
        macro_rules! asked {
            // The answer has one place for why the controller does not answer.
            ($request:ident) => {
                self.ask::<messages::$request>(
                    header,
                    body,
                    park,
                    |_| Default::default(),
                    |to, refusal| to.error_code = refusal.error,
                )
            };
            // It has a place for the reason, too.
            ($request:ident, with_reason) => {
                self.ask::<messages::$request>(
                    header,
                    body,
                    park,
                    |_| Default::default(),
                    |to, refusal| (to.error_code, to.error_message) = (refusal.error, refusal.why.clone()),
                )
            };
            // It has one for each thing that was asked for.
            ($request:ident, $all:ident, $refuse:ident) => {
                self.ask::<messages::$request>(header, body, park, refused::$all, refused::$refuse)
            };
        }
        match header.api_key {
            ApiKey::CREATE_TOPICS => asked!(CreateTopicsRequest, creations, refuse_creations),
            ApiKey::DELETE_TOPICS => asked!(DeleteTopicsRequest, deletions, refuse_deletions),
            ApiKey::CREATE_PARTITIONS => asked!(CreatePartitionsRequest, additions, refuse_additions),
            ApiKey::ALTER_CONFIGS => asked!(AlterConfigsRequest, configs, refuse_configs),
            ApiKey::INCREMENTAL_ALTER_CONFIGS => asked!(IncrementalAlterConfigsRequest, changes, refuse_changes),
            ApiKey::DESCRIBE_QUORUM => self.describe_quorum(header, body, park),
            ApiKey::ADD_RAFT_VOTER => asked!(AddRaftVoterRequest),
            ApiKey::REMOVE_RAFT_VOTER => asked!(RemoveRaftVoterRequest),
            ApiKey::ALTER_PARTITION => asked!(AlterPartitionRequest),
            ApiKey::ASSIGN_REPLICAS_TO_DIRS => asked!(AssignReplicasToDirsRequest),
            ApiKey::ELECT_LEADERS => asked!(ElectLeadersRequest, elections, refuse_elections),
            ApiKey::ALTER_PARTITION_REASSIGNMENTS => asked!(AlterPartitionReassignmentsRequest, moves, refuse_moves),
            ApiKey::LIST_PARTITION_REASSIGNMENTS => asked!(ListPartitionReassignmentsRequest),
            ApiKey::UPDATE_FEATURES => asked!(UpdateFeaturesRequest, with_reason),
            ApiKey::BROKER_REGISTRATION => asked!(BrokerRegistrationRequest),
            ApiKey::BROKER_HEARTBEAT => asked!(BrokerHeartbeatRequest),
            ApiKey::UNREGISTER_BROKER => asked!(UnregisterBrokerRequest, with_reason),
            ApiKey::ALLOCATE_PRODUCER_IDS => asked!(AllocateProducerIdsRequest),
            ApiKey::CONTROLLER_REGISTRATION => asked!(ControllerRegistrationRequest, nothing, refuse_controller),
            _ => Err(Unreadable),
        }
    }

    /// Asks the controller. Where it does not answer, `refuse` puts the error into the response that `begin` made for it.
    fn ask<R>(
        &self,
        header: &RequestHeader,
        body: &mut Reader,
        park: impl FnOnce(&RequestHeader, usize) -> Option<Answering>,
        begin: fn(&R) -> <R as ForController>::Response,
        refuse: Refuse<<R as ForController>::Response>,
    ) -> Result<(), Unreadable>
    where
        R: Request + ForController,
        <R as ForController>::Response: Message + Send + 'static,
    {
        let request = R::decode(body, header.api_version).map_err(|_| Unreadable)?;
        let answering = park(header, decoded_bytes(body)).ok_or(Unreadable)?;
        let mut refusal = begin(&request);
        // What a broker sent here goes to the leader; who asks by himself is told what this controller knows.
        let again = (!answering.is_in_envelope()).then(|| (request.clone().into_request(), self.metadata.clone()));
        let version = header.api_version;
        let done = move |result: Result<crate::ControllerResponse, ErrorCode>| match result {
            // The broker that sent it here looks for the controller anew (Apache Kafka's does not, at this answer of
            // Apache Kafka's controllers, and sends the next one here, too).
            Ok(response) if answering.is_in_envelope() && is_not_controller(&response) => {
                answering.refuse(ErrorCode::NOT_CONTROLLER);
            }
            Ok(response) => {
                if let Some(response) = R::from_response(response) {
                    answering.answer(&response);
                }
            }
            Err(error) if answering.is_in_envelope() => answering.refuse(error),
            Err(error) => {
                let mut refuse = move |why| {
                    refuse(&mut refusal, &Refusal { error: error.0, why, version });
                    std::mem::take(&mut refusal)
                };
                let Some((request, metadata)) = again.filter(|_| error == ErrorCode::NOT_CONTROLLER) else {
                    return answering.answer(&refuse(None));
                };
                let done = move |response: Option<crate::ControllerResponse>, why: String| {
                    let response = response.and_then(R::from_response);
                    answering.answer(&response.unwrap_or_else(|| refuse(Some(why.into()))));
                };
                // Where the thread has ended the connection is closed.
                metadata.send(Event::Elsewhere { request, done: Box::new(done) });
            }
        };
        self.metadata.submit(request.into_request(), Box::new(done));
        Ok(())
    }

    fn describe_quorum(
        &self,
        header: &RequestHeader,
        body: &mut Reader,
        park: impl FnOnce(&RequestHeader, usize) -> Option<Answering>,
    ) -> Result<(), Unreadable> {
        let version = header.api_version;
        let request = messages::DescribeQuorumRequest::decode(body, version).map_err(|_| Unreadable)?;
        let answering = park(header, decoded_bytes(body)).ok_or(Unreadable)?;
        let done = move |result: Result<crate::ControllerResponse, ErrorCode>| {
            let is_elsewhere = result.as_ref().is_ok_and(is_not_controller);
            if answering.is_in_envelope() && is_elsewhere {
                return answering.refuse(ErrorCode::NOT_CONTROLLER);
            }
            let response = match result {
                Ok(response) => messages::DescribeQuorumRequest::from_response(response).unwrap_or_default(),
                Err(ErrorCode(error_code)) => messages::DescribeQuorumResponse { error_code, ..Default::default() },
            };
            answering.answer(&description::for_version(response, version));
        };
        self.metadata.submit(request.into_request(), Box::new(done));
        Ok(())
    }

    fn raft<R: Request>(
        &self,
        peer: &Peer,
        header: &RequestHeader,
        body: &mut Reader,
        replies: &mut Replies<'_>,
        into: fn(R) -> RaftRequest,
    ) -> Result<(), Unreadable> {
        let request = into(R::decode(body, header.api_version).map_err(|_| Unreadable)?);
        let reply = replies.park_holding(decoded_bytes(body)).ok_or(Unreadable)?;
        let later = Later::new(header, reply);
        let version = header.api_version;
        let done = Box::new(move |response: RaftResponse| match for_version(response, version) {
            RaftResponse::Fetch(response) => later.answer(&response),
            RaftResponse::FetchSnapshot(response) => later.answer(&response),
            RaftResponse::Vote(response) => later.answer(&response),
            RaftResponse::BeginQuorumEpoch(response) => later.answer(&response),
            RaftResponse::EndQuorumEpoch(response) => later.answer(&response),
            RaftResponse::UpdateRaftVoter(response) => later.answer(&response),
            RaftResponse::DescribeCluster(response) => later.answer(&response),
        });
        self.metadata.send(Event::Raft { request, listener: peer.listener.to_string(), done });
        Ok(())
    }
}

impl Service for ControllerService {
    type Session = Caller;

    fn open(&self, peer: &Peer) -> Caller {
        Caller { peer: peer.clone(), broker: None, metadata: self.metadata.clone() }
    }

    fn handle(&self, caller: &mut Caller, frames: &mut Vec<Bytes>, replies: &mut Replies<'_>) {
        let mut handled = 0;
        while !replies.is_closing() && !replies.is_full() {
            let Some(frame) = frames.get_mut(handled).map(std::mem::take) else { break };
            handled += 1;
            let mut reader = Reader::with_allowance(frame, DECODED_BYTES_MAX);
            let taken = match frame::decode_request_header(&mut reader) {
                Ok(header) => {
                    caller.note(&header, &reader);
                    self.dispatch(&caller.peer, &header, &mut reader, replies)
                }
                Err(_) => Err(Unreadable),
            };
            if taken.is_err() {
                tracing::debug!(peer = %caller.peer.remote, "closed: not a request of a controller listener");
                replies.close();
            }
        }
        frames.drain(..handled);
    }
}
