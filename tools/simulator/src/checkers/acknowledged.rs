//! What a producer is told to be written is committed where it was told to be.

use milena_replication::PartitionKey;

use super::{Checkers, Verdict};

impl Checkers {
    /// A leader acknowledges a batch.
    pub(crate) fn on_acknowledged(&mut self, node: usize, key: PartitionKey, first: i64, values: &[u64]) -> Verdict {
        let ledger = self.ledgers.entry(key).or_default();
        for (value, offset) in values.iter().zip(first..) {
            match ledger.get(offset) {
                Some(entry) if entry.value == *value => {}
                found => {
                    return Err(format!(
                        "{}-{}: node {node} acknowledged {value} at {offset}, where {found:?} is committed",
                        key.0, key.1
                    ));
                }
            }
        }
        Ok(())
    }

    /// A client learns of it.
    pub(crate) fn on_told(&mut self, key: PartitionKey, first: i64, values: &[u64]) {
        let told = self.acknowledged.entry(key).or_default();
        told.extend(values.iter().zip(0..).map(|(value, at)| (if first < 0 { -1 } else { first + at }, *value)));
    }
}
