//! What the log remembers of each idempotent or transactional producer: epoch, the last five batches, the transaction
//! that is open (`ProducerStateManager`, `ProducerAppendInfo`). It is a function of the log: snapshots only shorten
//! its reconstruction. Changes are applied batch by batch and can be undone until the write has succeeded. What one
//! producer costs is in `producer_entry.rs`, how they are kept in `producer_map.rs`.

use std::collections::{BTreeMap, BTreeSet};

use milena_records::{BatchHeader, ControlType};
use milena_types::{ErrorCode, Offset, ProducerEpoch, ProducerId};

use crate::producer_entry::{ProducerBatch, ProducerEntry};
use crate::producer_map::ProducerMap;
use crate::producer_rules::{check_epoch, check_sequence, end_transaction, stale_epoch};
use crate::producer_snapshot;
use crate::verification::{self, VerificationGuard, Verifications};

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
    before: Before,
    started: Option<i64>,
    verification: Option<verification::Entry>,
}

/// What was known of the producer before.
#[derive(Debug)]
enum Before {
    /// Nothing was changed.
    Unchanged,
    /// It was unknown.
    Unknown,
    /// One batch fewer, and perhaps an older one.
    Fewer { evicted: Option<ProducerBatch>, last_timestamp: i64 },
    /// This.
    Known(ProducerEntry),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ongoing {
    producer_id: i64,
    last_offset: Option<i64>,
}

/// All producers of one log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Producers {
    entries: ProducerMap,
    /// Open transactions by first offset.
    ongoing: BTreeMap<i64, Ongoing>,
    /// Ended ones whose marker is not yet below the high watermark, by first offset.
    unreplicated: BTreeMap<i64, Ongoing>,
    verifications: Verifications,
}

impl Producers {
    pub(crate) fn entries(&self) -> &ProducerMap {
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
        if let Some(first) = entry.current_transaction_first_offset() {
            self.ongoing.insert(first, Ongoing { producer_id, last_offset: None });
        }
        self.entries.insert(producer_id, entry);
    }

    /// The producers without what `unwritten` changed, as a snapshot's bytes.
    pub(crate) fn snapshot_without(&self, unwritten: &[Undo]) -> Vec<u8> {
        let mut before = Producers::default();
        for undo in unwritten {
            if let Some(entry) = self.entries.get(undo.producer_id) {
                before.entries.insert(undo.producer_id, entry.clone());
            }
        }
        let changed: BTreeSet<i64> = before.entries.iter().map(|(id, _)| id).collect();
        unwritten.iter().rev().for_each(|undo| before.undo(undo));
        let is_of_then = |(id, entry)| {
            if changed.contains(&id) { before.entries.get(id).map(|entry| (id, entry)) } else { Some((id, entry)) }
        };
        producer_snapshot::encode(self.entries.iter().filter_map(is_of_then), self.entries.len())
    }

