//! The log directories of a node, locked while it runs, and what the last broker said when it left.

use std::sync::Arc;

use milena_storage::disk::RealDisk;
use milena_storage::{FileCache, LogDir};

use super::NodeError;
use crate::format::Formatted;

/// The directories of the partitions, and that of the metadata log if it is another one.
pub(super) type LockedDirectories = (Vec<LogDir<RealDisk>>, Option<LogDir<RealDisk>>);

/// Locks the directories of the partitions, and that of the metadata log if it is another one.
pub(super) fn lock_directories(
    files: &Arc<FileCache<RealDisk>>,
    formatted: &Formatted,
) -> Result<LockedDirectories, NodeError> {
    let open = |path| LogDir::open(files, path);
    let log_dirs = formatted.log_dirs.iter().map(|dir| open(&dir.path)).collect::<Result<Vec<_>, _>>()?;
    let metadata = &formatted.metadata_log_dir.path;
    let is_locked = formatted.log_dirs.iter().any(|dir| dir.path == *metadata);
    let metadata_dir = if is_locked { None } else { Some(open(metadata)?) };
    Ok((log_dirs, metadata_dir))
}

/// The epoch all log directories say the last broker left with, -1 if they do not agree
/// (`CleanShutdownFileHandler`).
pub(super) fn previous_broker_epoch(log_dirs: &[LogDir<RealDisk>]) -> i64 {
    let mut epochs = log_dirs.iter().map(|dir| dir.previous_shutdown().and_then(|mark| mark.broker_epoch));
    let Some(Some(first)) = epochs.next() else {
        return -1;
    };
    if epochs.all(|epoch| epoch == Some(first)) { first } else { -1 }
}
