//! The log directories: what was found in them at start, where a new partition goes, and the files that say how far
//! everything had come. Kafka's counterpart is `LogManager`.

use crate::settings::LogDirectory;
use milena_protocol::Text;
use milena_storage::checkpoint::{
    CleanShutdown, LOG_START_OFFSET_CHECKPOINT, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT,
    REPLICATION_OFFSET_CHECKPOINT,
};
use milena_storage::disk::{Disk, RealDisk};
use milena_storage::{DirectoryKind, LogDir, TopicPartition};
use milena_types::{Offset, PartitionIndex, Uuid};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// A log found on disk and not opened yet.
#[derive(Clone, Debug)]
pub(crate) struct FoundLog {
    pub(crate) log_dir: PathBuf,
    pub(crate) recovery_point: Offset,
    pub(crate) log_start_offset: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) clean_shutdown: bool,
}

/// What the log directories hold when the node starts.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) logs: BTreeMap<TopicPartition, FoundLog>,
    /// Directories that were to be deleted when the last broker stopped.
    pub(crate) deleted: Vec<PathBuf>,
}

/// Lists all log directories. The marks of a clean shutdown are taken away: from here on this broker is not shut down.
///
/// # Errors
/// A log directory that cannot be read.
pub(crate) fn look_around(log_dirs: &[LogDir<RealDisk>]) -> io::Result<Found> {
    let mut found = Found::default();
    for log_dir in log_dirs {
        let path = log_dir.path();
        let read = |name| {
            // Without its checkpoints a log is recovered from its beginning.
            log_dir.read_checkpoint(name).unwrap_or_else(|error| {
                tracing::error!(path = %path.display(), name, %error, "a checkpoint cannot be read");
                OffsetCheckpoint::new()
            })
        };
        let recovery_points = read(RECOVERY_POINT_CHECKPOINT);
        let log_starts = read(LOG_START_OFFSET_CHECKPOINT);
        let high_watermarks = read(REPLICATION_OFFSET_CHECKPOINT);
        let clean_shutdown = log_dir.previous_shutdown().is_some();
        CleanShutdown::remove(&RealDisk, path).map_err(|error| io::Error::other(error.to_string()))?;
        for entry in RealDisk.list(path)? {
            if !entry.is_directory {
                continue;
            }
            match DirectoryKind::parse(&entry.name) {
                Some(DirectoryKind::Log(name)) if &*name.topic != CLUSTER_METADATA_TOPIC => {
                    let at = |offsets: &OffsetCheckpoint| offsets.get(&name).copied().unwrap_or(Offset(0));
                    let log = FoundLog {
                        log_dir: path.to_owned(),
                        recovery_point: at(&recovery_points),
                        log_start_offset: at(&log_starts),
                        high_watermark: at(&high_watermarks),
                        clean_shutdown,
                    };
                    found.logs.insert(name, log);
                }
                Some(DirectoryKind::Delete(_)) => found.deleted.push(path.join(&entry.name)),
                Some(DirectoryKind::Stray(name)) => {
                    tracing::warn!(directory = entry.name, log = %name, "passed over a log that was set aside");
                }
                Some(DirectoryKind::Future(name)) => {
                    // Moving logs between directories is not served; the copy's original is complete.
                    tracing::warn!(directory = entry.name, log = %name, "passed over an unfinished move of a log");
                }
                Some(DirectoryKind::Log(_)) => {}
                None if NO_LOGS.contains(&entry.name.as_str()) => {}
                None => tracing::warn!(directory = entry.name, "passed over a directory that is no partition"),
            }
        }
    }
    Ok(found)
}

/// Directories that are expected in a log directory beside the partitions (`LogManager.loadLogs`, and what ext4 has).
const NO_LOGS: [&str; 2] = ["remote-log-index-cache", "lost+found"];

/// The topic of the metadata log, which is not a partition of this broker.
const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

/// The log directory for a new partition: the one the controller chose if it is ours, else the one with the fewest
/// partitions.
pub(crate) fn choose(
    log_dirs: &[LogDirectory],
    assigned: Option<Uuid>,
    counts: &BTreeMap<PathBuf, usize>,
) -> Option<PathBuf> {
    let chosen = log_dirs.iter().find(|log_dir| Some(log_dir.id) == assigned);
    let emptiest = || log_dirs.iter().min_by_key(|log_dir| counts.get(&log_dir.path).copied().unwrap_or(0));
    chosen.or_else(emptiest).map(|log_dir| log_dir.path.clone())
}

/// A partition's name on disk.
pub(crate) fn directory_name(topic: &Text, index: PartitionIndex) -> TopicPartition {
    TopicPartition { topic: (**topic).into(), partition: index }
}
