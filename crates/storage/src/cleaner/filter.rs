//! What stays of one batch (`Cleaner.cleanInto`, `MemoryRecords.filterTo`).

use milena_records::{
    BATCH_OVERHEAD_BYTES, BatchHeader, Compression, ControlType, Error, RecordView, RecordViews, Scratch, control_type,
    write_emptied, write_retained,
};

use super::offset_map::OffsetMap;
use super::transactions::WalkedTransactions;
use super::view::LastRecord;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Bound of what a batch may decompress to; `max.message.bytes` cannot be greater.
const DECOMPRESSED_BYTES_MAX: u64 = i32::MAX as u64;

/// What decides about a record, besides the record.
pub(super) struct Filter<'run> {
    pub(super) map: &'run OffsetMap,
    pub(super) producers: &'run BTreeMap<i64, LastRecord>,
    /// Now, milliseconds since 1970.
    pub(super) now_ms: i64,
    /// `delete.retention.ms`.
    pub(super) delete_retention_ms: i64,
    /// Where this round of cleaning ends.
    pub(super) upper_bound_offset: i64,
}

/// What came of a batch.
#[derive(Default)]
pub(super) struct Filtered {
    /// Header of what was put behind the output, if anything was.
    pub(super) written: Option<BatchHeader>,
    /// To be kept in the index of aborted transactions.
    pub(super) aborted: Option<crate::transactions::AbortedTransaction>,
    pub(super) records_read: u64,
    pub(super) records_written: u64,
    /// Records without a key, which nothing can supersede: they go.
    pub(super) records_invalid: u64,
}

impl Filter<'_> {
    /// Puts what stays of the batch in `bytes` behind `out`.
    pub(super) fn batch(
        &self,
        header: &BatchHeader,
        bytes: &[u8],
        transactions: &mut WalkedTransactions,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Filtered, Error> {
        let mut filtered = Filtered::default();
        let may_go = if header.is_control() {
            let (may_go, aborted) = transactions.on_control(header, control_kind(header, bytes)?);
            filtered.aborted = aborted;
            may_go
        } else {
            transactions.on_records(header)
        };
        let horizon = header.has_delete_horizon().then_some(header.base_timestamp);
        // Markers wait for their horizon as tombstones do.
        let is_emptied = may_go && (!header.is_control() || horizon.is_some_and(|horizon| horizon <= self.now_ms));
        let stays_known = self.is_last_of_producer(header) || header.next_offset().0 == self.upper_bound_offset;
        if is_emptied {
            filtered.records_read = header.record_count.max(0) as u64;
            if stays_known {
                filtered.written = Some(write_emptied(out, header)?);
            }
            return Ok(filtered);
        }
        let records = payload(header, bytes, scratch)?;
        let mut kept: Vec<RecordView<'_>> = Vec::with_capacity(records.len().min(header.record_count.max(0) as usize));
        let mut has_tombstone = false;
        for record in RecordViews::new(header, &records)? {
            let record = record?;
            filtered.records_read += 1;
            if header.is_control() || self.stays(header, &record, horizon, &mut filtered) {
                has_tombstone |= !record.has_value;
                kept.push(record);
            }
        }
        filtered.records_written = kept.len() as u64;
        if kept.is_empty() {
            if stays_known {
                filtered.written = Some(write_emptied(out, header)?);
            }
            return Ok(filtered);
        }
        let needs_horizon = horizon.is_none() && (has_tombstone || may_go);
        if filtered.records_read == filtered.records_written && !needs_horizon {
            out.extend_from_slice(bytes);
            filtered.written = Some(*header);
            return Ok(filtered);
        }
        // A horizon beyond what a timestamp can say is none.
        let horizon = horizon.or_else(|| self.now_ms.checked_add(self.delete_retention_ms).filter(|_| needs_horizon));
        filtered.written = Some(write_retained(out, header, &kept, horizon, scratch)?);
        Ok(filtered)
    }

    /// Whether the batch holds the last sequence of an active producer, or the marker with its epoch if there is none.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        header.has_producer_id()
            && self.producers.get(&header.producer_id.0).is_some_and(|last| match last.data_offset {
                Some(offset) => header.last_offset().0 == offset,
                None => header.is_control() && header.producer_epoch.0 == last.epoch,
            })
    }

    fn stays(
        &self,
        header: &BatchHeader,
        record: &RecordView<'_>,
        horizon: Option<i64>,
        filtered: &mut Filtered,
    ) -> bool {
        let offset = header.base_offset.0 + i64::from(record.offset_delta);
        if offset > self.map.latest() {
            return true;
        }
        let Some(key) = record.key else {
            filtered.records_invalid += 1;
            return false;
        };
        (record.has_value || horizon.is_none_or(|horizon| self.now_ms < horizon)) && offset >= self.map.get(key)
    }
}

/// The records of a batch, decompressed.
pub(super) fn payload<'batch>(
    header: &BatchHeader,
    bytes: &'batch [u8],
    scratch: &mut Scratch,
) -> Result<Cow<'batch, [u8]>, Error> {
    let records = bytes.get(BATCH_OVERHEAD_BYTES..).unwrap_or_default();
    match header.compression()? {
        Compression::None => Ok(Cow::Borrowed(records)),
        // What compaction emptied says that it is not compressed; this is for safety.
        _ if header.record_count == 0 => Ok(Cow::Borrowed(&[])),
        compression => Ok(Cow::Owned(scratch.decompress(compression, records, DECOMPRESSED_BYTES_MAX)?)),
    }
}

/// What the first record of a control batch says; `None` if there is none, an inner `None` for a kind not known here.
pub(super) fn control_kind(header: &BatchHeader, bytes: &[u8]) -> Result<Option<Option<ControlType>>, Error> {
    let records = bytes.get(BATCH_OVERHEAD_BYTES..).unwrap_or_default();
    match RecordViews::new(header, records)?.next() {
        None => Ok(None),
        Some(record) => control_type(record?.key.unwrap_or_default()).map(Some),
    }
}
