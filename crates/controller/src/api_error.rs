//! An error code with the text that goes with it (`ApiError`).

use milena_protocol::Text;
use milena_types::ErrorCode;

/// What a client is told of a failure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiError {
    pub error: ErrorCode,
    /// `None` lets clients show the code's own text.
    pub message: Option<String>,
}

impl ApiError {
    /// An error with a text of its own.
    pub fn new(error: ErrorCode, message: impl Into<String>) -> ApiError {
        ApiError { error, message: Some(message.into()) }
    }

    /// An error whose text is the code's own.
    #[must_use]
    pub fn bare(error: ErrorCode) -> ApiError {
        ApiError { error, message: None }
    }

    /// The text as responses carry it.
    #[must_use]
    pub fn text(&self) -> Option<Text> {
        self.message.as_deref().map(Text::from)
    }
}

impl From<ErrorCode> for ApiError {
    fn from(error: ErrorCode) -> ApiError {
        ApiError::bare(error)
    }
}
