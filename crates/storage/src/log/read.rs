//! Reading by offset (`LocalLog.read`, `LogSegment.read`): an index lookup and a few headers, no record bytes. The
//! answer is a piece of a file that stays readable whatever happens to the segment afterwards.

use milena_protocol::{FileSlice, Records};
use milena_types::Offset;

use super::Log;
use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result, corrupt};
use crate::scan::BatchPlace;
use crate::transactions::{self, AbortedTransaction};

/// What a read found.
#[derive(Clone, Debug)]
pub struct ReadResult {
    /// Whole batches but perhaps the last; the first may begin before the offset asked for. Empty at the bound.
    pub records: Records,
    /// Base offset of the segment read from.
    pub segment_base_offset: Offset,
    /// Byte in that segment where `records` begins.
    pub position: u64,
    /// `max_bytes` cuts the first batch off.
    pub first_batch_incomplete: bool,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset is before the log's start or after its end (`OFFSET_OUT_OF_RANGE`).
    #[error("offset {offset} is out of range, the log has {log_start_offset} to {log_end_offset}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// First offset of the log.
        log_start_offset: Offset,
        /// Offset after the last.
        log_end_offset: Offset,
    },
    /// The disk failed.
    #[error(transparent)]
    Storage(#[from] Error),
}

impl<D: Disk> Log<D> {
    /// Reads from offset `from` up to but without offset `bound`, at most `max_bytes`, from one segment. With
    /// `min_one_batch` the first batch is given whole even if it is larger. As Kafka's, the piece may end in the midst
    /// of a batch.
    ///
    /// # Errors
    /// `ReadError`; `Error::Corrupt` for an offset in what is known to be damaged, or turns out to be.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: u32,
        bound: Offset,
        min_one_batch: bool,
    ) -> Result<ReadResult, ReadError> {
        if from < self.log_start_offset() || from > self.log_end_offset() {
            return Err(ReadError::OutOfRange {
                offset: from,
                log_start_offset: self.log_start_offset(),
                log_end_offset: self.log_end_offset(),
            });
        }
        let bound = bound.min(self.log_end_offset());
        if from >= bound {
            return Ok(self.nothing_at(from));
        }
        if !self.damaged.is_empty() {
            self.check_undamaged(from)?;
        }
        // A compacted segment may end before the offset: then the next one goes on.
        for at in self.segment_index(from.0)..self.segments.len() {
            if let Some(found) = self.read_segment(at, from, max_bytes, bound, min_one_batch)? {
                return Ok(found);
            }
        }
        Ok(self.nothing_at(from))
    }

    fn read_segment(
        &self,
        at: usize,
        from: Offset,
        max_bytes: u32,
        bound: Offset,
        min_one_batch: bool,
    ) -> Result<Option<ReadResult>> {
        let Some(segment) = self.segments.get(at) else { return Ok(None) };
        if segment.base_offset >= bound.0 {
            return Ok(None);
        }
        let Some(first) = segment.find(&self.files, from.0)? else { return Ok(None) };
        let end = match self.segments.get(at + 1) {
            Some(next) if next.base_offset <= bound.0 => segment.size,
            None if bound == self.log_end_offset() => segment.size,
            _ => self.position_of(at, bound, &first)?,
        };
        let end = end.min(self.damage_behind(segment.base_offset, first.position));
        let first_bytes = first.size();
        let wanted = if min_one_batch { u64::from(max_bytes).max(first_bytes) } else { u64::from(max_bytes) };
        let len = wanted.min(end.saturating_sub(first.position));
        let records = if len == 0 {
            Records::default()
        } else {
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            let source = segment.file(&self.files)?;
            if source.take_failed_read() {
                return Err(corrupt(
                    &segment.path(&self.files),
                    first.position,
                    "from here on something could not be sent",
                ));
            }
            Records::File(FileSlice { source, position: first.position, len })
        };
        Ok(Some(ReadResult {
            records,
            segment_base_offset: Offset(segment.base_offset),
            position: first.position,
            first_batch_incomplete: wanted < first_bytes,
        }))
    }

    /// Where the batch with `bound`, or the first after it, begins; the segment's end if there is none.
    fn position_of(&self, at: usize, bound: Offset, first: &BatchPlace) -> Result<u64> {
        let Some(segment) = self.segments.get(at) else { return Ok(0) };
        if first.header.last_offset() >= bound {
            return Ok(first.position);
        }
        Ok(segment.find(&self.files, bound.0)?.map_or(segment.size, |place| place.position))
    }

    fn nothing_at(&self, from: Offset) -> ReadResult {
        let segment = self.segments.get(self.segment_index(from.0));
        ReadResult {
            records: Records::default(),
            segment_base_offset: Offset(segment.map_or(0, |segment| segment.base_offset)),
            position: segment.map_or(0, |segment| segment.size),
            first_batch_incomplete: false,
        }
    }

    /// The aborted transactions a `read_committed` consumer needs for `read`, which began at `from`
    /// (`UnifiedLog.addAbortedTransactions`).
    ///
    /// # Errors
    /// IO.
    pub fn aborted_transactions(&self, from: Offset, read: &ReadResult) -> Result<Vec<AbortedTransaction>> {
        let at = self.segment_index(read.segment_base_offset.0);
        let Some(segment) = self.segments.get(at) else { return Ok(Vec::new()) };
        let end = read.position + read.records.len() as u64;
        let key = from.0 - segment.base_offset;
        let after = segment.offset_index.lookup_after(&self.files, key, |entry| u64::from(entry.position) >= end)?;
        let upper = match (after, self.segments.get(at + 1)) {
            (Some(entry), _) => segment.base_offset + i64::from(entry.relative_offset),
            (None, Some(next)) => next.base_offset,
            (None, None) => self.log_end_offset,
        };
        let mut found = Vec::new();
        for segment in self.segments.get(at..).unwrap_or_default() {
            for entry in transactions::read(&self.files, segment.base_offset)? {
                if entry.last_offset >= from && entry.first_offset.0 < upper {
                    found.push(entry);
                }
                if entry.last_stable_offset.0 >= upper {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }
}
