//! The log directories: what was found in them at start, where a new partition goes, and the files that say how far
//! everything had come. Kafka's counterpart is `LogManager`.

use super::Partitions;
use crate::broker::Broker;
use crate::log_dirs::{Directory, LogDirs};
use milena_metadata::DIRECTORY_UNASSIGNED;
use milena_protocol::Text;
use milena_replication::Durability;
use milena_storage::checkpoint::{
    CLEANER_OFFSET_CHECKPOINT, CleanShutdown, LOG_START_OFFSET_CHECKPOINT, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT,
    REPLICATION_OFFSET_CHECKPOINT,
};
use milena_storage::disk::{Disk, RealDisk};
use milena_storage::{DirectoryKind, Error, TopicPartition};
use milena_types::{Offset, PartitionIndex, Uuid};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A log found on disk and not opened yet.
#[derive(Clone, Debug)]
pub(crate) struct FoundLog {
    pub(crate) log_dir: Arc<Directory>,
    pub(crate) recovery_point: Offset,
    pub(crate) log_start_offset: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) clean_shutdown: bool,
    pub(crate) cleaned_to: Option<Offset>,
}

/// What the log directories hold when the node starts.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// A partition may be in two directories if one was offline for a time.
    pub(crate) logs: BTreeMap<TopicPartition, Vec<FoundLog>>,
    /// Copies of logs that were being moved to another directory.
    pub(crate) futures: BTreeMap<TopicPartition, Vec<(Arc<Directory>, PathBuf)>>,
    /// Directories that were to be deleted when the last broker stopped.
    pub(crate) deleted: Vec<PathBuf>,
}

/// Lists all log directories. The marks of a clean shutdown are taken away: from here on this broker is not shut down.
/// A directory that cannot be read goes offline.
pub(crate) fn look_around(log_dirs: &LogDirs) -> Found {
    let mut found = Found::default();
    for directory in log_dirs.online() {
        if let Err(error) = look_into(directory, &mut found) {
            directory.fail(&error);
        }
    }
    found
}

/// With `milena.durability=fsync`, what is in the logs counts as kept once they are open. What a process that was killed wrote
/// and did not sync is not, until it is synced here.
pub(super) fn keep_what_is_there(log_dirs: &LogDirs, durability: Durability) {
    if durability != Durability::Fsync {
        return;
    }
    for directory in log_dirs.online().filter(|directory| directory.files().previous_shutdown().is_none()) {
        if let Err(error) = directory.files().sync_file_system() {
            directory.fail(&error);
        }
    }
}

/// How many partitions each directory holds.
pub(super) fn counts(partitions: &Partitions) -> BTreeMap<Uuid, usize> {
    let mut counts = BTreeMap::new();
    for partition in partitions.all() {
        *counts.entry(partition.log_dir().id()).or_default() += 1;
    }
    counts
}

