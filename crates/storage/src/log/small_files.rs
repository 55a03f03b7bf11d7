//! The small files beside the segments, which flushes write without the log's lock: `leader-epoch-checkpoint` and producer
//! snapshots. One writes at a time. Flushes overtake each other, and the log is cut while they run: what an older one has to
//! say is not written any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the small files of a log say by now.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// `Unsynced::changes` of the newest epochs that were written.
    pub(super) epochs_as_of: u64,
    /// `Log::truncations`. A snapshot of before the last one may be of what was cut off.
    pub(super) truncations: u64,
}

/// Shared by a log and its flushes.
#[derive(Clone, Debug, Default)]
pub(super) struct SmallFiles(pub(super) Arc<Mutex<Written>>);

impl SmallFiles {
    pub(super) fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
