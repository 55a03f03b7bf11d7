//! The uniform assignor when members are subscribed to different topics (`UniformHeterogeneousAssignmentBuilder`).
//!
//! Members keep what they are still subscribed to, free partitions go to the least loaded subscribers, and then single
//! partitions move from the most to the least loaded subscribers of each topic, topic by topic, until no topic can improve
//! or sixteen rounds are over.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use milena_types::Uuid;

use super::balancer::Balancer;
use super::{AssignorError, GroupAssignment, GroupSpec, TopicPartitions};

/// Rounds over all topics; each can undo a part of another's balance, so there is a bound.
const ROUNDS_MAX: usize = 16;

/// A topic someone is subscribed to.
struct Topic {
    id: Uuid,
    /// Places of the members, ascending.
    subscribers: Vec<usize>,
    /// Places of the owners, by partition.
    owners: Vec<Option<usize>>,
}

struct Builder {
    topics: Vec<Topic>,
    /// By member.
    target: Vec<Arc<TopicPartitions>>,
    /// Partitions in the target of each member.
    loads: Vec<usize>,
}

pub(super) fn assign(group: &GroupSpec<'_>) -> Result<GroupAssignment, AssignorError> {
    let topics = topics(group)?;
    if topics.is_empty() {
        return Ok(group.nothing());
    }
    let members = group.members.len();
    let mut builder = Builder { topics, target: Vec::with_capacity(members), loads: vec![0; members] };
    builder.keep_subscribed(group);
    builder.assign_free();
    builder.balance();
    Ok(builder.target)
}

/// All subscribed topics, in the order in which they are handed out.
fn topics(group: &GroupSpec<'_>) -> Result<Vec<Topic>, AssignorError> {
    let mut topics: BTreeMap<Uuid, Topic> = BTreeMap::new();
    for (place, member) in group.members.iter().enumerate() {
        for id in member.subscribed_topic_ids.iter().copied() {
            let Some(partitions) = (group.partition_count)(id) else {
                let text = format!("Members are subscribed to topic {id} which doesn't exist in the topic metadata.");
                return Err(AssignorError(text));
            };
            let owners = || vec![None; usize::try_from(partitions).unwrap_or(0)];
            let topic = topics.entry(id).or_insert_with(|| Topic { id, subscribers: Vec::new(), owners: owners() });
            topic.subscribers.push(place);
        }
    }
    let mut topics: Vec<Topic> = topics.into_values().collect();
    topics.sort_by(|left, right| {
        let density = |topic: &Topic| topic.owners.len() as f64 / topic.subscribers.len() as f64;
        density(right)
            .total_cmp(&density(left))
            .then(left.subscribers.len().cmp(&right.subscribers.len()))
            .then(signed(left.id).cmp(&signed(right.id)))
    });
    Ok(topics)
}

/// Kafka compares ids as two signed numbers (`Uuid.compareTo`).
fn signed(id: Uuid) -> (i64, i64) {
    let bits = u128::from_be_bytes(id.0);
    ((bits >> 64) as i64, bits as i64)
}

impl Builder {
    /// Each member keeps the partitions of the topics it is subscribed to.
    fn keep_subscribed(&mut self, group: &GroupSpec<'_>) {
        let places: HashMap<Uuid, usize> =
            self.topics.iter().enumerate().map(|(place, topic)| (topic.id, place)).collect();
        for (member, spec) in group.members.iter().enumerate() {
            let mut kept = Arc::clone(&spec.assignment);
            for (id, partitions) in spec.assignment.iter() {
                if !spec.subscribed_topic_ids.contains(id) {
                    Arc::make_mut(&mut kept).remove(id);
                    continue;
                }
                let Some(topic) = places.get(id).and_then(|place| self.topics.get_mut(*place)) else { continue };
                if let Some(load) = self.loads.get_mut(member) {
                    *load += partitions.len();
                }
                for partition in partitions {
                    if let Some(owner) = usize::try_from(*partition).ok().and_then(|at| topic.owners.get_mut(at)) {
                        *owner = Some(member);
                    }
                }
            }
            self.target.push(kept);
        }
    }

    /// Hands out the partitions nobody has.
    fn assign_free(&mut self) {
        let mut balancer = Balancer::default();
        for place in 0..self.topics.len() {
            let Some(topic) = self.topics.get(place) else { continue };
            let free = topic.owners.iter().enumerate().filter(|(_, owner)| owner.is_none());
            let free: Vec<usize> = free.map(|(partition, _)| partition).collect();
            if free.is_empty() {
                continue;
            }
            balancer.begin(&topic.subscribers, &self.loads);
            for partition in free {
                if let Some(member) = balancer.next_least_loaded(&self.loads) {
                    self.give(place, partition, member);
                }
            }
        }
    }

    /// Moves partitions until a whole round over the topics has changed nothing.
    fn balance(&mut self) {
        let shared: Vec<usize> = (0..self.topics.len())
            .filter(|at| self.topics.get(*at).is_some_and(|t| t.subscribers.len() >= 2))
            .collect();
        let mut balancer = Balancer::default();
        let mut last_changed = None;
        for _ in 0..ROUNDS_MAX {
            for place in &shared {
                if last_changed == Some(*place) {
                    return;
                }
                let moved = self.balance_topic(*place, &mut balancer);
                if moved > 0 || last_changed.is_none() {
                    last_changed = Some(*place);
                }
            }
        }
    }

    /// Moves partitions of one topic from its most to its least loaded subscribers. Gives how many moved.
    fn balance_topic(&mut self, place: usize, balancer: &mut Balancer) -> usize {
        let Some(topic) = self.topics.get(place) else { return 0 };
        if balancer.begin(&topic.subscribers, &self.loads) <= 1 {
            return 0;
        }
        let mut owned: HashMap<usize, Vec<usize>> = HashMap::new();
        for (partition, owner) in topic.owners.iter().enumerate() {
            if let Some(owner) = owner {
                owned.entry(*owner).or_default().push(partition);
            }
        }
        let mut moved = 0;
        while !balancer.is_balanced() {
            let Some(most) = balancer.next_most_loaded(&self.loads) else { break };
            let Some(partition) = owned.get_mut(&most).and_then(Vec::pop) else {
                balancer.exclude_most_loaded();
                continue;
            };
            let least = balancer.next_least_loaded(&self.loads);
            if balancer.is_balanced() {
                break;
            }
            let Some(least) = least else { break };
            self.give(place, partition, least);
            moved += 1;
        }
        moved
    }

    /// Makes a member the owner of a partition, instead of the present one if there is one.
    fn give(&mut self, place: usize, partition: usize, member: usize) {
        let Some(topic) = self.topics.get_mut(place) else { return };
        let Some(owner) = topic.owners.get_mut(partition) else { return };
        let number = i32::try_from(partition).unwrap_or(i32::MAX);
        if let Some(old) = owner.replace(member) {
            if let Some(target) = self.target.get_mut(old).map(Arc::make_mut)
                && let Some(partitions) = target.get_mut(&topic.id)
            {
                partitions.remove(&number);
                if partitions.is_empty() {
                    target.remove(&topic.id);
                }
            }
            if let Some(load) = self.loads.get_mut(old) {
                *load -= 1;
            }
        }
        if let Some(target) = self.target.get_mut(member).map(Arc::make_mut) {
            target.entry(topic.id).or_default().insert(number);
        }
        if let Some(load) = self.loads.get_mut(member) {
            *load += 1;
        }
    }
}
