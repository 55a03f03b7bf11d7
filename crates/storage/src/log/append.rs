//! Appending (`UnifiedLog.append`): producer rules, offsets, roll, one vectored write, indexes. All batches that one
//! read of a connection brought for the partition go in one call; each request's batches stand or fall together.

use std::cell::RefCell;
use std::io::IoSlice;

use bytes::Bytes;
use milena_records::{Batch, BatchHeader, Batches, STAMP_BYTES, ValidBatch, control_type};
use milena_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};

use super::Log;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{At, Error, Result};
use crate::producers::{AppendOrigin, CompletedTransaction, Marker, Rejected, Undo};
use crate::segment::Segment;
use crate::transactions::{self, AbortedTransaction};

/// What holds for a whole append.
#[derive(Clone, Copy, Debug)]
pub struct AppendContext {
    /// The epoch this node leads in.
    pub leader_epoch: LeaderEpoch,
    /// Now.
    pub now: Timestamp,
    /// Who appends.
    pub origin: AppendOrigin,
}

/// Where one request's batches are in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Offset of the first record.
    pub first_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// The greatest timestamp, in milliseconds; -1 if none.
    pub max_timestamp: i64,
    /// The batches were in the log already and were not written again (KIP-98).
    pub duplicate: bool,
}

/// Why a request's batches are not in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// They break a rule; the log is as before.
    #[error("{}", .0.message)]
    Rejected(Rejected),
    /// The disk failed. Unless `Log::is_failed`, the log is as before.
    #[error(transparent)]
    Storage(#[from] Error),
}

/// A batch with its offset, about to be written.
struct Planned<'batch> {
    header: BatchHeader,
    /// Replaces the first 16 bytes.
    prefix: Option<[u8; STAMP_BYTES]>,
    bytes: &'batch Bytes,
    /// Changes to producers planned before this batch.
    changes_before: usize,
}

/// What planning changed ahead of the write.
#[derive(Default)]
struct Changes {
    undo: Vec<Undo>,
    completed: Vec<CompletedTransaction>,
}

