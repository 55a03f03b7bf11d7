//! Why a request is refused, and how failures of the log look to clients.

use milena_protocol::Text;
use milena_types::ErrorCode;

/// An error code, and for the newer protocols what to tell the person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub error: ErrorCode,
    /// Where Kafka sends one.
    pub message: Option<Text>,
}

impl Refusal {
    /// With a message.
    #[must_use]
    pub fn new(error: ErrorCode, message: impl Into<Text>) -> Refusal {
        Refusal { error, message: Some(message.into()) }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(error: ErrorCode) -> Refusal {
        Refusal { error, message: None }
    }
}

/// What clients are told when records could not be written
/// (`CoordinatorOperationExceptionHelper.handleOperationException`).
#[must_use]
pub fn operation_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::NOT_ENOUGH_REPLICAS | ErrorCode::REQUEST_TIMED_OUT => {
            ErrorCode::COORDINATOR_NOT_AVAILABLE
        }
        ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::KAFKA_STORAGE_ERROR => ErrorCode::NOT_COORDINATOR,
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE | ErrorCode::INVALID_FETCH_SIZE => {
            ErrorCode::UNKNOWN_SERVER_ERROR
        }
        other => other,
    }
}