fn look_into(directory: &Arc<Directory>, found: &mut Found) -> Result<(), Error> {
    let (log_dir, path) = (directory.files(), directory.path());
    let read = |name: &'static str| match log_dir.read_checkpoint(name) {
        Err(error @ Error::Io { .. }) => Err(error),
        // Without its checkpoints a log is recovered from its beginning.
        Err(error) => {
            tracing::error!(path = %path.display(), name, %error, "a checkpoint cannot be read");
            Ok(OffsetCheckpoint::new())
        }
        Ok(offsets) => {
            directory.note_checkpoint(name, &offsets);
            Ok(offsets)
        }
    };
    let recovery_points = read(RECOVERY_POINT_CHECKPOINT)?;
    let log_starts = read(LOG_START_OFFSET_CHECKPOINT)?;
    let cleaned = read(CLEANER_OFFSET_CHECKPOINT)?;
    let high_watermarks = read(REPLICATION_OFFSET_CHECKPOINT)?;
    let clean_shutdown = log_dir.previous_shutdown().is_some();
    CleanShutdown::remove(&RealDisk, path)?;
    let entries = RealDisk.list(path);
    let entries = entries.map_err(|source| Error::Io { operation: "list", path: path.to_owned(), source })?;
    for entry in entries.into_iter().filter(|entry| entry.is_directory) {
        match DirectoryKind::parse(&entry.name) {
            Some(DirectoryKind::Log(name)) if &*name.topic != CLUSTER_METADATA_TOPIC => {
                let at = |offsets: &OffsetCheckpoint| offsets.get(&name).copied().unwrap_or(Offset(0));
                let log = FoundLog {
                    log_dir: Arc::clone(directory),
                    recovery_point: at(&recovery_points),
                    log_start_offset: at(&log_starts),
                    high_watermark: at(&high_watermarks),
                    clean_shutdown,
                    cleaned_to: cleaned.get(&name).copied(),
                };
                found.logs.entry(name).or_default().push(log);
            }
            Some(DirectoryKind::Delete(_)) => found.deleted.push(path.join(&entry.name)),
            Some(DirectoryKind::Stray(name)) => {
                tracing::warn!(directory = entry.name, log = %name, "passed over a log that was set aside");
            }
            Some(DirectoryKind::Future(name)) => {
                found.futures.entry(name).or_default().push((Arc::clone(directory), path.join(&entry.name)));
            }
            Some(DirectoryKind::Log(_)) => {}
            None if NO_LOGS.contains(&entry.name.as_str()) => {}
            None => tracing::warn!(directory = entry.name, "passed over a directory that is no partition"),
        }
    }
    Ok(())
}

impl Found {
    /// Takes the log of a partition out. Of two, that counts which is where the controller knows it; the other one is
    /// set aside.
    pub(crate) fn take(&mut self, name: &TopicPartition, assigned: Option<Uuid>) -> Option<FoundLog> {
        let mut logs = self.logs.remove(name)?;
        let at = logs.iter().position(|log| Some(log.log_dir.id()) == assigned).unwrap_or(0);
        let chosen = (at < logs.len()).then(|| logs.swap_remove(at));
        for other in logs {
            set_aside(name, &other.log_dir, "there are two logs of the partition");
        }
        chosen
    }
}

/// Renames a log's directory so that nobody takes it for the partition's.
pub(crate) fn set_aside(name: &TopicPartition, log_dir: &Directory, why: &str) {
    let from = log_dir.path().join(name.to_string());
    let to = log_dir.path().join(name.stray_name(crate::random::uuid()));
    tracing::warn!(log = %name, path = %log_dir.path().display(), "a log is set aside: {why}");
    if let Err(source) = RealDisk.rename(&from, &to) {
        log_dir.fail(&Error::Io { operation: "rename", path: from, source });
    }
}

/// Directories that are expected in a log directory beside the partitions (`LogManager.loadLogs`, and what ext4 has).
const NO_LOGS: [&str; 2] = ["remote-log-index-cache", "lost+found"];

/// The topic of the metadata log, which is not a partition of this broker.
const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

/// The log directory for a partition that is in none: the one the controller says if it is ours and online. `None` if
/// the log may be in a directory that is offline (`Partition.createLogInAssignedDirectoryId`).
pub(crate) fn choose<'a>(
    log_dirs: &'a LogDirs,
    assigned: Uuid,
    counts: &BTreeMap<Uuid, usize>,
) -> Option<&'a Arc<Directory>> {
    if let Some(directory) = log_dirs.by_id(assigned) {
        return Some(directory);
    }
    let is_new = assigned == DIRECTORY_UNASSIGNED;
    if is_new || !log_dirs.has_offline() { log_dirs.emptiest(counts) } else { None }
}

/// A partition's name on disk.
pub(crate) fn directory_name(topic: &Text, index: PartitionIndex) -> TopicPartition {
    TopicPartition { topic: (**topic).into(), partition: index }
}

impl Broker {
    /// Takes every partition of a log directory that failed offline, then tells the controller.
    pub(crate) fn settle_failed_log_dirs(&self) {
        let failed = self.log_dirs().take_failed();
        if !self.log_dirs().has_offline() {
            return;
        }
        for partition in self.partitions.all() {
            if !partition.log_dir().is_online() {
                partition.go_offline().run();
            }
        }
        if !failed.is_empty() {
            self.log_dirs().announce(failed);
        }
    }
}
