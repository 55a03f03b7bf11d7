//! Making the log durable in two steps: what must be synced is gathered under the partition's lock, the syncs run
//! without it, and the result is noted under it again. One sync serves all that was appended before it (group commit).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_types::{Offset, Timestamp};

use super::Log;
use crate::checkpoint::{PARTITION_METADATA, write_epochs};
use crate::disk::{Disk, DiskFile, OpenMode, write_atomic, write_atomic_unsynced};
use crate::epochs::EpochEntry;
use crate::error::{At, Result};
use crate::files::Files;
use crate::producer_snapshot::{self, SNAPSHOT_SUFFIX};
use crate::producers::Undo;

/// The syncs that make a log durable up to an offset.
#[derive(Debug)]
pub struct FlushHandle<D: Disk> {
    disk: D,
    directory: Arc<Path>,
    files: Vec<(PathBuf, Arc<D::File>)>,
    sync_directory: bool,
    epochs: Option<Vec<EpochEntry>>,
    snapshot: Option<(i64, PathBuf, Vec<u8>)>,
    end_offset: i64,
}

/// What a flush has made durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the log learns of it by `Log::flushed`"]
pub struct Flushed {
    /// Everything below it.
    pub end_offset: Offset,
    snapshot: Option<i64>,
}

impl<D: Disk> FlushHandle<D> {
    /// The offset below which everything will be durable.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        Offset(self.end_offset)
    }

    /// Syncs. Blocks for as long as the device takes.
    ///
    /// # Errors
    /// IO. Nothing is known then about what was written since the last flush: the log must be marked failed, trying
    /// again could report success for bytes that are gone.
    pub fn run(&self) -> Result<Flushed> {
        for (path, file) in &self.files {
            file.sync_data().at("sync", path)?;
        }
        if let Some(epochs) = &self.epochs {
            write_epochs(&self.disk, &self.directory, epochs)?;
        }
        // Last: a snapshot says that the log and the indexes below it are on disk.
        if let Some((_, path, bytes)) = &self.snapshot {
            write_atomic(&self.disk, path, bytes).at("write", path)?;
        } else if self.sync_directory && self.epochs.is_none() {
            self.disk.sync_directory(&self.directory).at("sync", &self.directory)?;
        }
        let snapshot = self.snapshot.as_ref().map(|(offset, ..)| *offset);
        Ok(Flushed { end_offset: self.end_offset(), snapshot })
    }
}

impl<D: Disk> Log<D> {
    /// What is to be synced so that everything appended so far is durable; `None` if it is already.
    ///
    /// # Errors
    /// IO.
    pub fn prepare_flush(&mut self) -> Result<Option<FlushHandle<D>>> {
        self.prepare(self.checkpoint_is_due())
    }

    fn checkpoint_is_due(&self) -> bool {
        self.bytes_since_checkpoint >= self.config.checkpoint_interval_bytes
    }

    fn prepare(&mut self, checkpoint: bool) -> Result<Option<FlushHandle<D>>> {
        if self.failed {
            return Err(self.failure());
        }
        let behind = self.recovery_point < self.log_end_offset;
        let checkpoint = checkpoint && self.bytes_since_checkpoint > 0;
        if !behind && !checkpoint && !self.directory_changed && !self.epochs_changed {
            return Ok(None);
        }
        let mut synced = Vec::new();
        if std::mem::take(&mut self.metadata_changed) {
            let path = self.files.directory.join(PARTITION_METADATA);
            synced.extend(open_existing(&self.files, &path)?.map(|file| (path, file)));
        }
        // The segment that ends at the recovery point may have been closed since, and its indexes written.
        let from = self.segment_index((self.recovery_point - 1).max(0));
        let last = self.segments.len().saturating_sub(1);
        for (at, segment) in self.segments.iter_mut().enumerate().skip(from) {
            if segment.size == 0 {
                continue;
            }
            synced.push((segment.path(&self.files), segment.file(&self.files)?));
            if at == last && !checkpoint {
                continue;
            }
            segment.push_time(&self.files)?;
            segment.offset_index.persist(&self.files)?;
            segment.time_index.persist(&self.files)?;
            let index = segment.offset_index.file(&self.files)?;
            let time_index = segment.time_index.file(&self.files)?;
            synced.extend(index.map(|file| (segment.offset_index.path(&self.files), file)));
            synced.extend(time_index.map(|file| (segment.time_index.path(&self.files), file)));
            let aborted = self.files.path(segment.base_offset, crate::transactions::TXN_INDEX_SUFFIX);
            if let Some(file) = open_existing(&self.files, &aborted)? {
                synced.push((aborted, file));
            }
        }
        let snapshot = checkpoint.then(|| {
            let path = self.files.path(self.log_end_offset, SNAPSHOT_SUFFIX);
            (self.log_end_offset, path, producer_snapshot::encode(self.producers.entries()))
        });
        let epochs = self.epochs_changed.then(|| self.epochs.entries().to_vec());
        // Noted now: what changes while the syncs run belongs to the next flush. A failed flush stops the log.
        self.epochs_changed = false;
        let sync_directory = std::mem::take(&mut self.directory_changed);
        Ok(Some(FlushHandle {
            disk: self.files.disk().clone(),
            directory: Arc::clone(&self.files.directory),
            files: synced,
            sync_directory,
            epochs,
            snapshot,
            end_offset: self.log_end_offset,
        }))
    }

