//! What the log remembers of each idempotent or transactional producer: epoch, the last five batches, the transaction
//! that is open (`ProducerStateManager`, `ProducerAppendInfo`). It is a function of the log: snapshots only shorten
//! its reconstruction. Changes are applied batch by batch and can be undone until the write has succeeded.

use std::collections::BTreeMap;

use milena_records::{BatchHeader, ControlType};
use milena_types::{ErrorCode, Offset, ProducerEpoch, ProducerId};

use crate::producer_rules::{check_epoch, check_sequence, end_transaction, stale_epoch};
use crate::verification::{self, VerificationGuard, Verifications};

/// Batches kept per producer to recognise a repeated one.
const BATCHES_MAX: usize = 5;
/// Kafka's "no sequence".
const NO_SEQUENCE: i32 = -1;

/// Who appends, which decides what is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendOrigin {
    /// A client: sequences are checked and duplicates recognised.
    Client,
    /// A coordinator: epochs are checked. `transaction_version` of the marker (KIP-890).
    Coordinator {
        /// 0, 1 or 2.
        transaction_version: i16,
    },
    /// A leader's records: taken as they are.
    Replication,
}

/// By which rules a batch is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Terms {
    pub(crate) origin: AppendOrigin,
    /// Records of a transaction that has none here yet need the guard that verifying gave.
    pub(crate) verify: bool,
    pub(crate) guard: Option<VerificationGuard>,
}

impl From<AppendOrigin> for Terms {
    fn from(origin: AppendOrigin) -> Terms {
        Terms { origin, verify: false, guard: None }
    }
}

/// Why a batch was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejected {
    /// The code for the client.
    pub error: ErrorCode,
    /// Kafka's kind of message.
    pub message: String,
}

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
}

/// The state of one producer id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerEntry {
    /// Its newest epoch, -1 if never seen.
    pub epoch: ProducerEpoch,
    /// Epoch of the coordinator that wrote the last marker, -1 if none.
    pub coordinator_epoch: i32,
    /// Max timestamp of its last batch or the marker's.
    pub last_timestamp: i64,
    /// First offset of the open transaction.
    pub current_transaction_first_offset: Option<i64>,
    batches: [ProducerBatch; BATCHES_MAX],
    count: u8,
}

impl ProducerEntry {
    const EMPTY: ProducerEntry = ProducerEntry {
        epoch: ProducerEpoch::NONE,
        coordinator_epoch: -1,
        last_timestamp: -1,
        current_transaction_first_offset: None,
        batches: [ProducerBatch { last_sequence: 0, last_offset: 0, offset_delta: 0, timestamp: 0 }; BATCHES_MAX],
        count: 0,
    };

    /// An entry as a snapshot saves it, without its batch.
    pub(crate) fn saved(
        epoch: ProducerEpoch,
        coordinator_epoch: i32,
        last_timestamp: i64,
        current_transaction_first_offset: Option<i64>,
    ) -> ProducerEntry {
        ProducerEntry { epoch, coordinator_epoch, last_timestamp, current_transaction_first_offset, ..Self::EMPTY }
    }

    /// The remembered batches, oldest first.
    #[must_use]
    pub fn batches(&self) -> &[ProducerBatch] {
        self.batches.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// Sequence of the last record written, -1 if none is remembered.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.batches().last().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    pub(crate) fn set_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.count = 0;
        }
    }

    pub(crate) fn push(&mut self, batch: ProducerBatch) {
        if usize::from(self.count) == BATCHES_MAX {
            self.batches.rotate_left(1);
            self.count -= 1;
        }
        if let Some(place) = self.batches.get_mut(usize::from(self.count)) {
            *place = batch;
            self.count += 1;
        }
    }

    fn expired(&self, now_ms: i64, expiration_ms: i64) -> bool {
        self.current_transaction_first_offset.is_none() && now_ms - self.last_timestamp >= expiration_ms
    }
}

/// A transaction that ended in this partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CompletedTransaction {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// Offset of the marker.
    pub(crate) last_offset: i64,
    pub(crate) aborted: bool,
}

