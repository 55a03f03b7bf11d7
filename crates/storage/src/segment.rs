//! One `.log` file with its indexes (`LogSegment`). It knows positions; what the offsets mean for the partition is the
//! log's affair.

use std::path::PathBuf;
use std::sync::Arc;

use milena_records::BatchHeader;

use crate::config::LogConfig;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{At, Result, corrupt};
use crate::file_cache::Slot;
use crate::files::Files;
use crate::index::{Index, IndexEntry, OffsetEntry, TimeEntry};
use crate::scan::{BatchPlace, Headers};

/// The greatest timestamp of a segment and the last offset of the batch that has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MaxTimestamp {
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
}

/// A segment.
#[derive(Debug)]
pub(crate) struct Segment<D: Disk> {
    pub(crate) base_offset: i64,
    /// Bytes of whole batches.
    pub(crate) size: u64,
    pub(crate) log: Arc<Slot<D::File>>,
    pub(crate) offset_index: Index<OffsetEntry, D>,
    pub(crate) time_index: Index<TimeEntry, D>,
    /// `None` until asked of the time index.
    max_timestamp: Option<MaxTimestamp>,
    /// Max timestamp of the first batch, from which `segment.ms` counts.
    first_timestamp: Option<i64>,
    /// When it was made or emptied.
    created_ms: i64,
    /// Taken off `segment.ms`.
    jitter_ms: i64,
    bytes_since_index_entry: u64,
}

impl<D: Disk> Segment<D> {
    /// A segment without a batch; its file is made by the caller.
    pub(crate) fn empty(base_offset: i64, config: &LogConfig, now_ms: i64) -> Segment<D> {
        Segment {
            base_offset,
            size: 0,
            log: Arc::default(),
            offset_index: Index::empty(base_offset),
            time_index: Index::empty(base_offset),
            max_timestamp: Some(MaxTimestamp { timestamp: -1, offset: base_offset }),
            first_timestamp: None,
            created_ms: now_ms,
            jitter_ms: jitter(base_offset, now_ms, config.segment_jitter_ms),
            bytes_since_index_entry: 0,
        }
    }

    /// A segment found on disk.
    pub(crate) fn existing(
        (base_offset, size): (i64, u64),
        (has_index, has_time_index): (bool, bool),
        config: &LogConfig,
        now_ms: i64,
    ) -> Segment<D> {
        Segment {
            size,
            offset_index: Index::existing(base_offset, has_index),
            time_index: Index::existing(base_offset, has_time_index),
            max_timestamp: None,
            ..Self::empty(base_offset, config, now_ms)
        }
    }

    pub(crate) fn path(&self, files: &Files<D>) -> PathBuf {
        files.path(self.base_offset, "log")
    }

    /// The open log file.
    pub(crate) fn file(&self, files: &Files<D>) -> Result<Arc<D::File>> {
        if let Some(file) = files.cache.get_open(&self.log) {
            return Ok(file);
        }
        let path = self.path(files);
        files.cache.get(&self.log, &path, OpenMode::ReadWrite).at("open", &path)
    }

    /// Takes a batch just written at the end into the indexes.
    pub(crate) fn note(&mut self, files: &Files<D>, config: &LogConfig, header: &BatchHeader) -> Result<()> {
        let last_offset = header.last_offset().0;
        let mut max = self.max_timestamp(files)?;
        if header.max_timestamp > max.timestamp {
            max = MaxTimestamp { timestamp: header.max_timestamp, offset: last_offset };
            self.max_timestamp = Some(max);
        }
        if self.size == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if self.bytes_since_index_entry > u64::from(config.index_interval_bytes) {
            let relative_offset = (last_offset - self.base_offset) as u32;
            self.offset_index.push(files, OffsetEntry { relative_offset, position: self.size as u32 });
            self.push_time(files)?;
            self.bytes_since_index_entry = 0;
        }
        self.size += header.size_bytes() as u64;
        self.bytes_since_index_entry += header.size_bytes() as u64;
        Ok(())
    }

    /// Adds the greatest timestamp to the time index unless it says so already.
    pub(crate) fn push_time(&mut self, files: &Files<D>) -> Result<()> {
        let max = self.max_timestamp(files)?;
        if max.timestamp < 0 {
            return Ok(());
        }
        let last = self.time_index.last(files)?;
        let relative_offset = (max.offset - self.base_offset).max(0) as u32;
        let grows = |last: TimeEntry| max.timestamp > last.timestamp && relative_offset >= last.relative_offset;
        if last.is_none_or(grows) {
            self.time_index.push(files, TimeEntry { timestamp: max.timestamp, relative_offset });
        }
        Ok(())
    }

    /// The greatest timestamp; -1 if there is none.
    pub(crate) fn max_timestamp(&self, files: &Files<D>) -> Result<MaxTimestamp> {
        if let Some(max) = self.max_timestamp {
            return Ok(max);
        }
        let none = MaxTimestamp { timestamp: -1, offset: self.base_offset };
        Ok(self.time_index.last(files)?.map_or(none, |entry| MaxTimestamp {
            timestamp: entry.timestamp,
            offset: self.base_offset + i64::from(entry.relative_offset),
        }))
    }

