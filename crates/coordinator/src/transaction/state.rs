//! `Transactions`: what the records of one partition of `__transaction_state` amount to. Kafka: `TransactionMetadata`,
//! `TransactionState`.

use super::event::PartitionKey;
use super::record::TransactionRecord;
use crate::runtime::{Producer, RecordPlace, Replicated, Timeline};
use milena_protocol::Text;
use milena_types::{ProducerEpoch, ProducerId, Timestamp};
use std::collections::BTreeSet;

/// From this epoch on no producer gets another of its id: one is left to fence it with.
const EXHAUSTED_FROM: i16 = i16::MAX - 1;
/// The timeout of a transaction that only its participants may end (KIP-939).
const NO_TIMEOUT: i32 = i32::MAX;

/// Where a transactional id is in the life of its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// There was none with this epoch.
    Empty,
    /// It has partitions, or group offsets.
    Ongoing,
    /// It is decided: markers are being written.
    PrepareCommit,
    PrepareAbort,
    /// All markers are written.
    CompleteCommit,
    CompleteAbort,
    /// Kafka keeps these two in memory only; they are known since clients may name them.
    Dead,
    PrepareEpochFence,
}

impl Status {
    const ALL: [Status; 8] = [
        Status::Empty,
        Status::Ongoing,
        Status::PrepareCommit,
        Status::PrepareAbort,
        Status::CompleteCommit,
        Status::CompleteAbort,
        Status::Dead,
        Status::PrepareEpochFence,
    ];

    pub(super) fn from_id(id: i8) -> Option<Status> {
        Status::ALL.get(usize::try_from(id).ok()?).copied()
    }

    pub(super) fn id(self) -> i8 {
        self as i8
    }

    /// The name clients see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Status::Empty => "Empty",
            Status::Ongoing => "Ongoing",
            Status::PrepareCommit => "PrepareCommit",
            Status::PrepareAbort => "PrepareAbort",
            Status::CompleteCommit => "CompleteCommit",
            Status::CompleteAbort => "CompleteAbort",
            Status::Dead => "Dead",
            Status::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether the outcome is decided and its markers are not all written.
    #[must_use]
    pub fn is_prepared(self) -> bool {
        matches!(self, Status::PrepareCommit | Status::PrepareAbort)
    }

    /// Whether the last transaction is wholly over, or there was none.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Status::Empty | Status::CompleteCommit | Status::CompleteAbort)
    }
}

/// One transactional id.
#[derive(Clone, PartialEq, Debug)]
pub struct Transaction {
    pub producer_id: ProducerId,
    /// The producer id before the last change.
    pub previous_producer_id: ProducerId,
    /// The producer id from the end of the transaction on, when the epochs of this one are used up.
    pub next_producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    /// The epoch before, by which a repeated request is recognised.
    pub last_producer_epoch: ProducerEpoch,
    pub timeout_ms: i32,
    pub status: Status,
    pub partitions: BTreeSet<PartitionKey>,
    /// -1 while there is no transaction.
    pub start: Timestamp,
    pub last_update: Timestamp,
    /// The version of the protocol the client used last (KIP-890).
    pub client_version: i16,
}

impl Transaction {
    pub(super) fn producer(&self) -> Producer {
        Producer { id: self.producer_id, epoch: self.producer_epoch }
    }

    pub(super) fn is_exhausted(&self) -> bool {
        is_exhausted(self.producer_epoch)
    }

    /// Whether nobody but its participants may end it.
    pub(super) fn has_no_timeout(&self) -> bool {
        self.timeout_ms == NO_TIMEOUT
    }
}

pub(super) fn is_exhausted(epoch: ProducerEpoch) -> bool {
    epoch.0 >= EXHAUSTED_FROM
}

/// All transactional ids of a partition.
#[derive(Clone, Debug, Default)]
pub struct Transactions {
    ids: Timeline<Text, Transaction>,
}

impl Transactions {
    /// With everything decided so far.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Transaction> {
        self.ids.get(id)
    }

    /// As committed.
    #[must_use]
    pub fn committed(&self, id: &str) -> Option<&Transaction> {
        self.ids.committed(id)
    }

    /// All with everything decided so far, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Transaction)> {
        self.ids.iter()
    }

    /// All as committed.
    pub fn iter_committed(&self) -> impl Iterator<Item = (&Text, &Transaction)> {
        self.ids.committed_range::<Text, _>(..)
    }
}

impl Replicated for Transactions {
    type Record = TransactionRecord;

    fn replay(&mut self, _: RecordPlace, record: &TransactionRecord) {
        match &record.value {
            Some(value) => drop(self.ids.insert(record.id.clone(), value.clone())),
            None => drop(self.ids.remove(&record.id)),
        }
    }

    fn replay_end_of_transaction(&mut self, _: ProducerId, _: bool) {}

    fn begin(&mut self, round: u64) {
        self.ids.begin(round);
    }

    fn commit(&mut self, round: u64) {
        self.ids.commit(round);
    }

    fn revert(&mut self, round: u64) {
        self.ids.revert(round);
    }
}
