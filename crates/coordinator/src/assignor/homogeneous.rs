//! The uniform assignor when all members are subscribed to the same topics (`UniformHomogeneousAssignmentBuilder`).
//!
//! Each member may keep what it has up to its quota; what is over, and what nobody has, goes to those below theirs. The
//! quotas differ by at most one, and the larger ones go first to members that already own that much.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_types::Uuid;

use super::{AssignorError, GroupAssignment, GroupSpec, TopicPartitions};

/// A member that may get more, by its place in the group.
struct Unfilled {
    member: usize,
    remaining: usize,
}

pub(super) fn assign(group: &GroupSpec<'_>) -> Result<GroupAssignment, AssignorError> {
    let Some(first) = group.members.first() else { return Ok(Vec::new()) };
    if first.subscribed_topic_ids.is_empty() {
        return Ok(group.nothing());
    }
    let (mut unassigned, partition_count) = unassigned_partitions(group)?;
    let mut quotas = Quotas::new(partition_count, group.members.len());
    let mut target = Vec::with_capacity(group.members.len());
    let mut unfilled = Vec::new();
    for (member, spec) in group.members.iter().enumerate() {
        let quota = quotas.next();
        let (kept, remaining) = keep(&spec.assignment, &first.subscribed_topic_ids, quota, &mut unassigned);
        target.push(kept);
        let remaining = quotas.settle(remaining, group.members.len() - member);
        if remaining > 0 {
            unfilled.push(Unfilled { member, remaining });
        }
    }
    hand_out(&mut target, &unfilled, &unassigned)?;
    Ok(target)
}

/// The partitions nobody's target has, and the number of all partitions.
fn unassigned_partitions(group: &GroupSpec<'_>) -> Result<(Vec<(Uuid, i32)>, usize), AssignorError> {
    let Some(first) = group.members.first() else { return Ok((Vec::new(), 0)) };
    let mut is_assigned: BTreeMap<Uuid, Vec<bool>> = BTreeMap::new();
    for topic in first.subscribed_topic_ids.iter().copied() {
        let Some(partitions) = (group.partition_count)(topic) else {
            let text = format!("Members are subscribed to topic {topic} which doesn't exist in the topic metadata.");
            return Err(AssignorError(text));
        };
        is_assigned.insert(topic, vec![false; usize::try_from(partitions).unwrap_or(0)]);
    }
    for (topic, partitions) in group.members.iter().flat_map(|member| member.assignment.iter()) {
        let Some(is_assigned) = is_assigned.get_mut(topic) else { continue };
        for partition in partitions {
            if let Some(slot) = usize::try_from(*partition).ok().and_then(|at| is_assigned.get_mut(at)) {
                *slot = true;
            }
        }
    }
    let count = is_assigned.values().map(Vec::len).sum();
    let free = is_assigned.into_iter().flat_map(|(topic, partitions)| {
        let free = (0..).zip(partitions).filter(|(_, is_assigned)| !is_assigned);
        free.map(move |(partition, _)| (topic, partition))
    });
    Ok((free.collect(), count))
}

/// How many partitions each member may have; those that get one more than the minimum are few and chosen as it goes.
struct Quotas {
    minimum: usize,
    extras_left: usize,
    /// Whether the member at hand was offered an extra one.
    is_extra: bool,
}

impl Quotas {
    fn new(partitions: usize, members: usize) -> Quotas {
        Quotas { minimum: partitions / members, extras_left: partitions % members, is_extra: false }
    }

    /// The quota of the next member.
    fn next(&mut self) -> usize {
        self.is_extra = self.extras_left > 0;
        self.minimum + usize::from(self.is_extra)
    }

    /// Takes the extra one back from a member that did not own that much, while enough members are left that may take
    /// it. `members_left` counts the member at hand. Gives what the member may still get.
    fn settle(&mut self, remaining: usize, members_left: usize) -> usize {
        let mut remaining = remaining;
        if remaining > 0 && self.is_extra && members_left > self.extras_left {
            remaining -= 1;
            self.is_extra = false;
        }
        if self.is_extra {
            self.extras_left -= 1;
        }
        remaining
    }
}

/// What a member keeps of its target, and how much of its quota is left. Partitions over the quota become unassigned;
/// those of topics it is no longer subscribed to are dropped.
fn keep(
    assignment: &Arc<TopicPartitions>,
    subscribed: &BTreeSet<Uuid>,
    quota: usize,
    unassigned: &mut Vec<(Uuid, i32)>,
) -> (Arc<TopicPartitions>, usize) {
    let mut kept = Arc::clone(assignment);
    let mut quota = quota;
    for (topic, partitions) in assignment.iter() {
        if !subscribed.contains(topic) {
            Arc::make_mut(&mut kept).remove(topic);
            continue;
        }
        if partitions.len() > quota {
            unassigned.extend(partitions.iter().skip(quota).map(|partition| (*topic, *partition)));
            let mine: BTreeSet<i32> = partitions.iter().take(quota).copied().collect();
            let target = Arc::make_mut(&mut kept);
            if mine.is_empty() {
                target.remove(topic);
            } else {
                target.insert(*topic, mine);
            }
        }
        quota = quota.saturating_sub(partitions.len());
    }
    (kept, quota)
}

/// Fills the members below their quotas.
fn hand_out(
    target: &mut [Arc<TopicPartitions>],
    unfilled: &[Unfilled],
    unassigned: &[(Uuid, i32)],
) -> Result<(), AssignorError> {
    let mut left = unassigned.iter();
    for Unfilled { member, remaining } in unfilled {
        let Some(assignment) = target.get_mut(*member) else { continue };
        for (topic, partition) in left.by_ref().take(*remaining) {
            Arc::make_mut(assignment).entry(*topic).or_default().insert(*partition);
        }
    }
    if left.next().is_some() {
        return Err(AssignorError("Partitions were left unassigned".to_owned()));
    }
    Ok(())
}
