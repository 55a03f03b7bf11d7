//! The write of an append: one vectored write for each segment, almost always one; what was received is written from
//! where it was received. Whatever fails is taken back, or the log is failed.

use std::cell::RefCell;
use std::io::IoSlice;

use milena_records::STAMP_BYTES;
use milena_types::{Offset, Timestamp};

use super::Log;
use super::plan::{Changes, Planned};
use crate::disk::{Disk, DiskFile};
use crate::error::{At, Error, Result};
use crate::producers::{CompletedTransaction, Undo};
use crate::transactions::{self, AbortedTransaction};

/// Batches up to this size are copied behind their stamped front: one piece of the write instead of two.
const COPIED_BYTES_MAX: usize = 4096;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl<D: Disk> Log<D> {
    /// Writes what was planned, a run per segment, almost always one; takes everything back if that fails.
    pub(super) fn write_planned(
        &mut self,
        planned: &[Planned<'_>],
        changes: &mut Changes,
        now: Timestamp,
    ) -> Result<()> {
        let end = self.log_end_offset;
        let mut rest = planned;
        while !rest.is_empty() {
            match self.write_run(rest, &changes.undo, now) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) => {
                    self.undo(changes.undo.drain(..).rev());
                    return Err(self.take_back(error, end, now));
                }
            }
        }
        for completed in &changes.completed {
            if let Err(error) = self.finish_transaction(completed, true) {
                return Err(self.take_back(error, end, now));
            }
        }
        Ok(())
    }

    /// After a failure in the midst of an append: batches are in the log behind `end` though their requests fail now.
    /// They go again if only room was lacking; after anything else the log is opened anew.
    fn take_back(&mut self, error: Error, end: i64, now: Timestamp) -> Error {
        if self.log_end_offset > end && (!error.is_out_of_space() || self.truncate_to(Offset(end), now).is_err()) {
            self.failed = true;
        }
        error
    }

    /// Takes the end of a transaction into the state, and into the index of aborted ones if `index`.
    pub(super) fn finish_transaction(&mut self, completed: &CompletedTransaction, index: bool) -> Result<()> {
        let last_stable_offset = self.producers.last_stable_offset_after(completed);
        if completed.aborted && index {
            let base_offset =
                self.segments.get(self.segment_index(completed.last_offset)).map_or(0, |segment| segment.base_offset);
            let entry = AbortedTransaction {
                producer_id: milena_types::ProducerId(completed.producer_id),
                first_offset: Offset(completed.first_offset),
                last_offset: Offset(completed.last_offset),
                last_stable_offset: Offset(last_stable_offset),
            };
            if transactions::append(&self.files, base_offset, &entry)? {
                self.unsynced.directory_changed();
            }
        }
        self.producers.complete(completed);
        Ok(())
    }

    /// Writes as many of `planned` as fit one segment; how many that were.
    fn write_run(&mut self, planned: &[Planned<'_>], undo: &[Undo], now: Timestamp) -> Result<usize> {
        let Some(first) = planned.first() else { return Ok(0) };
        self.prepare_active()?;
        let extent = (first.bytes.len() as u64, first.header.last_offset().0);
        let times = (first.header.max_timestamp, now.0);
        if self.active()?.should_roll(&self.files, &self.config, extent, times)? {
            let unwritten = undo.get(first.changes_before..).unwrap_or_default();
            self.roll_at(first.header.base_offset.0, unwritten, now)?;
        }
        self.note_epochs(planned);
        let Log { files, config, segments, .. } = self;
        let Some(segment) = segments.last_mut() else { return Err(self.failure()) };
        let mut size = segment.size;
        let mut count = 0;
        for batch in planned {
            size += batch.bytes.len() as u64;
            let fits = size <= u64::from(config.segment_bytes) && segment.takes_offset(batch.header.last_offset().0);
            // The first always goes: the segment was rolled for it if need be.
            if count > 0 && !fits {
                break;
            }
            count += 1;
        }
        let run = planned.get(..count).unwrap_or_default();
        let file = segment.file(files)?;
        if let Err(error) = write_batches(&*file, run, segment.size) {
            // What was written in part is cut off again; if that fails, too, the end of the file is unknown.
            self.failed = file.truncate(segment.size).is_err();
            let path = segment.path(files);
            return Err(error).at("write", &path);
        }
        let mut noted = Ok(());
        let mut bytes = 0;
        for batch in run {
            noted = noted.and_then(|()| segment.note(files, config, &batch.header));
            bytes += batch.bytes.len() as u64;
        }
        if let Err(error) = noted {
            // The batches are in the file but not in the indexes: only opening the log again tells what holds.
            self.failed = true;
            return Err(error);
        }
        self.appended_bytes += bytes;
        if let Some(last) = run.last() {
            self.log_end_offset = last.header.next_offset().0;
        }
        Ok(count)
    }

    fn note_epochs(&mut self, planned: &[Planned<'_>]) {
        for batch in planned {
            let header = &batch.header;
            if self.epochs.assign(header.partition_leader_epoch, header.base_offset) {
                self.unsynced.epochs_changed();
            }
        }
    }
}

/// Writes batches at `position` in one call: large ones from where they were received, behind their stamped front;
/// small ones copied once.
fn write_batches<F: DiskFile>(file: &F, run: &[Planned<'_>], position: u64) -> std::io::Result<()> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        for batch in run {
            let Some(prefix) = batch.prefix else { continue };
            scratch.extend_from_slice(&prefix);
            if batch.bytes.len() <= COPIED_BYTES_MAX {
                scratch.extend_from_slice(batch.bytes.get(STAMP_BYTES..).unwrap_or_default());
            }
        }
        let mut pieces: Vec<IoSlice<'_>> = Vec::with_capacity(run.len() * 2);
        // Fronts and small batches that follow each other in the scratch are one piece.
        let (mut copied_from, mut copied_to) = (0, 0);
        for batch in run {
            let large = batch.prefix.is_none() || batch.bytes.len() > COPIED_BYTES_MAX;
            copied_to += match batch.prefix {
                Some(_) if large => STAMP_BYTES,
                Some(_) => batch.bytes.len(),
                None => 0,
            };
            if large {
                pieces
                    .extend(scratch.get(copied_from..copied_to).filter(|copied| !copied.is_empty()).map(IoSlice::new));
                copied_from = copied_to;
                let skipped = if batch.prefix.is_some() { STAMP_BYTES } else { 0 };
                pieces.push(IoSlice::new(batch.bytes.get(skipped..).unwrap_or_default()));
            }
        }
        pieces.extend(scratch.get(copied_from..copied_to).filter(|copied| !copied.is_empty()).map(IoSlice::new));
        let written = file.write_vectored_at(&pieces, position);
        drop(pieces);
        if scratch.capacity() > 1 << 20 {
            *scratch = Vec::new();
        }
        written
    })
}
