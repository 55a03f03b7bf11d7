//! Why a node does not start.

use std::io;
use std::path::PathBuf;

use crate::format::FormatError;
use crate::hosts::{JoinError, MetadataError};

/// What keeps a node from starting.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The files of the metadata, or of the bootstrap.
    #[error(transparent)]
    Storage(#[from] milena_storage::Error),
    /// The metadata log, or its voters.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// No directory of `log.dirs` can be used.
    #[error("none of the specified log dirs from {} can be created or validated", paths(.0))]
    NoLogDirectory(Vec<PathBuf>),
    /// The random source or the directories' identities.
    #[error(transparent)]
    Format(FormatError),
    /// The host of a listener is unknown.
    #[error("listener {name}: {source}")]
    Listener { name: String, source: io::Error },
    /// The address of the metrics is taken, not ours, or unknown.
    #[error("milena.metrics.listener: {0}")]
    Metrics(io::Error),
    /// An address is taken or not ours.
    #[error(transparent)]
    Network(#[from] milena_network::Error),
    /// The cluster did not take the broker in.
    #[error(transparent)]
    Join(#[from] JoinError),
}

fn paths(paths: &[PathBuf]) -> String {
    let texts: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    texts.join(", ")
}