    /// The greatest timestamp, if it is known without asking the time index.
    pub(crate) fn known_max_timestamp(&self) -> Option<i64> {
        self.max_timestamp.map(|max| max.timestamp)
    }

    /// Keeps the greatest timestamp in memory, for the segment that is appended to.
    pub(crate) fn activate(&mut self, files: &Files<D>) -> Result<()> {
        self.max_timestamp = Some(self.max_timestamp(files)?);
        if self.size > 0 && self.first_timestamp.is_none() {
            let file = self.file(files)?;
            let first = Headers::new(&*file, 0, self.size).next().at("read", &self.path(files))?;
            self.first_timestamp = first.map(|place| place.header.max_timestamp);
        }
        Ok(())
    }

    pub(crate) fn set_max_timestamp(&mut self, max: MaxTimestamp) {
        self.max_timestamp = Some(max);
    }

    /// Begins anew what recovery or truncation counts.
    pub(crate) fn restart_at(&mut self, size: u64, now_ms: i64) {
        self.size = size;
        self.bytes_since_index_entry = 0;
        if size == 0 {
            self.created_ms = now_ms;
            self.first_timestamp = None;
        }
    }

    /// Whether a batch of `bytes` up to `last_offset` must go to a new segment (`LogSegment.shouldRoll`).
    pub(crate) fn should_roll(
        &self,
        files: &Files<D>,
        config: &LogConfig,
        (bytes, last_offset): (u64, i64),
        (max_timestamp, now_ms): (i64, i64),
    ) -> Result<bool> {
        if !self.takes_offset(last_offset) || self.size + bytes > u64::from(config.segment_bytes) {
            return Ok(true);
        }
        if self.size == 0 {
            return Ok(false);
        }
        let waited = match self.first_timestamp {
            Some(first) if first >= 0 => max_timestamp - first,
            _ => now_ms - self.created_ms,
        };
        if waited > config.segment_ms - self.jitter_ms.min(config.segment_jitter_ms) {
            return Ok(true);
        }
        let limit = |entry_bytes: usize| config.segment_index_bytes / entry_bytes as u32;
        Ok(self.offset_index.count(files)? >= limit(OffsetEntry::SIZE)
            || self.time_index.count(files)? + 1 >= limit(TimeEntry::SIZE))
    }

    /// Whether the index can hold `offset`.
    pub(crate) fn takes_offset(&self, offset: i64) -> bool {
        (0..=i64::from(i32::MAX)).contains(&(offset - self.base_offset))
    }

    /// The batch that holds `offset`, or the first one after it; `None` if the segment ends before it.
    ///
    /// # Errors
    /// IO; `Error::Corrupt` if it is not there and the batches do not go on to the segment's end.
    pub(crate) fn find(&self, files: &Files<D>, offset: i64) -> Result<Option<BatchPlace>> {
        let path = || self.path(files);
        let file = self.file(files)?;
        let entry = self.offset_index.lookup(files, offset - self.base_offset)?;
        if let Some(entry) = entry {
            let mut headers = Headers::new(&*file, u64::from(entry.position), self.size);
            let mut is_first = true;
            while let Some(place) = headers.next().map_err(|error| io_at(error, path()))? {
                let last_offset = place.header.last_offset().0;
                // An entry that points behind its batch is damaged, and must not hide those before.
                if is_first && last_offset > self.base_offset + i64::from(entry.relative_offset) {
                    break;
                }
                is_first = false;
                if last_offset >= offset {
                    return Ok(Some(place));
                }
            }
            if headers.position() == self.size && !is_first {
                return Ok(None);
            }
        }
        // The log is the truth, whatever the index says.
        let mut headers = Headers::new(&*file, 0, self.size);
        while let Some(place) = headers.next().map_err(|error| io_at(error, path()))? {
            if place.header.last_offset().0 >= offset {
                return Ok(Some(place));
            }
        }
        let is_cut_to_nothing = self.size == 0 && self.offset_index.count(files)? > 0;
        if headers.position() < self.size || is_cut_to_nothing {
            return Err(corrupt(
                &path(),
                headers.position(),
                "no whole batch follows, and the segment does not end here",
            ));
        }
        Ok(None)
    }

    /// Offset after the last batch.
    pub(crate) fn next_offset(&self, files: &Files<D>) -> Result<i64> {
        if self.size == 0 {
            return Ok(self.base_offset);
        }
        let entry = self.offset_index.last(files)?.map_or(0, |entry| u64::from(entry.position));
        let file = self.file(files)?;
        // From the beginning, if the last entry of the index leads nowhere.
        let starts = if entry == 0 { &[0][..] } else { &[entry, 0] };
        let mut next = None;
        for start in starts {
            let mut headers = Headers::new(&*file, *start, self.size);
            next = None;
            while let Some(place) = headers.next().at("read", &self.path(files))? {
                next = Some(place.header.next_offset().0);
            }
            if headers.position() == self.size {
                break;
            }
        }
        Ok(next.unwrap_or(self.base_offset))
    }

