//! One partition: replication core, log, and what waits on it, behind one lock that is never held over an await or an
//! fsync. Kafka's counterpart is `Partition`.

use super::future_log::FutureLog;
use super::parked_fetch::ParkedFetch;
use super::settings::TopicSettings;
use super::traffic::Traffic;
use super::waiting::{AckWaiter, CommitListener, CommitWaiter, Wakes};
use crate::broker::Broker;
use crate::log_dirs::Directory;
use crate::settings::BrokerSettings;
use arc_swap::ArcSwap;
use milena_protocol::messages::fetch_response::AbortedTransaction;
use milena_protocol::{Records, Text};
use milena_records::ValidBatch;
use milena_replication::{AckState, Assignment, Durability, Isolation, PartitionConfig, PartitionState};
use milena_storage::disk::RealDisk;
use milena_storage::{AppendContext, AppendOrigin, Flushed, Log, ReadError, ReadResult, VerificationGuard};
use milena_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The topics that coordinators write (`Topic.isInternal`).
const INTERNAL_TOPICS: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Whether a topic is one of Kafka's own.
pub(crate) fn is_internal(topic: &str) -> bool {
    INTERNAL_TOPICS.contains(&topic)
}

/// Whether the group coordinators write the topic.
pub(crate) fn is_groups_topic(topic: &str) -> bool {
    INTERNAL_TOPICS.first().is_some_and(|groups| topic == *groups)
}

/// A list of waiting fetches is swept when it has grown by this much.
const SWEEP_AFTER: usize = 16;

/// One partition that has a replica here.
pub struct Partition {
    /// The topic's name; a copy of its own, not a view of a request.
    pub topic: Text,
    pub topic_id: TopicId,
    pub index: PartitionIndex,
    /// One of Kafka's own topics, which clients may not write.
    pub(crate) is_internal: bool,
    /// Whether the flush queue holds this partition.
    pub(crate) flush_asked: AtomicBool,
    /// When the last flush began, milliseconds since 1970.
    pub(crate) flushed_at_ms: AtomicI64,
    /// Whether there is a copy in another log directory. Set before `is_cleaning` is looked at, and the reverse.
    pub(super) is_moving: AtomicBool,
    /// Whether the log is being compacted: it stays where it is meanwhile.
    pub(super) is_cleaning: AtomicBool,
    /// Locked before `inner`.
    pub(super) future: Mutex<Option<FutureLog>>,
    pub(crate) traffic: Traffic,
    settings: ArcSwap<TopicSettings>,
    inner: Mutex<Inner>,
}

/// What the lock protects.
pub(crate) struct Inner {
    pub(crate) state: PartitionState,
    pub(crate) log: Log<RealDisk>,
    /// Where the log is.
    pub(crate) log_dir: Arc<Directory>,
    /// The partition is being deleted: what fails on its files says nothing.
    pub(super) is_leaving: bool,
    acks: Vec<AckWaiter>,
    commits: Vec<CommitWaiter>,
    fetches: Vec<Arc<ParkedFetch>>,
    sweep_at: usize,
}

/// Who appends when, and whether transactions are verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppendTerms {
    pub(crate) origin: AppendOrigin,
    pub(crate) verify: bool,
    pub(crate) now: Timestamp,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

impl Partition {
    pub(crate) fn new(
        topic: (Text, TopicId, PartitionIndex),
        log_dir: Arc<Directory>,
        settings: TopicSettings,
        state: PartitionState,
        log: Log<RealDisk>,
    ) -> Self {
        let (topic, topic_id, index) = topic;
        let inner = Inner {
            state,
            log,
            log_dir,
            is_leaving: false,
            acks: Vec::new(),
            commits: Vec::new(),
            fetches: Vec::new(),
            sweep_at: SWEEP_AFTER,
        };
        Self {
            is_internal: is_internal(&topic),
            topic,
            topic_id,
            index,
            flush_asked: AtomicBool::new(false),
            flushed_at_ms: AtomicI64::new(0),
            is_moving: AtomicBool::new(false),
            is_cleaning: AtomicBool::new(false),
            future: Mutex::new(None),
            traffic: Traffic::default(),
            settings: ArcSwap::from_pointee(settings),
            inner: Mutex::new(inner),
        }
    }

