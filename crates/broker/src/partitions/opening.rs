//! Logs that are to be opened or made, and what that took.

use super::directories::FoundLog;
use crate::log_dirs::Directory;
use milena_storage::TopicPartition;
use milena_storage::disk::RealDisk;
use milena_types::{PartitionIndex, TopicId, Uuid};
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

/// Whether the log on disk is of this topic; a log without `partition.metadata` is taken to be.
pub(super) fn is_of_topic(directory: &Path, id: TopicId) -> bool {
    match milena_storage::checkpoint::read_topic_id(&RealDisk, directory) {
        Ok(Some(found)) => found == id,
        Ok(None) | Err(_) => true,
    }
}