/// Batches up to this size are copied behind their stamped front: one piece of the write instead of two.
const COPIED_BYTES_MAX: usize = 4096;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl<D: Disk> Log<D> {
    /// Appends a client request's batches as the leader of `leader_epoch`.
    ///
    /// # Errors
    /// `AppendError`.
    pub fn append_as_leader(
        &mut self,
        batches: &[ValidBatch],
        leader_epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<Appended, AppendError> {
        self.append_with_origin(batches, AppendContext { leader_epoch, now, origin: AppendOrigin::Client })
    }

    /// As `append_as_leader`, for any origin.
    ///
    /// # Errors
    /// `AppendError`.
    pub fn append_with_origin(
        &mut self,
        batches: &[ValidBatch],
        context: AppendContext,
    ) -> Result<Appended, AppendError> {
        let mut outcomes = self.append_groups(&[batches], context)?;
        match outcomes.pop() {
            Some(Ok(appended)) => Ok(appended),
            Some(Err(rejected)) => Err(AppendError::Rejected(rejected)),
            None => Err(AppendError::Storage(self.failure())),
        }
    }

    /// Appends the batches of several requests with one write; an outcome for each group, in their order. A group is
    /// refused whole if one of its batches is; the others are not touched by that.
    ///
    /// # Errors
    /// The disk failed: none of the groups may be acknowledged.
    pub fn append_groups(
        &mut self,
        groups: &[&[ValidBatch]],
        context: AppendContext,
    ) -> Result<Vec<Result<Appended, Rejected>>> {
        if self.failed {
            return Err(self.failure());
        }
        let mut planned = Vec::with_capacity(groups.len());
        let mut changes = Changes::default();
        let mut next = self.log_end_offset;
        let mut outcomes = Vec::with_capacity(groups.len());
        for group in groups {
            let (planned_before, undo_before, ended) = (planned.len(), changes.undo.len(), changes.completed.len());
            let outcome = self.plan_group(group, context, &mut next, &mut planned, &mut changes);
            let written = matches!(&outcome, Ok(appended) if !appended.duplicate);
            if !written {
                planned.truncate(planned_before);
                changes.completed.truncate(ended);
                self.undo(changes.undo.drain(undo_before..).rev());
            }
            outcomes.push(outcome);
        }
        self.write_planned(&planned, &mut changes, context.now)?;
        Ok(outcomes)
    }

    /// Appends a leader's batches as they are, offsets and epochs included. A batch cut off at the end is left out.
    ///
    /// # Errors
    /// `AppendError`: `CORRUPT_MESSAGE` for a damaged batch, `OFFSET_OUT_OF_RANGE` for offsets that do not follow the
    /// log's end.
    pub fn append_as_follower(&mut self, records: Bytes, now: Timestamp) -> Result<Option<Appended>, AppendError> {
        if self.failed {
            return Err(self.failure().into());
        }
        let batches = self.check_followers_batches(records)?;
        let mut planned = Vec::with_capacity(batches.len());
        let mut changes = Changes::default();
        let mut appended: Option<Appended> = None;
        for batch in &batches {
            let header = batch.header;
            let changes_before = changes.undo.len();
            let marker = marker_of(batch).map_err(AppendError::Rejected);
            let applied = marker.and_then(|marker| {
                self.apply(&header, header.base_offset, AppendOrigin::Replication, marker, &mut changes)
                    .map_err(AppendError::Rejected)
            });
            if let Err(error) = applied {
                self.undo(changes.undo.drain(..).rev());
                return Err(error);
            }
            planned.push(Planned { header, prefix: None, bytes: &batch.bytes, changes_before });
            let so_far = appended.unwrap_or(Appended {
                first_offset: header.base_offset,
                last_offset: header.last_offset(),
                max_timestamp: header.max_timestamp,
                duplicate: false,
            });
            appended = Some(Appended {
                last_offset: header.last_offset(),
                max_timestamp: so_far.max_timestamp.max(header.max_timestamp),
                ..so_far
            });
        }
        self.write_planned(&planned, &mut changes, now)?;
        Ok(appended)
    }

    fn check_followers_batches(&self, records: Bytes) -> Result<Vec<Batch>, AppendError> {
        let refuse = |error, message: String| AppendError::Rejected(Rejected { error, message });
        let mut batches = Vec::new();
        let mut next = self.log_end_offset;
        for batch in Batches::new(records) {
            let batch = batch.map_err(|error| refuse(ErrorCode::CORRUPT_MESSAGE, error.to_string()))?;
            batch.verify_crc().map_err(|error| refuse(ErrorCode::CORRUPT_MESSAGE, error.to_string()))?;
            let (first, last) = (batch.header.base_offset.0, batch.header.last_offset().0);
            if first < next || last < first {
                let message = format!("offsets {first} to {last} do not follow the log's end {next}");
                return Err(refuse(ErrorCode::OFFSET_OUT_OF_RANGE, message));
            }
            next = last + 1;
            batches.push(batch);
        }
        Ok(batches)
    }

    fn plan_group<'batch>(
        &mut self,
        group: &'batch [ValidBatch],
        context: AppendContext,
        next: &mut i64,
        planned: &mut Vec<Planned<'batch>>,
        changes: &mut Changes,
    ) -> Result<Appended, Rejected> {
        let first_offset = Offset(*next);
        let mut max_timestamp = -1;
        let mut last_offset = Offset(*next - 1);
        for batch in group {
            let size = batch.bytes.len();
            if size as u64 > u64::from(self.config.segment_bytes) {
                let message = format!(
                    "Message batch size is {size} bytes in append to partition directory {}, which exceeds the maximum \
                     configured segment size of {}.",
                    self.files.directory.display(),
                    self.config.segment_bytes
                );
                return Err(Rejected { error: ErrorCode::RECORD_LIST_TOO_LARGE, message });
            }
            if context.origin == AppendOrigin::Client
                && batch.header.has_producer_id()
                && let Some(known) = self.producers.duplicate_of(&batch.header)
            {
                let (first_offset, last_offset) = (Offset(known.first_offset()), Offset(known.last_offset));
                return Ok(Appended { first_offset, last_offset, max_timestamp: known.timestamp, duplicate: true });
            }
            let base_offset = last_offset + 1;
            let marker = if batch.header.is_control() {
                marker_of(&Batch { header: batch.header, bytes: batch.bytes.clone() })?
            } else {
                None
            };
            let changes_before = changes.undo.len();
            self.apply(&batch.header, base_offset, context.origin, marker, changes)?;
            let header = BatchHeader { base_offset, partition_leader_epoch: context.leader_epoch, ..batch.header };
            last_offset = header.last_offset();
            max_timestamp = max_timestamp.max(header.max_timestamp);
            let prefix = Some(batch.stamped_prefix(base_offset, context.leader_epoch));
            planned.push(Planned { header, prefix, bytes: &batch.bytes, changes_before });
        }
        *next = last_offset.0 + 1;
        Ok(Appended { first_offset, last_offset, max_timestamp, duplicate: false })
    }

    fn apply(
        &mut self,
        header: &BatchHeader,
        base_offset: Offset,
        origin: AppendOrigin,
        marker: Option<Marker>,
        changes: &mut Changes,
    ) -> Result<(), Rejected> {
        if !header.has_producer_id() {
            return Ok(());
        }
        let (undo, completed) = self.producers.apply(header, base_offset, origin, marker)?;
        changes.undo.push(undo);
        changes.completed.extend(completed);
        Ok(())
    }

    fn undo(&mut self, undo: impl Iterator<Item = Undo>) {
        for change in undo {
            self.producers.undo(&change);
        }
    }

    /// Writes what was planned, a run per segment, almost always one; takes everything back if that fails.
    fn write_planned(&mut self, planned: &[Planned<'_>], changes: &mut Changes, now: Timestamp) -> Result<()> {
        let mut rest = planned;
        while !rest.is_empty() {
            match self.write_run(rest, &changes.undo, now) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) => {
                    self.undo(changes.undo.drain(..).rev());
                    // Batches of an earlier run are in the log though their requests fail now.
                    self.failed |= rest.len() != planned.len();
                    return Err(error);
                }
            }
        }
        for completed in &changes.completed {
            self.finish_transaction(completed, true)?;
        }
        Ok(())
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
            if let Err(error) = transactions::append(&self.files, base_offset, &entry) {
                self.failed = true;
                return Err(error);
            }
        }
        self.producers.complete(completed);
        Ok(())
    }

    /// Writes as many of `planned` as fit one segment; how many that were.
    fn write_run(&mut self, planned: &[Planned<'_>], undo: &[Undo], now: Timestamp) -> Result<usize> {
        let Some(first) = planned.first() else { return Ok(0) };
        self.prepare_active()?;
        let config = self.config.clone();
        let extent = (first.bytes.len() as u64, first.header.last_offset().0);
        let times = (first.header.max_timestamp, now.0);
        if self.active()?.should_roll(&self.files, &config, extent, times)? {
            let unwritten = undo.get(first.changes_before..).unwrap_or_default();
            self.roll_at(first.header.base_offset.0, unwritten, now)?;
        }
        self.note_epochs(planned);
        let files = self.files.clone();
        let segment = self.active_mut()?;
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
        let path = segment.path(&files);
        let file = segment.file(&files)?;
        if let Err(error) = write_batches(&*file, run, segment.size).at("write", &path) {
            // What was written in part is cut off again; if that fails, too, the end of the file is unknown.
            let size = segment.size;
            self.failed = file.truncate(size).is_err();
            return Err(error);
        }
        let mut noted = Ok(());
        let mut bytes = 0;
        for batch in run {
            noted = noted.and_then(|()| segment.note(&files, &config, &batch.header));
            bytes += batch.bytes.len() as u64;
        }
        if let Err(error) = noted {
            // The batches are in the file but not in the indexes: only opening the log again tells what holds.
            self.failed = true;
            return Err(error);
        }
        self.bytes_since_checkpoint += bytes;
        if let Some(last) = run.last() {
            self.log_end_offset = last.header.next_offset().0;
        }
        Ok(count)
    }

    fn note_epochs(&mut self, planned: &[Planned<'_>]) {
        for batch in planned {
            let header = &batch.header;
            if self.epochs.assign(header.partition_leader_epoch, header.base_offset) {
                self.epochs_changed = true;
            }
        }
    }

    pub(super) fn prepare_active(&mut self) -> Result<()> {
        if !self.active_ready {
            let files = self.files.clone();
            self.active_mut()?.activate(&files)?;
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
    fn roll_at(&mut self, expected_next_offset: i64, unwritten: &[Undo], now: Timestamp) -> Result<()> {
        let base_offset = self.log_end_offset.max(expected_next_offset);
        let files = self.files.clone();
        let active = self.active_mut()?;
        if active.size == 0 {
            if active.base_offset == base_offset {
                return Ok(());
            }
            // An empty segment whose base is too far back for the next offset: it is replaced.
            let path = active.path(&files);
            active.close();
            files.disk().remove(&path).at("remove", &path)?;
            self.segments.pop();
            // Until the new one is made the log has no segment.
            self.failed = true;
        } else {
            active.seal(&files)?;
            self.take_snapshot(base_offset, unwritten)?;
        }
        let segment = Segment::empty(base_offset, &self.config, now.0);
        let path = segment.path(&files);
        files.cache.get(&segment.log, &path, OpenMode::CreateEmpty).at("create", &path)?;
        self.segments.push(segment);
        self.failed = false;
        self.directory_changed = true;
        self.active_ready = true;
        Ok(())
    }
}

/// The transaction marker of a control batch with a producer id; other control batches have none.
pub(super) fn marker_of(batch: &Batch) -> Result<Option<Marker>, Rejected> {
    if !batch.header.is_control() || !batch.header.has_producer_id() {
        return Ok(None);
    }
    let corrupt =
        |error: milena_records::Error| Rejected { error: ErrorCode::CORRUPT_MESSAGE, message: error.to_string() };
    let mut records = batch.records(1 << 20).map_err(corrupt)?;
    let Some(record) = records.next() else { return Ok(None) };
    let record = record.map_err(corrupt)?;
    let kind = control_type(record.key.as_deref().unwrap_or_default()).map_err(corrupt)?;
    let epoch = record.value.as_deref().unwrap_or_default().get(2..).and_then(<[u8]>::first_chunk);
    Ok(match (kind, epoch) {
        (Some(kind), Some(epoch)) => Some(Marker { kind, coordinator_epoch: i32::from_be_bytes(*epoch) }),
        _ => None,
    })
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
