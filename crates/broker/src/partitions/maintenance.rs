//! What goes on beside the requests: flushing (group commit), checkpoints, retention, deletion of files. Kafka's counterparts are the tasks of `LogManager` and `ReplicaManager`'s high watermark checkpoint.

use super::checkpoints::Checkpoints;
use super::cleaner::LogCleaner;
use super::disk_space::DiskSpace;
use super::durability;
use super::moving;
use super::partition::Partition;
use super::{quarantine, scrub};
use crate::broker::Broker;
use milena_metrics::Stopwatch;
use milena_storage::disk::{Disk as _, RealDisk};
use milena_storage::{FileWork, remove_deleted};
use milena_types::Timestamp;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the ticker looks whether something is due.
const TICK: Duration = Duration::from_millis(200);

/// How often files are looked for that may go.
const DELETIONS_MS: u64 = 1000;

/// Partitions with appends that are to be made durable.
#[derive(Default)]
pub(crate) struct FlushQueue {
    state: Mutex<FlushState>,
    added: Condvar,
}

#[derive(Default)]
struct FlushState {
    partitions: Vec<Arc<Partition>>,
    is_stopping: bool,
}

impl FlushQueue {
    fn state(&self) -> MutexGuard<'_, FlushState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a flush of `partition`, unless one is already asked for.
    pub(crate) fn add(&self, partition: &Arc<Partition>) {
        if partition.flush_asked.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut state = self.state();
        state.partitions.push(Arc::clone(partition));
        drop(state);
        self.added.notify_one();
    }

    /// The partitions to flush now; `None` at the end.
    fn take(&self) -> Option<Vec<Arc<Partition>>> {
        let mut state = self.state();
        while state.partitions.is_empty() && !state.is_stopping {
            state = self.added.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.partitions.is_empty() { None } else { Some(std::mem::take(&mut state.partitions)) }
    }

    fn stop(&self) {
        self.state().is_stopping = true;
        self.added.notify_all();
    }
}

/// The threads and tasks of a broker; ended by `stop`.
pub struct Maintenance {
    broker: Arc<Broker>,
    threads: Vec<JoinHandle<()>>,
    tasks: [tokio::task::JoinHandle<()>; 3],
    stopping: Arc<AtomicBool>,
}

impl Maintenance {
    /// Starts them. Needs a tokio runtime.
    #[must_use]
    pub fn start(broker: &Arc<Broker>) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        DiskSpace::default().look(broker);
        let deadlines = Arc::clone(broker.deadlines());
        let deadlines = tokio::spawn(async move { deadlines.run().await });
        let failures = tokio::spawn(settle_failures(Arc::clone(broker)));
        let healing = tokio::spawn(quarantine::heal(Arc::clone(broker)));
        let mut threads = Vec::new();
        let flusher = Arc::clone(broker);
        threads.extend(spawn("flush", move || {
            while let Some(partitions) = flusher.flush_queue().take() {
                partitions.iter().for_each(|partition| flush(&flusher, partition));
            }
        }));
        let (tail, stop) = (Arc::clone(broker), Arc::clone(&stopping));
        threads.extend(spawn("sync", move || durability::bound_tails(&tail, &stop)));
        let (cleaned, stop) = (Arc::clone(broker), Arc::clone(&stopping));
        threads.extend(spawn("log-cleaner-0", move || LogCleaner::run(&cleaned, &stop)));
        let (scrubbed, stop) = (Arc::clone(broker), Arc::clone(&stopping));
        threads.extend(spawn("scrub", move || scrub::run(&scrubbed, &stop)));
        let mover = Arc::clone(broker);
        threads.extend(spawn("move", move || moving::run(&mover)));
        let (ticker, stop) = (Arc::clone(broker), Arc::clone(&stopping));
        threads.extend(spawn("maintenance", move || tick(&ticker, &stop)));
        Self { broker: Arc::clone(broker), threads, tasks: [deadlines, failures, healing], stopping }
    }

