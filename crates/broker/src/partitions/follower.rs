//! A partition as a follower: where its log ends, appending what the leader sent, cutting what the leader does not have
//! (`Partition.appendRecordsToFollowerOrFutureReplica`, `ReplicaFetcherThread.processPartitionData` and `truncate`).

use super::checkpoints::Checkpoints;
use super::maintenance;
use super::partition::{Inner, Partition};
use crate::broker::Broker;
use bytes::Bytes;
use milena_records::Batches;
use milena_replication::{Durability, EpochEnd, OutOfRange, Role, truncation_offset};
use milena_storage::AppendError;
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Timestamp};
use std::sync::{Arc, MutexGuard};

/// Where a follower goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FollowerEnd {
    pub(crate) end: Offset,
    /// The epoch of the last record, or none.
    pub(crate) last_epoch: LeaderEpoch,
    pub(crate) log_start: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
}

/// One partition of a leader's answer.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) leader: BrokerId,
    /// The epoch in which it was asked for.
    pub(crate) leader_epoch: LeaderEpoch,
    /// The offset that was asked for, and the epoch of the record before it.
    pub(crate) from: Offset,
    pub(crate) last_epoch: LeaderEpoch,
    pub(crate) records: Bytes,
    pub(crate) high_watermark: Offset,
    pub(crate) log_start: Offset,
    pub(crate) diverging: Option<EpochEnd>,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Done,
    /// The partition follows another leader or epoch by now, or its log changed.
    Stale,
}

/// Why an answer could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FollowerProblem {
    /// The records are damaged: fetching again may help.
    Damaged,
    /// The log directory has no room for them now.
    NoRoom,
    /// The log failed.
    Lasting,
}

