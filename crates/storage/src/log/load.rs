//! Making and opening a log (`LogLoader`, `UnifiedLog`). After a clean shutdown the files are believed; after any other
//! end, what is not below the recovery point is read and checked.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use milena_types::{Offset, Timestamp, Uuid};

use super::Log;
use super::flush::Unsynced;
use crate::checkpoint::{read_epochs, write_topic_id};
use crate::config::LogConfig;
use crate::disk::{Disk, OpenMode};
use crate::epochs::EpochCache;
use crate::error::{At, Error, Result, corrupt};
use crate::file_cache::FileCache;
use crate::files::{CLEANED, DELETED, Files, SWAP, file_name, parse_file_name};
use crate::index::{IndexEntry, OffsetEntry, TimeEntry};
use crate::producer_snapshot::SNAPSHOT_SUFFIX;
use crate::producers::Producers;
use crate::scan::Headers;
use crate::segment::Segment;

/// What is known of a log before its files are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogOpen {
    /// From `recovery-point-offset-checkpoint`; 0 if it is not there.
    pub recovery_point: Offset,
    /// From `log-start-offset-checkpoint`; 0 if it is not there.
    pub log_start_offset: Offset,
    /// Whether the last broker closed every log of the directory.
    pub clean_shutdown: bool,
    /// From `cleaner-offset-checkpoint`: below it compaction may have left gaps between segments.
    pub cleaned_to: Option<Offset>,
    /// Now.
    pub now: Timestamp,
}

/// What opening a log took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecoveryReport {
    /// Segments whose batches were read and checked.
    pub segments_scanned: u32,
    /// Bytes of whole, undamaged batches found there.
    pub bytes_scanned: u64,
    /// Batches below the recovery point that are damaged. They were on disk once, so that is no torn end: they are left
    /// where they are.
    pub batches_damaged: u32,
    /// Bytes cut off: a torn or damaged tail, and segments after it.
    pub bytes_truncated: u64,
}

/// Names found in the directory.
#[derive(Default)]
pub(super) struct Found {
    logs: Vec<i64>,
    indexes: BTreeSet<i64>,
    time_indexes: BTreeSet<i64>,
    snapshots: Vec<i64>,
    epochs: bool,
}

impl<D: Disk> Log<D> {
    /// Makes the directory and files of a new partition: as few calls as possible, nothing is synced. The file is the
    /// first a flush makes durable.
    ///
    /// # Errors
    /// IO, among it that the directory exists.
    pub fn create(
        cache: &Arc<FileCache<D>>,
        directory: &Path,
        config: &Arc<LogConfig>,
        topic_id: Option<Uuid>,
        now: Timestamp,
    ) -> Result<Log<D>> {
        let disk = cache.disk();
        disk.create_directory(directory).at("create", directory)?;
        let made = Log::fill_directory(cache, directory, config, topic_id, now);
        if made.is_err() {
            // Half a log would be in the way when it is made again.
            let _ = disk.remove_directory(directory);
        }
        made
    }

    fn fill_directory(
        cache: &Arc<FileCache<D>>,
        directory: &Path,
        config: &Arc<LogConfig>,
        topic_id: Option<Uuid>,
        now: Timestamp,
    ) -> Result<Log<D>> {
        if let Some(topic_id) = topic_id {
            write_topic_id(cache.disk(), directory, topic_id)?;
        }
        let mut log = Log::bare(cache, directory, config);
        log.add_empty_segment(0, now)?;
        log.unsynced.name = true;
        log.unsynced.metadata = topic_id.is_some();
        Ok(log)
    }

