//! The last look, at the files: all replicas hold the same, it is what was committed, and whatever a client was told to be
//! written is there once.

use milena_metadata::Image;

use super::ledger::is_promised;
use super::{Checkers, Verdict};
use crate::broker::Entry;
use crate::node::Node;

impl Checkers {
    /// Reads every log anew.
    pub(crate) fn audit(&self, image: &Image, nodes: &[Node]) -> Verdict {
        for topic in image.topics.iter_by_id() {
            for (index, partition) in topic.iter() {
                let title = format!("{}-{index}", topic.name);
                let mut first: Option<Vec<Entry>> = None;
                for id in &partition.replicas {
                    let host = usize::try_from(id.0).ok().and_then(|at| nodes.get(at)).and_then(Node::broker);
                    let Some(replica) = host.and_then(|host| host.replicas.get(&(topic.id, index))) else {
                        return Err(format!("{title}: node {id} has no log at the end"));
                    };
                    let found = replica.entries_of_log().map_err(|error| format!("{title} on {id}: {error}"))?;
                    if found != replica.entries {
                        return Err(format!("{title}: the files of node {id} hold other records than it appended"));
                    }
                    match &first {
                        Some(first) if *first != found => {
                            return Err(format!("{title}: the log of node {id} differs from another replica's"));
                        }
                        _ => first = Some(found),
                    }
                }
                if is_promised(&topic.name) {
                    self.audit_promised(&title, (topic.id, index), &first.unwrap_or_default())?;
                }
            }
        }
        Ok(())
    }

    fn audit_promised(&self, title: &str, key: milena_replication::PartitionKey, log: &[Entry]) -> Verdict {
        if let Some(ledger) = self.ledgers.get(&key)
            && log.get(..ledger.entries.len()) != Some(ledger.entries.as_slice())
        {
            return Err(format!("{title}: the log at the end is not what was committed"));
        }
        for (offset, value) in self.acknowledged.get(&key).into_iter().flatten() {
            let places = log.iter().zip(0..).filter(|(entry, _)| entry.value == *value).map(|(_, at)| at);
            let places: Vec<i64> = places.collect();
            match places.as_slice() {
                [at] if at == offset || *offset < 0 => {}
                _ => return Err(format!("{title}: {value} was acknowledged at {offset} and is at {places:?}")),
            }
        }
        Ok(())
    }
}
