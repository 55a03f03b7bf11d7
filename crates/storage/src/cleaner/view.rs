//! What a cleaning knows of a log: its segments at a moment, taken under the lock with a few clones. Files are opened and
//! read without the lock; what changed meanwhile is noticed when segments are to be replaced.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use milena_types::Offset;

use crate::config::LogConfig;
use crate::disk::{Disk, OpenMode, read_whole};
use crate::error::{At, Error, Result};
use crate::file_cache::Slot;
use crate::files::Files;
use crate::index::{IndexEntry, OffsetEntry, TimeEntry};
use crate::scan::Headers;
use crate::transactions::{self, AbortedTransaction};

/// What must stay known of a producer that is active.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastRecord {
    /// Offset of its last record, if it wrote any in its epoch.
    pub(crate) data_offset: Option<i64>,
    pub(crate) epoch: i16,
}

/// The last records of all active producers (`UnifiedLog.lastRecordsOfActiveProducers`): their batches stay, if empty.
#[derive(Clone, Debug, Default)]
pub struct LastRecords(pub(crate) BTreeMap<i64, LastRecord>);

/// A segment at the moment of the view.
#[derive(Debug)]
pub(crate) struct SegmentView<D: Disk> {
    pub(crate) base_offset: i64,
    pub(crate) size: u64,
    pub(crate) log: Arc<Slot<D::File>>,
    /// If it is known without asking the time index.
    pub(crate) max_timestamp: Option<i64>,
}

/// A log as a cleaning sees it.
#[derive(Debug)]
pub struct CleanView<D: Disk> {
    pub(crate) files: Files<D>,
    pub(crate) config: Arc<LogConfig>,
    /// All of them; the last is appended to.
    pub(crate) segments: Vec<SegmentView<D>>,
    pub(crate) log_start_offset: i64,
    pub(crate) log_end_offset: i64,
    pub(crate) last_stable_offset: i64,
    /// From where on it was not cleaned, if it ever was.
    pub(crate) cleaned_to: Option<Offset>,
    /// `Log::truncations`.
    pub(crate) truncations: u64,
}

impl<D: Disk> Clone for SegmentView<D> {
    fn clone(&self) -> Self {
        SegmentView { log: Arc::clone(&self.log), ..*self }
    }
}

impl<D: Disk> SegmentView<D> {
    pub(super) fn path(&self, files: &Files<D>) -> PathBuf {
        files.path(self.base_offset, "log")
    }

    pub(super) fn file(&self, files: &Files<D>) -> Result<Arc<D::File>> {
        let path = self.path(files);
        files.cache.get(&self.log, &path, OpenMode::ReadWrite).at("open", &path)
    }

    /// Bytes of the index files.
    pub(super) fn index_bytes(&self, files: &Files<D>) -> Result<(u64, u64)> {
        let len = |suffix| {
            let path = files.path(self.base_offset, suffix);
            Ok::<_, Error>(files.disk().metadata(&path).at("look at", &path)?.map_or(0, |metadata| metadata.len))
        };
        Ok((len(OffsetEntry::SUFFIX)?, len(TimeEntry::SUFFIX)?))
    }

    /// The greatest timestamp; when it was written if there is none (`LogSegment.largestTimestamp`).
    pub(super) fn largest_timestamp(&self, files: &Files<D>) -> Result<i64> {
        let known = match self.max_timestamp {
            Some(known) => known,
            None => {
                let path = files.path(self.base_offset, TimeEntry::SUFFIX);
                let entries = read_whole(files.disk(), &path).at("read", &path)?.unwrap_or_default();
                entries
                    .chunks_exact(TimeEntry::SIZE)
                    .last()
                    .and_then(TimeEntry::decode)
                    .map_or(-1, |last| last.timestamp)
            }
        };
        if known >= 0 { Ok(known) } else { self.modified_ms(files) }
    }

    pub(super) fn modified_ms(&self, files: &Files<D>) -> Result<i64> {
        let path = self.path(files);
        Ok(files.disk().metadata(&path).at("look at", &path)?.map_or(0, |metadata| metadata.modified_ms))
    }

    /// Max timestamp of the first batch (`LogSegment.getFirstBatchTimestamp`).
    pub(super) fn first_timestamp(&self, files: &Files<D>) -> Result<Option<i64>> {
        let file = self.file(files)?;
        let first = Headers::new(&*file, 0, self.size).next().at("read", &self.path(files))?;
        Ok(first.map(|place| place.header.max_timestamp))
    }
}

impl<D: Disk> CleanView<D> {
    /// Index of the segment that would hold `offset`.
    pub(super) fn floor(&self, offset: i64) -> usize {
        self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
    }

    /// Base offset of the segment that is appended to.
    pub(super) fn active_base(&self) -> i64 {
        self.segments.last().map_or(0, |active| active.base_offset)
    }

    /// The segments that hold offsets in `from..to` (`LogSegments.values`).
    pub(super) fn between(&self, from: i64, to: i64) -> &[SegmentView<D>] {
        if from >= to {
            return &[];
        }
        let end = self.segments.partition_point(|segment| segment.base_offset < to);
        let start = if from < 0 { 0 } else { self.floor(from) };
        self.segments.get(start..end).unwrap_or_default()
    }

    /// Aborted transactions that reach into `from..to` (`LocalLog.collectAbortedTransactions`).
    pub(super) fn aborted_between(&self, from: i64, to: i64) -> Result<Vec<AbortedTransaction>> {
        let mut found = Vec::new();
        for segment in self.segments.get(self.floor(from)..).unwrap_or_default() {
            for entry in transactions::read(&self.files, segment.base_offset)? {
                if entry.last_offset.0 >= from && entry.first_offset.0 < to {
                    found.push(entry);
                }
                if entry.last_stable_offset.0 >= to {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Makes the names in the log's directory durable: exchanged segments are to stay before the cleaner's checkpoint
    /// says so.
    ///
    /// # Errors
    /// IO.
    pub fn sync_directory(&self) -> Result<()> {
        self.files.disk().sync_directory(&self.files.directory).at("sync", &self.files.directory)
    }
}
