//! Compaction's two moments under the log's lock: a view of the segments, and the exchange of those that were cleaned
//! (`LocalLog.replaceSegments`). The exchange is a few renames and no sync. The new log file becoming `.swap` decides: a
//! start before that removes the new files, a start after it completes the exchange (`load.rs`). Names of one directory
//! reach the disk in the order of their changes.

use milena_types::{Offset, Timestamp};

use super::Log;
use crate::cleaner::{CleanView, CleanedGroup, INDEX_SUFFIXES, LastRecord, LastRecords, SegmentView};
use crate::disk::Disk;
use crate::error::{At, Result};
use crate::files::{SWAP, file_name};

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
        if self.failed {
            return Err(self.failure());
        }
        let Some(at) = self.position_of_group(&group) else { return Ok(Some(group)) };
        if let Err(error) = self.stage(&group) {
            group.discard();
            return Err(error);
        }
        // From here on a start would complete the exchange: so must this process, or touch the log no more.
        self.failed = true;
        for base_offset in &group.replaced {
            for suffix in ["log"].into_iter().chain(INDEX_SUFFIXES) {
                self.rename_deleted(*base_offset, suffix, now)?;
            }
        }
        let base_offset = group.segment.base_offset;
        for suffix in ["log"].into_iter().chain(INDEX_SUFFIXES) {
            self.rename(base_offset, (suffix, SWAP), (suffix, ""))?;
        }
        self.failed = false;
        for old in self.segments.splice(at..at + group.replaced.len(), [group.segment]) {
            old.close();
        }
        self.unsynced.directory_changed();
        self.remove_superseded_snapshots();
        Ok(None)
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

    /// Renames the cleaned files to `.swap`, the log last.
    fn stage(&self, group: &CleanedGroup<D>) -> Result<()> {
        let base_offset = group.segment.base_offset;
        let mut outcome = Ok(());
        for suffix in INDEX_SUFFIXES.into_iter().chain(["log"]) {
            outcome = outcome.and_then(|()| self.rename(base_offset, (suffix, group.files.suffix), (suffix, SWAP)));
        }
        if outcome.is_err() {
            for suffix in INDEX_SUFFIXES {
                // Left alone they are removed by the next start, with the log file that is still `.cleaned`.
                if let Err(error) = self.remove_file(&(file_name(base_offset, suffix) + SWAP)) {
                    tracing::warn!(%error, "a file of an abandoned exchange stays");
                }
            }
        }
        outcome
    }

    /// Renames a file of a segment, if it is there.
    fn rename(&self, base_offset: i64, from: (&str, &str), to: (&str, &str)) -> Result<()> {
        let kind = from.0;
        let name = |(kind, end): (&str, &str)| self.files.directory.join(file_name(base_offset, kind) + end);
        let (from, to) = (name(from), name(to));
        match self.files.disk().rename(&from, &to) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && kind != "log" => Ok(()),
            renamed => renamed.at("rename", &from),
        }
    }
}
