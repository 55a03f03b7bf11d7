//! Logs that are to be opened or made, and what that took.

use super::LocalTopic;
use super::directories::{self, FoundLog};
use super::partition::Partition;
use super::settings::TopicSettings;
use crate::log_dirs::Directory;
use crate::settings::BrokerSettings;
use milena_replication::{Assignment, PartitionState};
use milena_storage::disk::RealDisk;
use milena_storage::{Error, FileCache, Log, LogOpen, TopicPartition};
use milena_types::{Offset, PartitionIndex, Timestamp, TopicId, Uuid};
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
    files: &Arc<FileCache<RealDisk>>,
    settings: &BrokerSettings,
    local: &LocalTopic,
    topic_settings: &TopicSettings,
    opening: &Opening,
    now: Timestamp,
) -> Result<Partition, Error> {
    let directory = opening.log_dir.path().join(opening.name.to_string());
    let mut found = opening.found.clone();
    if found.is_some() && !is_of_topic(&directory, local.id) {
        directories::set_aside(&opening.name, &opening.log_dir, "it belongs to another topic of this name");
        found = None;
    }
    if found.is_none() && directory.exists() {
        // Of an earlier topic of this name whose log could not be opened.
        directories::set_aside(&opening.name, &opening.log_dir, "the log of a new topic takes its place");
    }
    let (log, high_watermark) = match found {
        None => (Log::create(files, &directory, &topic_settings.log, Some(local.id), now)?, Offset(0)),
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
pub(super) fn assign(partition: &Partition, assigned: &milena_metadata::Partition, now: Timestamp) {
    partition.assign(&assignment_of(assigned), now).run();
}

/// What the replication core is told of a partition of the image.
pub fn assignment_of(assigned: &milena_metadata::Partition) -> Assignment {
    Assignment {
        leader: assigned.leader,
        leader_epoch: assigned.leader_epoch,
        partition_epoch: assigned.partition_epoch,
        replicas: assigned.replicas.to_vec(),
        isr: assigned.isr.to_vec(),
    }
}

/// Whether the log on disk is of this topic; a log without `partition.metadata` is taken to be.
pub(super) fn is_of_topic(directory: &Path, id: TopicId) -> bool {
    match milena_storage::checkpoint::read_topic_id(&RealDisk, directory) {
        Ok(Some(found)) => found == id,
        Ok(None) | Err(_) => true,
    }
}
