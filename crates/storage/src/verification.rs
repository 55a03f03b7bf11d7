//! Guards against transactions that hang (KIP-890): the first batch of a transaction in a partition is let in only with the
//! guard that was given out before the coordinator was asked whether the transaction is open. What ends the transaction
//! meanwhile takes the guard away, so that a batch that comes late cannot open it again. Kafka's counterparts are
//! `VerificationStateEntry`, `VerificationGuard` and the beginning of `ProducerAppendInfo.checkSequence`.

use std::collections::BTreeMap;

use milena_records::BatchHeader;
use milena_types::{ErrorCode, ProducerEpoch};

use crate::producers::Rejected;

/// Names one verification of one log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerificationGuard(pub u64);

/// A verification that runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    guard: VerificationGuard,
    since_ms: i64,
    lowest_sequence: i32,
    epoch: ProducerEpoch,
    supports_epoch_bump: bool,
}

/// Verifications by producer id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verifications {
    entries: BTreeMap<i64, Entry>,
    last_guard: u64,
}

impl Verifications {
    pub(crate) fn start(&mut self, batch: &BatchHeader, supports_epoch_bump: bool, now_ms: i64) -> VerificationGuard {
        let (sequence, epoch) = (batch.base_sequence, batch.producer_epoch);
        let Verifications { entries, last_guard } = self;
        let entry = entries.entry(batch.producer_id.0).or_insert_with(|| {
            *last_guard += 1;
            let guard = VerificationGuard(*last_guard);
            Entry { guard, since_ms: now_ms, lowest_sequence: sequence, epoch, supports_epoch_bump }
        });
        if epoch > entry.epoch || epoch == entry.epoch && sequence < entry.lowest_sequence {
            entry.epoch = epoch;
            entry.lowest_sequence = sequence;
        }
        entry.guard
    }

    pub(crate) fn guard(&self, producer_id: i64) -> Option<VerificationGuard> {
        self.entries.get(&producer_id).map(|entry| entry.guard)
    }

    pub(crate) fn remove(&mut self, producer_id: i64) -> Option<Entry> {
        self.entries.remove(&producer_id)
    }

    pub(crate) fn put_back(&mut self, producer_id: i64, entry: Entry) {
        self.entries.insert(producer_id, entry);
    }

    pub(crate) fn remove_expired(&mut self, now_ms: i64, expiration_ms: i64) {
        self.entries.retain(|_, entry| now_ms - entry.since_ms < expiration_ms);
    }

    /// Of the batches that are being verified the first must be written first; and a producer whose transactions have
    /// epochs of their own begins with 0 where nothing is known of it.
    pub(crate) fn check_sequence(&self, batch: &BatchHeader, is_known: bool) -> Result<(), Rejected> {
        let Some(entry) = self.entries.get(&batch.producer_id.0) else { return Ok(()) };
        let first = batch.base_sequence;
        let refused = |why: String| {
            let message = format!("Out of order sequence number for producer {}: {first} {why}", batch.producer_id);
            Err(Rejected { error: ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, message })
        };
        if entry.supports_epoch_bump && first != 0 && !is_known {
            return refused("(incoming seq. number), 0 is expected of a producer without state".to_owned());
        }
        if first > entry.lowest_sequence {
            return refused(format!("(incoming seq. number), {} (earliest seen sequence)", entry.lowest_sequence));
        }
        Ok(())
    }
}