    /// Opens the log in `directory`, which must exist; an empty directory becomes an empty log that begins at
    /// `log_start_offset`.
    ///
    /// # Errors
    /// IO, or a file that is corrupt in a way a crash does not explain.
    pub fn open(
        cache: &Arc<FileCache<D>>,
        directory: &Path,
        config: &Arc<LogConfig>,
        open: LogOpen,
    ) -> Result<(Log<D>, RecoveryReport)> {
        let mut log = Log::bare(cache, directory, config);
        log.cleaned_to = open.cleaned_to;
        let mut report = RecoveryReport::default();
        let found = log.list_files()?;
        let mut epochs_lost = false;
        if found.epochs {
            match read_epochs(cache.disk(), directory) {
                Ok(epochs) => log.epochs = EpochCache::from_entries(&epochs),
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::warn!(%error, "the epochs are taken from the batches");
                    epochs_lost = true;
                }
                Err(error) => return Err(error),
            }
        }
        for base_offset in &found.logs {
            let path = log.files.path(*base_offset, "log");
            let size = cache.disk().metadata(&path).at("look at", &path)?.map_or(0, |metadata| metadata.len);
            let indexes = (found.indexes.contains(base_offset), found.time_indexes.contains(base_offset));
            log.segments.push(Segment::existing((*base_offset, size), indexes, config, open.now.0));
        }
        log.snapshots.clone_from(&found.snapshots);
        let missing = |segment: &Segment<D>| {
            let indexed =
                found.indexes.contains(&segment.base_offset) && found.time_indexes.contains(&segment.base_offset);
            segment.size > 0 && (!indexed || epochs_lost)
        };
        let unindexed: BTreeSet<i64> =
            log.segments.iter().filter(|segment| missing(segment)).map(|segment| segment.base_offset).collect();
        log.recover(open, &unindexed, &mut report)?;
        Ok((log, report))
    }

    fn bare(cache: &Arc<FileCache<D>>, directory: &Path, config: &Arc<LogConfig>) -> Log<D> {
        Log {
            files: Files { cache: Arc::clone(cache), directory: directory.into(), suffix: "" },
            config: Arc::clone(config),
            segments: Vec::with_capacity(1),
            epochs: EpochCache::default(),
            producers: Producers::default(),
            snapshots: Vec::new(),
            log_start_offset: 0,
            log_end_offset: 0,
            recovery_point: 0,
            appended_bytes: 0,
            flushed_bytes: 0,
            saved_bytes: 0,
            checkpointed_bytes: 0,
            unsynced: Unsynced::default(),
            under_way: Unsynced::default(),
            snapshot_under_way: None,
            small_files: super::SmallFiles::default(),
            flushes_running: 0,
            truncations: 0,
            saved_recovery_point: 0,
            active_ready: false,
            failed: false,
            deleted: Vec::new(),
            turn: super::Turn::default(),
            damaged: Vec::new(),
            holds_indexes: false,
            cleaned_to: None,
        }
    }

    /// Makes the only segment.
    pub(super) fn add_empty_segment(&mut self, base_offset: i64, now: Timestamp) -> Result<()> {
        let segment = Segment::empty(base_offset, &self.config, now.0);
        let path = segment.path(&self.files);
        self.files.cache.get(&segment.log, &path, OpenMode::CreateEmpty).at("create", &path)?;
        self.segments.push(segment);
        self.unsynced.directory_changed();
        Ok(())
    }

    /// Sorts out the directory's files; leftovers of deletions and of an interrupted compaction are dealt with.
    fn list_files(&self) -> Result<Found> {
        let directory = &self.files.directory;
        let list = || self.files.disk().list(directory).at("list", directory);
        let mut entries = list()?;
        let leftover = |name: &str| name.ends_with(DELETED) || name.ends_with(CLEANED) || name.ends_with(SWAP);
        if entries.iter().any(|entry| leftover(&entry.name)) {
            let names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
            self.complete_deletions(&names)?;
            self.clear_leftovers(&names)?;
            entries = list()?;
        }
        let mut found = Found::default();
        for entry in entries.iter().filter(|entry| !entry.is_directory) {
            match parse_file_name(&entry.name) {
                Some((offset, "log")) => found.logs.push(offset),
                Some((offset, suffix)) if suffix == OffsetEntry::SUFFIX => _ = found.indexes.insert(offset),
                Some((offset, suffix)) if suffix == TimeEntry::SUFFIX => _ = found.time_indexes.insert(offset),
                Some((offset, suffix)) if suffix == SNAPSHOT_SUFFIX => found.snapshots.push(offset),
                _ => found.epochs |= entry.name == "leader-epoch-checkpoint",
            }
        }
        found.logs.sort_unstable();
        found.snapshots.sort_unstable();
        self.look_for_lost_logs(&entries, &found)?;
        Ok(found)
    }

    /// Removes the index files of segments whose log file bears the name of a deletion: it gets that name first. Before that
    /// file goes: an index without its log would tell that the log was lost.
    fn complete_deletions(&self, names: &[String]) -> Result<()> {
        let deleted: BTreeSet<&str> = names.iter().filter_map(|name| name.strip_suffix(".log.deleted")).collect();
        let is_there = |base: &str| names.iter().any(|name| name.strip_suffix(".log") == Some(base));
        for name in names {
            if let Some((base, "index" | "timeindex" | "txnindex")) = name.split_once('.')
                && deleted.contains(base)
                && !is_there(base)
            {
                self.remove_file(name)?;
            }
        }
        Ok(())
    }

    /// An index whose log is not there: no crash leaves that, for a log file is renamed before its indexes and removed after
    /// them. Kafka removes the index, and goes on without the records.
    fn look_for_lost_logs(&self, entries: &[crate::disk::Entry], found: &Found) -> Result<()> {
        for entry in entries {
            if let Some((offset, "index" | "timeindex")) = parse_file_name(&entry.name)
                && found.logs.binary_search(&offset).is_err()
            {
                let path = self.files.path(offset, "log");
                let reason = format!("the file is not there, but its {} is: records are lost", entry.name);
                return Err(corrupt(&path, 0, reason));
            }
        }
        Ok(())
    }

    /// `LogLoader.removeTempFilesAndCollectSwapFiles` and the completion of an interrupted swap.
    fn clear_leftovers(&self, names: &[String]) -> Result<()> {
        let offset = |name: &str| parse_file_name(name).map(|(offset, _)| offset);
        let cleaned_min = names.iter().filter(|name| name.ends_with(CLEANED)).filter_map(|name| offset(name)).min();
        let mut swaps = Vec::new();
        for name in names {
            if name.ends_with(CLEANED) || name.ends_with(DELETED) && !name.contains(".checkpoint") {
                self.remove_file(name)?;
            } else if name.ends_with(SWAP) {
                // A group of swap files is whole only if no cleaned file is left of it.
                if cleaned_min.is_some_and(|min| offset(name).is_some_and(|offset| offset >= min)) {
                    self.remove_file(name)?;
                } else {
                    swaps.push(name);
                }
            }
        }
        let mut replaced: Option<(i64, i64)> = None;
        for name in swaps.iter().filter(|name| name.ends_with(".log.swap")) {
            let Some(base_offset) = offset(name) else { continue };
            // All records of it may be gone, and the segment it replaces is there still.
            let next = self.next_offset_of(name)?.max(base_offset + 1);
            let (min, max) = replaced.unwrap_or((base_offset, next));
            replaced = Some((min.min(base_offset), max.max(next)));
        }
        if let Some((min, max)) = replaced {
            for name in names.iter().filter(|name| !name.ends_with(SWAP) && !name.ends_with(CLEANED)) {
                if !name.ends_with(DELETED) && offset(name).is_some_and(|offset| (min..max).contains(&offset)) {
                    self.remove_file(name)?;
                }
            }
        }
        for name in swaps {
            let from = self.files.directory.join(name);
            let to = self.files.directory.join(name.trim_end_matches(SWAP));
            self.files.disk().rename(&from, &to).at("rename", &from)?;
        }
        Ok(())
    }

    fn next_offset_of(&self, name: &str) -> Result<i64> {
        let path = self.files.directory.join(name);
        let file = self.files.disk().open(&path, OpenMode::Read).at("open", &path)?;
        let size = crate::disk::DiskFile::len(&*file).at("look at", &path)?;
        let mut headers = Headers::sequential(&*file, 0, size);
        let mut next = -1;
        while let Some(place) = headers.next().at("read", &path)? {
            next = place.header.next_offset().0;
        }
        Ok(next)
    }

    pub(super) fn remove_segment_files(&self, base_offset: i64) -> Result<()> {
        for suffix in ["index", "timeindex", "txnindex", "log"] {
            self.remove_file(&file_name(base_offset, suffix))?;
        }
        Ok(())
    }

    pub(super) fn remove_file(&self, name: &str) -> Result<()> {
        let path = self.files.directory.join(name);
        match self.files.disk().remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", &path),
            _ => Ok(()),
        }
    }
}
