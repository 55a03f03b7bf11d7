//! Why the metadata do not start.

/// What keeps the metadata thread from starting.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The files.
    #[error(transparent)]
    Storage(#[from] milena_storage::Error),
    /// The system has no thread for it.
    #[error("the metadata thread does not start: {0}")]
    Thread(#[source] std::io::Error),
}
