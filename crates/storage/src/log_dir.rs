//! A log directory (`LogManager`): its lock, its mark of a clean shutdown, its checkpoint files, and the partitions in
//! it, loaded by several threads. The logs themselves belong to whoever asked for them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use milena_types::{Offset, Timestamp, Uuid};

use crate::checkpoint::{
    CLEANER_OFFSET_CHECKPOINT, CleanShutdown, LOG_START_OFFSET_CHECKPOINT, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT,
    read_offsets, read_topic_id, write_offsets,
};
use crate::config::LogConfig;
use crate::disk::{Disk, DiskFile};
use crate::error::{At, Error, Result};
use crate::file_cache::FileCache;
use crate::log::{Log, LogOpen, RecoveryReport};
use crate::names::{DirectoryKind, TopicPartition};

/// Directories a broker keeps in a log directory that are not partitions of its own.
const METADATA_LOG: &str = "__cluster_metadata-0";

/// A partition found at start.
#[derive(Debug)]
pub struct LoadedLog<D: Disk> {
    /// Its name.
    pub partition: TopicPartition,
    /// From `partition.metadata`; `None` if that is missing.
    pub topic_id: Option<Uuid>,
    /// Its log.
    pub log: Log<D>,
    /// What opening it took.
    pub report: RecoveryReport,
}

/// An open log directory. The lock is held until it is dropped.
#[derive(Debug)]
pub struct LogDir<D: Disk> {
    cache: Arc<FileCache<D>>,
    path: PathBuf,
    previous: Option<CleanShutdown>,
    lock: Arc<D::File>,
}

impl<D: Disk> LogDir<D> {
    /// Locks the directory, which is made if it does not exist, and takes down the mark of a clean shutdown.
    ///
    /// # Errors
    /// IO; `Locked` if another process has it.
    pub fn open(cache: &Arc<FileCache<D>>, path: &Path) -> Result<LogDir<D>> {
        let disk = cache.disk();
        if disk.metadata(path).at("look at", path)?.is_none() {
            disk.create_directory(path).at("create", path)?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                disk.sync_directory(parent).at("sync", parent)?;
            }
        }
        let lock_path = path.join(".lock");
        let lock = disk.try_lock(&lock_path).at("lock", &lock_path)?;
        let lock = lock.ok_or_else(|| Error::Locked { path: path.to_owned() })?;
        let previous = CleanShutdown::read(disk, path)?;
        Ok(LogDir { cache: Arc::clone(cache), path: path.to_owned(), previous, lock })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files open in it.
    #[must_use]
    pub fn cache(&self) -> &Arc<FileCache<D>> {
        &self.cache
    }

    /// How the last run ended: `None` if not cleanly. Its broker epoch goes into the registration (KIP-966).
    #[must_use]
    pub fn previous_shutdown(&self) -> Option<CleanShutdown> {
        self.previous
    }

