//! What a controller listener serves (class `ControllerApis`): the quorum's requests, brokers' registrations and
//! heartbeats, and what brokers forward. Everything is handed to the metadata thread and answered from there.

use std::ops::RangeInclusive;

use bytes::Bytes;
use milena_network::{Peer, Replies, Service};
use milena_protocol::messages::api_versions_response::ApiVersion;
use milena_protocol::messages::{self, ApiVersionsRequest, ApiVersionsResponse};
use milena_protocol::{ApiKey, Message, Reader, Request, RequestHeader, encode_response, frame};
use milena_types::ErrorCode;

use super::description;
use super::metadata_loop::{Event, MetadataHandle};
use super::raft_requests::{RaftRequest, RaftResponse};
use crate::call::{DECODED_BYTES_MAX, Later, decoded_bytes};
use crate::controller_handle::{ControllerHandle, ForController};

/// The keys a controller listener serves.
const SERVED: &[ApiKey] = &[
    ApiKey::FETCH,
    ApiKey::API_VERSIONS,
    ApiKey::CREATE_TOPICS,
    ApiKey::DELETE_TOPICS,
    ApiKey::ALTER_CONFIGS,
    ApiKey::CREATE_PARTITIONS,
    ApiKey::INCREMENTAL_ALTER_CONFIGS,
    ApiKey::VOTE,
    ApiKey::BEGIN_QUORUM_EPOCH,
    ApiKey::END_QUORUM_EPOCH,
    ApiKey::DESCRIBE_QUORUM,
    ApiKey::ALTER_PARTITION,
    ApiKey::UPDATE_FEATURES,
    ApiKey::FETCH_SNAPSHOT,
    ApiKey::BROKER_REGISTRATION,
    ApiKey::BROKER_HEARTBEAT,
    ApiKey::UNREGISTER_BROKER,
    ApiKey::ALLOCATE_PRODUCER_IDS,
    ApiKey::CONTROLLER_REGISTRATION,
];

/// The controller as the network sees it.
#[derive(Clone, Debug)]
pub struct ControllerService {
    metadata: MetadataHandle,
}

/// Why a request was not taken: its connection is closed.
struct Unreadable;

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
        mut body: Reader,
        replies: &mut Replies<'_>,
    ) -> Result<(), Unreadable> {
        let (key, version) = (header.api_key, header.api_version);
        if !served(key).contains(&version) {
            return if key == ApiKey::API_VERSIONS { unsupported_version(header, replies) } else { Err(Unreadable) };
        }
        let body = &mut body;
        match key {
            ApiKey::API_VERSIONS => answer_versions(header, body, replies),
            ApiKey::FETCH => self.raft(peer, header, body, replies, RaftRequest::Fetch),
            ApiKey::FETCH_SNAPSHOT => self.raft(peer, header, body, replies, RaftRequest::FetchSnapshot),
            ApiKey::VOTE => self.raft(peer, header, body, replies, RaftRequest::Vote),
            ApiKey::BEGIN_QUORUM_EPOCH => self.raft(peer, header, body, replies, RaftRequest::BeginQuorumEpoch),
            ApiKey::END_QUORUM_EPOCH => self.raft(peer, header, body, replies, RaftRequest::EndQuorumEpoch),
            ApiKey::CREATE_TOPICS => self.ask::<messages::CreateTopicsRequest>(header, body, replies, |_, _| false),
            ApiKey::DELETE_TOPICS => self.ask::<messages::DeleteTopicsRequest>(header, body, replies, |_, _| false),
            ApiKey::CREATE_PARTITIONS => {
                self.ask::<messages::CreatePartitionsRequest>(header, body, replies, |_, _| false)
            }
            ApiKey::ALTER_CONFIGS => self.ask::<messages::AlterConfigsRequest>(header, body, replies, |_, _| false),
            ApiKey::INCREMENTAL_ALTER_CONFIGS => {
                self.ask::<messages::IncrementalAlterConfigsRequest>(header, body, replies, |_, _| false)
            }
            ApiKey::DESCRIBE_QUORUM => self.describe_quorum(header, body, replies),
            ApiKey::ALTER_PARTITION => {
                self.ask::<messages::AlterPartitionRequest>(header, body, replies, |to, error| {
                    to.error_code = error;
                    true
                })
            }
            ApiKey::UPDATE_FEATURES => {
                self.ask::<messages::UpdateFeaturesRequest>(header, body, replies, |to, error| {
                    to.error_code = error;
                    true
                })
            }
            _ => self.dispatch_registrations(header, body, replies),
        }
    }

    fn dispatch_registrations(
        &self,
        header: &RequestHeader,
        body: &mut Reader,
        replies: &mut Replies<'_>,
    ) -> Result<(), Unreadable> {
        match header.api_key {
            ApiKey::BROKER_REGISTRATION => {
                self.ask::<messages::BrokerRegistrationRequest>(header, body, replies, |to, error| {
                    to.error_code = error;
                    true
                })
            }
            ApiKey::BROKER_HEARTBEAT => {
                self.ask::<messages::BrokerHeartbeatRequest>(header, body, replies, |to, error| {
                    to.error_code = error;
                    true
                })
            }
            ApiKey::UNREGISTER_BROKER => {
                self.ask::<messages::UnregisterBrokerRequest>(header, body, replies, |to, error| {
                    to.error_code = error;
                    true
                })
            }
            ApiKey::ALLOCATE_PRODUCER_IDS => {
                self.ask::<messages::AllocateProducerIdsRequest>(header, body, replies, |to, error| {
                    to.error_code = error;
                    true
                })
            }
            ApiKey::CONTROLLER_REGISTRATION => {
                self.ask::<messages::ControllerRegistrationRequest>(header, body, replies, |to, error| {
                    to.error_code = error;
                    true
                })
            }
            _ => Err(Unreadable),
        }
    }

    /// Asks the controller. Where it does not answer, `refuse` puts the error into an empty response, or says that such
    /// a response has no place for it: the connection is then closed, and the broker looks for the controller anew.
    fn ask<R>(
        &self,
        header: &RequestHeader,
        body: &mut Reader,
        replies: &mut Replies<'_>,
        refuse: fn(&mut <R as ForController>::Response, i16) -> bool,
    ) -> Result<(), Unreadable>
    where
        R: Request + ForController,
        <R as ForController>::Response: Message + 'static,
    {
        let request = R::decode(body, header.api_version).map_err(|_| Unreadable)?;
        let reply = replies.park_holding(decoded_bytes(body)).ok_or(Unreadable)?;
        let later = Later::new(header, reply);
        let done = move |result: Result<crate::ControllerResponse, ErrorCode>| match result {
            Ok(response) => {
                if let Some(response) = R::from_response(response) {
                    later.answer(&response);
                }
            }
            Err(error) => {
                let mut response = <R as ForController>::Response::default();
                if refuse(&mut response, error.0) {
                    later.answer(&response);
                }
            }
        };
        self.metadata.submit(request.into_request(), Box::new(done));
        Ok(())
    }

    fn describe_quorum(
        &self,
        header: &RequestHeader,
        body: &mut Reader,
        replies: &mut Replies<'_>,
    ) -> Result<(), Unreadable> {
        let version = header.api_version;
        let request = messages::DescribeQuorumRequest::decode(body, version).map_err(|_| Unreadable)?;
        let later = Later::new(header, replies.park());
        let done = move |result| {
            let response = match result {
                Ok(response) => messages::DescribeQuorumRequest::from_response(response).unwrap_or_default(),
                Err(ErrorCode(error_code)) => messages::DescribeQuorumResponse { error_code, ..Default::default() },
            };
            later.answer(&description::for_version(response, version));
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
        let done = Box::new(move |response: RaftResponse| match response {
            RaftResponse::Fetch(response) => later.answer(&response),
            RaftResponse::FetchSnapshot(response) => later.answer(&response),
            RaftResponse::Vote(response) => later.answer(&response),
            RaftResponse::BeginQuorumEpoch(response) => later.answer(&response),
            RaftResponse::EndQuorumEpoch(response) => later.answer(&response),
        });
        self.metadata.send(Event::Raft { request, listener: peer.listener.to_string(), done });
        Ok(())
    }
}

