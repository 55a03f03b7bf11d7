//! Who compacts, and when (`LogCleaner`, `LogCleanerManager`): threads of their own look for the log with the largest dirty
//! share, clean it, and rest for `log.cleaner.backoff.ms` when there is none. The partition's lock is taken for a view of
//! its segments and for the renames of an exchange, never while records are read, written or synced. Partitions with
//! `compact` in their policy are also retained from here, as in Kafka, so that one thread at a time changes old segments.
//!
//! A partition that cannot be cleaned is told of and tried again after a while, which doubles. Kafka marks it and leaves
//! it alone until the broker starts again.

use super::checkpoints::Checkpoints;
use super::cleaner_settings::{CleanerSettings, Throttle};
use super::maintenance::{change_files, retain};
use super::partition::Partition;
use crate::broker::Broker;
use milena_storage::disk::RealDisk;
use milena_storage::{CleanError, CleanPlan, CleanStats, CleanView, CleanedGroup, Cleaner, Error, Exchange};
use milena_types::{Offset, PartitionIndex, Timestamp, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a partition that could not be cleaned is left alone at first, and at most.
const RETRY_AFTER: Duration = Duration::from_secs(60);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// How long a thread sleeps before it looks whether it is to end or its settings changed.
const LOOK: Duration = Duration::from_secs(1);

type Key = (TopicId, PartitionIndex);

/// What the threads share.
pub(super) struct LogCleaner {
    broker: Arc<Broker>,
    stopping: Arc<AtomicBool>,
    state: Mutex<State>,
    /// One chooses at a time, so that two do not choose the same.
    choosing: Mutex<()>,
    throttle: Throttle,
    /// Of the hash of keys: whoever writes them does not know it.
    key: [u64; 2],
}

#[derive(Default)]
struct State {
    busy: BTreeSet<Key>,
    failing: BTreeMap<Key, Failing>,
    threads: Vec<JoinHandle<()>>,
}

struct Failing {
    attempts: u32,
    retry_at: Instant,
}

/// A partition worth cleaning.
struct Candidate {
    partition: Arc<Partition>,
    view: CleanView<RealDisk>,
    plan: CleanPlan,
}

impl LogCleaner {
    /// The first thread, which starts and ends the others.
    pub(super) fn run(broker: &Arc<Broker>, stopping: &Arc<AtomicBool>) {
        let cleaner = Arc::new(Self {
            broker: Arc::clone(broker),
            stopping: Arc::clone(stopping),
            state: Mutex::default(),
            choosing: Mutex::default(),
            throttle: Throttle::default(),
            key: [crate::random::seed(), crate::random::seed()],
        });
        cleaner.work(0);
        let threads = std::mem::take(&mut cleaner.state().threads);
        for thread in threads {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn work(self: &Arc<Self>, number: usize) {
        let mut retained: Option<Instant> = None;
        while !self.is_stopping() {
            let settings = CleanerSettings::of(&self.broker);
            if number >= settings.threads.max(1) {
                return;
            }
            if number == 0 {
                self.start_others(settings.threads);
            }
            let is_able = settings.is_enabled && settings.threads > 0 && settings.limits.takes_a_key();
            let backoff = Duration::from_millis(settings.backoff_ms).max(Duration::from_millis(100));
            let has_cleaned = is_able && self.clean_filthiest(&settings);
            if is_able && number == 0 && retained.is_none_or(|retained| retained.elapsed() >= backoff) {
                self.retain_compacted();
                retained = Some(Instant::now());
            }
            if !has_cleaned {
                self.rest(backoff);
            }
        }
    }

    fn start_others(self: &Arc<Self>, wanted: usize) {
        let mut state = self.state();
        state.threads.retain(|thread| !thread.is_finished());
        for number in state.threads.len() + 1..wanted {
            let cleaner = Arc::clone(self);
            state
                .threads
                .extend(super::maintenance::spawn(&format!("log-cleaner-{number}"), move || cleaner.work(number)));
        }
    }

    fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_stopping() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left.min(LOOK));
        }
    }

    /// Cleans the log with the largest dirty share; `false` if none is due.
    fn clean_filthiest(&self, settings: &CleanerSettings) -> bool {
        let Some(candidate) = self.choose() else { return false };
        let partition = Arc::clone(&candidate.partition);
        let key = (partition.topic_id, partition.index);
        let began = Instant::now();
        let first_dirty = candidate.plan.first_dirty_offset;
        let outcome = self.clean(settings, candidate);
        partition.is_cleaning.store(false, Ordering::SeqCst);
        self.state().busy.remove(&key);
        match outcome {
            Ok((end, stats)) => {
                self.state().failing.remove(&key);
                tell(&partition, (first_dirty, end), &stats, began.elapsed());
            }
            Err(CleanError::Stopped) => {}
            Err(CleanError::Storage(error)) => self.note_failure(&partition, &error),
        }
        true
    }

    /// The candidate with the largest dirty share, which is busy from now on.
    fn choose(&self) -> Option<Candidate> {
        let _alone = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.broker.now();
        let mut best: Option<Candidate> = None;
        let partitions = self.broker.partitions.all();
        let keys: BTreeSet<Key> = partitions.iter().map(|partition| (partition.topic_id, partition.index)).collect();
        self.state().failing.retain(|key, _| keys.contains(key));
        for partition in partitions {
            let is_moving = partition.is_moving.load(Ordering::SeqCst);
            if is_moving || !partition.settings().log.cleanup_compact || !self.is_free(&partition) {
                continue;
            }
            match self.look_at(&partition, now) {
                Ok(Some((view, plan))) => {
                    let ratio = best.as_ref().map_or(-1.0, |best| best.plan.dirty_ratio());
                    if plan.dirty_ratio() > ratio {
                        best = Some(Candidate { partition, view, plan });
                    }
                }
                Ok(None) => {}
                Err(error) => self.note_failure(&partition, &error),
            }
        }
        let best = best?;
        best.partition.is_cleaning.store(true, Ordering::SeqCst);
        if best.partition.is_moving.load(Ordering::SeqCst) {
            best.partition.is_cleaning.store(false, Ordering::SeqCst);
            return None;
        }
        self.state().busy.insert((best.partition.topic_id, best.partition.index));
        Some(best)
    }

    fn is_free(&self, partition: &Partition) -> bool {
        let key = (partition.topic_id, partition.index);
        let state = self.state();
        !state.busy.contains(&key) && state.failing.get(&key).is_none_or(|failing| failing.retry_at <= Instant::now())
    }

    /// What there is to clean, if it is due.
    fn look_at(
        &self,
        partition: &Partition,
        now: Timestamp,
    ) -> Result<Option<(CleanView<RealDisk>, CleanPlan)>, Error> {
        let inner = partition.lock();
        if inner.log.is_failed() || inner.log.segment_count() < 2 {
            return Ok(None);
        }
        // What is written anew must fit beside what it replaces; the reserve may be used for it, since it makes room.
        let needed = inner.log.size_bytes().min(u64::from(inner.log.config().segment_bytes));
        if inner.log_dir.free_bytes() < i64::try_from(needed).unwrap_or(i64::MAX) {
            return Ok(None);
        }
        let dirty_ratio_min = inner.log.config().min_cleanable_dirty_ratio;
        let is_deleted_too = inner.log.config().cleanup_delete;
        let view = inner.log.clean_view(inner.log.last_stable_offset(inner.state.high_watermark()));
        let cleaned_to = inner.log.cleaned_to();
        drop(inner);
        let plan = view.plan(now)?;
        if plan.is_reset && !is_deleted_too {
            let (start, checkpoint) = (plan.first_dirty_offset, cleaned_to.unwrap_or(Offset(-1)));
            tracing::warn!(%partition, %checkpoint, %start, "the cleaner's checkpoint is not within the log; the log is cleaned from its start");
        }
        Ok(plan.is_due(dirty_ratio_min).then_some((view, plan)))
    }

    fn clean(&self, settings: &CleanerSettings, candidate: Candidate) -> Result<(Offset, CleanStats), CleanError> {
        let Candidate { partition, view, plan } = candidate;
        let now = self.broker.now();
        let producers = partition.lock().log.last_records();
        let mut pace = |bytes| {
            self.throttle.pass(bytes, settings.bytes_per_second, &self.stopping);
            !self.is_stopping()
        };
        let mut cleaning = Cleaner::new(settings.limits, self.key).begin(view, plan, producers, now, &mut pace)?;
        while let Some(group) = cleaning.next_group(&mut pace)? {
            let (replaced, is_failed) = exchange(&partition, group, now);
            match replaced {
                Ok(None) => {}
                Ok(Some(group)) => {
                    // Cut or deleted from meanwhile: the next look begins anew.
                    group.discard();
                    return Err(CleanError::Stopped);
                }
                Err(error) => {
                    if is_failed {
                        fail(
                            &partition,
                            &error,
                            "an exchange of segments failed; the partition is offline until the broker starts again",
                        );
                    }
                    return Err(error.into());
                }
            }
        }
        if let Err(error) = cleaning.view().sync_directory() {
            fail(&partition, &error, "a sync failed; the partition is offline until the broker starts again");
            return Err(error.into());
        }
        let end = cleaning.end_offset();
        let mut inner = partition.lock();
        // What was cut off since was not cleaned.
        if inner.log.is_as_in(cleaning.view()) {
            inner.log.set_cleaned_to(end);
        }
        drop(inner);
        Checkpoints::default().write_cleaned(&self.broker);
        Ok((end, cleaning.stats()))
    }

    fn note_failure(&self, partition: &Partition, error: &Error) {
        let inner = partition.lock();
        if inner.is_leaving {
            return;
        }
        // A full device is no broken one: with space there again the next attempt comes further.
        if !error.is_out_of_space() {
            inner.log_dir.fail(error);
        }
        drop(inner);
        let mut state = self.state();
        let failing = state
            .failing
            .entry((partition.topic_id, partition.index))
            .or_insert(Failing { attempts: 0, retry_at: Instant::now() });
        let wait = RETRY_AFTER.saturating_mul(1 << failing.attempts.min(10)).min(RETRY_AFTER_MAX);
        failing.attempts += 1;
        failing.retry_at = Instant::now() + wait;
        let (attempts, seconds) = (failing.attempts, wait.as_secs());
        drop(state);
        tracing::error!(%partition, %error, attempts, "the log cannot be compacted and grows; tried again in {seconds} s");
    }

    /// Deletes old segments of compacted logs (`LogCleanerManager.deletableLogs`).
    fn retain_compacted(&self) {
        for partition in self.broker.partitions.all() {
            if partition.settings().log.cleanup_compact && self.is_free(&partition) {
                retain(&self.broker, &partition);
            }
        }
    }
}

