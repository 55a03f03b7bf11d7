//! Two logs that have a record of the same epoch at the same offset have the same one there (LogMatching).

use milena_replication::PartitionKey;

use super::{Checkers, Verdict};
use crate::broker::Entry;

impl Checkers {
    /// Somebody appended `entries` from `base` on.
    pub(crate) fn on_appended(&mut self, node: usize, key: PartitionKey, base: i64, entries: &[Entry]) -> Verdict {
        for (entry, offset) in entries.iter().zip(base..) {
            let known = *self.written.entry((key, offset, entry.epoch)).or_insert(entry.value);
            if known != entry.value {
                let Entry { epoch, value } = entry;
                return Err(format!(
                    "{}-{}: node {node} has {value} at {offset} in epoch {epoch}, another has {known}",
                    key.0, key.1
                ));
            }
        }
        Ok(())
    }
}
