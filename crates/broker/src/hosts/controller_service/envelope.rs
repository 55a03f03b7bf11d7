//! Requests of clients that a broker forwards in an envelope (KIP-590, `EnvelopeUtils`). Brokers of Milena forward them
//! bare, those of Apache Kafka always enclosed. Whom the client is will matter when there is authorisation.

use milena_network::Replies;
use milena_protocol::messages::{DefaultPrincipalData, EnvelopeRequest, EnvelopeResponse};
use milena_protocol::{ApiKey, Message, Reader, RequestHeader, encode_response, frame};
use milena_types::ErrorCode;

use super::answering::Answering;
use super::versions::served;
use super::{ControllerService, Unreadable};
use crate::call::DECODED_BYTES_MAX;

/// What may be in an envelope (`ApiKeys.forwardable`). A broker that has not seen our versions yet forwards also what is not
/// served; it is told so, and has its client look at the versions again.
const FORWARDABLE: &[ApiKey] = &[
    ApiKey::CREATE_TOPICS,
    ApiKey::DELETE_TOPICS,
    ApiKey::CREATE_ACLS,
    ApiKey::DELETE_ACLS,
    ApiKey::ALTER_CONFIGS,
    ApiKey::CREATE_PARTITIONS,
    ApiKey::CREATE_DELEGATION_TOKEN,
    ApiKey::RENEW_DELEGATION_TOKEN,
    ApiKey::EXPIRE_DELEGATION_TOKEN,
    ApiKey::ELECT_LEADERS,
    ApiKey::INCREMENTAL_ALTER_CONFIGS,
    ApiKey::ALTER_PARTITION_REASSIGNMENTS,
    ApiKey::LIST_PARTITION_REASSIGNMENTS,
    ApiKey::ALTER_CLIENT_QUOTAS,
    ApiKey::ALTER_USER_SCRAM_CREDENTIALS,
    ApiKey::DESCRIBE_QUORUM,
    ApiKey::UPDATE_FEATURES,
    ApiKey::UNREGISTER_BROKER,
    ApiKey::ADD_RAFT_VOTER,
    ApiKey::REMOVE_RAFT_VOTER,
];

impl ControllerService {
    /// Does what the request in the envelope asks. What is wrong with it is told on the envelope, whose connection lives on.
    pub(super) fn open_envelope(
        &self,
        header: &RequestHeader,
        envelope: EnvelopeRequest,
        replies: &mut Replies<'_>,
    ) -> Result<(), Unreadable> {
        let error = match self.forward(header, envelope, replies) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let response = EnvelopeResponse { error_code: error.0, ..EnvelopeResponse::default() };
        let encoded = encode_response(ApiKey::ENVELOPE, header.api_version, header.correlation_id, &response);
        replies.ready(encoded.map_err(|_| Unreadable)?);
        Ok(())
    }

    fn forward(
        &self,
        header: &RequestHeader,
        envelope: EnvelopeRequest,
        replies: &mut Replies<'_>,
    ) -> Result<(), ErrorCode> {
        if !is_principal(&envelope) {
            return Err(ErrorCode::PRINCIPAL_DESERIALIZATION_FAILURE);
        }
        if !matches!(envelope.client_host_address.len(), 4 | 16) {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let mut body = Reader::with_allowance(envelope.request_data, DECODED_BYTES_MAX);
        // Kafka tells an enclosed request that cannot be read from an envelope that cannot.
        let inner = frame::decode_request_header(&mut body).map_err(|_| ErrorCode::UNSUPPORTED_VERSION)?;
        if !FORWARDABLE.contains(&inner.api_key) {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        if !served(inner.api_key).contains(&inner.api_version) {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        let park = |inner: &RequestHeader, held| Some(Answering::enclosed(inner, header, replies.park_holding(held)?));
        self.ask_controller(&inner, &mut body, park).map_err(|Unreadable| ErrorCode::UNSUPPORTED_VERSION)
    }
}

/// Whether the client is named in the way of Kafka's default principal builder: a version and the message.
fn is_principal(envelope: &EnvelopeRequest) -> bool {
    let Some(bytes) = &envelope.request_principal else {
        return false;
    };
    let mut reader = Reader::new(bytes.clone());
    let version = reader.read_i16().unwrap_or(-1);
    DefaultPrincipalData::VERSIONS.contains(&version) && DefaultPrincipalData::decode(&mut reader, version).is_ok()
}
