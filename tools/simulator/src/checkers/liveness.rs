//! What must have happened some time after the last fault: every broker serves, every partition has its leader and all
//! replicas in sync, nothing waits.

use std::collections::BTreeSet;

use milena_metadata::Image;

use super::{Checkers, Verdict};
use crate::broker::Phase;
use crate::node::Node;

impl Checkers {
    /// Says what is not healed yet.
    pub(crate) fn is_healed(&self, image: &Image, nodes: &[Node]) -> Verdict {
        for node in nodes {
            let Some(process) = &node.process else { return Err(format!("node {} is not up", node.index)) };
            if let Some(broker) = &process.broker {
                if broker.phase != Phase::Serving {
                    return Err(format!("broker {} is {:?}", node.index, broker.phase));
                }
                if !image.cluster.is_active(broker.id()) {
                    return Err(format!("broker {} serves and the controller has fenced it", node.index));
                }
            }
        }
        for topic in image.topics.iter() {
            for (index, partition) in topic.iter() {
                let all_in_sync = partition.replicas.iter().all(|id| partition.isr.contains(id));
                if !partition.leader.is_some() || !all_in_sync || partition.is_reassigning() {
                    let leader = usize::try_from(partition.leader.0).ok().and_then(|at| nodes.get(at));
                    let leader = leader.and_then(Node::broker).and_then(|host| host.replicas.get(&(topic.id, index)));
                    let view = leader.map(|replica| &replica.state);
                    return Err(format!("{}-{index} is {partition:?}, and to its leader {view:?}", topic.name));
                }
                let key = (topic.id, index);
                let mut ends = BTreeSet::new();
                for id in &partition.replicas {
                    let host = usize::try_from(id.0).ok().and_then(|at| nodes.get(at)).and_then(Node::broker);
                    let Some(replica) = host.and_then(|host| host.replicas.get(&key)) else {
                        return Err(format!("{}-{index} has no log on {id}", topic.name));
                    };
                    let (end, high_watermark) = (replica.log.log_end_offset(), replica.state.high_watermark());
                    ends.insert(end);
                    let leads = replica.state.is_leader() && replica.state.leader_epoch() == partition.leader_epoch;
                    if *id == partition.leader && !leads {
                        return Err(format!("{}-{index}: {id} does not know that it leads", topic.name));
                    }
                    // A follower that could not take the answer which told it of a high watermark learns the next one: its
                    // session tells each once, as Kafka's.
                    if replica.state.is_leader() && end != high_watermark {
                        return Err(format!(
                            "{}-{index} ends at {end} on {id}, committed {high_watermark}",
                            topic.name
                        ));
                    }
                }
                if ends.len() > 1 {
                    return Err(format!("{}-{index} ends at {ends:?}", topic.name));
                }
            }
        }
        match self.topics.iter().find(|name| image.topics.named(name).is_none()) {
            Some(lost) => Err(format!("topic {lost} was created and is not there")),
            None => Ok(()),
        }
    }
}