    /// Cuts the segment before the batch that holds `offset`. `false` if there was nothing to cut.
    pub(crate) fn truncate_to(&mut self, files: &Files<D>, offset: i64, now_ms: i64) -> Result<bool> {
        let place = self.find(files, offset)?;
        self.offset_index.truncate_to(files, offset)?;
        self.time_index.truncate_to(files, offset)?;
        crate::transactions::truncate_to(files, self.base_offset, offset)?;
        let Some(place) = place else { return Ok(false) };
        let path = self.path(files);
        self.file(files)?.truncate(place.position).at("truncate", &path)?;
        self.restart_at(place.position, now_ms);
        self.max_timestamp = Some(self.largest_timestamp(files)?);
        Ok(true)
    }

    /// The greatest timestamp from the time index and the batches after its last entry.
    fn largest_timestamp(&mut self, files: &Files<D>) -> Result<MaxTimestamp> {
        self.max_timestamp = None;
        let mut max = self.max_timestamp(files)?;
        if self.size == 0 {
            return Ok(MaxTimestamp { timestamp: -1, offset: self.base_offset });
        }
        let start = self.offset_index.lookup(files, max.offset - self.base_offset)?;
        let file = self.file(files)?;
        let mut headers = Headers::sequential(&*file, start.map_or(0, |entry| u64::from(entry.position)), self.size);
        while let Some(place) = headers.next().at("read", &self.path(files))? {
            if place.header.max_timestamp > max.timestamp {
                max = MaxTimestamp { timestamp: place.header.max_timestamp, offset: place.header.last_offset().0 };
            }
        }
        Ok(max)
    }

    /// Whether a batch after the one the last entry of the time index is about has a greater timestamp.
    pub(crate) fn time_index_is_behind(&self, files: &Files<D>) -> Result<bool> {
        let last = self.time_index.last(files)?;
        let known = last.map_or(-1, |last| last.timestamp);
        let from = last.map_or(0, |last| i64::from(last.relative_offset));
        let start = self.offset_index.lookup(files, from)?.map_or(0, |entry| u64::from(entry.position));
        let file = self.file(files)?;
        let mut headers = Headers::sequential(&*file, start, self.size);
        while let Some(place) = headers.next().at("read", &self.path(files))? {
            if place.header.max_timestamp > known {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends appending: the indexes are completed and written. Those that have had no room may go on without.
    pub(crate) fn seal(&mut self, files: &Files<D>) -> Result<()> {
        if self.has_held() {
            return self.seal_or_hold(files);
        }
        self.push_time(files)?;
        self.persist_indexes(files)
    }

    /// `seal`, or both indexes stay in memory as long as there is no room for them.
    pub(crate) fn seal_or_hold(&mut self, files: &Files<D>) -> Result<()> {
        self.push_time(files)?;
        match self.persist_indexes(files) {
            Err(error) if error.is_out_of_space() => {
                tracing::warn!(%error, "an index has no room and stays in memory");
                self.time_index.hold(files)?;
                self.offset_index.hold(files)
            }
            persisted => persisted,
        }
    }

    fn persist_indexes(&mut self, files: &Files<D>) -> Result<()> {
        self.offset_index.persist(files)?;
        self.time_index.persist(files)
    }

    /// Whether an index has had no room.
    pub(crate) fn has_held(&self) -> bool {
        self.offset_index.is_held() || self.time_index.is_held()
    }

    /// Makes the index files if they are not there.
    pub(crate) fn make_indexes(&mut self, files: &Files<D>) -> Result<()> {
        if self.has_held() {
            return self.seal_or_hold(files);
        }
        self.offset_index.make(files)?;
        self.time_index.make(files)
    }

    /// Opens the files and keeps them open whatever they are called.
    pub(crate) fn pin(&self, files: &Files<D>) -> Result<()> {
        let path = self.path(files);
        files.cache.pin(&self.log, &path).at("open", &path)?;
        self.offset_index.pin(files)?;
        self.time_index.pin(files)
    }

    /// They have their names.
    pub(crate) fn unpin(&self) {
        self.log.unpin();
        self.offset_index.unpin();
        self.time_index.unpin();
    }

    /// Closes the descriptors.
    pub(crate) fn close(&self) {
        self.log.close();
        self.offset_index.close();
        self.time_index.close();
    }
}

pub(crate) fn io_at(source: std::io::Error, path: PathBuf) -> crate::Error {
    crate::Error::Io { operation: "read", path, source }
}

/// Kafka draws it at random; here it follows from what differs between segments, so that runs can be repeated.
fn jitter(base_offset: i64, now_ms: i64, jitter_max_ms: i64) -> i64 {
    let mixed = (base_offset ^ now_ms.rotate_left(32)).unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 1;
    (mixed as i64).checked_rem(jitter_max_ms).unwrap_or(0)
}
