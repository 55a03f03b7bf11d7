//! The end of a segment and the beginning of the next (`UnifiedLog.roll`).

use milena_types::Timestamp;

use super::Log;
use crate::disk::{Disk, OpenMode};
use crate::error::{At, Result};
use crate::producers::Undo;
use crate::segment::Segment;

impl<D: Disk> Log<D> {
    pub(super) fn prepare_active(&mut self) -> Result<()> {
        if !self.active_ready {
            let Log { files, segments, .. } = self;
            segments.last_mut().map_or(Ok(()), |active| active.activate(files))?;
            self.active_ready = true;
        }
        Ok(())
    }

    /// Closes the active segment and begins one at the log's end, unless the active one is empty.
    ///
    /// # Errors
    /// IO.
    pub fn roll(&mut self, now: Timestamp) -> Result<()> {
        self.roll_at(self.log_end_offset, &[], now)
    }

    /// `unwritten` are changes to producers by batches that go to the new segment: its snapshot is without them.
    pub(super) fn roll_at(&mut self, expected_next_offset: i64, unwritten: &[Undo], now: Timestamp) -> Result<()> {
        let base_offset = self.log_end_offset.max(expected_next_offset);
        let files = self.files.clone();
        let active = self.active_mut()?;
        if active.size == 0 {
            if active.base_offset == base_offset {
                return Ok(());
            }
            // An empty segment whose base is too far back for the next offset: it is replaced.
            active.close();
            let replaced = active.base_offset;
            self.segments.pop();
            // Until the new one is made the log has no segment.
            self.failed = true;
            self.remove_segment_files(replaced)?;
        } else {
            active.seal(&files)?;
            self.take_snapshot(base_offset, unwritten)?;
        }
        let segment = Segment::empty(base_offset, &self.config, now.0);
        let path = segment.path(&files);
        files.cache.get(&segment.log, &path, OpenMode::CreateEmpty).at("create", &path)?;
        self.segments.push(segment);
        self.failed = false;
        self.unsynced.directory_changed();
        self.active_ready = true;
        Ok(())
    }
}
