//! Finding offsets by time (`ListOffsets`): the time index leads near, batch headers nearer, and the records of one
//! batch, decompressed if need be, to the place.

use milena_records::Batch;
use milena_types::{LeaderEpoch, Offset, Timestamp};

use super::Log;
use crate::disk::Disk;
use crate::error::{At, Result, corrupt};
use crate::scan::{BatchPlace, Headers, read_batch};
use crate::segment::Segment;

/// A record's time and place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampOffset {
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its offset.
    pub offset: Offset,
    /// Its leader's epoch, `NONE` if the batch says none.
    pub leader_epoch: LeaderEpoch,
}

/// Bound of what a batch may decompress to here; `max.message.bytes` cannot be greater.
const DECOMPRESSED_BYTES_MAX: usize = i32::MAX as usize;

impl<D: Disk> Log<D> {
    /// The first record, by offset, whose timestamp is at least `timestamp`; `None` if there is none.
    ///
    /// # Errors
    /// IO, or a batch whose records cannot be read.
    pub fn offset_for_timestamp(&self, timestamp: Timestamp) -> Result<Option<TimestampOffset>> {
        for segment in &self.segments {
            if segment.size == 0 || segment.max_timestamp(&self.files)?.timestamp < timestamp.0 {
                continue;
            }
            let near = segment.time_index.lookup(&self.files, timestamp.0)?;
            let near = near.map_or(0, |entry| i64::from(entry.relative_offset));
            let relative = near.max(self.log_start_offset - segment.base_offset);
            if let Some(found) = self.search(segment, relative, timestamp)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn search(&self, segment: &Segment<D>, relative: i64, timestamp: Timestamp) -> Result<Option<TimestampOffset>> {
        let start = segment.offset_index.lookup(&self.files, relative)?.map_or(0, |entry| u64::from(entry.position));
        let path = segment.path(&self.files);
        let file = segment.file(&self.files)?;
        let mut headers = Headers::sequential(&*file, start, segment.size);
        while let Some(place) = headers.next().at("read", &path)? {
            if place.header.max_timestamp < timestamp.0 || place.header.last_offset().0 < self.log_start_offset {
                continue;
            }
            let accept = |offset: Offset, time: i64| time >= timestamp.0 && offset.0 >= self.log_start_offset;
            if let Some(found) = self.first_record(segment, &place, accept)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The record with the greatest timestamp, the first of them by offset; `None` if the log has no timestamps.
    ///
    /// # Errors
    /// As `offset_for_timestamp`.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>> {
        let mut best: Option<(&Segment<D>, i64, i64)> = None;
        for segment in &self.segments {
            let max = segment.max_timestamp(&self.files)?;
            if max.timestamp >= 0 && best.is_none_or(|(_, timestamp, _)| max.timestamp > timestamp) {
                best = Some((segment, max.timestamp, max.offset));
            }
        }
        let Some((segment, timestamp, offset)) = best else { return Ok(None) };
        match segment.find(&self.files, offset)? {
            Some(place) => self.first_record(segment, &place, |_, time| time == timestamp),
            None => Ok(None),
        }
    }

    fn first_record(
        &self,
        segment: &Segment<D>,
        place: &BatchPlace,
        accept: impl Fn(Offset, i64) -> bool,
    ) -> Result<Option<TimestampOffset>> {
        let path = segment.path(&self.files);
        let file = segment.file(&self.files)?;
        let bytes = read_batch(&*file, place).at("read", &path)?;
        let batch = Batch { header: place.header, bytes };
        let damaged = |error: milena_records::Error| corrupt(&path, place.position, error.to_string());
        for record in batch.records(DECOMPRESSED_BYTES_MAX).map_err(damaged)? {
            let record = record.map_err(damaged)?;
            if accept(record.offset, record.timestamp) {
                return Ok(Some(TimestampOffset {
                    timestamp: Timestamp(record.timestamp),
                    offset: record.offset,
                    leader_epoch: place.header.partition_leader_epoch,
                }));
            }
        }
        Ok(None)
    }
}
