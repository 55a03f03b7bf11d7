//! Making the log durable in two steps: what must be synced is gathered under the partition's lock, the syncs run
//! without it, and the result is noted under it again. One sync serves all that was appended before it (group commit).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_types::{Offset, Timestamp};

use super::{Log, SmallFiles};
use crate::checkpoint::{PARTITION_METADATA, write_epochs};
use crate::disk::{Disk, DiskFile, OpenMode, write_atomic};
use crate::epochs::EpochEntry;
use crate::error::{At, Result};
use crate::files::Files;
use crate::producer_snapshot::SNAPSHOT_SUFFIX;

/// What changed beside the segments since it was last synced.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unsynced {
    /// `leader-epoch-checkpoint` is behind. It is written by flushes only, before the recovery point passes an epoch's
    /// first batch: recovery finds the later ones in the batches.
    pub(super) epochs: bool,
    /// Names changed in the directory.
    pub(super) directory: bool,
    /// The directory itself is new: its name in its log directory may not survive a power cut.
    pub(super) name: bool,
    /// `partition.metadata` was written.
    pub(super) metadata: bool,
    /// Counts the changes, to see whether there were more while a sync ran.
    pub(super) changes: u64,
}

impl Unsynced {
    pub(super) fn epochs_changed(&mut self) {
        self.epochs = true;
        self.changes += 1;
    }

    pub(super) fn directory_changed(&mut self) {
        self.directory = true;
        self.changes += 1;
    }

    /// What was taken from here to be synced is to be synced again.
    fn take_back(&mut self, under_way: Unsynced) {
        self.epochs |= under_way.epochs;
        self.directory |= under_way.directory;
        self.name |= under_way.name;
        self.metadata |= under_way.metadata;
        self.changes += 1;
    }

    /// Nothing is known of what is on disk.
    pub(super) fn all_changed(&mut self) {
        self.epochs_changed();
        self.directory_changed();
        self.name = true;
        self.metadata = true;
    }
}

/// The syncs that make a log durable up to an offset.
#[derive(Debug)]
pub struct FlushHandle<D: Disk> {
    disk: D,
    directory: Arc<Path>,
    files: Vec<(PathBuf, Arc<D::File>)>,
    sync_directory: bool,
    sync_name: bool,
    small_files: SmallFiles,
    /// With the `Unsynced::changes` they are as of.
    epochs: Option<(u64, Vec<EpochEntry>)>,
    snapshot: Option<(i64, PathBuf, Vec<u8>)>,
    end_offset: i64,
    appended_bytes: u64,
    truncations: u64,
}

/// What a flush has made durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the log learns of it by `Log::flushed`"]
pub struct Flushed {
    /// Everything below it.
    pub end_offset: Offset,
    pub(super) appended_bytes: u64,
    pub(super) snapshot: Option<i64>,
    /// `Unsynced::changes` before a sync of the whole file system; `None` for one of single files.
    pub(super) changes: Option<u64>,
    pub(super) truncations: u64,
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
    /// again could report success for bytes that are gone. Not so if the device merely is full
    /// (`Error::is_out_of_space`): `Log::put_back`, and flush again when there is room.
    pub fn run(&self) -> Result<Flushed> {
        for (path, file) in &self.files {
            file.sync_data().at("sync", path)?;
        }
        if let Some(log_dir) = self.directory.parent().filter(|_| self.sync_name) {
            self.disk.sync_directory(log_dir).at("sync", log_dir)?;
        }
        let (snapshot, are_names_synced) = self.write_small_files()?;
        if self.sync_directory && !are_names_synced {
            self.disk.sync_directory(&self.directory).at("sync", &self.directory)?;
        }
        Ok(Flushed {
            end_offset: self.end_offset(),
            appended_bytes: self.appended_bytes,
            snapshot,
            changes: None,
            truncations: self.truncations,
        })
    }