    /// Opens all partitions with `threads` threads; `config_of` gives a topic's settings. Directories that wait for
    /// deletion are removed; `-stray` ones and the metadata log are left alone. Afterwards the mark of a clean
    /// shutdown is gone.
    ///
    /// # Errors
    /// IO, damage no crash explains, or a directory with a foreign name: the log directory cannot be used.
    pub fn load(
        &self,
        threads: usize,
        now: Timestamp,
        config_of: &(dyn Fn(&str) -> Arc<LogConfig> + Sync),
    ) -> Result<Vec<LoadedLog<D>>> {
        let names = self.partition_names()?;
        let recovery_points = self.read_checkpoint(RECOVERY_POINT_CHECKPOINT)?;
        let log_starts = self.read_checkpoint(LOG_START_OFFSET_CHECKPOINT)?;
        let cleaned = self.read_checkpoint(CLEANER_OFFSET_CHECKPOINT)?;
        CleanShutdown::remove(self.cache.disk(), &self.path)?;
        let next = AtomicUsize::new(0);
        let outcome = Mutex::new((Vec::with_capacity(names.len()), None));
        let work = || {
            while let Some(partition) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                let get = |offsets: &OffsetCheckpoint| offsets.get(partition).copied().unwrap_or(Offset(0));
                let open = LogOpen {
                    recovery_point: get(&recovery_points),
                    log_start_offset: get(&log_starts),
                    clean_shutdown: self.previous.is_some(),
                    cleaned_to: cleaned.get(partition).copied(),
                    now,
                };
                let loaded = self.load_one(partition, &config_of(&partition.topic), open);
                let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
                match loaded {
                    Ok(loaded) => outcome.0.push(loaded),
                    Err(error) => {
                        outcome.1.get_or_insert(error);
                        next.store(names.len(), Ordering::Relaxed);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.clamp(1, names.len().max(1)) {
                scope.spawn(work);
            }
            work();
        });
        let (mut loaded, failed) = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = failed {
            return Err(error);
        }
        loaded.sort_by(|left, right| left.partition.cmp(&right.partition));
        Ok(loaded)
    }

    fn load_one(&self, partition: &TopicPartition, config: &Arc<LogConfig>, open: LogOpen) -> Result<LoadedLog<D>> {
        let directory = self.path.join(partition.to_string());
        let topic_id = read_topic_id(self.cache.disk(), &directory)?;
        let (log, report) = Log::open(&self.cache, &directory, config, open)?;
        Ok(LoadedLog { partition: partition.clone(), topic_id, log, report })
    }

    /// The partitions of the directory; those that wait for deletion are removed on the way.
    fn partition_names(&self) -> Result<Vec<TopicPartition>> {
        let disk = self.cache.disk();
        let mut names = Vec::new();
        for entry in disk.list(&self.path).at("list", &self.path)? {
            let path = self.path.join(&entry.name);
            // Kafka passes over its own directories for tiered storage, and file systems have one for lost files.
            if !entry.is_directory || entry.name == METADATA_LOG || entry.name.starts_with("remote-log-index-cache") {
                continue;
            }
            match DirectoryKind::parse(&entry.name) {
                Some(DirectoryKind::Log(partition)) => names.push(partition),
                Some(DirectoryKind::Delete(_)) => remove_deleted(disk, &path).at("remove", &path)?,
                Some(DirectoryKind::Stray(_) | DirectoryKind::Future(_)) => {}
                None => return Err(Error::NotAPartition { path }),
            }
        }
        Ok(names)
    }

    /// Makes a new partition's log. Nothing is synced: the metadata log makes it again if a power cut takes it, and a
    /// flush of the log makes it durable.
    ///
    /// # Errors
    /// IO, among it that it exists.
    pub fn create_log(
        &self,
        partition: &TopicPartition,
        topic_id: Option<Uuid>,
        config: &Arc<LogConfig>,
        now: Timestamp,
    ) -> Result<Log<D>> {
        Log::create(&self.cache, &self.path.join(partition.to_string()), config, topic_id, now)
    }

    /// Renames a partition's directory so that no start will load it; it is removed with `remove_deleted`.
    /// `unique` is a random id.
    ///
    /// # Errors
    /// IO.
    pub fn delete_log(&self, partition: &TopicPartition, log: Log<D>, unique: Uuid) -> Result<PathBuf> {
        drop(log);
        self.move_away(partition, &partition.delete_name(unique))
    }

    /// Sets a directory aside whose partition the metadata does not know; nothing removes it.
    ///
    /// # Errors
    /// IO.
    pub fn set_stray(&self, partition: &TopicPartition, log: Log<D>, unique: Uuid) -> Result<PathBuf> {
        drop(log);
        self.move_away(partition, &partition.stray_name(unique))
    }

    fn move_away(&self, partition: &TopicPartition, name: &str) -> Result<PathBuf> {
        let from = self.path.join(partition.to_string());
        let to = self.path.join(name);
        self.cache.disk().rename(&from, &to).at("rename", &from)?;
        Ok(to)
    }

    /// Reads the checkpoint file `name`; empty if there is none.
    ///
    /// # Errors
    /// IO, malformed lines.
    pub fn read_checkpoint(&self, name: &str) -> Result<OffsetCheckpoint> {
        read_offsets(self.cache.disk(), &self.path, name)
    }

    /// Replaces the checkpoint file `name` durably. Recovery points may only be written of logs whose directory entry
    /// is durable, too: call `sync` first if logs were made since.
    ///
    /// # Errors
    /// IO.
    pub fn write_checkpoint(&self, name: &str, offsets: &OffsetCheckpoint) -> Result<()> {
        write_offsets(self.cache.disk(), &self.path, name, offsets)
    }

    /// Makes the names in the directory durable.
    ///
    /// # Errors
    /// IO.
    pub fn sync(&self) -> Result<()> {
        self.cache.disk().sync_directory(&self.path).at("sync", &self.path)
    }

    /// Makes everything written to the directory's file system durable, files and names.
    ///
    /// # Errors
    /// IO: nothing is known then about what was written since the last sync of any log of the directory.
    pub fn sync_file_system(&self) -> Result<()> {
        // The lock's file was opened before anything was written: it learns of every failed write since.
        self.lock.sync_file_system().at("sync the file system of", &self.path)
    }

    /// Ends a run cleanly: all logs must have been closed. Writes recovery points and log starts, then the mark.
    ///
    /// # Errors
    /// IO; the next start then recovers.
    pub fn close<'log>(
        self,
        logs: impl Iterator<Item = (TopicPartition, &'log Log<D>)>,
        broker_epoch: i64,
    ) -> Result<()> {
        let mut recovery_points = OffsetCheckpoint::new();
        let mut log_starts = OffsetCheckpoint::new();
        for (partition, log) in logs {
            if let Some(start) = log.log_start_to_checkpoint() {
                log_starts.insert(partition.clone(), start);
            }
            recovery_points.insert(partition, log.recovery_point());
        }
        self.write_checkpoint(RECOVERY_POINT_CHECKPOINT, &recovery_points)?;
        self.write_checkpoint(LOG_START_OFFSET_CHECKPOINT, &log_starts)?;
        CleanShutdown::write(self.cache.disk(), &self.path, broker_epoch)
    }
}

/// Removes the directory of a partition that was renamed to be deleted. Its new name is durable before: a power cut must not
/// bring back, under the old name, a log of which half the files are gone.
///
/// # Errors
/// IO.
pub fn remove_deleted<D: Disk>(disk: &D, path: &Path) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        disk.sync_directory(parent)?;
    }
    disk.remove_directory(path)
}

#[cfg(test)]
#[path = "log_dir_tests.rs"]
mod tests;
