//! Making many logs durable with one sync of their file system, and the clean end. Everything is written here, nothing
//! synced; the caller syncs the file system and reports back by `Log::flushed`, as after a flush. A round costs a log a
//! few small writes, and the device one sweep instead of several syncs for each of thousands of logs.

use milena_types::Offset;

use super::{Flushed, Log};
use crate::checkpoint::write_epochs_unsynced;
use crate::disk::Disk;
use crate::error::Result;

impl<D: Disk> Log<D> {
    /// Bytes, about, that recovery would have to read should the machine or the process end now.
    #[must_use]
    pub fn bytes_to_recover(&self) -> u64 {
        self.appended_bytes.saturating_sub(self.saved_bytes)
    }

    /// Writes what a sync of the file system shall make durable, if anything was appended since the last one. After
    /// `checkpoint_from_bytes` of appends, indexes and producers are saved, too, so that recovery begins here.
    ///
    /// `None` as well while a flush of this log runs: it is on its way to the disk then.
    ///
    /// # Errors
    /// IO; nothing is lost by it.
    pub fn prepare_sync(&mut self, checkpoint_from_bytes: u64) -> Result<Option<Flushed>> {
        if self.failed || self.flushes_running > 0 || self.recovery_point >= self.log_end_offset {
            return Ok(None);
        }
        self.write_for_sync(self.bytes_since_checkpoint() >= checkpoint_from_bytes).map(Some)
    }

    /// As `prepare_sync`, for the end: whatever a clean start and another server expect to find. `None` if nothing
    /// needs a sync.
    ///
    /// # Errors
    /// IO; the directory must then not be marked as cleanly shut down.
    pub fn prepare_close(&mut self) -> Result<Option<Flushed>> {
        if self.failed {
            return Err(self.failure());
        }
        self.take_back_flushes();
        for segment in &mut self.segments {
            segment.make_indexes(&self.files)?;
        }
        // A log that never had a record has nothing to lose: the metadata log makes it again.
        if self.log_end_offset == 0 || !self.needs_flush() {
            return Ok(None);
        }
        self.prepare_active()?;
        self.write_for_sync(self.needs_checkpoint() || self.recovery_point < self.log_end_offset).map(Some)
    }

    /// What flushes that have not ended were to make durable is done again: they may end after the mark of a clean
    /// shutdown, or never.
    fn take_back_flushes(&mut self) {
        if self.flushes_running > 0 {
            self.unsynced.all_changed();
        }
    }

    fn needs_flush(&self) -> bool {
        let behind = self.recovery_point < self.log_end_offset || self.needs_checkpoint();
        behind || self.unsynced.directory || self.unsynced.epochs || self.holds_indexes
    }

    fn write_for_sync(&mut self, checkpoint: bool) -> Result<Flushed> {
        let from = self.first_to_flush();
        let last = self.segments.len().saturating_sub(1);
        let Log { files, segments, .. } = self;
        for (at, segment) in segments.iter_mut().enumerate().skip(from) {
            if (at != last || checkpoint) && segment.size > 0 {
                segment.seal(files)?;
            } else {
                segment.make_indexes(files)?;
            }
        }
        let end_offset = self.log_end_offset;
        let small_files = self.small_files.clone();
        let mut written = small_files.lock();
        if checkpoint && !self.snapshots.contains(&end_offset) {
            let bytes = self.producers.snapshot();
            self.write_snapshot(end_offset, &bytes)?;
        }
        if self.unsynced.epochs {
            write_epochs_unsynced(self.files.disk(), &self.files.directory, self.epochs.entries())?;
            written.epochs_as_of = self.unsynced.changes;
        }
        Ok(Flushed {
            end_offset: Offset(end_offset),
            appended_bytes: self.appended_bytes,
            snapshot: checkpoint.then_some(end_offset),
            changes: Some(self.unsynced.changes),
            truncations: self.truncations,
        })
    }

    /// Tells that `recovery_point` is in the checkpoint file: recovery will not begin below it.
    pub fn recovery_point_saved(&mut self, recovery_point: Offset) {
        if recovery_point.0 != self.saved_recovery_point {
            self.saved_recovery_point = recovery_point.0;
            self.saved_bytes = self.flushed_bytes;
            self.remove_superseded_snapshots();
        }
    }

    /// Writes and syncs everything a clean start needs, and closes the files. The log can still be read and appended
    /// to afterwards, but then it is not closed any more.
    ///
    /// # Errors
    /// IO; the directory must then not be marked as cleanly shut down.
    pub fn close(&mut self) -> Result<()> {
        if self.failed {
            return Err(self.failure());
        }
        self.take_back_flushes();
        for segment in &mut self.segments {
            segment.make_indexes(&self.files)?;
        }
        if self.log_end_offset > 0 {
            self.prepare_active()?;
            self.flush_now(self.needs_checkpoint())?;
        }
        self.close_files();
        Ok(())
    }

    /// Closes the descriptors; they are opened again when needed.
    pub fn close_files(&self) {
        for segment in &self.segments {
            segment.close();
        }
    }
}
