//! A broker is fenced when its session has run out or its process is gone, never because a connection was lost. By then its
//! leaders acknowledge nothing alone any more, and they do not again before it knows of its being fenced.

use milena_metadata::Image;

use super::{Checkers, Verdict};
use crate::broker::Phase;
use crate::node::Node;

/// Who was answered this shortly before still has its session (2.5 s, on the fastest clock).
const HEARD_OF_MS: i64 = 2200;

impl Checkers {
    /// The controller answered a heartbeat with its blessing.
    pub(crate) fn on_heartbeat(&mut self, broker: usize, call: u64) {
        if let Some(came) = self.beats.remove(&call) {
            self.heartbeats.insert(broker, came);
        }
    }

    /// Compares what is committed now with what was before.
    pub(crate) fn only_the_silent_are_fenced(
        &mut self,
        before: &Image,
        after: &Image,
        nodes: &[Node],
        now: i64,
    ) -> Verdict {
        for registration in after.cluster.brokers.values().filter(|broker| broker.is_fenced) {
            let known = before.cluster.broker(registration.id);
            if known.is_none_or(|known| known.is_fenced || known.epoch != registration.epoch) {
                continue;
            }
            let Some(index) = usize::try_from(registration.id.0).ok() else { continue };
            let Some(host) = nodes.get(index).and_then(Node::broker) else { continue };
            let lives = host.epoch == registration.epoch && host.phase == Phase::Serving;
            self.fencings.insert(index, (registration.epoch, after.offset));
            if let Some(heard) = self.heartbeats.get(&index).filter(|heard| lives && now - **heard < HEARD_OF_MS) {
                return Err(format!("broker {index} was fenced at {now}, alive and heard of at {heard}"));
            }
        }
        Ok(())
    }

    /// No broker may acknowledge alone that does not know of its last fencing.
    pub(crate) fn the_fenced_hold_no_lease(&self, node: &Node, now: i64) -> Verdict {
        let (Some(host), Some((epoch, offset))) = (node.broker(), self.fencings.get(&node.index)) else {
            return Ok(());
        };
        let lives = host.epoch == *epoch && host.phase == Phase::Serving;
        if lives && host.image.offset < *offset && host.lease.is_held(node.clock.shows(now)) {
            let (index, known) = (node.index, host.image.offset);
            return Err(format!(
                "broker {index}, fenced at {offset}, knows the metadata to {known} and may acknowledge alone"
            ));
        }
        Ok(())
    }
}
