//! What lies below a high watermark is the same everywhere and for ever, and no value is there twice (ConsistentRead).

use super::{Checkers, Verdict};
use crate::broker::Replica;

impl Checkers {
    /// A replica's high watermark is at `to` now and was at `from`.
    pub(super) fn on_committed(&mut self, node: usize, replica: &Replica, from: i64, to: i64) -> Verdict {
        let ledger = self.ledgers.entry(replica.key).or_default();
        for offset in from..to {
            let found = usize::try_from(offset).ok().and_then(|at| replica.entries.get(at)).copied();
            let Some(found) = found else {
                return Err(format!("{}: node {node} has nothing at {offset}, below {to}", replica.title()));
            };
            match ledger.get(offset) {
                Some(known) if known != found => {
                    let title = replica.title();
                    return Err(format!(
                        "{title}: node {node} has {found:?} at {offset}, where {known:?} was committed"
                    ));
                }
                Some(_) => {}
                None if !replica.state.is_leader() => {
                    let title = replica.title();
                    return Err(format!("{title}: node {node} follows and calls {offset} committed before any leader"));
                }
                None => {
                    self.version += 1;
                    ledger.entries.push(found);
                    if !ledger.values.insert(found.value) {
                        let title = replica.title();
                        return Err(format!("{title}: value {} is committed twice, again at {offset}", found.value));
                    }
                }
            }
        }
        Ok(())
    }
}