/// The marker in a control batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Marker {
    pub(crate) kind: ControlType,
    pub(crate) coordinator_epoch: i32,
}

/// What a batch did, to be undone if the write fails.
#[derive(Debug)]
pub(crate) struct Undo {
    producer_id: i64,
    before: Option<ProducerEntry>,
    started: Option<i64>,
    verification: Option<verification::Entry>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ongoing {
    producer_id: i64,
    last_offset: Option<i64>,
}

/// All producers of one log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Producers {
    entries: BTreeMap<i64, ProducerEntry>,
    /// Open transactions by first offset.
    ongoing: BTreeMap<i64, Ongoing>,
    /// Ended ones whose marker is not yet below the high watermark, by first offset.
    unreplicated: BTreeMap<i64, Ongoing>,
    verifications: Verifications,
}

impl Producers {
    pub(crate) fn entries(&self) -> &BTreeMap<i64, ProducerEntry> {
        &self.entries
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        *self = Producers::default();
    }

    /// Takes an entry from a snapshot.
    pub(crate) fn load(&mut self, producer_id: i64, entry: ProducerEntry) {
        if let Some(first) = entry.current_transaction_first_offset {
            self.ongoing.insert(first, Ongoing { producer_id, last_offset: None });
        }
        self.entries.insert(producer_id, entry);
    }