    /// Ends all of them, closes every log and marks the directories as cleanly shut down. `broker_epoch` is kept in the
    /// mark (KIP-966). Blocks; the network must have ended before.
    pub fn stop(self, broker_epoch: i64) {
        self.stopping.store(true, Ordering::Relaxed);
        self.broker.flush_queue().stop();
        self.broker.moves().stop();
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        for thread in self.threads {
            thread.thread().unpark();
            let _ = thread.join();
        }
        durability::close_all(&self.broker, broker_epoch);
    }
}

/// Takes the partitions of failed log directories offline, for as long as the broker runs.
async fn settle_failures(broker: Arc<Broker>) {
    loop {
        broker.log_dirs().failed().await;
        broker.settle_failed_log_dirs();
    }
}

pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    match std::thread::Builder::new().name(name.to_owned()).stack_size(256 << 10).spawn(body) {
        Ok(thread) => Some(thread),
        Err(error) => {
            tracing::error!(%error, thread = name, "cannot start a thread");
            None
        }
    }
}

/// Makes what was appended durable, without holding the partition's lock while the device works.
pub(super) fn flush(broker: &Broker, partition: &Partition) {
    partition.flush_asked.store(false, Ordering::Release);
    partition.flushed_at_ms.store(broker.now().0, Ordering::Relaxed);
    let mut inner = partition.lock();
    let handle = match inner.log.prepare_flush() {
        Ok(Some(handle)) => handle,
        Ok(None) => return,
        // When there is room again it is asked for anew.
        Err(error) if error.is_out_of_space() => return inner.storage_failed(&error, "a flush has no room"),
        Err(error) => {
            drop(inner);
            fail(partition, &error);
            return;
        }
    };
    drop(inner);
    let watch = Stopwatch::start_if(broker.cells().is_some());
    let flushed = handle.run();
    if let (Some(cells), Some(took)) = (broker.cells(), watch.elapsed()) {
        cells.log_flush.record(took);
    }
    match flushed {
        Ok(flushed) => partition.on_flushed(flushed, broker.steady()),
        Err(error) if error.is_out_of_space() => {
            let mut inner = partition.lock();
            inner.log.put_back(&handle);
            inner.storage_failed(&error, "a flush has no room");
        }
        Err(error) => fail(partition, &error),
    }
}

/// After a failed sync nothing is known about the log's end: the partition goes offline, and its directory with it.
pub(super) fn fail(partition: &Partition, error: &milena_storage::Error) {
    partition.lock().storage_failed(error, "a flush failed; the partition is offline until the broker starts again");
    partition.go_offline().run();
}

/// When something is next due.
pub(super) struct Schedule {
    next: Instant,
    every: Duration,
}

impl Schedule {
    pub(super) fn new(first: Duration, every_ms: u64) -> Self {
        // Very long intervals mean never.
        let every = Duration::from_millis(every_ms.min(u64::from(u32::MAX)));
        Self { next: Instant::now() + first.min(every), every }
    }

    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.next <= now;
        if due {
            self.next = now + self.every;
        }
        due
    }
}

