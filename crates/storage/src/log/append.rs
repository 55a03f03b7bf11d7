//! Appending (`UnifiedLog.append`): the public calls. What a batch is given and whether it may go is decided in `plan.rs`,
//! written in `write.rs`. All batches that one read of a connection brought for the partition go in one call; each
//! request's batches stand or fall together.

use bytes::Bytes;
use milena_records::ValidBatch;
use milena_types::{LeaderEpoch, Offset, Timestamp};

use super::Log;
use super::plan::{Changes, Planned, marker_of};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::producers::{AppendOrigin, Rejected, Terms};
use crate::verification::VerificationGuard;

/// What holds for a whole append.
#[derive(Clone, Copy, Debug)]
pub struct AppendContext {
    /// The epoch this node leads in.
    pub leader_epoch: LeaderEpoch,
    /// Now.
    pub now: Timestamp,
    /// Who appends.
    pub origin: AppendOrigin,
    /// `transaction.partition.verification.enable`: the first records of a transaction here need the guard that
    /// `Log::start_verification` gave.
    pub verify: bool,
}

/// Where one request's batches are in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Offset of the first record.
    pub first_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// The greatest timestamp, in milliseconds; -1 if none.
    pub max_timestamp: i64,
    /// The batches were in the log already and were not written again (KIP-98).
    pub duplicate: bool,
}

/// Why a request's batches are not in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// They break a rule; the log is as before.
    #[error("{}", .0.message)]
    Rejected(Rejected),
    /// The disk failed. Unless `Log::is_failed`, the log is as before.
    #[error(transparent)]
    Storage(#[from] Error),
}

impl<D: Disk> Log<D> {
    /// Appends a client request's batches as the leader of `leader_epoch`.
    ///
    /// # Errors
    /// `AppendError`.
    pub fn append_as_leader(
        &mut self,
        batches: &[ValidBatch],
        leader_epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<Appended, AppendError> {
        let context = AppendContext { leader_epoch, now, origin: AppendOrigin::Client, verify: false };
        self.append_with_origin(batches, context)
    }

    /// As `append_as_leader`, for any origin.
    ///
    /// # Errors
    /// `AppendError`.
    pub fn append_with_origin(
        &mut self,
        batches: &[ValidBatch],
        context: AppendContext,
    ) -> Result<Appended, AppendError> {
        let mut outcomes = self.append_groups(&[batches], &[], context)?;
        match outcomes.pop() {
            Some(Ok(appended)) => Ok(appended),
            Some(Err(rejected)) => Err(AppendError::Rejected(rejected)),
            None => Err(AppendError::Storage(self.failure())),
        }
    }

    /// Appends the batches of several requests with one write; an outcome for each group, in their order. A group is
    /// refused whole if one of its batches is; the others are not touched by that. `guards` are those of the groups, in
    /// the same order; groups past their end have none.
    ///
    /// # Errors
    /// The disk failed: none of the groups may be acknowledged.
    pub fn append_groups(
        &mut self,
        groups: &[&[ValidBatch]],
        guards: &[Option<VerificationGuard>],
        context: AppendContext,
    ) -> Result<Vec<Result<Appended, Rejected>>> {
        if self.failed {
            return Err(self.failure());
        }
        let mut planned = Vec::with_capacity(groups.len());
        let mut changes = Changes::default();
        let mut next = self.log_end_offset;
        let mut outcomes = Vec::with_capacity(groups.len());
        for (at, group) in groups.iter().enumerate() {
            let guard = guards.get(at).copied().flatten();
            let terms = Terms { origin: context.origin, verify: context.verify, guard };
            let (planned_before, undo_before, ended) = (planned.len(), changes.undo.len(), changes.completed.len());
            let outcome = self.plan_group(group, (terms, context.leader_epoch), &mut next, &mut planned, &mut changes);
            let written = matches!(&outcome, Ok(appended) if !appended.duplicate);
            if !written {
                planned.truncate(planned_before);
                changes.completed.truncate(ended);
                self.undo(changes.undo.drain(undo_before..).rev());
            }
            outcomes.push(outcome);
        }
        self.write_planned(&planned, &mut changes, context.now)?;
        Ok(outcomes)
    }

    /// Appends a leader's batches as they are, offsets and epochs included. A batch cut off at the end is left out.
    ///
    /// # Errors
    /// `AppendError`: `CORRUPT_MESSAGE` for a damaged batch, `OFFSET_OUT_OF_RANGE` for offsets that do not follow the
    /// log's end.
    pub fn append_as_follower(&mut self, records: Bytes, now: Timestamp) -> Result<Option<Appended>, AppendError> {
        if self.failed {
            return Err(self.failure().into());
        }
        let batches = self.check_followers_batches(records)?;
        let mut planned = Vec::with_capacity(batches.len());
        let mut changes = Changes::default();
        let mut appended: Option<Appended> = None;
        for batch in &batches {
            let header = batch.header;
            let changes_before = changes.undo.len();
            let marker = marker_of(batch).map_err(AppendError::Rejected);
            let applied = marker.and_then(|marker| {
                self.apply(&header, header.base_offset, AppendOrigin::Replication.into(), marker, &mut changes)
                    .map_err(AppendError::Rejected)
            });
            if let Err(error) = applied {
                self.undo(changes.undo.drain(..).rev());
                return Err(error);
            }
            planned.push(Planned { header, prefix: None, bytes: &batch.bytes, changes_before });
            let so_far = appended.unwrap_or(Appended {
                first_offset: header.base_offset,
                last_offset: header.last_offset(),
                max_timestamp: header.max_timestamp,
                duplicate: false,
            });
            appended = Some(Appended {
                last_offset: header.last_offset(),
                max_timestamp: so_far.max_timestamp.max(header.max_timestamp),
                ..so_far
            });
        }
        self.write_planned(&planned, &mut changes, now)?;
        Ok(appended)
    }
}