/// Puts a group into the log; whether the log failed with it.
fn exchange(
    partition: &Partition,
    group: CleanedGroup<RealDisk>,
    now: Timestamp,
) -> (Result<Option<CleanedGroup<RealDisk>>, Error>, bool) {
    let mut inner = partition.lock();
    if inner.is_leaving {
        return (Ok(Some(group)), false);
    }
    let replaced = if group.has_aborted() {
        inner.log.replace_segments(group, now)
    } else {
        match inner.log.begin_exchange(group) {
            Ok(Exchange::Refused(group)) => Ok(Some(group)),
            Ok(Exchange::Begun(work)) => {
                drop(inner);
                let changed = change_files(partition, work, now);
                inner = partition.lock();
                changed.map(|()| None)
            }
            Err(error) => Err(error),
        }
    };
    (replaced, inner.log.is_failed())
}

/// Nothing is known of the log's files any more.
fn fail(partition: &Partition, error: &Error, what: &'static str) {
    let mut inner = partition.lock();
    inner.log.mark_failed();
    inner.storage_failed(error, what);
    drop(inner);
    partition.go_offline().run();
}

/// Tells of a cleaning that changed something, as Kafka's log does.
fn tell(partition: &Partition, (from, to): (Offset, Offset), stats: &CleanStats, took: Duration) {
    if stats.bytes_read == stats.bytes_written && stats.records_read == stats.records_written {
        tracing::debug!(%partition, %from, %to, "compacted, nothing to remove");
        return;
    }
    let ms = took.as_millis();
    let (before, after) = (stats.bytes_read, stats.bytes_written);
    let removed = stats.records_read - stats.records_written;
    let buffer = (stats.map_utilization * 100.0).round();
    tracing::info!(
        %partition, %from, %to, removed,
        "compacted in {ms} ms: {before} bytes to {after}, {buffer} % of the offset map"
    );
    if stats.records_invalid > 0 {
        tracing::warn!(%partition, count = stats.records_invalid, "records without a key were removed by compaction");
    }
}
