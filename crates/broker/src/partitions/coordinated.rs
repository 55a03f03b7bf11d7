//! A partition as the coordinator that lives on it uses it: appended to as a produce with `acks=all` does it, read from
//! its start to its end when the coordinator loads. Kafka: `CoordinatorPartitionWriter`, `CoordinatorLoaderImpl`.

use super::partition::{AppendTerms, Partition};
use super::traffic::Tally;
use super::waiting::{CommitListener, CommitWaiter};
use crate::broker::Broker;
use bytes::Bytes;
use milena_coordinator::runtime::AppendTerms as CoordinatorTerms;
use milena_protocol::Records;
use milena_records::{Batch, Batches, ValidBatch};
use milena_storage::{AppendOrigin, VerificationGuard};
use milena_types::{ErrorCode, LeaderEpoch, Offset};
use std::sync::{Arc, Weak};

/// A coordinator's batch is in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) first_offset: Offset,
    /// The high watermark after the append. If it is not past the batch, the listener is told when it is.
    pub(crate) high_watermark: Offset,
}

/// A piece of the log for a coordinator that loads.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Whole batches; none at the end of the log.
    pub(crate) batches: Vec<Batch>,
    pub(crate) log_end_offset: Offset,
    /// What is above it may still be lost.
    pub(crate) high_watermark: Offset,
}

impl Partition {
    /// Appends one batch for the coordinator that leads in `epoch`.
    ///
    /// # Errors
    /// The batch is not in the log: `NOT_LEADER_OR_FOLLOWER`, `NOT_ENOUGH_REPLICAS`, `KAFKA_STORAGE_ERROR`.
    pub(crate) fn append_coordinated(
        self: &Arc<Self>,
        broker: &Broker,
        epoch: LeaderEpoch,
        (batch, terms): (&Bytes, CoordinatorTerms),
        listener: Weak<dyn CommitListener>,
    ) -> Result<Written, ErrorCode> {
        let size_bytes = batch.len();
        let batch = [ValidBatch::trusted(batch).map_err(|_| ErrorCode::CORRUPT_MESSAGE)?];
        let mut inner = self.lock();
        if inner.state.leader_epoch() != epoch {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        inner.state.check_append(-1)?;
        let origin = AppendOrigin::Coordinator { transaction_version: terms.transaction_version };
        let append = AppendTerms { origin, verify: broker.verifies_transactions(), now: broker.now() };
        let guard = [terms.guard.map(VerificationGuard)];
        let appended = inner.append(&[&batch], &guard, append).pop().ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)??;
        let mut tally = Tally::default();
        tally.appended(&appended, size_bytes);
        self.traffic.produced(&tally);
        let wakes = inner.wakes_after_append(self, broker);
        let required = appended.last_offset + 1;
        let high_watermark = inner.state.high_watermark();
        if high_watermark < required {
            inner.wait_for_commit(CommitWaiter { required, listener });
        }
        drop(inner);
        wakes.run();
        Ok(Written { first_offset: appended.first_offset, high_watermark })
    }

    /// The high watermark for the coordinator that leads in `epoch`; if it has not passed `required`, the listener is told
    /// when it has.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER`.
    pub(crate) fn await_coordinated(
        &self,
        epoch: LeaderEpoch,
        required: Offset,
        listener: Weak<dyn CommitListener>,
    ) -> Result<Offset, ErrorCode> {
        let mut inner = self.lock();
        if !inner.state.is_leader() || inner.state.leader_epoch() != epoch {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let high_watermark = inner.state.high_watermark();
        if high_watermark < required {
            inner.wait_for_commit(CommitWaiter { required, listener });
        }
        Ok(high_watermark)
    }

    /// The leader epoch this broker leads the partition in, if it does.
    pub(crate) fn led_epoch(&self) -> Option<LeaderEpoch> {
        let inner = self.lock();
        inner.state.is_leader().then(|| inner.state.leader_epoch())
    }

    /// The largest batch the topic takes.
    pub(crate) fn max_batch_bytes(&self) -> usize {
        usize::try_from(self.settings().produce.max_message_bytes).unwrap_or(0)
    }

    /// Reads whole batches from `from` on, about `max_bytes` of them. Blocks on the disk.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER`, `KAFKA_STORAGE_ERROR`, `CORRUPT_MESSAGE`.
    pub(crate) fn read_coordinated(
        &self,
        from: Offset,
        max_bytes: u32,
        epoch: LeaderEpoch,
    ) -> Result<Piece, ErrorCode> {
        let inner = self.lock();
        if !inner.state.is_leader() || inner.state.leader_epoch() != epoch {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let log_end_offset = inner.log.log_end_offset();
        let high_watermark = inner.state.high_watermark();
        let from = from.max(inner.log.log_start_offset());
        let read = inner.read(from, max_bytes, log_end_offset, true)?;
        drop(inner);
        let bytes = match read.records {
            Records::Bytes(bytes) => bytes,
            Records::File(slice) => {
                let mut bytes = vec![0; slice.len as usize];
                slice.source.read_exact_at(&mut bytes, slice.position).map_err(|error| {
                    tracing::error!(partition = %self, %error, "a coordinator's log cannot be read");
                    ErrorCode::KAFKA_STORAGE_ERROR
                })?;
                Bytes::from(bytes)
            }
        };
        let batches = Batches::new(bytes).collect::<Result<Vec<_>, _>>().map_err(|error| {
            tracing::error!(partition = %self, %error, "a coordinator's log cannot be read");
            ErrorCode::CORRUPT_MESSAGE
        })?;
        Ok(Piece { batches, log_end_offset, high_watermark })
    }
}
