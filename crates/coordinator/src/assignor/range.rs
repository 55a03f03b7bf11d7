//! The range assignor (`RangeAssignor`): each topic is cut into runs, one for each subscriber in the order of instance id,
//! then member id. Topics with equally many partitions and equal subscribers are cut alike.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use milena_types::Uuid;

use super::{AssignorError, GroupAssignment, GroupSpec, MemberSpec, TopicPartitions};

/// A topic while it is handed out.
struct Cut {
    partitions: i32,
    subscribers: i32,
    next: i32,
    /// How many subscribers have had their run.
    served: i32,
}

impl Cut {
    /// The next subscriber's run; the first ones get the extra partitions.
    fn run(&mut self) -> std::ops::Range<i32> {
        let subscribers = self.subscribers.max(1);
        let extra = i32::from(self.served < self.partitions % subscribers);
        let start = self.next;
        self.next = (start + self.partitions / subscribers + extra).min(self.partitions);
        self.served += 1;
        start..self.next
    }
}

pub(super) fn assign(group: &GroupSpec<'_>) -> Result<GroupAssignment, AssignorError> {
    let mut topics: BTreeMap<Uuid, Cut> = BTreeMap::new();
    for topic in group.members.iter().flat_map(|member| member.subscribed_topic_ids.iter()) {
        let cut = match topics.entry(*topic) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(slot) => {
                let Some(partitions) = (group.partition_count)(*topic) else {
                    return Err(AssignorError("Member is subscribed to a non-existent topic".to_owned()));
                };
                slot.insert(Cut { partitions, subscribers: 0, next: 0, served: 0 })
            }
        };
        cut.subscribers += 1;
    }
    let mut order: Vec<(usize, &MemberSpec)> = group.members.iter().enumerate().collect();
    order.sort_by(|(_, left), (_, right)| by_instance_then_member(left, right));
    let mut target = group.nothing();
    for (at, member) in order {
        let mut assignment = TopicPartitions::new();
        for topic in member.subscribed_topic_ids.iter() {
            let run = topics.get_mut(topic).map(Cut::run).unwrap_or_default();
            if !run.is_empty() {
                assignment.insert(*topic, run.collect());
            }
        }
        if let Some(slot) = target.get_mut(at) {
            // An equal target keeps its allocation, so that comparing it later costs nothing.
            *slot =
                if *member.assignment == assignment { Arc::clone(&member.assignment) } else { Arc::new(assignment) };
        }
    }
    Ok(target)
}

/// Static members come first, in the order of their instance ids.
fn by_instance_then_member(left: &MemberSpec, right: &MemberSpec) -> Ordering {
    match (&left.instance_id, &right.instance_id) {
        (Some(left), Some(right)) => left.cmp(right),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => left.member_id.cmp(&right.member_id),
    }
}
