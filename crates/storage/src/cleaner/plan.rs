//! What of a log may be cleaned and whether it is worth it (`LogCleanerManager.cleanableOffsets`, `LogToClean`).

use milena_types::{Offset, Timestamp};

use super::view::CleanView;
use crate::disk::Disk;
use crate::error::Result;

/// The offsets and bytes of a cleaning.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CleanPlan {
    /// Where what was not cleaned begins.
    pub first_dirty_offset: Offset,
    /// Where what may not be cleaned yet begins: the base of a segment.
    pub first_uncleanable_offset: Offset,
    /// The cleaner's checkpoint cannot be right; cleaning begins at the log's start.
    pub is_reset: bool,
    /// Bytes of segments before the first dirty offset.
    pub clean_bytes: u64,
    /// Bytes of segments with dirty offsets that may be cleaned.
    pub cleanable_bytes: u64,
    /// How long ago `max.compaction.lag.ms` ran out for something dirty; 0 if it did not.
    pub overdue_ms: i64,
}

impl CleanPlan {
    /// The share of what would be cleaned that is dirty; 0 of nothing.
    #[must_use]
    pub fn dirty_ratio(&self) -> f64 {
        let total = self.clean_bytes + self.cleanable_bytes;
        if total == 0 { 0.0 } else { self.cleanable_bytes as f64 / total as f64 }
    }

    /// Whether it is to be done, given `min.cleanable.dirty.ratio` (`grabFilthiestCompactedLog`).
    #[must_use]
    pub fn is_due(&self, dirty_ratio_min: f64) -> bool {
        self.clean_bytes + self.cleanable_bytes > 0
            && (self.overdue_ms > 0 && self.cleanable_bytes > 0 || self.dirty_ratio() > dirty_ratio_min)
    }
}

impl<D: Disk> CleanView<D> {
    /// What may be cleaned now. Looks at times and sizes of files.
    ///
    /// # Errors
    /// IO.
    pub fn plan(&self, now: Timestamp) -> Result<CleanPlan> {
        let start = self.log_start_offset;
        let checkpoint = self.cleaned_to.map_or(start, |offset| offset.0);
        let is_reset = checkpoint < start || checkpoint > self.log_end_offset;
        let first_dirty = if is_reset { start } else { checkpoint };
        let uncleanable = self.first_uncleanable(first_dirty, now)?.max(first_dirty);
        let active = self.active_base();
        // All of a segment is cleaned or none.
        let end = if uncleanable >= active {
            active
        } else {
            self.segments.get(self.floor(uncleanable)).map_or(active, |segment| segment.base_offset)
        };
        let bytes = |from: i64, to: i64| self.between(from, to).iter().map(|segment| segment.size).sum();
        Ok(CleanPlan {
            first_dirty_offset: Offset(first_dirty),
            first_uncleanable_offset: Offset(end),
            is_reset,
            clean_bytes: bytes(-1, first_dirty),
            cleanable_bytes: bytes(first_dirty.min(end), end),
            overdue_ms: self.overdue_ms(first_dirty, now)?,
        })
    }

    /// The last stable offset, the active segment, and the first segment with something younger than
    /// `min.compaction.lag.ms` are not cleaned, nor anything after them.
    fn first_uncleanable(&self, first_dirty: i64, now: Timestamp) -> Result<i64> {
        let active = self.active_base();
        let first = self.last_stable_offset.min(active);
        let lag_ms = self.config.min_compaction_lag_ms.max(0);
        if lag_ms == 0 {
            return Ok(first);
        }
        for segment in self.between(first_dirty, active) {
            if segment.largest_timestamp(&self.files)? > now.0.saturating_sub(lag_ms) {
                return Ok(first.min(segment.base_offset));
            }
        }
        Ok(first)
    }

    fn overdue_ms(&self, first_dirty: i64, now: Timestamp) -> Result<i64> {
        let clean_until = now.0.saturating_sub(self.config.max_compaction_lag_ms.max(0));
        if clean_until <= 0 {
            return Ok(0);
        }
        let mut earliest = i64::MAX;
        for segment in self.between(first_dirty, self.active_base()) {
            if let Some(first) = segment.first_timestamp(&self.files)?.filter(|first| *first > 0) {
                earliest = earliest.min(first);
            }
        }
        Ok(clean_until.saturating_sub(earliest).max(0))
    }
}
