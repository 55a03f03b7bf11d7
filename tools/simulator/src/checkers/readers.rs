//! A consumer reads what is committed, and nothing else.

use milena_replication::PartitionKey;

use super::{Checkers, Verdict};
use crate::broker::Entry;

impl Checkers {
    /// A consumer got these records from `base` on.
    pub(crate) fn on_polled(&self, client: usize, key: PartitionKey, base: i64, entries: &[Entry]) -> Verdict {
        for (entry, offset) in entries.iter().zip(base..) {
            let known = self.ledgers.get(&key).and_then(|ledger| ledger.get(offset));
            if known != Some(*entry) {
                return Err(format!(
                    "{}-{}: consumer {client} read {entry:?} at {offset}, where {known:?} is committed",
                    key.0, key.1
                ));
            }
        }
        Ok(())
    }
}