    /// What the topic's configuration says now.
    pub(crate) fn settings(&self) -> arc_swap::Guard<Arc<TopicSettings>> {
        self.settings.load()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was made durable.
    pub(crate) fn on_flushed(&self, flushed: Flushed, now: Timestamp) {
        let mut inner = self.lock();
        let end = flushed.end_offset;
        inner.log.flushed(flushed);
        let moved = inner.state.on_durable(end, now);
        let wakes = inner.wakes_after(moved);
        drop(inner);
        wakes.run();
    }

    /// Follows the controller; what waits on an older role is answered.
    pub(crate) fn assign(&self, assignment: &Assignment, now: Timestamp) -> Wakes {
        let mut inner = self.lock();
        if inner.state.assign(assignment, now)
            && let Some(start) = inner.state.leader_epoch_start_offset()
        {
            inner.log.assign_epoch_start(assignment.leader_epoch, start);
        }
        let high_watermark = inner.state.high_watermark();
        inner.log.on_high_watermark(high_watermark);
        inner.wakes()
    }

    /// Puts other settings into force.
    pub(crate) fn configure(&self, config: PartitionConfig) {
        self.lock().state.configure(config);
    }

    pub(crate) fn reconfigure(&self, settings: TopicSettings, broker: &BrokerSettings, now: Timestamp) {
        let mut inner = self.lock();
        inner.log.update_config(Arc::clone(&settings.log));
        inner.state.reconfigure(settings.replication(broker), now);
        self.settings.store(Arc::new(settings));
        let wakes = inner.wakes();
        drop(inner);
        wakes.run();
    }

    /// The log directory the partition is in.
    pub(crate) fn log_dir(&self) -> Arc<Directory> {
        Arc::clone(&self.lock().log_dir)
    }

    /// The partition goes away: whatever waits is answered.
    pub(crate) fn leave(&self) -> Wakes {
        let mut inner = self.lock();
        inner.is_leaving = true;
        // Its directory is about to be another's. What went wrong with its files matters no more.
        let _ = inner.log.await_work();
        inner.state.go_offline();
        inner.wakes()
    }

    /// The partition's disk failed: whatever waits is answered, and nothing more is written.
    pub(crate) fn go_offline(&self) -> Wakes {
        let mut inner = self.lock();
        inner.log.mark_failed();
        inner.state.go_offline();
        inner.wakes()
    }
}

impl Inner {
    /// A produce waits for the high watermark.
    pub(crate) fn wait_for_ack(&mut self, waiter: AckWaiter) {
        self.acks.push(waiter);
    }

    /// A coordinator waits for the high watermark.
    pub(crate) fn wait_for_commit(&mut self, waiter: CommitWaiter) {
        self.commits.push(waiter);
    }

    /// A fetch waits for more than what is visible now.
    pub(crate) fn wait_for_bytes(&mut self, fetch: &Arc<ParkedFetch>) {
        if self.fetches.len() >= self.sweep_at {
            self.fetches.retain(|fetch| fetch.is_waiting());
            self.sweep_at = self.fetches.len() * 2 + SWEEP_AFTER;
        }
        self.fetches.push(Arc::clone(fetch));
    }

    /// Appends several requests' batches with one write; an outcome for each. `guards` are those of transactions that were
    /// verified, in the same order.
    pub(crate) fn append(
        &mut self,
        groups: &[&[ValidBatch]],
        guards: &[Option<VerificationGuard>],
        terms: AppendTerms,
    ) -> Vec<Result<milena_storage::Appended, ErrorCode>> {
        if groups.is_empty() {
            return Vec::new();
        }
        let AppendTerms { origin, verify, now } = terms;
        let context = AppendContext { leader_epoch: self.state.leader_epoch(), now, origin, verify };
        // The reserve is for what must go on: coordinators, markers, metadata.
        let bytes = || groups.iter().flat_map(|group| group.iter()).map(|batch| batch.bytes.len()).sum();
        if origin == AppendOrigin::Client && !self.log_dir.take_room(bytes()) {
            return groups.iter().map(|_| Err(ErrorCode::NOT_ENOUGH_REPLICAS)).collect();
        }
        match self.log.append_groups(groups, guards, context) {
            Ok(outcomes) => outcomes.into_iter().map(|outcome| outcome.map_err(|rejected| rejected.error)).collect(),
            Err(error) => {
                self.storage_failed(&error, "an append failed");
                let is_full = error.is_out_of_space() && !self.log.is_failed();
                let code = if is_full { ErrorCode::NOT_ENOUGH_REPLICAS } else { ErrorCode::KAFKA_STORAGE_ERROR };
                groups.iter().map(|_| Err(code)).collect()
            }
        }
    }

    /// Something of the log failed. If that was the device, the whole log directory goes offline.
    pub(crate) fn storage_failed(&self, error: &milena_storage::Error, what: &'static str) {
        if self.is_leaving {
            tracing::debug!(log = %self.log.directory().display(), %error, "{what}, of a deleted partition");
            return;
        }
        tracing::error!(log = %self.log.directory().display(), %error, "{what}");
        self.log_dir.fail(error);
    }

    /// Moves the high watermark after an append, asks for a flush if one is due, and says who may go on.
    pub(crate) fn wakes_after_append(&mut self, partition: &Arc<Partition>, broker: &Broker) -> Wakes {
        let end = self.log.log_end_offset();
        let moved = self.state.on_local_append(end, broker.steady());
        let unflushed = end - self.log.recovery_point();
        if broker.settings.durability == Durability::Fsync || unflushed >= partition.settings().flush_messages {
            broker.flush_queue().add(partition);
        }
        self.wakes_after(moved)
    }

