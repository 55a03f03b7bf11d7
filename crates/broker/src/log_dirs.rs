//! The log directories of a broker: which are online, which take no new partitions, and the news of both for the
//! controller. A directory that failed stays offline until the broker starts again. Kafka's counterparts are
//! `LogManager`, `LogDirFailureChannel` and `DirectoryEventHandler`.
//!
//! Whoever sees an I/O error says so with `Directory::fail`, from any thread and under any lock; the partitions of the
//! directory go offline in `Broker::settle_failed_log_dirs`, and only then the controller is told, so that another
//! leader is not elected while this one still serves.

mod spoken_of;

use milena_storage::disk::RealDisk;
use milena_storage::{Error, FileCache, LogDir, TopicPartition};
use milena_types::Uuid;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// What the controller is to know of the directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryNews {
    /// The directories that failed while the broker ran.
    pub offline: Vec<Uuid>,
    /// The directories that take no new partitions; `None` while the cluster does not know of that (KIP-1066).
    pub cordoned: Option<Vec<Uuid>>,
    /// Nothing is left to run on.
    pub is_fatal: bool,
}

/// A log directory that was usable when the broker started.
#[derive(Debug)]
pub struct Directory {
    locked: LogDir<RealDisk>,
    id: Uuid,
    is_online: AtomicBool,
    is_cordoned: AtomicBool,
    room: Room,
    /// The logs of which each checkpoint file says something, where that must not be said of another log of the same name.
    spoken_of: Mutex<BTreeMap<&'static str, BTreeSet<TopicPartition>>>,
    failures: Arc<Failures>,
}

/// What may still be written, as of the last look less what was appended since.
#[derive(Debug)]
struct Room {
    is_full: AtomicBool,
    /// Bytes above the reserve; without bound until somebody looks.
    above_reserve: AtomicI64,
    /// Bytes free, the reserve included.
    free: AtomicI64,
}

impl Default for Room {
    fn default() -> Self {
        Self { is_full: AtomicBool::new(false), above_reserve: i64::MAX.into(), free: i64::MAX.into() }
    }
}

/// Directories that failed and whose partitions may still be online.
#[derive(Debug, Default)]
struct Failures {
    pending: Mutex<Vec<Uuid>>,
    added: Notify,
}

impl Failures {
    fn pending(&self) -> MutexGuard<'_, Vec<Uuid>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Directory {
    /// As in `log.dirs`.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.locked.path()
    }

    /// `directory.id` of its `meta.properties`.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The directory's files.
    #[must_use]
    pub fn files(&self) -> &LogDir<RealDisk> {
        &self.locked
    }

    /// Whether nothing of it failed.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.is_online.load(Ordering::Acquire)
    }

    /// Whether it takes no new partitions.
    #[must_use]
    pub fn is_cordoned(&self) -> bool {
        self.is_cordoned.load(Ordering::Acquire)
    }

    /// Whether its file system has less room than is kept in reserve: records of clients and of leaders are refused.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.room.is_full.load(Ordering::Relaxed)
    }

    /// Takes room for records; `false` if there is none without the reserve.
    pub(crate) fn take_room(&self, bytes: usize) -> bool {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.is_full() {
            return false;
        }
        if self.room.above_reserve.fetch_sub(bytes, Ordering::Relaxed) < bytes {
            self.set_full(true, "no room is left above the reserve");
            return false;
        }
        true
    }

    /// Bytes free when somebody last looked, the reserve included.
    pub(crate) fn free_bytes(&self) -> i64 {
        self.room.free.load(Ordering::Relaxed)
    }

    /// Notes what room there is.
    pub(crate) fn set_room(&self, free: i64, reserve: i64) {
        self.room.free.store(free, Ordering::Relaxed);
        self.room.above_reserve.store(free.saturating_sub(reserve), Ordering::Relaxed);
    }

    /// Says whether there is room for records, and tells a person if that is new.
    pub(crate) fn set_full(&self, is_full: bool, why: &str) {
        if self.room.is_full.swap(is_full, Ordering::AcqRel) == is_full {
            return;
        }
        let path = self.path().display();
        if is_full {
            tracing::error!(%path, "the log directory is full: {why}; records are refused until there is room again");
        } else {
            tracing::info!(%path, "the log directory has room again and takes records");
        }
    }

    /// Something of the directory failed. A device that merely is full refuses records from now on. Any other I/O error takes it offline for as long as the broker runs; anything else
    /// says nothing about the device.
    pub(crate) fn fail(&self, error: &Error) {
        if error.is_out_of_space() {
            return self.set_full(true, &error.to_string());
        }
        if !matches!(error, Error::Io { .. }) || !self.is_online.swap(false, Ordering::AcqRel) {
            return;
        }
        tracing::error!(path = %self.path().display(), %error, "the log directory failed and is offline until the broker starts again");
        self.failures.pending().push(self.id);
        self.failures.added.notify_one();
    }
}

