//! While all replicas are up, one at least has everything that was committed (NoCommittedRecordLostGlobally).

use milena_metadata::Image;

use super::ledger::is_promised;
use super::{Checkers, Verdict};
use crate::node::Node;

impl Checkers {
    /// Looks at all logs.
    pub(crate) fn somebody_has_everything(&self, image: &Image, nodes: &[Node]) -> Verdict {
        for topic in image.topics.iter_by_id().filter(|topic| is_promised(&topic.name)) {
            for (index, partition) in topic.iter() {
                let key = (topic.id, index);
                let Some(ledger) = self.ledgers.get(&key) else { continue };
                let replica = |id: &milena_types::BrokerId| {
                    let host = nodes.get(usize::try_from(id.0).ok()?)?.broker()?;
                    host.replicas.get(&key)
                };
                let all: Option<Vec<_>> = partition.replicas.iter().map(replica).collect();
                let Some(all) = all else { continue };
                if !all.iter().any(|replica| ledger.is_in(&replica.entries)) {
                    return Err(format!("{}-{index}: no replica has all that was committed", topic.name));
                }
            }
        }
        Ok(())
    }
}
