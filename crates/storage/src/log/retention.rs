//! Deleting from the log's beginning: by time, by size, because an administrator raised the log start
//! (`UnifiedLog.deleteOldSegments`). Files are renamed at once and removed `file.delete.delay.ms` later.

use milena_types::{Offset, Timestamp};

use super::Log;
use crate::disk::Disk;
use crate::error::{At, Result};
use crate::files::{DELETED, file_name};
use crate::segment::Segment;

impl<D: Disk> Log<D> {
    /// Raises the log start to `offset` (`DeleteRecords`, a leader's log start); lower ones change nothing. Whether it
    /// changed. Segments below it go with the next `delete_old_segments`.
    ///
    /// # Errors
    /// IO.
    pub fn advance_log_start(&mut self, offset: Offset) -> Result<bool> {
        if offset.0 <= self.log_start_offset || offset.0 > self.log_end_offset {
            return Ok(false);
        }
        self.log_start_offset = offset.0;
        if self.epochs.truncate_from_start(offset) {
            self.unsynced.epochs_changed();
        }
        self.producers.remove_unreplicated_below(offset.0);
        Ok(true)
    }

    /// Deletes segments that are wholly below `high_watermark` and past retention. How many.
    ///
    /// # Errors
    /// IO.
    pub fn delete_old_segments(&mut self, high_watermark: Offset, now: Timestamp) -> Result<usize> {
        let mut count = self.below_log_start();
        if self.config.cleanup_delete {
            count = count.max(self.past_retention_time(now)?).max(self.past_retention_size());
        }
        let ends = self.segments.iter().skip(1).map(|next| next.base_offset).chain([self.log_end_offset]);
        count = count.min(ends.take_while(|end| *end <= high_watermark.0).count());
        if count == self.segments.len() {
            // An empty log is left as it is; of a full one the end must stay known.
            if self.active()?.size == 0 {
                count -= 1;
            } else {
                self.roll(now)?;
            }
        }
        for _ in 0..count {
            self.delete_first(now)?;
        }
        Ok(count)
    }

    /// Segments at the beginning that end at or below the log start.
    fn below_log_start(&self) -> usize {
        self.segments.iter().skip(1).take_while(|next| next.base_offset <= self.log_start_offset).count()
    }

    fn past_retention_time(&self, now: Timestamp) -> Result<usize> {
        if self.config.retention_ms < 0 {
            return Ok(0);
        }
        let mut count = 0;
        for segment in &self.segments {
            let mut newest = segment.max_timestamp(&self.files)?.timestamp;
            if newest < 0 {
                let path = segment.path(&self.files);
                newest = self.files.disk().metadata(&path).at("look at", &path)?.map_or(now.0, |file| file.modified_ms);
            }
            if now.0 - newest <= self.config.retention_ms {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    fn past_retention_size(&self) -> usize {
        let Ok(limit) = u64::try_from(self.config.retention_bytes) else { return 0 };
        let Some(mut excess) = self.size_bytes().checked_sub(limit) else { return 0 };
        let mut count = 0;
        for (at, segment) in self.segments.iter().enumerate() {
            // Compaction may have emptied one in the midst.
            let is_last_and_empty = segment.size == 0 && at + 1 == self.segments.len();
            if is_last_and_empty || excess < segment.size {
                break;
            }
            excess -= segment.size;
            count += 1;
        }
        count
    }

    /// Takes the first segment, which is not the last, out of the log. Once its log file has its new name it is gone;
    /// what then still lies there without it is removed by the next start.
    fn delete_first(&mut self, now: Timestamp) -> Result<()> {
        let Some(first) = self.segments.first() else { return Ok(()) };
        let base_offset = first.base_offset;
        self.rename_deleted(base_offset, "log", now)?;
        first_closed(&mut self.segments);
        let next = self.segments.first().map_or(0, |first| first.base_offset);
        self.advance_log_start(Offset(next))?;
        self.unsynced.directory_changed();
        for suffix in ["index", "timeindex", "txnindex"] {
            if let Err(error) = self.rename_deleted(base_offset, suffix, now) {
                tracing::warn!(%error, "a file of a deleted segment stays");
            }
        }
        if self.snapshots.contains(&base_offset)
            && let Err(error) = self.remove_snapshot(base_offset)
        {
            tracing::warn!(%error, "a producer snapshot of a deleted segment stays");
        }
        Ok(())
    }

    pub(super) fn rename_deleted(&mut self, base_offset: i64, suffix: &str, now: Timestamp) -> Result<()> {
        let when = now.0.saturating_add(self.config.file_delete_delay_ms);
        let from = self.files.path(base_offset, suffix);
        let to = self.files.directory.join(file_name(base_offset, suffix) + DELETED);
        match self.files.disk().rename(&from, &to) {
            Ok(()) => self.deleted.push((when, to)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).at("rename", &from),
        }
        Ok(())
    }

    /// Removes renamed files whose time has come. How many.
    ///
    /// # Errors
    /// IO.
    pub fn remove_deleted_files(&mut self, now: Timestamp) -> Result<usize> {
        let before = self.deleted.len();
        while let Some(at) = self.deleted.iter().position(|(when, _)| *when <= now.0) {
            let path = self.deleted.get(at).map(|(_, path)| path.clone()).unwrap_or_default();
            match self.files.disk().remove(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).at("remove", &path),
                _ => _ = self.deleted.swap_remove(at),
            }
        }
        Ok(before - self.deleted.len())
    }
}

fn first_closed<D: Disk>(segments: &mut Vec<Segment<D>>) {
    for segment in segments.drain(..1) {
        segment.close();
    }
}