    /// Who may go on after the high watermark moved, if it did.
    pub(crate) fn wakes_after(&mut self, moved: Option<Offset>) -> Wakes {
        match moved {
            Some(high_watermark) => {
                self.log.on_high_watermark(high_watermark);
                self.wakes()
            }
            // Followers read up to the log's end.
            None if self.state.replicas().len() > 1 => {
                Wakes { fetches: std::mem::take(&mut self.fetches), ..Wakes::default() }
            }
            None => Wakes::default(),
        }
    }

    /// The start of the oldest transaction that is open below the high watermark.
    pub(crate) fn first_unstable_offset(&self) -> Option<Offset> {
        let high_watermark = self.state.high_watermark();
        let last_stable = self.log.last_stable_offset(high_watermark);
        (last_stable < high_watermark).then_some(last_stable)
    }

    /// The end of what a reader may see.
    pub(crate) fn visible_end(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::LogEnd => self.log.log_end_offset(),
            Isolation::HighWatermark => self.state.high_watermark(),
            Isolation::LastStable => self.state.last_stable_offset(self.first_unstable_offset()),
        }
    }

    /// Reads below `bound`.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE`, `KAFKA_STORAGE_ERROR`; `CORRUPT_MESSAGE`, upon which the log is to be looked through.
    pub(crate) fn read(
        &self,
        from: Offset,
        max_bytes: u32,
        bound: Offset,
        is_first: bool,
    ) -> Result<ReadResult, ErrorCode> {
        match self.log.read(from, max_bytes, bound, is_first) {
            Ok(mut read) => {
                if read.first_batch_incomplete {
                    // Half a batch is of no use to anyone (`ReplicaManager.readFromLog`).
                    read.records = Records::EMPTY;
                }
                Ok(read)
            }
            Err(ReadError::OutOfRange { .. }) => Err(ErrorCode::OFFSET_OUT_OF_RANGE),
            Err(ReadError::Storage(error)) if error.is_damage() => Err(ErrorCode::CORRUPT_MESSAGE),
            Err(ReadError::Storage(error)) => {
                self.storage_failed(&error, "a read failed");
                Err(ErrorCode::KAFKA_STORAGE_ERROR)
            }
        }
    }

    /// The aborted transactions within what was read.
    pub(crate) fn aborted_transactions(&self, from: Offset, read: &ReadResult) -> Vec<AbortedTransaction> {
        match self.log.aborted_transactions(from, read) {
            Ok(found) => found
                .into_iter()
                .map(|aborted| AbortedTransaction {
                    producer_id: aborted.producer_id.0,
                    first_offset: aborted.first_offset.0,
                    ..Default::default()
                })
                .collect(),
            Err(error) => {
                self.storage_failed(&error, "the transaction index cannot be read");
                Vec::new()
            }
        }
    }

    /// Where the reader's log parts from ours, if it does (KIP-595; `Partition.readRecords`): `last_fetched` is the
    /// epoch of its last record, `from` the offset after it.
    pub(crate) fn divergence(
        &self,
        last_fetched: LeaderEpoch,
        from: Offset,
    ) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
        if !last_fetched.is_some() {
            return Ok(None);
        }
        match self.log.epoch_end_offset(last_fetched) {
            None => Err(ErrorCode::OFFSET_OUT_OF_RANGE),
            Some((epoch, end)) if epoch < last_fetched || end < from => Ok(Some((epoch, end))),
            Some(_) => Ok(None),
        }
    }

    /// What may go on after the high watermark or the role changed.
    pub(crate) fn wakes(&mut self) -> Wakes {
        let mut acks = Vec::new();
        if !self.acks.is_empty() {
            let state = &self.state;
            let is_leaving = self.is_leaving;
            self.acks.retain(|waiter| match state.ack_state(waiter.required) {
                AckState::Pending => true,
                AckState::Done(Err(_)) if is_leaving => {
                    acks.push((Arc::clone(&waiter.produce), waiter.place, ErrorCode::REQUEST_TIMED_OUT));
                    false
                }
                AckState::Done(result) => {
                    acks.push((Arc::clone(&waiter.produce), waiter.place, result.err().unwrap_or(ErrorCode::NONE)));
                    false
                }
            });
        }
        Wakes { acks, commits: self.take_commits(), fetches: std::mem::take(&mut self.fetches) }
    }

    fn take_commits(&mut self) -> Vec<(Weak<dyn CommitListener>, Result<Offset, ErrorCode>)> {
        if self.commits.is_empty() {
            return Vec::new();
        }
        let high_watermark = self.state.high_watermark();
        let outcome = if self.state.is_leader() { Ok(high_watermark) } else { Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) };
        let (done, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.commits)
            .into_iter()
            .partition(|waiter| outcome.is_err() || waiter.required <= high_watermark);
        self.commits = waiting;
        done.into_iter().map(|waiter| (waiter.listener, outcome)).collect()
    }
}