    /// The batch already in the log that `header` repeats.
    pub(crate) fn duplicate_of(&self, header: &BatchHeader) -> Option<ProducerBatch> {
        let entry = self.entries.get(&header.producer_id.0)?;
        if entry.epoch != header.producer_epoch {
            return None;
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        entry.batches().iter().find(|batch| batch.first_sequence() == first && batch.last_sequence == last).copied()
    }

    /// Checks a batch that will get `base_offset` and takes it into the state.
    pub(crate) fn apply(
        &mut self,
        header: &BatchHeader,
        base_offset: Offset,
        terms: impl Into<Terms>,
        marker: Option<Marker>,
    ) -> Result<(Undo, Option<CompletedTransaction>), Rejected> {
        let terms = terms.into();
        let origin = terms.origin;
        let producer_id = header.producer_id.0;
        let before = self.entries.get(&producer_id).copied();
        let mut entry = before.unwrap_or(ProducerEntry::EMPTY);
        let mut undo = Undo { producer_id, before, started: None, verification: None };
        if origin != AppendOrigin::Replication && header.is_transactional() {
            self.check_transaction(&entry, header, terms)?;
        }
        if header.is_control() {
            let completed = match marker {
                Some(marker) => end_transaction(&mut entry, header, base_offset, origin, marker)?,
                None => return Ok((undo, None)),
            };
            undo.verification = self.verifications.remove(producer_id);
            self.entries.insert(producer_id, entry);
            return Ok((undo, completed));
        }
        check_epoch(&entry, header, origin)?;
        if origin == AppendOrigin::Client {
            self.verifications.check_sequence(header, before.is_some())?;
            check_sequence(&entry, header)?;
        }
        entry.set_epoch(header.producer_epoch);
        entry.push(ProducerBatch {
            last_sequence: header.last_sequence(),
            last_offset: base_offset.0 + i64::from(header.last_offset_delta),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        entry.last_timestamp = header.max_timestamp;
        match (entry.current_transaction_first_offset, header.is_transactional()) {
            (Some(_), false) => {
                return Err(Rejected {
                    error: ErrorCode::INVALID_TXN_STATE,
                    message: format!(
                        "Expected transactional write from producer {producer_id} at offset {base_offset}"
                    ),
                });
            }
            (None, true) => {
                entry.current_transaction_first_offset = Some(base_offset.0);
                self.ongoing.insert(base_offset.0, Ongoing { producer_id, last_offset: None });
                undo.started = Some(base_offset.0);
            }
            _ => {}
        }
        if header.is_transactional() {
            undo.verification = self.verifications.remove(producer_id);
        }
        self.entries.insert(producer_id, entry);
        Ok((undo, None))
    }

    /// Whether the producer has a transaction open here in this epoch.
    pub(crate) fn has_transaction(&self, producer_id: ProducerId, epoch: ProducerEpoch) -> bool {
        let entry = self.entries.get(&producer_id.0);
        entry.is_some_and(|entry| entry.epoch == epoch && entry.current_transaction_first_offset.is_some())
    }

    /// A batch of a transaction is about to come (`UnifiedLog.maybeStartTransactionVerification`): the guard it needs, none
    /// if the transaction is open here already.
    pub(crate) fn start_verification(
        &mut self,
        batch: &BatchHeader,
        supports_epoch_bump: bool,
        now_ms: i64,
    ) -> Result<Option<VerificationGuard>, Rejected> {
        if let Some(entry) = self.entries.get(&batch.producer_id.0)
            && batch.producer_epoch < entry.epoch
        {
            return Err(stale_epoch(entry, batch));
        }
        if self.has_transaction(batch.producer_id, batch.producer_epoch) {
            return Ok(None);
        }
        Ok(Some(self.verifications.start(batch, supports_epoch_bump, now_ms)))
    }

    /// `UnifiedLog.analyzeAndValidateProducerState`: what a batch of a transaction that is not open here must bring.
    fn check_transaction(&self, entry: &ProducerEntry, header: &BatchHeader, terms: Terms) -> Result<(), Rejected> {
        if self.has_transaction(header.producer_id, header.producer_epoch) {
            return Ok(());
        }
        if header.producer_epoch < entry.epoch {
            return Err(stale_epoch(entry, header));
        }
        let guard = self.verifications.guard(header.producer_id.0);
        if terms.verify && !header.is_control() && (guard.is_none() || guard != terms.guard) {
            return Err(Rejected {
                error: ErrorCode::INVALID_TXN_STATE,
                message: "Record was not part of an ongoing transaction".to_owned(),
            });
        }
        Ok(())
    }

    /// Takes back what `apply` did; in reverse order if there were several.
    pub(crate) fn undo(&mut self, undo: &Undo) {
        match undo.before {
            Some(entry) => self.entries.insert(undo.producer_id, entry),
            None => self.entries.remove(&undo.producer_id),
        };
        if let Some(first_offset) = undo.started {
            self.ongoing.remove(&first_offset);
        }
        if let Some(entry) = undo.verification {
            self.verifications.put_back(undo.producer_id, entry);
        }
    }

    /// The last stable offset right after `completed` ended: what its entry in the index of aborted transactions says.
    pub(crate) fn last_stable_offset_after(&self, completed: &CompletedTransaction) -> i64 {
        let next = self.ongoing.iter().find(|(_, ongoing)| ongoing.producer_id != completed.producer_id);
        next.map_or(completed.last_offset + 1, |(first_offset, _)| *first_offset)
    }

    /// Moves an ended transaction to those waiting for the high watermark.
    pub(crate) fn complete(&mut self, completed: &CompletedTransaction) {
        if let Some(mut ongoing) = self.ongoing.remove(&completed.first_offset) {
            ongoing.last_offset = Some(completed.last_offset);
            self.unreplicated.insert(completed.first_offset, ongoing);
        }
    }

    /// Forgets ended transactions whose marker is below `offset`, the high watermark or the log start.
    pub(crate) fn remove_unreplicated_below(&mut self, offset: i64) {
        self.unreplicated.retain(|_, ended| ended.last_offset.is_none_or(|last| last >= offset));
    }

    /// First offset of the oldest transaction that is open or whose marker is not replicated.
    pub(crate) fn first_unstable_offset(&self) -> Option<i64> {
        let ongoing = self.ongoing.keys().next().copied();
        let unreplicated = self.unreplicated.keys().next().copied();
        match (ongoing, unreplicated) {
            (Some(left), Some(right)) => Some(left.min(right)),
            (left, right) => left.or(right),
        }
    }

    /// Forgets producers silent for `expiration_ms`, and verifications that old.
    pub(crate) fn remove_expired(&mut self, now_ms: i64, expiration_ms: i64) {
        self.verifications.remove_expired(now_ms, expiration_ms);
        self.entries.retain(|_, entry| !entry.expired(now_ms, expiration_ms));
    }
}

#[cfg(test)]
#[path = "producers_tests.rs"]
mod tests;
