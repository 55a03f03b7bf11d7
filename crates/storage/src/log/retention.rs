//! Deleting from the log's beginning: by time, by size, because an administrator raised the log start
//! (`UnifiedLog.deleteOldSegments`). Files are renamed at once and removed `file.delete.delay.ms` later.

use milena_types::{Offset, Timestamp};

use super::Log;
use super::file_work::{FileWork, Step};
use crate::disk::Disk;
use crate::error::{At, Result};

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
        let Some(mut work) = self.begin_deletion(high_watermark, now)? else { return Ok(0) };
        let count = work.segments_to_delete();
        work.run();
        self.end_work(work, now)?;
        Ok(count)
    }

    /// Takes segments out of the log that are wholly below `high_watermark` and past retention; what is left is done to their
    /// files. `None` if there are none, or while other work of this kind runs.
    ///
    /// # Errors
    /// IO.
    pub fn begin_deletion(&mut self, high_watermark: Offset, now: Timestamp) -> Result<Option<FileWork<D>>> {
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
        if count == 0 || !self.turn.take() {
            return Ok(None);
        }
        let mut steps = Vec::new();
        let removed: Vec<_> = self.segments.drain(..count).collect();
        for segment in &removed {
            segment.close();
            let kinds = ["log", "index", "timeindex", "txnindex"];
            steps.extend(kinds.map(|kind| Step::Delete(segment.base_offset, kind)));
            if let Ok(at) = self.snapshots.binary_search(&segment.base_offset) {
                self.snapshots.remove(at);
                steps.push(Step::RemoveSnapshot(segment.base_offset));
            }
        }
        let work = FileWork::new(self, steps, removed, Vec::new());
        let next = self.segments.first().map_or(0, |first| first.base_offset);
        self.advance_log_start(Offset(next))?;
        self.unsynced.directory_changed();
        Ok(Some(work))
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
}