    /// Notes what a flush made durable.
    pub fn flushed(&mut self, flushed: Flushed) {
        // The log may have been truncated while the syncs ran.
        self.recovery_point = self.recovery_point.max(flushed.end_offset.0).min(self.log_end_offset);
        let Some(offset) = flushed.snapshot else { return };
        if offset > self.log_end_offset {
            return;
        }
        self.bytes_since_checkpoint = 0;
        self.note_snapshot(offset);
    }

    /// Flushes here and now, in the caller's thread.
    ///
    /// # Errors
    /// IO; the log takes no more writes then.
    pub fn flush(&mut self) -> Result<()> {
        self.flush_now(self.checkpoint_is_due())
    }

    fn flush_now(&mut self, checkpoint: bool) -> Result<()> {
        let Some(handle) = self.prepare(checkpoint)? else { return Ok(()) };
        match handle.run() {
            Ok(flushed) => {
                self.flushed(flushed);
                Ok(())
            }
            Err(error) => {
                self.failed = true;
                Err(error)
            }
        }
    }

    /// Writes and syncs everything a clean start needs, and closes the files. The log can still be read and appended
    /// to afterwards, but then it is not closed any more.
    ///
    /// # Errors
    /// IO; the directory must then not be marked as cleanly shut down.
    pub fn close(&mut self) -> Result<()> {
        let files = self.files.clone();
        if self.log_end_offset > self.recovery_point || self.bytes_since_checkpoint > 0 {
            self.prepare_active()?;
            let active = self.active_mut()?;
            if active.size > 0 {
                active.seal(&files)?;
            }
        }
        // A log that never had a record has nothing to lose: the metadata log makes it again.
        if self.log_end_offset > 0 {
            self.flush_now(true)?;
        }
        for segment in &self.segments {
            segment.close();
        }
        Ok(())
    }

    /// Saves the producers at the base of the next segment, without what `unwritten` changed. Not synced: if it is lost,
    /// an older one and the batches after it say the same.
    pub(super) fn take_snapshot(&mut self, offset: i64, unwritten: &[Undo]) -> Result<()> {
        if self.snapshots.last().is_some_and(|last| *last >= offset) {
            return Ok(());
        }
        let path = self.files.path(offset, SNAPSHOT_SUFFIX);
        let bytes = if unwritten.is_empty() {
            producer_snapshot::encode(self.producers.entries())
        } else {
            let mut before = self.producers.clone();
            unwritten.iter().rev().for_each(|change| before.undo(change));
            producer_snapshot::encode(before.entries())
        };
        write_atomic_unsynced(self.files.disk(), &path, &bytes).at("write", &path)?;
        self.directory_changed = true;
        self.note_snapshot(offset);
        Ok(())
    }

    /// Keeps only the newest snapshot that is not at a segment's base.
    fn note_snapshot(&mut self, offset: i64) {
        let segments = &self.segments;
        let at_base = |offset: i64| segments.iter().any(|segment| segment.base_offset == offset);
        let superseded: Vec<i64> =
            self.snapshots.iter().copied().filter(|known| *known < offset && !at_base(*known)).collect();
        for old in superseded {
            let path = self.files.path(old, SNAPSHOT_SUFFIX);
            // One too many does no harm: the next start removes it.
            if let Err(error) = self.files.disk().remove(&path) {
                tracing::debug!(%error, path = %path.display(), "an old producer snapshot stays");
            }
            self.snapshots.retain(|known| *known != old);
        }
        if let Err(at) = self.snapshots.binary_search(&offset) {
            self.snapshots.insert(at, offset);
        }
    }

    /// When the oldest renamed file may be removed, milliseconds since 1970.
    #[must_use]
    pub fn next_file_deletion(&self) -> Option<Timestamp> {
        self.deleted.iter().map(|(when, _)| Timestamp(*when)).min()
    }
}

fn open_existing<D: Disk>(files: &Files<D>, path: &Path) -> Result<Option<Arc<D::File>>> {
    match files.disk().open(path, OpenMode::ReadWrite) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("open", path),
    }
}
