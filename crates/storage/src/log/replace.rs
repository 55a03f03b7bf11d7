//! Compaction's two moments under the log's lock: a view of the segments, and the exchange of those that were cleaned
//! (`LocalLog.replaceSegments`). The renames follow without the lock (`file_work.rs`); until they are done the new files stay
//! open, since their names change, and the old ones are found by nobody. The new log file becoming `.swap` decides: a
//! start before that removes the new files, a start after it completes the exchange (`load.rs`). Names of one directory
//! reach the disk in the order of their changes.

use milena_types::{Offset, Timestamp};

use super::Log;
use super::file_work::{FileWork, Step};
use crate::cleaner::{CleanView, CleanedGroup, INDEX_SUFFIXES, LastRecord, LastRecords, SegmentView};
use crate::disk::Disk;
use crate::error::Result;

impl<D: Disk> Log<D> {
    /// What a cleaning needs to know; nothing at or after `last_stable_offset` will be cleaned.
    #[must_use]
    pub fn clean_view(&self, last_stable_offset: Offset) -> CleanView<D> {
        let segments = self.segments.iter().map(|segment| SegmentView {
            base_offset: segment.base_offset,
            size: segment.size,
            log: std::sync::Arc::clone(&segment.log),
            max_timestamp: segment.known_max_timestamp(),
        });
        CleanView {
            files: self.files.clone(),
            config: std::sync::Arc::clone(&self.config),
            segments: segments.collect(),
            log_start_offset: self.log_start_offset,
            log_end_offset: self.log_end_offset,
            last_stable_offset: last_stable_offset.0,
            cleaned_to: self.cleaned_to,
            truncations: self.truncations,
        }
    }

    /// What a cleaning must keep of producers, asked after its view was taken.
    #[must_use]
    pub fn last_records(&self) -> LastRecords {
        let producers = self.producers.entries().iter().map(|(id, entry)| {
            let data_offset = entry.last_batch().map(|batch| batch.last_offset);
            (id, LastRecord { data_offset, epoch: entry.epoch.0 })
        });
        LastRecords(producers.collect())
    }

    /// Up to where the log was cleaned, if ever; what `cleaner-offset-checkpoint` is to say.
    #[must_use]
    pub fn cleaned_to(&self) -> Option<Offset> {
        self.cleaned_to
    }

    /// Notes that the log was cleaned up to `offset`. The exchanges below it must be durable.
    pub fn set_cleaned_to(&mut self, offset: Offset) {
        self.cleaned_to = Some(offset.min(self.log_end_offset()));
    }

    /// Whether nothing was cut off since the view was taken.
    #[must_use]
    pub fn is_as_in(&self, view: &CleanView<D>) -> bool {
        self.truncations == view.truncations
    }

    /// Puts a cleaned segment into the place of those it is made of. `None` if the log is not what it was when the
    /// cleaning began: the group is to be discarded, it comes back then.
    ///
    /// # Errors
    /// IO. The log is as before unless `Log::is_failed`.
    pub fn replace_segments(&mut self, group: CleanedGroup<D>, now: Timestamp) -> Result<Option<CleanedGroup<D>>> {
        match self.begin_exchange(group)? {
            Exchange::Refused(group) => Ok(Some(group)),
            Exchange::Begun(mut work) => {
                work.run();
                self.end_work(work, now).map(|()| None)
            }
        }
    }

    /// As `replace_segments`, in memory only: what is left is done to the files. Not for a group with aborted transactions,
    /// whose index is found by its name.
    ///
    /// # Errors
    /// IO; the log is as before.
    pub fn begin_exchange(&mut self, group: CleanedGroup<D>) -> Result<Exchange<D>> {
        if self.failed {
            return Err(self.failure());
        }
        let Some(at) = self.position_of_group(&group).filter(|_| !self.turn.is_taken()) else {
            return Ok(Exchange::Refused(group));
        };
        if let Err(error) = group.segment.pin(&group.files) {
            group.segment.unpin();
            group.discard();
            return Err(error);
        }
        self.turn.take();
        let CleanedGroup { segment, replaced, .. } = group;
        let base_offset = segment.base_offset;
        let old = self.segments.splice(at..at + replaced.len(), [segment]).collect();
        let stage = INDEX_SUFFIXES.into_iter().chain(["log"]).map(|kind| Step::Stage(base_offset, kind));
        let delete = replaced.iter().flat_map(|base_offset| {
            ["log"].into_iter().chain(INDEX_SUFFIXES).map(|kind| Step::Delete(*base_offset, kind))
        });
        let swap = ["log"].into_iter().chain(INDEX_SUFFIXES).map(|kind| Step::Swap(base_offset, kind));
        let snapshots = self.superseded_snapshots().into_iter().map(Step::RemoveSnapshot);
        let steps = stage.chain(delete).chain(swap).chain(snapshots).collect();
        self.unsynced.directory_changed();
        Ok(Exchange::Begun(FileWork::new(self, steps, Vec::new(), old)))
    }

    /// Where the segments of the group are, if they are there and none is appended to.
    fn position_of_group(&self, group: &CleanedGroup<D>) -> Option<usize> {
        let first = group.replaced.first()?;
        let at = self.segments.binary_search_by_key(first, |segment| segment.base_offset).ok()?;
        let here = self.segments.get(at..at + group.replaced.len())?;
        let is_same = here.iter().map(|segment| &segment.base_offset).eq(&group.replaced);
        let is_active = at + group.replaced.len() >= self.segments.len();
        (is_same && !is_active && group.truncations == self.truncations).then_some(at)
    }
}

/// What became of an exchange.
#[derive(Debug)]
pub enum Exchange<D: Disk> {
    /// The files are to be renamed.
    Begun(FileWork<D>),
    /// The log is not what it was when the cleaning began, or other work on its files runs.
    Refused(CleanedGroup<D>),
}
