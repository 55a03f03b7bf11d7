//! Snapshots of the metadata (KIP-630, `RecordsSnapshotWriter`): one file of batches between a header and a footer
//! record; and when to make one.

use bytes::Bytes;
use milena_records::control_batch;
use milena_types::{Offset, Timestamp};

use crate::accumulator::{ControlRecord, MAX_BATCH_BYTES};
use crate::encode::{CodecError, control_value, data_batch, footer_value, header_value};
use crate::identity::OffsetAndEpoch;
use crate::voters::KRaftState;

/// Makes the bytes of one snapshot, piece by piece, so that a large one is never whole in memory.
#[derive(Debug)]
pub struct SnapshotBuilder {
    id: OffsetAndEpoch,
    timestamp: Timestamp,
    next_offset: Offset,
    values: Vec<Bytes>,
    values_bytes: usize,
}

/// Batches of a snapshot are cut at this size: large enough to be few, small enough to be forgotten soon.
const BATCH_BYTES: usize = MAX_BATCH_BYTES / 8;

impl SnapshotBuilder {
    /// Begins a snapshot of everything below `id.offset`; returns its first bytes. `last_contained` is the append time of
    /// the last record in it. With kraft.version 1 the voters are in it.
    ///
    /// # Errors
    /// When the header does not fit a batch.
    pub fn new(
        id: OffsetAndEpoch,
        kraft: &KRaftState,
        last_contained: Timestamp,
        now: Timestamp,
    ) -> Result<(SnapshotBuilder, Bytes), CodecError> {
        let mut first = vec![header_value(last_contained)?];
        if kraft.kraft_version > 0 {
            first.push(control_value(&ControlRecord::KRaftVersion(kraft.kraft_version))?);
            first.push(control_value(&ControlRecord::KRaftVoters(kraft.voters.clone()))?);
        }
        let bytes = control_batch(&first, now.0, Offset(0), id.epoch).map_err(|error| CodecError(error.to_string()))?;
        let next_offset = Offset(i64::try_from(first.len()).unwrap_or(i64::MAX));
        Ok((SnapshotBuilder { id, timestamp: now, next_offset, values: Vec::new(), values_bytes: 0 }, bytes))
    }

    /// Adds a record; returns bytes to write when a batch is full.
    ///
    /// # Errors
    /// When the record does not fit a batch.
    pub fn push(&mut self, value: Bytes) -> Result<Option<Bytes>, CodecError> {
        self.values_bytes += value.len();
        self.values.push(value);
        if self.values_bytes < BATCH_BYTES { Ok(None) } else { self.flush().map(Some) }
    }

    /// The last bytes.
    ///
    /// # Errors
    /// As `push`.
    pub fn finish(mut self) -> Result<Vec<Bytes>, CodecError> {
        let mut pieces = Vec::new();
        if !self.values.is_empty() {
            pieces.push(self.flush()?);
        }
        let footer = control_batch(&[footer_value()?], self.timestamp.0, self.next_offset, self.id.epoch);
        pieces.push(footer.map_err(|error| CodecError(error.to_string()))?);
        Ok(pieces)
    }

    fn flush(&mut self) -> Result<Bytes, CodecError> {
        let values = std::mem::take(&mut self.values);
        self.values_bytes = 0;
        let bytes = data_batch(&values, self.timestamp, self.next_offset, self.id.epoch)?;
        self.next_offset = self.next_offset + i64::try_from(values.len()).unwrap_or(i64::MAX);
        Ok(bytes)
    }
}

/// When a snapshot is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub max_bytes: u64,
    /// `metadata.log.max.snapshot.interval.ms`; 0 for never by time.
    pub max_interval_ms: i64,
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        SnapshotPolicy { max_bytes: 20 * 1024 * 1024, max_interval_ms: 3_600_000 }
    }
}

impl SnapshotPolicy {
    /// Whether a snapshot is due, `new_bytes` of records and `since` milliseconds after the last one. Without new
    /// records there is nothing to write.
    #[must_use]
    pub fn is_due(&self, new_bytes: u64, since_ms: i64) -> bool {
        let late = self.max_interval_ms > 0 && since_ms >= self.max_interval_ms;
        new_bytes > 0 && (new_bytes >= self.max_bytes || late)
    }
}

#[cfg(test)]
mod tests {
    use milena_records::Batches;
    use milena_types::LeaderEpoch;

    use super::*;
    use crate::encode::{LogRecord, decode_batch};
    use crate::voters::VoterSet;

    #[test]
    fn a_snapshot_is_header_records_and_footer_with_consecutive_offsets() {
        let id = OffsetAndEpoch { offset: Offset(40), epoch: LeaderEpoch(2) };
        let kraft = KRaftState {
            kraft_version: 1,
            voters: VoterSet::parse_static("1@h:1", "C").unwrap(),
            voters_offset: Some(Offset(2)),
        };
        let (mut builder, mut bytes) = {
            let (builder, first) = SnapshotBuilder::new(id, &kraft, Timestamp(5), Timestamp(9)).unwrap();
            (builder, first.to_vec())
        };
        let value = Bytes::from(vec![1; BATCH_BYTES / 2]);
        for _ in 0..3 {
            bytes.extend(builder.push(value.clone()).unwrap().unwrap_or_default());
        }
        builder.finish().unwrap().into_iter().for_each(|piece| bytes.extend(piece));
        let batches: Vec<_> = Batches::new(bytes.into()).map(Result::unwrap).collect();
        let records: Vec<_> = batches.iter().flat_map(|batch| decode_batch(batch).unwrap()).collect();
        assert!(batches.iter().all(|batch| batch.header.partition_leader_epoch == LeaderEpoch(2)));
        assert!(records.iter().map(|(offset, _)| offset.0).eq(0..7));
        assert_eq!(records[0].1, LogRecord::SnapshotHeader { last_contained_log_timestamp: Timestamp(5) });
        assert_eq!(records[6].1, LogRecord::SnapshotFooter);
    }

    #[test]
    fn a_snapshot_is_due_by_bytes_or_by_time_but_never_without_news() {
        let policy = SnapshotPolicy { max_bytes: 100, max_interval_ms: 10 };
        assert!(policy.is_due(100, 0) && policy.is_due(1, 10));
        assert!(!policy.is_due(99, 9) && !policy.is_due(0, 1_000));
        assert!(!SnapshotPolicy { max_interval_ms: 0, ..policy }.is_due(1, 1_000));
    }
}
