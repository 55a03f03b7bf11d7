//! Which logs the checkpoint files of a directory speak of: what was said of a log must not be said of another one of its name.

use super::Directory;
use milena_storage::checkpoint::{
    CLEANER_OFFSET_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT,
};
use milena_storage::{Error, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};

/// Checkpoint files that must not speak of a log which has only the name of the one they meant. A high watermark ends with its
/// log.
const OF_ONE_LOG: [&str; 3] = [RECOVERY_POINT_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, CLEANER_OFFSET_CHECKPOINT];

impl Directory {
    fn spoken_of(&self) -> MutexGuard<'_, BTreeMap<&'static str, BTreeSet<TopicPartition>>> {
        self.spoken_of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a checkpoint file says, as it was read or written.
    pub(crate) fn note_checkpoint(&self, file: &'static str, offsets: &OffsetCheckpoint) {
        if OF_ONE_LOG.contains(&file) {
            self.spoken_of().insert(file, offsets.keys().cloned().collect());
        }
    }

    /// A log is about to be made: the checkpoints of an earlier one of this name would say of it that it lost its end, that it
    /// begins where it does not, that it was cleaned.
    pub(crate) fn disown(&self, name: &TopicPartition, _alone: &MutexGuard<'_, ()>) -> Result<(), Error> {
        for file in OF_ONE_LOG {
            if self.spoken_of().get(file).is_some_and(|names| names.contains(name)) {
                let mut offsets = self.files().read_checkpoint(file)?;
                offsets.remove(name);
                self.files().write_checkpoint(file, &offsets)?;
                self.note_checkpoint(file, &offsets);
            }
        }
        Ok(())
    }
}