/// All directories of `log.dirs`.
#[derive(Debug)]
pub struct LogDirs {
    directories: Vec<Arc<Directory>>,
    unusable: Vec<PathBuf>,
    metadata_dir: PathBuf,
    /// Where partitions that are not here yet shall go.
    preferred: Mutex<BTreeMap<TopicPartition, Uuid>>,
    /// Held while a checkpoint is gathered and written.
    checkpoints: Mutex<()>,
    failures: Arc<Failures>,
    news: watch::Sender<DirectoryNews>,
}

impl LogDirs {
    /// `usable` are locked, in the order of the configuration, with one cache of open files; `unusable` are those that
    /// could not be read at the start.
    #[must_use]
    pub fn new(usable: Vec<(LogDir<RealDisk>, Uuid)>, unusable: Vec<PathBuf>, metadata_dir: PathBuf) -> Self {
        let failures = Arc::<Failures>::default();
        let directory = |(locked, id)| {
            Arc::new(Directory {
                locked,
                id,
                is_online: AtomicBool::new(true),
                is_cordoned: AtomicBool::new(false),
                room: Room::default(),
                spoken_of: Mutex::default(),
                failures: Arc::clone(&failures),
            })
        };
        let directories = usable.into_iter().map(directory).collect();
        let preferred = Mutex::default();
        let news = watch::channel(DirectoryNews::default()).0;
        Self { directories, unusable, metadata_dir, preferred, checkpoints: Mutex::default(), failures, news }
    }

    /// Whoever holds this is alone with the checkpoint files.
    pub(crate) fn checkpoints(&self) -> MutexGuard<'_, ()> {
        self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that can be used.
    pub fn online(&self) -> impl Iterator<Item = &Arc<Directory>> {
        self.directories.iter().filter(|directory| directory.is_online())
    }