impl Service for ControllerService {
    type Session = Peer;

    fn open(&self, peer: &Peer) -> Peer {
        peer.clone()
    }

    fn handle(&self, peer: &mut Peer, frames: &mut Vec<Bytes>, replies: &mut Replies<'_>) {
        let mut handled = 0;
        while !replies.is_closing() && !replies.is_full() {
            let Some(frame) = frames.get_mut(handled).map(std::mem::take) else { break };
            handled += 1;
            let mut reader = Reader::with_allowance(frame, DECODED_BYTES_MAX);
            let taken = match frame::decode_request_header(&mut reader) {
                Ok(header) => self.dispatch(peer, &header, reader, replies),
                Err(_) => Err(Unreadable),
            };
            if taken.is_err() {
                tracing::debug!(peer = %peer.remote, "closed: not a request of a controller listener");
                replies.close();
            }
        }
        frames.drain(..handled);
    }
}

/// The stable versions of a key that is served here; empty otherwise.
#[expect(clippy::reversed_empty_ranges, reason = "the empty range")]
fn served(key: ApiKey) -> RangeInclusive<i16> {
    match key.info() {
        Some(info) if SERVED.contains(&key) => info.min_version..=info.max_stable_version(),
        _ => 0..=-1,
    }
}

fn version_row(key: ApiKey) -> ApiVersion {
    let versions = served(key);
    ApiVersion { api_key: key.0, min_version: *versions.start(), max_version: *versions.end(), ..Default::default() }
}

fn answer_versions(header: &RequestHeader, body: &mut Reader, replies: &mut Replies<'_>) -> Result<(), Unreadable> {
    ApiVersionsRequest::decode(body, header.api_version).map_err(|_| Unreadable)?;
    let feature = |(name, min, max): (&'static str, i16, i16)| messages::api_versions_response::SupportedFeatureKey {
        name: milena_protocol::Text::from_static(name),
        min_version: min,
        max_version: max,
        ..Default::default()
    };
    let response = ApiVersionsResponse {
        api_keys: SERVED.iter().map(|key| version_row(*key)).collect(),
        supported_features: milena_metadata::supported_features().map(feature).collect(),
        finalized_features_epoch: -1,
        ..Default::default()
    };
    let key = ApiKey::API_VERSIONS;
    let segments =
        encode_response(key, header.api_version, header.correlation_id, &response).map_err(|_| Unreadable)?;
    replies.ready(segments);
    Ok(())
}

/// A client learns from version 0 which versions there are (KIP-511).
fn unsupported_version(header: &RequestHeader, replies: &mut Replies<'_>) -> Result<(), Unreadable> {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION.0,
        api_keys: vec![version_row(ApiKey::API_VERSIONS)],
        ..Default::default()
    };
    let segments =
        encode_response(ApiKey::API_VERSIONS, 0, header.correlation_id, &response).map_err(|_| Unreadable)?;
    replies.ready(segments);
    Ok(())
}
