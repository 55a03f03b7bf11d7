//! The log directories of a node, locked while it runs, and what the last broker said when it left.

use std::sync::Arc;

use milena_storage::disk::RealDisk;
use milena_storage::{Error, FileCache, LogDir};

use super::NodeError;
use crate::format::Formatted;
use crate::log_dirs::LogDirs;

/// The directories of the partitions, and that of the metadata log if it is another one.
pub(super) type LockedDirectories = (LogDirs, Option<LogDir<RealDisk>>);

/// Locks the directories of the partitions, and that of the metadata log if it is another one. One that cannot be locked
/// for a reason of the disk is left aside, unless it is the metadata log's; one that is in use ends the start.
pub(super) fn lock_directories(
    files: &Arc<FileCache<RealDisk>>,
    formatted: &Formatted,
) -> Result<LockedDirectories, NodeError> {
    let metadata = &formatted.metadata_log_dir.path;
    let mut usable = Vec::with_capacity(formatted.log_dirs.len());
    let mut unusable = formatted.unusable_log_dirs.clone();
    for dir in &formatted.log_dirs {
        match LogDir::open(files, &dir.path) {
            Ok(locked) => usable.push((locked, dir.id)),
            Err(Error::Io { .. }) if dir.path != *metadata => unusable.push(dir.path.clone()),
            Err(error) => return Err(error.into()),
        }
    }
    if usable.is_empty() {
        return Err(NodeError::NoLogDirectory(unusable));
    }
    let is_locked = usable.iter().any(|(dir, _)| dir.path() == metadata);
    let metadata_dir = if is_locked { None } else { Some(LogDir::open(files, metadata)?) };
    Ok((LogDirs::new(usable, unusable, metadata.clone()), metadata_dir))
}

/// The epoch all log directories say the last broker left with, -1 if they do not agree
/// (`CleanShutdownFileHandler`).
pub(super) fn previous_broker_epoch(log_dirs: &LogDirs) -> i64 {
    let mark = |dir: &LogDir<RealDisk>| dir.previous_shutdown().and_then(|mark| mark.broker_epoch);
    let mut epochs = log_dirs.online().map(|dir| mark(dir.files()));
    let Some(Some(first)) = epochs.next() else {
        return -1;
    };
    if epochs.all(|epoch| epoch == Some(first)) { first } else { -1 }
}
