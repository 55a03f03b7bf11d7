//! Which transaction a batch belongs to while a cleaning walks the log, and so whether its records, or its marker, may go
//! (`CleanedTransactionMetadata`). Markers go after all records of their transactions have; the aborted ones whose
//! records are still there stay in the index of the new segment.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use milena_records::{BatchHeader, ControlType};

use crate::transactions::AbortedTransaction;

/// An aborted transaction some of whose offsets were passed.
#[derive(Debug)]
struct Ongoing {
    transaction: AbortedTransaction,
    /// A batch of it is still in the log.
    has_batch: bool,
}

/// By first offset, the lowest on top.
#[derive(PartialEq, Eq, Debug)]
struct Ahead(AbortedTransaction);

impl Ord for Ahead {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.0.first_offset.cmp(&self.0.first_offset)
    }
}

impl PartialOrd for Ahead {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The transactions of a walk.
#[derive(Default, Debug)]
pub(super) struct WalkedTransactions {
    committed: BTreeSet<i64>,
    aborted: BTreeMap<i64, Ongoing>,
    ahead: BinaryHeap<Ahead>,
}

impl WalkedTransactions {
    /// Tells of aborted transactions in what comes; some may be known already.
    pub(super) fn add(&mut self, transactions: impl IntoIterator<Item = AbortedTransaction>) {
        self.ahead.extend(transactions.into_iter().map(Ahead));
    }

    /// A batch of records: whether it belongs to an aborted transaction.
    pub(super) fn on_records(&mut self, header: &BatchHeader) -> bool {
        self.pass(header.last_offset().0);
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id.0) {
            Some(ongoing) => {
                ongoing.has_batch = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id.0);
                false
            }
        }
    }

    /// A control batch with its kind, `None` if it has no record left: whether it may go, and the aborted transaction
    /// that must stay in the index.
    pub(super) fn on_control(
        &mut self,
        header: &BatchHeader,
        kind: Option<Option<ControlType>>,
    ) -> (bool, Option<AbortedTransaction>) {
        self.pass(header.last_offset().0);
        match kind {
            None => (true, None),
            Some(Some(ControlType::Abort)) => match self.aborted.remove(&header.producer_id.0) {
                Some(ongoing) if ongoing.has_batch => (false, Some(ongoing.transaction)),
                _ => (true, None),
            },
            Some(Some(ControlType::Commit)) => (!self.committed.remove(&header.producer_id.0), None),
            Some(_) => (false, None),
        }
    }

    fn pass(&mut self, offset: i64) {
        while self.ahead.peek().is_some_and(|next| next.0.first_offset.0 <= offset) {
            let Some(Ahead(transaction)) = self.ahead.pop() else { return };
            let ongoing = Ongoing { transaction, has_batch: false };
            self.aborted.entry(transaction.producer_id.0).or_insert(ongoing);
        }
    }
}
