//! What can go wrong below the log. Protocol codes are values of their own (`AppendError`, `ReadError`); this enum is
//! about the disk and about files that do not say what they must.

use std::io;
use std::path::{Path, PathBuf};

/// An operating error of the storage room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed; the log directory it belongs to must be considered offline (`KafkaStorageException`).
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was attempted, in the infinitive.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file holds something it cannot hold.
    #[error("{} is corrupt at byte {position}: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Byte in the file, from 0.
        position: u64,
        /// What was expected.
        reason: String,
    },
    /// The directory is in use by another process (`LogManager.lockLogDirs`).
    #[error("Failed to acquire lock on file .lock in {}. A Kafka instance in another process or thread is using this directory.", path.display())]
    Locked {
        /// The log directory.
        path: PathBuf,
    },
    /// A directory in a log directory that is neither a partition nor one of Kafka's own.
    #[error("Found directory {}, '{}' is not in the form of topic-partition or topic-partition.uniqueId-delete (if marked for deletion).", path.display(), path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default())]
    NotAPartition {
        /// The directory.
        path: PathBuf,
    },
    /// An earlier failure left the end of the log unknown; it must be opened again.
    #[error("the log {} failed earlier and takes no more writes", path.display())]
    Failed {
        /// The partition's directory.
        path: PathBuf,
    },
}

impl Error {
    /// Whether the device merely had no room for what was to be written: nothing is lost, and it is over when there is
    /// room again. A sync that says so is not meant, since what it did not write is gone (delayed allocation).
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        matches!(self, Error::Io { operation, source, .. } if *operation != "sync"
            && matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// Whether bytes are lost here, others need not be: they are not what they were, or the device cannot read them.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Error::Corrupt { .. } => true,
            Error::Io { operation: "read", source, .. } => is_unreadable(source),
            _ => false,
        }
    }
}

/// The room's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// EIO, which has no kind of its own.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(5)
}

/// Adds operation and path to a plain IO error.
pub(crate) trait At<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io { operation, path: path.to_owned(), source })
    }
}

/// Shorthand for a corrupt file.
pub(crate) fn corrupt(path: &Path, position: u64, reason: impl Into<String>) -> Error {
    Error::Corrupt { path: path.to_owned(), position, reason: reason.into() }
}
