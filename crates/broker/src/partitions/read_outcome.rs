//! What a fetch found in one partition, and how it is told.

use super::partition::Inner;
use milena_protocol::Records;
use milena_protocol::messages::fetch_response::{AbortedTransaction, EpochEndOffset, PartitionData};
use milena_replication::{PartitionOutcome, ReadBound};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset};

/// What one partition's read gave.
pub(super) struct ReadOutcome {
    pub(super) error: ErrorCode,
    /// What was asked for cannot be read.
    pub(super) is_damaged: bool,
    pub(super) bound: Option<ReadBound>,
    pub(super) log_start: Offset,
    pub(super) records: Records,
    pub(super) aborted: Option<Vec<AbortedTransaction>>,
    pub(super) diverging: Option<(LeaderEpoch, Offset)>,
    /// Where the consumer had better read.
    pub(super) preferred: Option<BrokerId>,
}

impl ReadOutcome {
    pub(super) fn failed(error: ErrorCode) -> Self {
        Self {
            error,
            is_damaged: false,
            bound: None,
            log_start: Offset(-1),
            records: Records::EMPTY,
            aborted: None,
            diverging: None,
            preferred: None,
        }
    }

    /// What was asked for is damaged. Where others have it one of them will lead: the client shall ask again, and not give up.
    pub(super) fn damaged(inner: &Inner) -> Self {
        let has_peers = inner.state.isr().committed().len() > 1;
        let error = if has_peers { ErrorCode::KAFKA_STORAGE_ERROR } else { ErrorCode::CORRUPT_MESSAGE };
        Self { is_damaged: true, ..Self::failed(error) }
    }

    /// Whether the reader is to go elsewhere, or back: it is told at once.
    pub(super) fn is_redirect(&self) -> bool {
        self.diverging.is_some() || self.preferred.is_some()
    }

    pub(super) fn for_session(&self) -> PartitionOutcome {
        PartitionOutcome {
            records_size: self.records.len(),
            high_watermark: self.bound.map_or(Offset(-1), |bound| bound.high_watermark),
            log_start_offset: self.log_start,
            error: self.error,
            has_redirect: self.is_redirect(),
        }
    }

    pub(super) fn into_data(self, index: i32) -> PartitionData {
        let mut data = PartitionData {
            partition_index: index,
            error_code: self.error.0,
            high_watermark: self.bound.map_or(-1, |bound| bound.high_watermark.0),
            last_stable_offset: self.bound.map_or(-1, |bound| bound.last_stable_offset.0),
            log_start_offset: self.log_start.0,
            aborted_transactions: self.aborted,
            preferred_read_replica: self.preferred.map_or(-1, |id| id.0),
            records: Some(self.records),
            ..Default::default()
        };
        if let Some((epoch, end)) = self.diverging {
            data.diverging_epoch = EpochEndOffset { epoch: epoch.0, end_offset: end.0, ..Default::default() };
        }
        data
    }
}
