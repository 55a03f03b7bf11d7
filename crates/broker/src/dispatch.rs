//! From the frames of one read to their answers: header, row of the table, version, handler. Produce requests that
//! follow each other are collected and appended together, one write for each partition. Kafka's counterparts are
//! `SocketServer.Processor` (header and version checks) and `KafkaApis.handle`.

use crate::api::{self, k18_api_versions};
use crate::broker::Broker;
use crate::call::{Call, DECODED_BYTES_MAX, Outcome};
use crate::partitions::{AppendGroup, HeldProduces};
use bytes::Bytes;
use milena_network::{Peer, Replies, Service};
use milena_protocol::{ApiKey, Reader, RequestHeader, frame};
use std::sync::Arc;

/// What is remembered for one connection.
#[derive(Debug)]
pub struct Session {
    /// Who is at the other end.
    pub peer: Peer,
    /// Produce requests that wait for the coordinator of their transaction.
    pub(crate) held: Arc<HeldProduces>,
}

/// The broker as the network sees it.
#[derive(Clone)]
pub struct Dispatcher {
    broker: Arc<Broker>,
}

impl Dispatcher {
    /// Serves `broker`.
    #[must_use]
    pub fn new(broker: Arc<Broker>) -> Self {
        Self { broker }
    }
}

impl Service for Dispatcher {
    type Session = Session;

    fn open(&self, peer: &Peer) -> Session {
        Session { peer: peer.clone(), held: Arc::default() }
    }

    fn handle(&self, session: &mut Session, frames: &mut Vec<Bytes>, replies: &mut Replies<'_>) {
        let mut group = AppendGroup::new(&self.broker, &session.peer.listener, &session.held);
        let mut taken = 0;
        while !replies.is_closing() && !replies.is_full() {
            let Some(frame) = frames.get_mut(taken).map(std::mem::take) else { break };
            taken += 1;
            let mut reader = Reader::with_allowance(frame, DECODED_BYTES_MAX);
            let header = match frame::decode_request_header(&mut reader) {
                Ok(header) => header,
                Err(error) => {
                    tracing::debug!(peer = %session.peer.remote, %error, "closed: no request header");
                    group.flush(replies);
                    replies.close();
                    break;
                }
            };
            if header.api_key == ApiKey::PRODUCE && api::find(header.api_key, header.api_version).is_some() {
                group.add(header, reader, replies);
                continue;
            }
            group.flush(replies);
            self.dispatch(session, header, reader, replies);
        }
        group.flush(replies);
        // What is left comes again when the peer has taken some of its answers.
        frames.drain(..taken);
    }
}

impl Dispatcher {
    fn dispatch(&self, session: &mut Session, header: RequestHeader, body: Reader, replies: &mut Replies<'_>) {
        let (key, version) = (header.api_key, header.api_version);
        let found = api::find(key, version);
        if found.is_none() && key != ApiKey::API_VERSIONS {
            // Kafka: `InvalidRequestException`, which closes the connection.
            tracing::debug!(peer = %session.peer.remote, key = key.0, version, "closed: not a request of this listener");
            replies.close();
            return;
        }
        let mut call = Call::new(&self.broker, session, header, body, replies);
        let outcome = match found {
            Some(api) => (api.handle)(&mut call),
            None => k18_api_versions::unsupported(&call),
        };
        if matches!(outcome, Outcome::Close) {
            tracing::debug!(peer = %call.session.peer.remote, key = key.0, version, "closed: the request cannot be read");
        }
        call.conclude(outcome);
    }
}