    /// The snapshot's offset if one was to be written and there was room for it: without it recovery reads more. It is the
    /// last of all, for it says that the log and the indexes below it are on disk. Whether the directory was synced, too.
    fn write_small_files(&self) -> Result<(Option<i64>, bool)> {
        if self.epochs.is_none() && self.snapshot.is_none() {
            return Ok((None, false));
        }
        let mut are_names_synced = false;
        let mut written = self.small_files.lock();
        if let Some((as_of, epochs)) = self.epochs.as_ref().filter(|(as_of, _)| *as_of >= written.epochs_as_of) {
            write_epochs(&self.disk, &self.directory, epochs)?;
            written.epochs_as_of = *as_of;
            are_names_synced = true;
        }
        let snapshot = self.snapshot.as_ref().filter(|_| self.truncations == written.truncations);
        let Some((offset, path, bytes)) = snapshot else { return Ok((None, are_names_synced)) };
        match write_atomic(&self.disk, path, bytes).at("write", path) {
            Ok(()) => Ok((Some(*offset), true)),
            Err(error) if error.is_out_of_space() => {
                tracing::warn!(%error, "a producer snapshot has no room");
                Ok((None, are_names_synced))
            }
            Err(error) => Err(error),
        }
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

    pub(super) fn bytes_since_checkpoint(&self) -> u64 {
        self.appended_bytes.saturating_sub(self.checkpointed_bytes)
    }

    /// Whether a clean start would lack something: indexes and producers are behind, or were cut off with the log's end.
    pub(super) fn needs_checkpoint(&self) -> bool {
        let end = self.log_end_offset;
        self.bytes_since_checkpoint() > 0 || end > 0 && self.snapshots.last().is_none_or(|newest| *newest < end)
    }

    pub(super) fn checkpoint_is_due(&self) -> bool {
        self.bytes_since_checkpoint() >= self.config.checkpoint_interval_bytes
    }

    pub(super) fn prepare(&mut self, checkpoint: bool) -> Result<Option<FlushHandle<D>>> {
        if self.failed {
            return Err(self.failure());
        }
        let behind = self.recovery_point < self.log_end_offset;
        if self.flushes_running > 0 {
            // They may end later than this one, or never.
            self.unsynced.take_back(self.under_way);
        }
        let checkpoint = checkpoint && self.needs_checkpoint();
        if !behind && !checkpoint && !self.unsynced.directory && !self.unsynced.epochs {
            return Ok(None);
        }
        let mut synced = Vec::new();
        if self.unsynced.metadata {
            let path = self.files.directory.join(PARTITION_METADATA);
            synced.extend(open_existing(&self.files, &path)?.map(|file| (path, file)));
        }
        let from = self.first_to_flush();
        let last = self.segments.len().saturating_sub(1);
        for (at, segment) in self.segments.iter_mut().enumerate().skip(from) {
            if segment.size == 0 {
                continue;
            }
            synced.push((segment.path(&self.files), segment.file(&self.files)?));
            if at == last && !checkpoint {
                segment.make_indexes(&self.files)?;
                continue;
            }
            segment.seal(&self.files)?;
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
            (self.log_end_offset, path, self.producers.snapshot())
        });
        let epochs = self.unsynced.epochs.then(|| (self.unsynced.changes, self.epochs.entries().to_vec()));
        let (sync_directory, sync_name) = (self.unsynced.directory, self.unsynced.name);
        // Noted now: what changes while the syncs run belongs to the next flush. A failed flush stops the log.
        self.under_way = self.unsynced;
        self.unsynced = Unsynced { changes: self.unsynced.changes, ..Unsynced::default() };
        self.snapshot_under_way = snapshot.as_ref().map(|(offset, ..)| *offset).or(self.snapshot_under_way);
        self.flushes_running += 1;
        Ok(Some(FlushHandle {
            disk: self.files.disk().clone(),
            directory: Arc::clone(&self.files.directory),
            files: synced,
            sync_directory,
            sync_name,
            small_files: self.small_files.clone(),
            epochs,
            snapshot,
            end_offset: self.log_end_offset,
            appended_bytes: self.appended_bytes,
            truncations: self.truncations,
        }))
    }

    /// Notes what a flush made durable.
    pub fn flushed(&mut self, flushed: Flushed) {
        match flushed.changes {
            None => self.one_flush_less(),
            Some(changes) if changes == self.unsynced.changes => {
                self.unsynced = Unsynced { changes, ..Unsynced::default() };
            }
            Some(_) => {}
        }
        // What was cut off and written again while the syncs ran is not what they made durable.
        if flushed.truncations != self.truncations {
            return;
        }
        if flushed.end_offset.0 >= self.recovery_point {
            self.recovery_point = flushed.end_offset.0;
            self.flushed_bytes = flushed.appended_bytes;
        }
        let Some(offset) = flushed.snapshot else { return };
        self.checkpointed_bytes = flushed.appended_bytes;
        self.note_snapshot(offset);
    }

    /// A flush found no room for what it had to write: what it was about is left for the next one.
    pub fn put_back(&mut self, flush: &FlushHandle<D>) {
        self.one_flush_less();
        if flush.epochs.is_some() {
            self.unsynced.epochs_changed();
        }
        if flush.sync_directory {
            self.unsynced.directory_changed();
        }
    }

    fn one_flush_less(&mut self) {
        self.flushes_running = self.flushes_running.saturating_sub(1);
        if self.flushes_running == 0 {
            self.under_way = Unsynced::default();
            self.snapshot_under_way = None;
        }
    }

    /// Flushes here and now, in the caller's thread.
    ///
    /// # Errors
    /// IO; the log takes no more writes then.
    pub fn flush(&mut self) -> Result<()> {
        self.flush_now(self.checkpoint_is_due())
    }

    pub(super) fn flush_now(&mut self, checkpoint: bool) -> Result<()> {
        let Some(handle) = self.prepare(checkpoint)? else { return Ok(()) };
        match handle.run() {
            Ok(flushed) => {
                self.flushed(flushed);
                Ok(())
            }
            Err(error) => {
                self.put_back(&handle);
                self.failed |= !error.is_out_of_space();
                Err(error)
            }
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
