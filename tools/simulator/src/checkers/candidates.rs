//! Whoever leads, or may be elected without loss, has everything that was committed (LeaderCompleteness,
//! LeaderCandidateCompleteness); and there is always somebody who may be (MinIsrRecoveryQuorum).

use milena_metadata::{Image, Partition};
use milena_types::BrokerId;

use super::ledger::is_promised;
use super::{Checkers, Verdict};
use crate::node::Node;

impl Checkers {
    /// Looks at the newest committed metadata and every log.
    pub(crate) fn candidates_are_complete(&self, image: &Image, nodes: &[Node]) -> Verdict {
        for topic in image.topics.iter_by_id().filter(|topic| is_promised(&topic.name)) {
            for (index, partition) in topic.iter() {
                let Some(ledger) = self.ledgers.get(&(topic.id, index)) else { continue };
                for id in candidates(partition) {
                    let node = usize::try_from(id.0).ok().and_then(|at| nodes.get(at));
                    let Some(host) = node.and_then(Node::broker).filter(|host| host.is_registered_in(image)) else {
                        continue;
                    };
                    let Some(replica) = host.replicas.get(&(topic.id, index)) else { continue };
                    if !ledger.is_in(&replica.entries) {
                        let title = replica.title();
                        let (end, has) = (ledger.end(), replica.log.log_end_offset());
                        let (at, committed, here) = ledger.first_difference(&replica.entries);
                        return Err(format!(
                            "{title}: node {id} may lead (leader {}, ISR {:?}, ELR {:?}) and lacks committed records: \
                             {end} are committed, its log ends at {has}; at {at} {committed:?} is committed and {here:?} is there",
                            partition.leader, partition.isr, partition.eligible_leader_replicas
                        ));
                    }
                }
                if candidates(partition).next().is_none() && partition.last_known_elr.is_empty() {
                    return Err(format!("{}-{index}: nobody may ever lead: {partition:?}", topic.name));
                }
            }
        }
        Ok(())
    }
}

fn candidates(partition: &Partition) -> impl Iterator<Item = BrokerId> {
    partition.isr.iter().chain(&partition.eligible_leader_replicas).copied()
}
