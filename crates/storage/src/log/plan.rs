//! What an append will write: offsets, the rules of producers (`UnifiedLog.analyzeAndValidateProducerState`), the
//! stamped fronts. Planning changes the producers ahead of the write and keeps what takes that back.

use bytes::Bytes;
use milena_records::{Batch, BatchHeader, Batches, STAMP_BYTES, ValidBatch, control_type};
use milena_types::{ErrorCode, LeaderEpoch, Offset};

use super::{AppendError, Appended, Log};
use crate::disk::Disk;
use crate::producers::{AppendOrigin, CompletedTransaction, Marker, Rejected, Terms, Undo};

/// A batch with its offset, about to be written.
pub(super) struct Planned<'batch> {
    pub(super) header: BatchHeader,
    /// Replaces the first 16 bytes.
    pub(super) prefix: Option<[u8; STAMP_BYTES]>,
    pub(super) bytes: &'batch Bytes,
    /// Changes to producers planned before this batch.
    pub(super) changes_before: usize,
}

/// What planning changed ahead of the write.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) undo: Vec<Undo>,
    pub(super) completed: Vec<CompletedTransaction>,
}

impl<D: Disk> Log<D> {
    pub(super) fn check_followers_batches(&self, records: Bytes) -> Result<Vec<Batch>, AppendError> {
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

    pub(super) fn plan_group<'batch>(
        &mut self,
        group: &'batch [ValidBatch],
        (terms, leader_epoch): (Terms, LeaderEpoch),
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
            if terms.origin == AppendOrigin::Client
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
            self.apply(&batch.header, base_offset, terms, marker, changes)?;
            let header = BatchHeader { base_offset, partition_leader_epoch: leader_epoch, ..batch.header };
            last_offset = header.last_offset();
            max_timestamp = max_timestamp.max(header.max_timestamp);
            let prefix = Some(batch.stamped_prefix(base_offset, leader_epoch));
            planned.push(Planned { header, prefix, bytes: &batch.bytes, changes_before });
        }
        *next = last_offset.0 + 1;
        Ok(Appended { first_offset, last_offset, max_timestamp, duplicate: false })
    }

    pub(super) fn apply(
        &mut self,
        header: &BatchHeader,
        base_offset: Offset,
        terms: Terms,
        marker: Option<Marker>,
        changes: &mut Changes,
    ) -> Result<(), Rejected> {
        if !header.has_producer_id() {
            return Ok(());
        }
        let (undo, completed) = self.producers.apply(header, base_offset, terms, marker)?;
        changes.undo.push(undo);
        changes.completed.extend(completed);
        Ok(())
    }

    pub(super) fn undo(&mut self, undo: impl Iterator<Item = Undo>) {
        for change in undo {
            self.producers.undo(&change);
        }
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
