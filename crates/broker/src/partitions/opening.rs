//! Logs that are to be opened or made, and what that took.

use super::LocalTopic;
use super::directories::{self, FoundLog};
use super::partition::Partition;
use super::settings::TopicSettings;
use crate::log_dirs::{Directory, LogDirs};
use crate::settings::BrokerSettings;
use milena_replication::{Assignment, PartitionState};
use milena_storage::checkpoint::{is_damaged_id, read_topic_id, write_topic_id};
use milena_storage::disk::RealDisk;
use milena_storage::{Error, FileCache, Log, LogOpen, TopicPartition};
use milena_types::{BrokerId, Offset, PartitionIndex, Timestamp, TopicId, Uuid};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// A partition to be opened.
pub(super) struct Opening {
    pub(super) topic: usize,
    pub(super) index: PartitionIndex,
    pub(super) name: TopicPartition,
    /// Where the controller says the replica is.
    pub(super) assigned: Uuid,
    pub(super) found: Option<FoundLog>,
    pub(super) log_dir: Arc<Directory>,
}

/// What opening the logs of earlier runs took: the first thing a person asks after a crash.
pub(super) struct Summary {
    began: Instant,
    /// Partitions whose logs were here before.
    found: usize,
    /// Those among them that were not closed cleanly.
    recovered: usize,
}

impl Summary {
    pub(super) fn of(openings: &[Opening]) -> Self {
        let found = || openings.iter().filter_map(|opening| opening.found.as_ref());
        Self {
            began: Instant::now(),
            found: found().count(),
            recovered: found().filter(|found| !found.clean_shutdown).count(),
        }
    }

    pub(super) fn log(&self, opened: usize) {
        if self.found > 0 {
            let ms = self.began.elapsed().as_millis();
            tracing::info!(
                "{opened} partitions opened in {ms} ms, {} of them recovered after an unclean stop",
                self.recovered
            );
        }
    }
}

/// Opens or makes one partition's log.
pub(super) fn open_one(
    log_dirs: &LogDirs,
    files: &Arc<FileCache<RealDisk>>,
    settings: &BrokerSettings,
    local: &LocalTopic,
    topic_settings: &TopicSettings,
    opening: &Opening,
    now: Timestamp,
) -> Result<Partition, Error> {
    let directory = opening.log_dir.path().join(opening.name.to_string());
    let mut found = opening.found.clone();
    match owner_of(&directory, local.id) {
        _ if found.is_none() => {}
        Owner::Topic => {}
        Owner::Damaged => {
            tracing::error!(path = %directory.display(), id = %local.id, "partition.metadata is damaged, and written anew");
            write_topic_id(&RealDisk, &directory, local.id)?;
        }
        Owner::Another => {
            directories::set_aside(&opening.name, &opening.log_dir, "it belongs to another topic of this name");
            found = None;
        }
    }
    if found.is_none() && directory.exists() {
        // Of an earlier topic of this name whose log could not be opened.
        directories::set_aside(&opening.name, &opening.log_dir, "the log of a new topic takes its place");
    }
    let (log, high_watermark) = match found {
        None => {
            opening.log_dir.disown(&opening.name, &log_dirs.checkpoints())?;
            (Log::create(files, &directory, &topic_settings.log, Some(local.id), now)?, Offset(0))
        }
        Some(found) => {
            let open = LogOpen {
                recovery_point: found.recovery_point,
                log_start_offset: found.log_start_offset,
                clean_shutdown: found.clean_shutdown,
                cleaned_to: found.cleaned_to,
                now,
            };
            let (log, report) = Log::open(files, &directory, &topic_settings.log, open)?;
            if report.bytes_truncated > 0 {
                let bytes = report.bytes_truncated;
                tracing::warn!(log = %opening.name, bytes, "a torn or damaged end of the log was cut off");
            }
            (log, found.high_watermark)
        }
    };
    let high_watermark = high_watermark.max(log.log_start_offset());
    let state = PartitionState::new(topic_settings.replication(settings), log.log_end_offset(), high_watermark);
    let identity = (local.name.clone(), local.id, opening.index);
    Ok(Partition::new(identity, Arc::clone(&opening.log_dir), topic_settings.clone(), state, log))
}

/// Tells the replication core what the controller decided.
pub(super) fn assign(
    partition: &Partition,
    assigned: &milena_metadata::Partition,
    may_not: Option<BrokerId>,
    now: Timestamp,
) {
    partition.assign(&assignment_of(assigned, may_not), now).run();
}

/// What the replication core is told of a partition of the image; nobody leads it if that were `may_not`.
pub fn assignment_of(assigned: &milena_metadata::Partition, may_not: Option<BrokerId>) -> Assignment {
    Assignment {
        leader: Some(assigned.leader).filter(|leader| Some(*leader) != may_not).unwrap_or(BrokerId::NONE),
        leader_epoch: assigned.leader_epoch,
        partition_epoch: assigned.partition_epoch,
        replicas: assigned.replicas.to_vec(),
        isr: assigned.isr.to_vec(),
    }
}

/// Whose log is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The topic that was asked for.
    Topic,
    /// The same, and the file that says so is damaged.
    Damaged,
    /// An earlier topic of the same name.
    Another,
}

/// Whether the log in `directory` is of the topic `id`. A log without `partition.metadata` is taken to be, and one whose file
/// says nothing that is an id, or an id of which only a few characters are others: nobody draws that.
pub(super) fn owner_of(directory: &Path, id: TopicId) -> Owner {
    match read_topic_id(&RealDisk, directory) {
        Ok(Some(found)) if found == id => Owner::Topic,
        Ok(Some(found)) if is_damaged_id(found, id) => Owner::Damaged,
        Ok(Some(_)) => Owner::Another,
        Err(Error::Corrupt { .. }) => Owner::Damaged,
        Ok(None) | Err(_) => Owner::Topic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_storage::checkpoint::PARTITION_METADATA;

    #[test]
    fn a_damaged_id_does_not_make_a_log_that_of_another_topic() {
        let root = tempfile::tempdir().unwrap();
        let (id, other) = (crate::random::uuid(), crate::random::uuid());
        assert_eq!(owner_of(root.path(), id), Owner::Topic, "without the file");
        write_topic_id(&RealDisk, root.path(), id).unwrap();
        assert_eq!((owner_of(root.path(), id), owner_of(root.path(), other)), (Owner::Topic, Owner::Another));
        let path = root.path().join(PARTITION_METADATA);
        let whole = std::fs::read(&path).unwrap();
        for (at, bit) in (0..whole.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            std::fs::write(&path, &damaged).unwrap();
            assert_ne!(owner_of(root.path(), id), Owner::Another, "bit {bit} of byte {at}");
        }
    }
}
