//! The segment a group is written into: files with the suffix `.cleaned`, which a start removes, until the log exchanges
//! the segments.

use std::io::IoSlice;
use std::sync::Arc;

use milena_records::BatchHeader;

use super::view::{CleanView, SegmentView};
use crate::config::LogConfig;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{At, Result, corrupt};
use crate::files::{CLEANED, Files};
use crate::segment::Segment;
use crate::transactions::{self, AbortedTransaction, TXN_INDEX_SUFFIX};

/// What a segment's files are called, besides the log.
pub(crate) const INDEX_SUFFIXES: [&str; 3] = ["index", "timeindex", TXN_INDEX_SUFFIX];

/// The new segment while it is written.
pub(super) struct Target<D: Disk> {
    files: Files<D>,
    config: Arc<LogConfig>,
    segment: Segment<D>,
    file: Arc<D::File>,
    /// What is not in the file yet; batches are put behind it.
    pub(super) buffer: Vec<u8>,
    /// Bytes in the file.
    written: u64,
    aborted: usize,
}

impl<D: Disk> Target<D> {
    pub(super) fn create(view: &CleanView<D>, base_offset: i64) -> Result<Target<D>> {
        let files = Files { suffix: CLEANED, ..view.files.clone() };
        // What an earlier attempt left.
        for suffix in INDEX_SUFFIXES {
            remove(&files, base_offset, suffix)?;
        }
        let segment = Segment::empty(base_offset, &view.config, 0);
        let path = segment.path(&files);
        let file = files.cache.get(&segment.log, &path, OpenMode::CreateEmpty).at("create", &path)?;
        let config = Arc::clone(&view.config);
        Ok(Target { files, config, segment, file, buffer: Vec::new(), written: 0, aborted: 0 })
    }

    /// Takes the batch that was just put at the end of the buffer into the indexes.
    pub(super) fn note(&mut self, header: &BatchHeader) -> Result<()> {
        let fits = self.segment.takes_offset(header.last_offset().0);
        if !fits || self.segment.size + header.size_bytes() as u64 > i32::MAX as u64 {
            let path = self.segment.path(&self.files);
            return Err(corrupt(&path, self.segment.size, "the offsets or bytes of the segment do not fit into one"));
        }
        self.segment.note(&self.files, &self.config, header)
    }

    /// Writes the buffer if it holds at least `from_bytes`; how much that was.
    pub(super) fn write(&mut self, from_bytes: usize) -> Result<u64> {
        let bytes = self.buffer.len() as u64;
        if self.buffer.is_empty() || self.buffer.len() < from_bytes {
            return Ok(0);
        }
        let written = self.file.write_vectored_at(&[IoSlice::new(&self.buffer)], self.written);
        written.at("write", &self.segment.path(&self.files))?;
        self.written += bytes;
        self.buffer.clear();
        Ok(bytes)
    }

    /// Keeps an aborted transaction in the index: some of its batches are still there.
    pub(super) fn keep_aborted(&mut self, transaction: &AbortedTransaction) -> Result<()> {
        self.aborted += 1;
        transactions::append(&self.files, self.segment.base_offset, transaction).map(drop)
    }

    /// Makes the files durable.
    pub(super) fn finish(mut self, view: &CleanView<D>, group: &[SegmentView<D>]) -> Result<CleanedGroup<D>> {
        self.write(0)?;
        self.segment.seal(&self.files)?;
        self.segment.make_indexes(&self.files)?;
        let path = self.segment.path(&self.files);
        self.file.sync_data().at("sync", &path)?;
        for suffix in INDEX_SUFFIXES {
            if suffix != TXN_INDEX_SUFFIX || self.aborted > 0 {
                let path = self.files.path(self.segment.base_offset, suffix);
                let file = self.files.disk().open(&path, OpenMode::ReadWrite).at("open", &path)?;
                file.sync_data().at("sync", &path)?;
            }
        }
        if let Some(last) = group.last() {
            // Retention of records without times goes by it (`LogSegment.setLastModified`).
            let modified_ms = last.modified_ms(&view.files)?;
            self.file.set_modified(modified_ms).at("set the time of", &path)?;
        }
        let aborted_before = group.iter().map(|segment| view.files.path(segment.base_offset, TXN_INDEX_SUFFIX));
        let mut has_aborted = self.aborted > 0;
        for path in aborted_before {
            has_aborted |= view.files.disk().metadata(&path).at("look at", &path)?.is_some_and(|file| file.len > 0);
        }
        Ok(CleanedGroup {
            has_aborted,
            segment: self.segment,
            replaced: group.iter().map(|segment| segment.base_offset).collect(),
            truncations: view.truncations,
            files: self.files,
        })
    }

    /// Gives up.
    pub(super) fn discard(self) {
        discard(&self.files, &self.segment);
    }
}

/// A written segment and those it is made of.
#[derive(Debug)]
#[must_use = "the log exchanges the segments by `Log::replace_segments`"]
pub struct CleanedGroup<D: Disk> {
    pub(crate) segment: Segment<D>,
    /// Base offsets of the segments it replaces, ascending; its own is the first.
    pub(crate) replaced: Vec<i64>,
    /// `Log::truncations` when the view was taken.
    pub(crate) truncations: u64,
    /// Where its files are for now.
    pub(crate) files: Files<D>,
    /// It, or a segment it replaces, has aborted transactions.
    pub(crate) has_aborted: bool,
}

impl<D: Disk> CleanedGroup<D> {
    /// Whether the segments are to be exchanged under the log's lock (`Log::replace_segments`): a reader must not find the
    /// aborted transactions of the one in the name of the other.
    #[must_use]
    pub fn has_aborted(&self) -> bool {
        self.has_aborted
    }

    /// Removes its files: the log has changed meanwhile.
    pub fn discard(self) {
        discard(&self.files, &self.segment);
    }
}

fn discard<D: Disk>(files: &Files<D>, segment: &Segment<D>) {
    segment.close();
    for suffix in INDEX_SUFFIXES.into_iter().chain(["log"]) {
        // What stays is removed by the next start or the next attempt.
        if let Err(error) = remove(files, segment.base_offset, suffix) {
            tracing::warn!(%error, "a file of an abandoned cleaning stays");
        }
    }
}

fn remove<D: Disk>(files: &Files<D>, base_offset: i64, suffix: &str) -> Result<()> {
    let path = files.path(base_offset, suffix);
    match files.disk().remove(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", &path),
        _ => Ok(()),
    }
}
