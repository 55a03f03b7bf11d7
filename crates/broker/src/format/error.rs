//! Why directories were not formatted, or may not be used.

use std::io;
use std::path::PathBuf;

/// The text is what Kafka's storage tool prints where it refuses too.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The request cannot be carried out as it stands.
    #[error("{0}")]
    Refused(String),
    /// The directories hold something that contradicts the config or each other.
    #[error("{0}")]
    Inconsistent(String),
    /// The system did not do what it was asked.
    #[error("Error while writing {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Storage(#[from] milena_storage::Error),
    /// A bootstrap record does not fit its format; never with the records made here.
    #[error("cannot encode the bootstrap records: {0}")]
    Encode(String),
    /// The system has no random bytes.
    #[error("no random bytes: {0}")]
    Random(io::Error),
}

impl FormatError {
    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }
}
