//! A leader waits for everybody whom the controller may elect: its maximal ISR holds the controller's
//! (ReplicationQuorumSuperset).

use milena_metadata::Image;

use super::ledger::is_promised;
use super::{Checkers, Verdict};
use crate::node::Node;

impl Checkers {
    /// Looks at every leader of the newest metadata.
    pub(crate) fn leaders_wait_for_all(&self, image: &Image, nodes: &[Node]) -> Verdict {
        for topic in image.topics.iter_by_id().filter(|topic| is_promised(&topic.name)) {
            for (index, partition) in topic.iter() {
                let node = usize::try_from(partition.leader.0).ok().and_then(|at| nodes.get(at));
                let Some(host) = node.and_then(Node::broker).filter(|host| host.is_registered_in(image)) else {
                    continue;
                };
                let Some(replica) = host.replicas.get(&(topic.id, index)) else { continue };
                if !replica.state.is_leader() || replica.state.leader_epoch() != partition.leader_epoch {
                    continue;
                }
                let waits_for = replica.state.isr().maximal();
                if !partition.isr.iter().all(|id| waits_for.contains(id)) {
                    let (title, isr) = (replica.title(), &partition.isr);
                    return Err(format!("{title}: the leader waits for {waits_for:?}, the controller has {isr:?}"));
                }
            }
        }
        Ok(())
    }
}