    /// Every path of the configuration, and the directory if it can be used.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Path, Option<&Arc<Directory>>)> {
        let usable = self.directories.iter();
        let usable =
            usable.map(|directory| (directory.path(), Some(directory).filter(|directory| directory.is_online())));
        usable.chain(self.unusable.iter().map(|path| (path.as_path(), None)))
    }

    /// A partition shall go into `directory` when it comes here.
    pub(crate) fn prefer(&self, partition: TopicPartition, directory: Uuid) {
        self.preferred.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, directory);
    }

    /// Where a partition shall go that comes here now.
    pub(crate) fn take_preferred(&self, partition: &TopicPartition) -> Option<Uuid> {
        self.preferred.lock().unwrap_or_else(PoisonError::into_inner).remove(partition)
    }

    /// Whether logs may be where nobody can look.
    pub(crate) fn has_offline(&self) -> bool {
        !self.unusable.is_empty() || self.directories.iter().any(|directory| !directory.is_online())
    }

    /// An online directory by its id.
    pub(crate) fn by_id(&self, id: Uuid) -> Option<&Arc<Directory>> {
        self.online().find(|directory| directory.id == id)
    }

    /// The cache of open files; `None` without directories.
    pub(crate) fn files(&self) -> Option<&Arc<FileCache<RealDisk>>> {
        self.directories.first().map(|directory| directory.locked.cache())
    }

    /// Where a new partition goes for which none was chosen: the directory with the fewest that is neither cordoned nor
    /// full. If all are, the first that is not cordoned, or the first: the controller wanted it here
    /// (`LogManager.nextLogDirs`).
    pub(crate) fn emptiest(&self, counts: &BTreeMap<Uuid, usize>) -> Option<&Arc<Directory>> {
        let open = self.online().filter(|directory| !directory.is_cordoned());
        let emptiest =
            open.min_by_key(|directory| (directory.is_full(), counts.get(&directory.id).copied().unwrap_or(0)));
        emptiest.or_else(|| self.online().next())
    }

    /// Follows `cordoned.log.dirs`: a list of directories, `*` for all. `is_known` says whether the cluster knows of
    /// cordoned directories.
    pub(crate) fn set_cordoned(&self, text: &str, is_known: bool) {
        let named: BTreeSet<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        for directory in &self.directories {
            let is_named = named.contains("*") || directory.path().to_str().is_some_and(|path| named.contains(path));
            directory.is_cordoned.store(is_known && is_named, Ordering::Release);
        }
        let cordoned = self.online().filter(|directory| directory.is_cordoned()).map(|directory| directory.id);
        let cordoned = is_known.then(|| cordoned.collect());
        self.news.send_if_modified(|news| {
            let is_new = news.cordoned != cordoned;
            news.cordoned = cordoned;
            is_new
        });
    }

    /// Waits until a directory fails.
    pub(crate) async fn failed(&self) {
        self.failures.added.notified().await;
    }

    /// The directories that failed since this was last asked for.
    pub(crate) fn take_failed(&self) -> Vec<Uuid> {
        std::mem::take(&mut *self.failures.pending())
    }

    /// Tells the controller of `failed`, whose partitions are offline by now. Without the directory of the metadata log,
    /// or without any, the broker cannot go on (`ReplicaManager.handleLogDirFailure`).
    pub(crate) fn announce(&self, failed: Vec<Uuid>) {
        let lost = |directory: &Arc<Directory>| !directory.is_online() && directory.path() == self.metadata_dir;
        let is_fatal = self.online().next().is_none() || self.directories.iter().any(lost);
        if is_fatal {
            tracing::error!("the directory of the metadata log, or all log directories, failed: the broker ends");
        }
        self.news.send_modify(|news| {
            news.offline.extend(failed);
            news.is_fatal |= is_fatal;
        });
    }

    /// The controller did not learn of a failed directory in time: the broker must not go on.
    pub fn give_up(&self) {
        self.news.send_modify(|news| news.is_fatal = true);
    }

    /// What the controller is to know, as it changes.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<DirectoryNews> {
        self.news.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_storage::disk::RealDisk;

    fn log_dirs(root: &Path, names: &[&str]) -> LogDirs {
        let files = FileCache::new(RealDisk, 10);
        let open = |name: &&str| LogDir::open(&files, &root.join(name)).unwrap();
        let usable = names.iter().map(open).zip((200..).map(|id| Uuid([id; 16]))).collect();
        LogDirs::new(usable, Vec::new(), root.join(names[0]))
    }

    fn io_error() -> Error {
        Error::Io { operation: "write", path: "x".into(), source: std::io::Error::other("no device") }
    }

    fn path_of(directory: Option<&Arc<Directory>>) -> &str {
        directory.and_then(|directory| directory.path().file_name()?.to_str()).unwrap_or("none")
    }

    #[test]
    fn a_failed_directory_is_told_once_and_takes_no_partitions() {
        let root = tempfile::tempdir().unwrap();
        let dirs = log_dirs(root.path(), &["a", "b", "c"]);
        let b = Arc::clone(dirs.online().nth(1).unwrap());
        b.fail(&Error::Failed { path: "x".into() });
        assert!(b.is_online(), "only the device takes a directory offline");
        b.fail(&io_error());
        b.fail(&io_error());
        assert_eq!(dirs.take_failed(), [b.id()]);
        assert!(dirs.has_offline() && dirs.by_id(b.id()).is_none());
        let counts = dirs.online().map(|directory| (directory.id(), 2)).collect();
        assert_eq!(path_of(dirs.emptiest(&counts)), "a");
        dirs.announce(vec![b.id()]);
        let news = dirs.news().borrow().clone();
        assert_eq!((news.offline, news.is_fatal), (vec![b.id()], false));
    }

    #[test]
    fn a_full_directory_stays_online_and_refuses_what_would_take_the_reserve() {
        let root = tempfile::tempdir().unwrap();
        let dirs = log_dirs(root.path(), &["a", "b"]);
        let a = Arc::clone(dirs.online().next().unwrap());
        assert!(a.take_room(1 << 40), "nobody has looked yet");
        a.set_room(1000, 600);
        assert!(a.take_room(300) && a.take_room(100) && !a.is_full());
        assert!(!a.take_room(1) && a.is_full());
        a.set_room(2000, 600);
        assert!(!a.take_room(1), "only a look says that there is room again");
        a.set_full(false, "");
        assert!(a.take_room(1));
        let no_space = std::io::Error::from(std::io::ErrorKind::StorageFull);
        a.fail(&Error::Io { operation: "write", path: "x".into(), source: no_space });
        assert!(a.is_online() && a.is_full());
        assert_eq!(path_of(dirs.emptiest(&BTreeMap::from([(Uuid([201; 16]), 7)]))), "b");
        let lost = std::io::Error::from(std::io::ErrorKind::StorageFull);
        a.fail(&Error::Io { operation: "sync", path: "x".into(), source: lost });
        assert!(!a.is_online(), "what a sync did not write is lost, whatever the reason");
    }

    #[test]
    fn without_the_metadata_logs_directory_or_any_the_broker_ends() {
        let root = tempfile::tempdir().unwrap();
        let dirs = log_dirs(root.path(), &["a", "b"]);
        dirs.online().next().unwrap().fail(&io_error());
        dirs.announce(dirs.take_failed());
        assert!(dirs.news().borrow().is_fatal);
    }

    #[test]
    fn cordoned_directories_take_partitions_only_if_all_are() {
        let root = tempfile::tempdir().unwrap();
        let dirs = log_dirs(root.path(), &["a", "b"]);
        let a = root.path().join("a");
        dirs.set_cordoned(a.to_str().unwrap(), true);
        let cordoned = dirs.news().borrow().cordoned.clone();
        assert_eq!(cordoned, Some(vec![Uuid([200; 16])]));
        let counts = BTreeMap::from([(Uuid([201; 16]), 7)]);
        assert_eq!(path_of(dirs.emptiest(&counts)), "b");
        dirs.set_cordoned("*", true);
        assert_eq!(dirs.news().borrow().cordoned.as_ref().map(Vec::len), Some(2));
        assert_eq!(path_of(dirs.emptiest(&counts)), "a");
        dirs.set_cordoned("*", false);
        assert_eq!(dirs.news().borrow().cordoned, None, "an older cluster does not know of it");
        assert_eq!(path_of(dirs.emptiest(&counts)), "a");
    }
}
