//! Cutting the log's end, as followers do, and starting it anew (`UnifiedLog.truncateTo`, `truncateFullyAndStartAt`).

use milena_types::{Offset, Timestamp};

use super::Log;
use crate::disk::{Disk, DiskFile};
use crate::error::{At, Result};

impl<D: Disk> Log<D> {
    /// Removes all records from `offset` on; a batch that holds it goes whole. Whether anything was removed. Durable on
    /// return. The caller saves the recovery points before it appends (`LogManager.truncateTo`): one above the new end
    /// would vouch for what is written there later.
    ///
    /// # Errors
    /// IO; the log must then be opened again.
    pub fn truncate_to(&mut self, offset: Offset, now: Timestamp) -> Result<bool> {
        if offset.0 >= self.log_end_offset {
            // An epoch that began at the end and has no records goes all the same: the leader may not know it, and as
            // long as it is the newest one here each fetch is told that the logs part.
            if self.epochs.truncate_from_end(offset) {
                self.unsynced.epochs_changed();
            }
            return Ok(false);
        }
        if self.segments.first().is_none_or(|first| first.base_offset > offset.0) {
            self.truncate_fully_and_start_at(offset, now)?;
            return Ok(true);
        }
        let outcome = self.truncate_within(offset, now);
        self.failed |= outcome.is_err();
        outcome.map(|()| true)
    }

    /// Flushes that run know of no truncation after this one; what they write is of before, or they do not write it.
    pub(super) fn count_truncation(&mut self) {
        self.truncations += 1;
        self.snapshot_under_way = None;
        self.small_files.lock().truncations = self.truncations;
    }

    fn truncate_within(&mut self, offset: Offset, now: Timestamp) -> Result<()> {
        self.await_work()?;
        self.count_truncation();
        self.forget_damage_from(offset.0);
        // What is written in the place of what is cut off was not cleaned.
        self.cleaned_to = self.cleaned_to.map(|cleaned_to| cleaned_to.min(offset));
        let keep = self.segments.partition_point(|segment| segment.base_offset <= offset.0).max(1);
        // The last first: whatever stops this, what is left has no gap.
        for segment in self.segments.drain(keep..).rev().collect::<Vec<_>>() {
            segment.close();
            self.remove_segment_files(segment.base_offset)?;
        }
        // What is cut off must not come back behind what is written in its place: both steps are durable before
        // anything is.
        let files = self.files.clone();
        files.disk().sync_directory(&files.directory).at("sync", &files.directory)?;
        self.prepare_active_again()?;
        let active = self.active_mut()?;
        if active.truncate_to(&files, offset.0, now.0)? {
            active.file(&files)?.sync_data().at("sync", &active.path(&files))?;
        }
        self.log_end_offset = self.active()?.next_offset(&files)?.max(self.active()?.base_offset);
        // The end is where it was asked for if the batch began there; compaction may have left a gap.
        let end = self.log_end_offset;
        self.recovery_point = self.recovery_point.min(end);
        self.log_start_offset = self.log_start_offset.min(end);
        if self.epochs.truncate_from_end(Offset(end)) {
            self.unsynced.epochs_changed();
        }
        self.unsynced.directory_changed();
        self.reload_producers(now)
    }

    fn prepare_active_again(&mut self) -> Result<()> {
        self.active_ready = false;
        self.prepare_active()
    }

    /// The producers as of the log's end.
    fn reload_producers(&mut self, now: Timestamp) -> Result<()> {
        let end = self.log_end_offset;
        let beyond: Vec<i64> = self.snapshots.iter().copied().filter(|offset| *offset > end).collect();
        for offset in beyond {
            self.remove_snapshot(offset)?;
        }
        self.producers.clear();
        let snapshot = self.load_snapshot(end)?;
        let from = self.load_producers(snapshot, now);
        self.replay_headers(from, end)
    }

    /// Removes everything; the next record gets `offset`.
    ///
    /// # Errors
    /// IO; the log must then be opened again.
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset, now: Timestamp) -> Result<()> {
        let outcome = self.restart(offset, now);
        self.failed |= outcome.is_err();
        outcome
    }

    fn restart(&mut self, offset: Offset, now: Timestamp) -> Result<()> {
        self.await_work()?;
        self.count_truncation();
        self.damaged.clear();
        self.cleaned_to = None;
        for segment in std::mem::take(&mut self.segments) {
            segment.close();
            self.remove_segment_files(segment.base_offset)?;
        }
        for snapshot in self.snapshots.clone() {
            self.remove_snapshot(snapshot)?;
        }
        self.producers.clear();
        if self.epochs.clear() {
            self.unsynced.epochs_changed();
        }
        self.add_empty_segment(offset.0, now)?;
        let files = self.files.clone();
        files.disk().sync_directory(&files.directory).at("sync", &files.directory)?;
        self.active_ready = true;
        self.log_start_offset = offset.0;
        self.log_end_offset = offset.0;
        self.recovery_point = self.recovery_point.min(offset.0);
        self.flushed_bytes = self.appended_bytes;
        self.checkpointed_bytes = self.appended_bytes;
        self.saved_bytes = self.appended_bytes;
        Ok(())
    }
}