impl Partition {
    /// Where to go on following `leader` in `leader_epoch`; `None` if that is not what the controller says now.
    ///
    /// # Errors
    /// The log failed.
    pub(crate) fn follower_end(
        &self,
        leader: BrokerId,
        leader_epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<Option<FollowerEnd>, FollowerProblem> {
        let mut inner = self.lock();
        if !inner.follows(leader, leader_epoch) {
            return Ok(None);
        }
        // A log that knows no epochs can only be trusted up to the high watermark.
        let high_watermark = inner.state.high_watermark();
        if inner.log.latest_epoch().is_none() && inner.log.log_end_offset() > high_watermark {
            self.truncate(&mut inner, high_watermark, now)?;
        }
        Ok(Some(FollowerEnd {
            end: inner.log.log_end_offset(),
            last_epoch: inner.log.latest_epoch().unwrap_or(LeaderEpoch::NONE),
            log_start: inner.log.log_start_offset(),
            leader_epoch,
        }))
    }

    /// Takes an answer. Blocks on the device if the answer diverges or records must be synced.
    ///
    /// # Errors
    /// Damaged records, or a log that failed.
    pub(crate) fn take_fetched(self: &Arc<Self>, broker: &Broker, fetched: Fetched) -> Result<Taken, FollowerProblem> {
        let now = broker.now();
        let mut inner = self.lock();
        // The same end may have been reached again on another way: the epoch tells.
        let is_current = |inner: &Inner| {
            inner.log.log_end_offset() == fetched.from
                && inner.log.latest_epoch().unwrap_or(LeaderEpoch::NONE) == fetched.last_epoch
                && inner.follows(fetched.leader, fetched.leader_epoch)
        };
        if !is_current(&inner) {
            return Ok(Taken::Stale);
        }
        if let Some(leader) = fetched.diverging {
            let own = inner.log.epoch_end_offset(leader.epoch).map(|(epoch, end)| EpochEnd { epoch, end });
            let to = truncation_offset(leader, own, inner.log.log_end_offset());
            let mut inner = self.vouch_below(broker, inner, to);
            if !is_current(&inner) {
                return Ok(Taken::Stale);
            }
            self.truncate(&mut inner, to, now)?;
            drop(inner);
            Checkpoints::default().write_after_truncation(broker);
            return Ok(Taken::Done);
        }
        // Without room the leader's log start is still followed: it is what makes room here.
        let has_room = inner.log_dir.take_room(fetched.records.len());
        let appended = !fetched.records.is_empty() && has_room;
        if appended {
            let bytes = fetched.records.len() as u64;
            self.append_fetched(&mut inner, fetched.records, now)?;
            self.traffic.replication_bytes_in.add(bytes);
        }
        let end = inner.log.log_end_offset();
        inner.state.on_local_append(end, broker.steady());
        let moved = inner.state.on_leader_high_watermark(fetched.high_watermark);
        let start = fetched.log_start.min(inner.state.high_watermark());
        if let Err(error) = inner.log.advance_log_start(start) {
            inner.storage_failed(&error, "the log start cannot be raised");
        }
        let unflushed = end - inner.log.recovery_point();
        let wakes = inner.wakes_after(moved);
        drop(inner);
        wakes.run();
        if appended && broker.settings.durability == Durability::Fsync {
            maintenance::flush(broker, self);
        } else if unflushed >= self.settings().flush_messages {
            broker.flush_queue().add(self);
        }
        if has_room { Ok(Taken::Done) } else { Err(FollowerProblem::NoRoom) }
    }

    fn append_fetched(&self, inner: &mut Inner, records: Bytes, now: Timestamp) -> Result<(), FollowerProblem> {
        let mut outcome = inner.log.append_as_follower(records.clone(), now);
        if let Err(AppendError::Rejected(rejected)) = &outcome
            && rejected.error == ErrorCode::OFFSET_OUT_OF_RANGE
            && let Some(first) = first_offset_around(&records, inner.log.log_end_offset())
            && inner.log.log_end_offset() == inner.log.log_start_offset()
        {
            // The leader's log starts within its first batch: so does ours, from the batch's own first offset.
            let start = inner.log.log_start_offset();
            inner.log.truncate_fully_and_start_at(first, now).map_err(|error| self.lost(inner, &error))?;
            inner.state.on_truncate(first);
            outcome = inner.log.append_as_follower(records, now);
            if let Err(error) = inner.log.advance_log_start(start) {
                inner.storage_failed(&error, "the log start cannot be raised");
            }
        }
        match outcome {
            Ok(_) => Ok(()),
            Err(AppendError::Rejected(rejected)) => {
                tracing::warn!(partition = %self, error = %rejected.error, why = rejected.message, "fetched records are refused");
                Err(FollowerProblem::Damaged)
            }
            Err(AppendError::Storage(error)) if error.is_out_of_space() && !inner.log.is_failed() => {
                inner.storage_failed(&error, "fetched records have no room");
                Err(FollowerProblem::NoRoom)
            }
            Err(AppendError::Storage(error)) => Err(self.lost(inner, &error)),
        }
    }

    /// Does what an answer of `OFFSET_OUT_OF_RANGE` asks for. Blocks on the device.
    ///
    /// # Errors
    /// The log failed.
    pub(crate) fn adjust_range(
        &self,
        broker: &Broker,
        (leader, leader_epoch): (BrokerId, LeaderEpoch),
        expected_end: Offset,
        action: OutOfRange,
    ) -> Result<Taken, FollowerProblem> {
        let now = broker.now();
        let mut inner = self.lock();
        if !inner.follows(leader, leader_epoch) || inner.log.log_end_offset() != expected_end {
            return Ok(Taken::Stale);
        }
        let to = match action {
            OutOfRange::FetchAgain => return Ok(Taken::Done),
            OutOfRange::TruncateTo(to) => to,
            OutOfRange::StartAt(_) => Offset(0),
        };
        inner = self.vouch_below(broker, inner, to);
        if !inner.follows(leader, leader_epoch) || inner.log.log_end_offset() != expected_end {
            return Ok(Taken::Stale);
        }
        match action {
            OutOfRange::FetchAgain => {}
            OutOfRange::TruncateTo(end) => {
                tracing::warn!(partition = %self, from = %expected_end, to = %end, "the leader's log ends before this one");
                self.truncate(&mut inner, end, now)?;
            }
            OutOfRange::StartAt(start) => {
                tracing::warn!(partition = %self, from = %expected_end, to = %start, "the leader's log begins after this one");
                inner.log.truncate_fully_and_start_at(start, now).map_err(|error| self.lost(&mut inner, &error))?;
                inner.state.on_truncate(start);
            }
        }
        drop(inner);
        Checkpoints::default().write_after_truncation(broker);
        Ok(Taken::Done)
    }

    /// Sees to it that the recovery point on disk is not above `to`, where the log is about to be cut: a log that ends below it
    /// has lost records, for all that the next start knows. Gives the lock up meanwhile.
    fn vouch_below<'a>(
        &'a self,
        broker: &Broker,
        mut inner: MutexGuard<'a, Inner>,
        to: Offset,
    ) -> MutexGuard<'a, Inner> {
        if inner.log.recovery_point() <= to {
            return inner;
        }
        inner.log.lower_recovery_point(to);
        drop(inner);
        Checkpoints::default().write_recovery_points(broker);
        self.lock()
    }

    fn truncate(&self, inner: &mut Inner, to: Offset, now: Timestamp) -> Result<(), FollowerProblem> {
        let from = inner.log.log_end_offset();
        let high_watermark = inner.state.high_watermark();
        if to < high_watermark {
            tracing::warn!(partition = %self, %from, %to, %high_watermark, "truncating below the high watermark");
        } else if to < from {
            tracing::info!(partition = %self, %from, %to, "truncating to where the leader's log parts");
        }
        inner.log.truncate_to(to, now).map_err(|error| self.lost(inner, &error))?;
        inner.state.on_truncate(inner.log.log_end_offset());
        Ok(())
    }

    /// The log failed: the partition is offline.
    fn lost(&self, inner: &mut Inner, error: &milena_storage::Error) -> FollowerProblem {
        inner.storage_failed(error, "the log failed; the partition is offline until the broker starts again");
        inner.log.mark_failed();
        inner.state.go_offline();
        FollowerProblem::Lasting
    }
}

impl Inner {
    fn follows(&self, leader: BrokerId, leader_epoch: LeaderEpoch) -> bool {
        self.state.role() == Role::Follower { leader } && self.state.leader_epoch() == leader_epoch
    }
}

/// The first offset of the records, if their first batch holds `end` without beginning there.
pub(super) fn first_offset_around(records: &Bytes, end: Offset) -> Option<Offset> {
    let first = Batches::new(records.clone()).next()?.ok()?;
    let header = first.header;
    (header.base_offset < end && header.last_offset() >= end).then_some(header.base_offset)
}
