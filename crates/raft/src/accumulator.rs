//! Records the leader has accepted and not yet handed to the log (class `BatchAccumulator`). Each call's records stay
//! in one batch, so they are committed together or not at all.

use bytes::Bytes;
use milena_types::{BrokerId, LeaderEpoch, Offset, Timestamp};

use crate::voters::VoterSet;

/// The largest batch of metadata records (`KafkaRaftClient.MAX_BATCH_SIZE_BYTES`).
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// The worst case of what one record adds to a batch besides its value: length, attributes, deltas, key, headers.
const RECORD_OVERHEAD_BYTES: usize = 24;

/// A control record of the quorum.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ControlRecord {
    /// The first record of every epoch.
    LeaderChange {
        leader: BrokerId,
        voters: Vec<BrokerId>,
        granting: Vec<BrokerId>,
    },
    KRaftVersion(i16),
    KRaftVoters(VoterSet),
}

/// What one batch holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchContent {
    Control(Vec<ControlRecord>),
    /// Values of metadata records, framed as `MetadataRecord::encode` does.
    Records(Vec<Bytes>),
}

/// One batch for the end of the leader's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderBatch {
    pub base_offset: Offset,
    pub epoch: LeaderEpoch,
    pub timestamp: Timestamp,
    pub content: BatchContent,
}

impl LeaderBatch {
    /// The offset after its last record.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        let count = match &self.content {
            BatchContent::Control(records) => records.len(),
            BatchContent::Records(records) => records.len(),
        };
        self.base_offset + i64::try_from(count).unwrap_or(i64::MAX)
    }
}

/// The leader's queue.
#[derive(Clone, Debug)]
pub(crate) struct Accumulator {
    epoch: LeaderEpoch,
    next_offset: Offset,
    batches: Vec<LeaderBatch>,
    open_bytes: usize,
}

impl Accumulator {
    pub(crate) fn new(epoch: LeaderEpoch, next_offset: Offset) -> Accumulator {
        Accumulator { epoch, next_offset, batches: Vec::new(), open_bytes: 0 }
    }

    /// Queues control records as a batch of their own; returns the offset of the last.
    pub(crate) fn push_control(&mut self, records: Vec<ControlRecord>, now: Timestamp) -> Offset {
        self.push_batch(BatchContent::Control(records), now);
        self.open_bytes = usize::MAX;
        Offset(self.next_offset.0 - 1)
    }

    /// Queues records that belong together; returns the offset after the last one, or `None` if they are larger than a
    /// batch may be.
    pub(crate) fn push(&mut self, records: Vec<Bytes>, now: Timestamp) -> Option<Offset> {
        let bytes: usize = records.iter().map(|record| record.len() + RECORD_OVERHEAD_BYTES).sum();
        if bytes > MAX_BATCH_BYTES {
            return None;
        }
        if records.is_empty() {
            return Some(self.next_offset);
        }
        let fits = self.open_bytes.checked_add(bytes).is_some_and(|sum| sum <= MAX_BATCH_BYTES);
        if fits && let Some(LeaderBatch { content: BatchContent::Records(open), .. }) = self.batches.last_mut() {
            self.next_offset = self.next_offset + i64::try_from(records.len()).unwrap_or(i64::MAX);
            open.extend(records);
            self.open_bytes += bytes;
        } else {
            self.push_batch(BatchContent::Records(records), now);
            self.open_bytes = bytes;
        }
        Some(self.next_offset)
    }

    fn push_batch(&mut self, content: BatchContent, timestamp: Timestamp) {
        let batch = LeaderBatch { base_offset: self.next_offset, epoch: self.epoch, timestamp, content };
        self.next_offset = batch.end_offset();
        self.batches.push(batch);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The offset the next record gets.
    pub(crate) fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// Hands over everything queued.
    pub(crate) fn drain(&mut self) -> Vec<LeaderBatch> {
        self.open_bytes = 0;
        std::mem::take(&mut self.batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, bytes: usize) -> Vec<Bytes> {
        vec![Bytes::from(vec![0; bytes]); count]
    }

    #[test]
    fn records_share_batches_up_to_the_limit_and_never_with_control_records() {
        let mut queue = Accumulator::new(LeaderEpoch(1), Offset(5));
        queue.push_control(vec![ControlRecord::KRaftVersion(1)], Timestamp(1));
        assert_eq!(queue.push(values(2, 10), Timestamp(1)), Some(Offset(8)));
        assert_eq!(queue.push(values(1, 10), Timestamp(2)), Some(Offset(9)));
        assert_eq!(queue.push(values(1, MAX_BATCH_BYTES - 24), Timestamp(2)), Some(Offset(10)));
        assert_eq!(queue.push(values(1, MAX_BATCH_BYTES), Timestamp(2)), None);
        let batches = queue.drain();
        let ends: Vec<i64> = batches.iter().map(|batch| batch.end_offset().0).collect();
        assert_eq!(ends, [6, 9, 10]);
        assert!(queue.is_empty());
        assert_eq!(queue.next_offset(), Offset(10));
    }
}
