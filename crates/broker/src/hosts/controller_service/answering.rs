//! An answer that is owed to a broker: as it is, or in the envelope its request came in.

use bytes::{Bytes, BytesMut};
use milena_network::Reply;
use milena_protocol::messages::EnvelopeResponse;
use milena_protocol::{ApiKey, EncodeError, Message, RequestHeader, Segment, encode_response};
use milena_types::ErrorCode;

/// Where an answer goes. Dropped, it closes the connection.
pub(super) struct Answering {
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    /// Version and correlation id of the envelope.
    envelope: Option<(i16, i32)>,
    reply: Reply,
}

impl Answering {
    pub(super) fn new(header: &RequestHeader, reply: Reply) -> Answering {
        let RequestHeader { api_key: key, api_version: version, correlation_id, .. } = *header;
        Answering { key, version, correlation_id, envelope: None, reply }
    }

    /// The answer to a request that came in an envelope.
    pub(super) fn enclosed(header: &RequestHeader, envelope: &RequestHeader, reply: Reply) -> Answering {
        let envelope = Some((envelope.api_version, envelope.correlation_id));
        Answering { envelope, ..Answering::new(header, reply) }
    }

    pub(super) fn is_in_envelope(&self) -> bool {
        self.envelope.is_some()
    }

    /// Answers the request.
    pub(super) fn answer<M: Message>(self, response: &M) {
        let encoded = encode_response(self.key, self.version, self.correlation_id, response);
        let encoded = match (encoded, self.envelope) {
            (Ok(segments), Some((version, correlation_id))) => {
                let response =
                    EnvelopeResponse { response_data: Some(without_size(segments)), ..EnvelopeResponse::default() };
                encode_response(ApiKey::ENVELOPE, version, correlation_id, &response)
            }
            (encoded, _) => encoded,
        };
        send(self.reply, encoded);
    }

    /// Says that the request in the envelope was not handled. Without an envelope the connection is closed.
    pub(super) fn refuse(self, error: ErrorCode) {
        if let Some((version, correlation_id)) = self.envelope {
            let response = EnvelopeResponse { error_code: error.0, ..EnvelopeResponse::default() };
            send(self.reply, encode_response(ApiKey::ENVELOPE, version, correlation_id, &response));
        }
    }
}

/// An answer that its own version cannot carry is a mistake of ours.
fn send(reply: Reply, encoded: Result<Vec<Segment>, EncodeError>) {
    match encoded {
        Ok(segments) => reply.send(segments),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be encoded; its connection is closed");
            reply.close();
        }
    }
}

/// Header and body of an answer. What the controller answers is never a piece of a file.
fn without_size(segments: Vec<Segment>) -> Bytes {
    let mut whole = BytesMut::new();
    for segment in segments {
        match segment {
            Segment::Bytes(bytes) => whole.extend_from_slice(&bytes),
            Segment::File(_) => unreachable!("answers of the controller hold no files"),
        }
    }
    whole.freeze().slice(size_of::<i32>()..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enclosed_answer_has_no_size_of_its_own() {
        let segments =
            vec![Segment::Bytes(Bytes::from_static(&[0, 0, 0, 3, 1])), Segment::Bytes(Bytes::from_static(&[2, 3]))];
        assert_eq!(without_size(segments), Bytes::from_static(&[1, 2, 3]));
    }
}
