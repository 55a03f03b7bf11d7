//! A partition as a follower: where its log ends, appending what the leader sent, cutting what the leader does not have
//! (`Partition.appendRecordsToFollowerOrFutureReplica`, `ReplicaFetcherThread.processPartitionData` and `truncate`).

use super::maintenance;
use super::partition::{Inner, Partition};
use crate::broker::Broker;
use bytes::Bytes;
use milena_records::Batches;
use milena_replication::{Durability, EpochEnd, OutOfRange, Role, truncation_offset};
use milena_storage::AppendError;
use milena_types::{BrokerId, LeaderEpoch, Offset, Timestamp};
use std::sync::Arc;

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
        broker: &Broker,
        leader: BrokerId,
        leader_epoch: LeaderEpoch,
    ) -> Result<Option<FollowerEnd>, FollowerProblem> {
        let follows = |inner: &Inner| inner.follows(leader, leader_epoch);
        let mut inner = self.lock();
        if !follows(&inner) {
            return Ok(None);
        }
        // A log that knows no epochs can only be trusted up to the high watermark.
        let high_watermark = inner.state.high_watermark();
        if inner.log.latest_epoch().is_none() && inner.log.log_end_offset() > high_watermark {
            drop(inner);
            let is_asked = |inner: &Inner| follows(inner) && inner.log.latest_epoch().is_none();
            let cut = |inner: &mut Inner| self.truncate(inner, high_watermark, broker.now());
            self.cut_log(broker, high_watermark, is_asked, cut)?;
            inner = self.lock();
            if !follows(&inner) {
                return Ok(None);
            }
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
            drop(inner);
            return self.cut_log(broker, to, is_current, |inner| self.truncate(inner, to, now));
        }
        // The leader's log starts within its first batch: so does ours, from the batch's own first offset.
        let start = inner.log.log_start_offset();
        let begins_at = (inner.log.log_end_offset() == start).then(|| first_offset_around(&fetched.records, start));
        if let Some(first) = begins_at.flatten() {
            drop(inner);
            if self.cut_log(broker, first, is_current, |inner| self.start_at(inner, first, now))? == Taken::Stale {
                return Ok(Taken::Stale);
            }
            inner = self.lock();
            if inner.log.log_end_offset() != first || !inner.follows(fetched.leader, fetched.leader_epoch) {
                return Ok(Taken::Stale);
            }
        }
        // Without room the leader's log start is still followed: it is what makes room here.
        let has_room = inner.log_dir.take_room(fetched.records.len());
        let appended = !fetched.records.is_empty() && has_room;
        if appended {
            let bytes = fetched.records.len() as u64;
            self.append_fetched(&mut inner, fetched.records, now)?;
            if let Err(error) = inner.log.advance_log_start(start) {
                inner.storage_failed(&error, "the log start cannot be raised");
            }
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
        match inner.log.append_as_follower(records, now) {
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
        let is_asked =
            |inner: &Inner| inner.follows(leader, leader_epoch) && inner.log.log_end_offset() == expected_end;
        match action {
            OutOfRange::FetchAgain => Ok(if is_asked(&self.lock()) { Taken::Done } else { Taken::Stale }),
            OutOfRange::TruncateTo(end) => self.cut_log(broker, end, is_asked, |inner| {
                tracing::warn!(partition = %self, from = %expected_end, to = %end, "the leader's log ends before this one");
                self.truncate(inner, end, now)
            }),
            // Between two files that are removed the log may begin and end anywhere.
            OutOfRange::StartAt(start) => self.cut_log(broker, Offset(0), is_asked, |inner| {
                tracing::warn!(partition = %self, from = %expected_end, to = %start, "the leader's log begins after this one");
                self.start_at(inner, start, now)
            }),
        }
    }

    /// Removes everything; the next record gets `start`.
    fn start_at(&self, inner: &mut Inner, start: Offset, now: Timestamp) -> Result<(), FollowerProblem> {
        inner.log.truncate_fully_and_start_at(start, now).map_err(|error| self.lost(inner, &error))?;
        inner.state.on_truncate(start);
        Ok(())
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