    /// The producers as a snapshot's bytes.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        producer_snapshot::encode(self.entries.iter(), self.entries.len())
    }

    /// The batch already in the log that `header` repeats.
    pub(crate) fn duplicate_of(&self, header: &BatchHeader) -> Option<ProducerBatch> {
        let entry = self.entries.get(header.producer_id.0)?;
        if entry.epoch != header.producer_epoch {
            return None;
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        entry.batches().find(|batch| batch.first_sequence() == first && batch.last_sequence == last)
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
        let producer_id = header.producer_id.0;
        let known = self.entries.get(producer_id);
        let entry = known.unwrap_or(&ProducerEntry::EMPTY);
        if terms.origin != AppendOrigin::Replication && header.is_transactional() {
            self.check_transaction(entry, header, terms)?;
        }
        if header.is_control() {
            return self.apply_marker(header, base_offset, terms.origin, marker);
        }
        check_epoch(entry, header, terms.origin)?;
        if terms.origin == AppendOrigin::Client {
            self.verifications.check_sequence(header, known.is_some())?;
            check_sequence(entry, header)?;
        }
        let is_open = entry.current_transaction_first_offset().is_some();
        if is_open && !header.is_transactional() {
            return Err(Rejected {
                error: ErrorCode::INVALID_TXN_STATE,
                message: format!("Expected transactional write from producer {producer_id} at offset {base_offset}"),
            });
        }
        let mut undo = Undo { producer_id, before: self.push(header, base_offset), started: None, verification: None };
        if header.is_transactional() {
            if !is_open {
                if let Some(entry) = self.entries.get_mut(producer_id) {
                    entry.set_transaction(Some(base_offset.0));
                }
                self.ongoing.insert(base_offset.0, Ongoing { producer_id, last_offset: None });
                undo.started = Some(base_offset.0);
            }
            undo.verification = self.verifications.remove(producer_id);
        }
        Ok((undo, None))
    }

    fn apply_marker(
        &mut self,
        header: &BatchHeader,
        base_offset: Offset,
        origin: AppendOrigin,
        marker: Option<Marker>,
    ) -> Result<(Undo, Option<CompletedTransaction>), Rejected> {
        let producer_id = header.producer_id.0;
        let mut undo = Undo { producer_id, before: Before::Unchanged, started: None, verification: None };
        let Some(marker) = marker else { return Ok((undo, None)) };
        let mut entry = self.entries.get(producer_id).cloned().unwrap_or(ProducerEntry::EMPTY);
        let completed = end_transaction(&mut entry, header, base_offset, origin, marker)?;
        undo.verification = self.verifications.remove(producer_id);
        undo.before = self.entries.insert(producer_id, entry).map_or(Before::Unknown, Before::Known);
        Ok((undo, completed))
    }

    /// Remembers a batch.
    fn push(&mut self, header: &BatchHeader, base_offset: Offset) -> Before {
        let batch = ProducerBatch {
            last_sequence: header.last_sequence(),
            last_offset: base_offset.0 + i64::from(header.last_offset_delta),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        };
        let Some(entry) = self.entries.get_mut(header.producer_id.0) else {
            let mut entry = ProducerEntry::EMPTY;
            entry.set_epoch(header.producer_epoch);
            entry.push(batch);
            entry.last_timestamp = header.max_timestamp;
            self.entries.insert(header.producer_id.0, entry);
            return Before::Unknown;
        };
        let before = if entry.epoch == header.producer_epoch && entry.batches().next().is_some() {
            Before::Fewer { last_timestamp: entry.last_timestamp, evicted: entry.push(batch) }
        } else {
            let before = entry.clone();
            entry.set_epoch(header.producer_epoch);
            entry.push(batch);
            Before::Known(before)
        };
        entry.last_timestamp = header.max_timestamp;
        before
    }

    /// Whether the producer has a transaction open here in this epoch.
    pub(crate) fn has_transaction(&self, producer_id: ProducerId, epoch: ProducerEpoch) -> bool {
        let entry = self.entries.get(producer_id.0);
        entry.is_some_and(|entry| entry.epoch == epoch && entry.current_transaction_first_offset().is_some())
    }

    /// A batch of a transaction is about to come (`UnifiedLog.maybeStartTransactionVerification`): the guard it needs, none
    /// if the transaction is open here already.
    pub(crate) fn start_verification(
        &mut self,
        batch: &BatchHeader,
        supports_epoch_bump: bool,
        now_ms: i64,
    ) -> Result<Option<VerificationGuard>, Rejected> {
        if let Some(entry) = self.entries.get(batch.producer_id.0)
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
        match &undo.before {
            Before::Unchanged => {}
            Before::Unknown => drop(self.entries.remove(undo.producer_id)),
            Before::Known(entry) => drop(self.entries.insert(undo.producer_id, entry.clone())),
            Before::Fewer { evicted, last_timestamp } => {
                if let Some(entry) = self.entries.get_mut(undo.producer_id) {
                    entry.pop(*evicted);
                    entry.last_timestamp = *last_timestamp;
                    if undo.started.is_some() {
                        entry.set_transaction(None);
                    }
                }
            }
        }
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
        self.entries.retain(|entry| !entry.expired(now_ms, expiration_ms));
    }
}

#[cfg(test)]
#[path = "producers_tests.rs"]
mod tests;
