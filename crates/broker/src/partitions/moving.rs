//! Moves of replicas between log directories (KIP-113, `ReplicaAlterLogDirsThread`): a copy of the log grows beside it in
//! the other directory; once it has everything, the controller is told; once the metadata say so, it takes the log's
//! place. One thread copies, a piece at a time.
//!
//! The copy has a lock of its own, taken before the partition's. What it has is compared with the log by leader epochs
//! whenever something was cut off, as a follower does. A copy found at a start goes on.

use super::directories::directory_name;
use super::future_log::{FutureLog, PIECE_BYTES, read_all};
use super::partition::Partition;
use crate::broker::Broker;
use crate::log_dirs::Directory;
use milena_replication::Role;
use milena_storage::disk::{Disk, RealDisk};
use milena_storage::{Error, Log};
use milena_types::{ErrorCode, Offset, Timestamp, Uuid};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks at copies that wait for the controller or for more records.
const LOOK: Duration = Duration::from_millis(50);

/// Shorter waits are not worth it.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// The partitions that are being moved.
#[derive(Debug)]
pub(crate) struct Moves {
    state: Mutex<MovesState>,
    added: Condvar,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`.
    bytes_per_second_max: AtomicI64,
}

impl Default for Moves {
    fn default() -> Self {
        Self { state: Mutex::default(), added: Condvar::new(), bytes_per_second_max: AtomicI64::new(i64::MAX) }
    }
}

#[derive(Debug, Default)]
struct MovesState {
    partitions: Vec<Arc<Partition>>,
    /// Directories that are left over, and when they may go.
    doomed: Vec<(Timestamp, PathBuf)>,
    is_stopping: bool,
}

/// What became of a look at a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// So many bytes.
    Copied(usize),
    /// The copy has everything.
    Complete,
    Waits,
    Ended,
}

impl Moves {
    fn state(&self) -> MutexGuard<'_, MovesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, partition: &Arc<Partition>) {
        let mut state = self.state();
        if !state.partitions.iter().any(|moving| Arc::ptr_eq(moving, partition)) {
            state.partitions.push(Arc::clone(partition));
        }
        drop(state);
        self.added.notify_one();
    }

    pub(super) fn stop(&self) {
        self.state().is_stopping = true;
        self.added.notify_all();
    }

    /// What is to be looked at; waits for it. `None` at the end.
    fn wait(&self, is_idle: bool) -> Option<Vec<Arc<Partition>>> {
        let mut state = self.state();
        if is_idle && !state.is_stopping && !state.partitions.is_empty() {
            state = self.added.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        let wanted = |state: &mut MovesState| state.partitions.is_empty() && !state.is_stopping;
        let state = self.added.wait_while(state, wanted).unwrap_or_else(PoisonError::into_inner);
        (!state.is_stopping).then(|| state.partitions.clone())
    }

    /// Waits for as long as what was copied may take; the rate may change meanwhile.
    fn pace(&self, bytes: usize) {
        let began = Instant::now();
        let mut state = self.state();
        while !state.is_stopping {
            let per_second = self.bytes_per_second_max.load(Ordering::Relaxed).max(1);
            let time = Duration::from_secs_f64((bytes as f64 / per_second as f64).min(1e6));
            let Some(left) = time.checked_sub(began.elapsed()).filter(|left| *left >= PAUSE_MIN) else { return };
            state = self.added.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Follows `replica.alter.log.dirs.io.max.bytes.per.second`.
    pub(crate) fn set_rate(&self, bytes_per_second_max: i64) {
        self.bytes_per_second_max.store(bytes_per_second_max, Ordering::Relaxed);
        drop(self.state());
        self.added.notify_all();
    }

    /// The directories whose time has come.
    pub(super) fn take_doomed(&self, now: Timestamp) -> Vec<PathBuf> {
        self.state().doomed.extract_if(.., |(at, _)| *at <= now).map(|(_, path)| path).collect()
    }

    fn remove(&self, partition: &Arc<Partition>) {
        self.state().partitions.retain(|moving| !Arc::ptr_eq(moving, partition));
    }
}

/// Copies until the end.
pub(super) fn run(broker: &Arc<Broker>) {
    let moves = broker.moves();
    let mut is_idle = false;
    while let Some(partitions) = moves.wait(is_idle) {
        is_idle = true;
        for partition in partitions {
            match partition.copy_on(broker) {
                Step::Copied(bytes) => {
                    is_idle = false;
                    moves.pace(bytes);
                }
                Step::Complete | Step::Waits => {}
                Step::Ended => moves.remove(&partition),
            }
        }
    }
}

impl Broker {
    /// Begins to move a replica to another log directory, or to the one it is in, which ends a move
    /// (`ReplicaManager.alterReplicaLogDirs`).
    ///
    /// # Errors
    /// `KAFKA_STORAGE_ERROR` if a directory is offline or the copy cannot be made.
    pub(crate) fn move_replica(&self, partition: &Arc<Partition>, to: &Arc<Directory>) -> Result<(), ErrorCode> {
        let mut future = partition.future();
        if partition.lock().state.role() == Role::Offline {
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        if let Some(other) = future.take_if(|future| future.log_dir.id() != to.id()) {
            self.abandon(partition, other);
        }
        partition.is_moving.store(future.is_some(), Ordering::SeqCst);
        let from = partition.log_dir();
        if from.id() == to.id() || future.is_some() {
            return Ok(());
        }
        if self.log_dirs().has_offline() {
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        let name = directory_name(&partition.topic, partition.index).future_name(crate::random::uuid());
        let directory = to.path().join(name);
        let config = Arc::clone(partition.lock().log.config());
        let made = Log::create(to.files().cache(), &directory, &config, Some(partition.topic_id), self.now());
        let log = made.map_err(|error| {
            to.fail(&error);
            ErrorCode::KAFKA_STORAGE_ERROR
        })?;
        tracing::info!(%partition, from = %from.path().display(), to = %to.path().display(), "the replica moves");
        *future = Some(FutureLog { log, log_dir: Arc::clone(to), compared_at: None, is_told: false });
        partition.is_moving.store(true, Ordering::SeqCst);
        drop(future);
        self.moves().add(partition);
        Ok(())
    }

    /// Goes on with a copy that was found at the start.
    pub(crate) fn resume_move(&self, partition: &Arc<Partition>, log: Log<RealDisk>, log_dir: Arc<Directory>) {
        *partition.future() = Some(FutureLog { log, log_dir, compared_at: None, is_told: false });
        partition.is_moving.store(true, Ordering::SeqCst);
        self.moves().add(partition);
    }

    /// The copy is not wanted any more. If the controller was told of it, it is told otherwise.
    fn abandon(&self, partition: &Partition, future: FutureLog) {
        let from = future.log.directory().to_owned();
        tracing::info!(%partition, copy = %from.display(), "the replica stays where it is");
        if future.is_told {
            self.replica_directories().tell((partition.topic_id, partition.index), partition.log_dir().id());
        }
        future.log.close_files();
        if future.log_dir.is_online() {
            self.doom(partition, &from, &future.log_dir);
        }
    }

    /// Renames a log's directory for its deletion.
    fn doom(&self, partition: &Partition, from: &Path, log_dir: &Directory) {
        let name = directory_name(&partition.topic, partition.index);
        let to: PathBuf = log_dir.path().join(name.delete_name(crate::random::uuid()));
        let delay = partition.settings().log.file_delete_delay_ms;
        match RealDisk.rename(from, &to) {
            Ok(()) => self.moves().state().doomed.push((Timestamp(self.now().0.saturating_add(delay)), to)),
            Err(source) => log_dir.fail(&Error::Io { operation: "rename", path: from.to_owned(), source }),
        }
    }
}

impl Partition {
    fn future(&self) -> MutexGuard<'_, Option<FutureLog>> {
        self.future.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The copy's directory, its size in bytes, and where it ends.
    pub(crate) fn future_copy(&self) -> Option<(Arc<Directory>, u64, Offset)> {
        if !self.is_moving.load(Ordering::Acquire) {
            return None;
        }
        let future = self.future();
        future
            .as_ref()
            .map(|future| (Arc::clone(&future.log_dir), future.log.size_bytes(), future.log.log_end_offset()))
    }

    /// Whether a copy is in this directory.
    pub(crate) fn moves_to(&self, directory: Uuid) -> bool {
        self.is_moving.load(Ordering::Acquire)
            && self.future().as_ref().is_some_and(|future| future.log_dir.id() == directory)
    }

    /// The partition is deleted: so is its copy. The directory that is left.
    pub(crate) fn drop_future(&self) -> Option<(PathBuf, Arc<Directory>)> {
        let future = self.future().take()?;
        self.is_moving.store(false, Ordering::SeqCst);
        future.log.close_files();
        Some((future.log.directory().to_owned(), future.log_dir))
    }

    /// One look at the copy.
    fn copy_on(self: &Arc<Self>, broker: &Broker) -> Step {
        let mut slot = self.future();
        let Some(future) = slot.as_mut() else { return Step::Ended };
        if !future.log_dir.is_online() || self.lock().state.role() == Role::Offline {
            future.log.close_files();
            *slot = None;
            self.is_moving.store(false, Ordering::SeqCst);
            return Step::Ended;
        }
        match self.copy_piece(broker.now(), future) {
            Ok(Step::Complete) => {}
            Ok(step) => return step,
            Err(error) => {
                tracing::error!(partition = %self, %error, "the copy of a log failed");
                future.log_dir.fail(&error);
                if !matches!(error, Error::Io { .. })
                    && let Some(future) = slot.take()
                {
                    self.is_moving.store(false, Ordering::SeqCst);
                    broker.abandon(self, future);
                }
                return Step::Waits;
            }
        }
        match broker.directory_in_metadata(self) {
            Some(known) if known != future.log_dir.id() => {
                if !std::mem::replace(&mut future.is_told, true) {
                    broker.replica_directories().tell((self.topic_id, self.index), future.log_dir.id());
                }
                Step::Waits
            }
            _ => match self.take_over(broker, &mut slot) {
                Some((from, log_dir)) => {
                    drop(slot);
                    broker.doom(self, &from, &log_dir);
                    Step::Ended
                }
                None => Step::Waits,
            },
        }
    }

    /// Copies a piece.
    fn copy_piece(&self, now: Timestamp, future: &mut FutureLog) -> Result<Step, Error> {
        let inner = self.lock();
        future.compare(&inner, now)?;
        let (from, end) = (future.log.log_end_offset(), inner.log.log_end_offset());
        if from >= end {
            return Ok(Step::Complete);
        }
        // A read that fails has taken the log's own directory offline.
        let Ok(read) = inner.read(from, PIECE_BYTES, end, true) else { return Ok(Step::Waits) };
        let truncations = inner.log.truncations();
        drop(inner);
        let bytes = read_all(read.records, future.log.directory())?;
        let count = bytes.len();
        if self.lock().log.truncations() == truncations {
            future.append(bytes, now)?;
        }
        Ok(Step::Copied(count))
    }

    /// The copy becomes the log, if it has everything or nearly so. What is left of the log before.
    fn take_over(self: &Arc<Self>, broker: &Broker, slot: &mut Option<FutureLog>) -> Option<(PathBuf, Arc<Directory>)> {
        let future = slot.as_mut()?;
        // The bulk is durable before: what is left is little.
        if let Err(error) = future.log.flush() {
            future.log_dir.fail(&error);
            return None;
        }
        // It may have been there before.
        let name = directory_name(&self.topic, self.index);
        if let Err(error) = future.log_dir.disown(&name, &broker.log_dirs().checkpoints()) {
            future.log_dir.fail(&error);
            return None;
        }
        let now = broker.now();
        let mut inner = self.lock();
        let is_cleaning = self.is_cleaning.load(Ordering::SeqCst);
        if is_cleaning || inner.is_leaving || inner.state.role() == Role::Offline {
            return None;
        }
        if let Err(error) = inner.log.await_work() {
            inner.storage_failed(&error, "the log cannot be moved");
            return None;
        }
        let outcome = future.finish(&inner, broker.settings.durability, now);
        match outcome {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                future.log_dir.fail(&error);
                return None;
            }
        }
        let to = future.log_dir.path().join(name.to_string());
        if let Err(source) = RealDisk.rename(future.log.directory(), &to) {
            future.log_dir.fail(&Error::Io { operation: "rename", path: to, source });
            return None;
        }
        let mut future = slot.take()?;
        future.log.succeed(&inner.log, &to);
        let high_watermark = inner.state.high_watermark();
        future.log.on_high_watermark(high_watermark);
        let before = std::mem::replace(&mut inner.log, future.log);
        let log_dir = std::mem::replace(&mut inner.log_dir, future.log_dir);
        drop(inner);
        self.is_moving.store(false, Ordering::SeqCst);
        before.close_files();
        let now_in = self.log_dir();
        tracing::info!(partition = %self, from = %log_dir.path().display(), to = %now_in.path().display(), "the replica has moved");
        if let Err(error) = now_in.files().sync() {
            now_in.fail(&error);
        }
        broker.flush_queue().add(self);
        Some((before.directory().to_owned(), log_dir))
    }
}

impl Broker {
    /// Where the metadata say this broker's replica is; `None` if they do not say.
    fn directory_in_metadata(&self, partition: &Partition) -> Option<Uuid> {
        let image = self.image();
        if !image.features.metadata_version.is_directory_assignment_supported() {
            return None;
        }
        image.topics.partition(partition.topic_id, partition.index)?.directory(self.settings.node_id)
    }
}
