//! What is known of one producer id: 64 bytes, and more only for one that wrote several batches. There may be millions
//! that write once and never come back. Kafka: `ProducerStateEntry`, `BatchMetadata`.

use milena_types::ProducerEpoch;

/// Batches kept per producer to recognise a repeated one.
const BATCHES_MAX: usize = 5;
/// Kafka's "no sequence".
const NO_SEQUENCE: i32 = -1;
/// No offset: no batch, no open transaction.
const NO_OFFSET: i64 = -1;

const _: () = assert!(size_of::<ProducerEntry>() == 64, "a producer id costs as much as was promised");

/// One batch a producer wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProducerBatch {
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Last offset minus first offset.
    pub offset_delta: i32,
    /// Its max timestamp.
    pub timestamp: i64,
}

impl ProducerBatch {
    const NONE: ProducerBatch =
        ProducerBatch { last_sequence: NO_SEQUENCE, last_offset: NO_OFFSET, offset_delta: 0, timestamp: -1 };

    /// Sequence of its first record; sequences wrap from `i32::MAX` to 0.
    #[must_use]
    pub fn first_sequence(&self) -> i32 {
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        if first >= 0 { first as i32 } else { (first + (1 << 31)) as i32 }
    }

    /// Offset of its first record.
    #[must_use]
    pub fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }

    fn is_none(&self) -> bool {
        self.last_offset == NO_OFFSET
    }
}

/// The state of one producer id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerEntry {
    /// Max timestamp of its last batch or the marker's.
    pub last_timestamp: i64,
    last: ProducerBatch,
    /// Those before the last, oldest first.
    older: Option<Box<[ProducerBatch]>>,
    transaction_first_offset: i64,
    /// Epoch of the coordinator that wrote the last marker, -1 if none.
    pub coordinator_epoch: i32,
    /// Its newest epoch, -1 if never seen.
    pub epoch: ProducerEpoch,
}

impl ProducerEntry {
    pub(crate) const EMPTY: ProducerEntry = ProducerEntry {
        last_timestamp: -1,
        last: ProducerBatch::NONE,
        older: None,
        transaction_first_offset: NO_OFFSET,
        coordinator_epoch: -1,
        epoch: ProducerEpoch::NONE,
    };

    /// An entry as a snapshot saves it, without its batch.
    pub(crate) fn saved(
        epoch: ProducerEpoch,
        coordinator_epoch: i32,
        last_timestamp: i64,
        current_transaction_first_offset: Option<i64>,
    ) -> ProducerEntry {
        let transaction_first_offset = current_transaction_first_offset.unwrap_or(NO_OFFSET);
        ProducerEntry { epoch, coordinator_epoch, last_timestamp, transaction_first_offset, ..Self::EMPTY }
    }

    /// First offset of the open transaction.
    #[must_use]
    pub fn current_transaction_first_offset(&self) -> Option<i64> {
        (self.transaction_first_offset != NO_OFFSET).then_some(self.transaction_first_offset)
    }

    /// The remembered batches, oldest first.
    pub fn batches(&self) -> impl Iterator<Item = ProducerBatch> {
        self.older.iter().flatten().copied().chain(self.last_batch())
    }

    /// The last batch, if one is remembered.
    #[must_use]
    pub fn last_batch(&self) -> Option<ProducerBatch> {
        (!self.last.is_none()).then_some(self.last)
    }

    /// Sequence of the last record written, -1 if none is remembered.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.last.last_sequence
    }

    pub(crate) fn set_transaction(&mut self, first_offset: Option<i64>) {
        self.transaction_first_offset = first_offset.unwrap_or(NO_OFFSET);
    }

    pub(crate) fn set_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.last = ProducerBatch::NONE;
            self.older = None;
        }
    }

    /// Remembers a batch; the one that is forgotten for it.
    pub(crate) fn push(&mut self, batch: ProducerBatch) -> Option<ProducerBatch> {
        let before = std::mem::replace(&mut self.last, batch);
        if before.is_none() {
            return None;
        }
        match &mut self.older {
            Some(older) if older.len() == BATCHES_MAX - 1 => {
                let evicted = older.first_mut().map(|oldest| std::mem::replace(oldest, before));
                older.rotate_left(1);
                evicted
            }
            older => {
                *older = Some(older.iter().flatten().copied().chain([before]).collect());
                None
            }
        }
    }

    /// Forgets the last batch, for which `evicted` had been.
    pub(crate) fn pop(&mut self, evicted: Option<ProducerBatch>) {
        let mut older: Vec<ProducerBatch> =
            evicted.into_iter().chain(self.older.take().into_iter().flatten()).collect();
        self.last = older.pop().unwrap_or(ProducerBatch::NONE);
        self.older = (!older.is_empty()).then(|| older.into_boxed_slice());
    }

    pub(crate) fn expired(&self, now_ms: i64, expiration_ms: i64) -> bool {
        self.transaction_first_offset == NO_OFFSET && now_ms - self.last_timestamp >= expiration_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_batches_are_kept_and_the_last_can_be_taken_back() {
        let batch = |at: i32| ProducerBatch { last_sequence: at, last_offset: i64::from(at), ..Default::default() };
        let mut entry = ProducerEntry::EMPTY;
        assert_eq!((entry.last_batch(), entry.last_sequence()), (None, NO_SEQUENCE));
        let mut history = Vec::new();
        for at in 0..9 {
            let before = entry.clone();
            history.push((before, entry.push(batch(at))));
        }
        assert_eq!(entry.batches().map(|batch| batch.last_sequence).collect::<Vec<_>>(), [4, 5, 6, 7, 8]);
        for (before, evicted) in history.into_iter().rev() {
            entry.pop(evicted);
            assert_eq!(entry, before);
        }
    }
}