fn tick(broker: &Arc<Broker>, stopping: &AtomicBool) {
    let settings = &broker.settings;
    let first = Duration::from_millis(settings.log_initial_task_delay_ms);
    let every = |ms: u64| Schedule::new(Duration::from_millis(ms), ms);
    let mut high_watermarks = every(settings.replica_high_watermark_checkpoint_interval_ms);
    let mut log_starts = every(settings.log_flush_start_offset_checkpoint_interval_ms);
    let mut retention = Schedule::new(first, settings.log_retention_check_interval_ms);
    let mut producers = every(settings.producer_id_expiration_check_interval_ms);
    let mut timed_flush = every(settings.log_flush_scheduler_interval_ms);
    let mut deletions = every(DELETIONS_MS);
    let mut checkpoints = Checkpoints::default();
    let mut disk_space = DiskSpace::default();
    while !stopping.load(Ordering::Relaxed) {
        std::thread::park_timeout(TICK);
        disk_space.look(broker);
        if high_watermarks.is_due() {
            checkpoints.write_high_watermarks(broker);
        }
        if log_starts.is_due() {
            checkpoints.write_log_starts(broker);
        }
        if timed_flush.is_due() {
            flush_overdue(broker);
        }
        if retention.is_due() {
            // Those with `compact` are the cleaner's, which would be at work on the same segments.
            let partitions = broker.partitions.all();
            let others = partitions.iter().filter(|partition| !partition.settings().log.cleanup_compact);
            others.for_each(|partition| retain(broker, partition));
        }
        if producers.is_due() {
            let now = broker.now();
            broker.partitions.all().iter().for_each(|partition| partition.lock().log.remove_expired_producers(now));
        }
        if deletions.is_due() {
            remove_files(broker);
        }
    }
}

/// Asks for a flush where `flush.ms` has passed since the last one.
fn flush_overdue(broker: &Broker) {
    let now = broker.now().0;
    for partition in broker.partitions.all() {
        let last = partition.flushed_at_ms.load(Ordering::Relaxed);
        if now.saturating_sub(last) >= partition.settings().flush_ms {
            broker.flush_queue().add(&partition);
        }
    }
}

/// Deletes segments past retention.
pub(super) fn retain(broker: &Broker, partition: &Partition) {
    const WHAT: &str = "old segments cannot be deleted";
    let now = broker.now();
    let mut inner = partition.lock();
    if inner.is_leaving {
        return;
    }
    let high_watermark = inner.state.high_watermark();
    let work = match inner.log.begin_deletion(high_watermark, now) {
        Ok(None) => return,
        Ok(Some(work)) => work,
        Err(error) => return inner.storage_failed(&error, WHAT),
    };
    drop(inner);
    let count = work.segments_to_delete();
    match change_files(partition, work, now) {
        Ok(()) => tracing::info!(%partition, count, "old segments were deleted"),
        Err(error) => partition.lock().storage_failed(&error, WHAT),
    }
}

/// Does to a log's files, without its lock, what was begun under it.
pub(super) fn change_files(
    partition: &Partition,
    mut work: FileWork<RealDisk>,
    now: Timestamp,
) -> Result<(), milena_storage::Error> {
    work.run();
    partition.lock().log.end_work(work, now)
}

/// Removes renamed files and directories whose time has come. Where there is no room they do not wait: who still reads
/// them has them open.
pub(super) fn remove_files(broker: &Broker) {
    let is_full = broker.log_dirs().online().any(|log_dir| log_dir.is_full());
    let now = if is_full { Timestamp(i64::MAX) } else { broker.now() };
    let copies = broker.moves().take_doomed(now);
    for path in broker.take_doomed(now).into_iter().chain(copies) {
        if let Err(error) = remove_deleted(&RealDisk, &path) {
            tracing::error!(path = %path.display(), %error, "a deleted partition's directory cannot be removed");
        }
    }
    for partition in broker.partitions.all() {
        remove_segments(broker, &partition, now);
    }
}

/// Removing a large file takes long, and nobody shall wait for it.
fn remove_segments(broker: &Broker, partition: &Partition, now: Timestamp) {
    let mut inner = partition.lock();
    let is_due = inner.log.next_file_deletion().is_some_and(|at| at <= now);
    let mut doomed = if is_due { inner.log.take_deleted_files(now) } else { Vec::new() }.into_iter();
    drop(inner);
    while let Some(path) = doomed.next() {
        match RealDisk.remove(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                let error = milena_storage::Error::Io { operation: "remove", path: path.clone(), source };
                let mut inner = partition.lock();
                inner.log.put_back_deleted_files(std::iter::once(path).chain(doomed), broker.now());
                return inner.storage_failed(&error, "deleted segments cannot be removed");
            }
            _ => {}
        }
    }
}
