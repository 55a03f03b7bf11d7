//! A random group that changes step by step, and what every assignment of it must keep to.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of a test fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_coordinator::assignor::{Assignor, GroupAssignment, GroupSpec, MemberSpec};
use milena_coordinator::group::Random;
use milena_protocol::Text;
use milena_types::Uuid;

/// A small deterministic source.
struct Seed(Random);

impl Seed {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound.max(1)
    }
}

pub(crate) fn topic(number: u64) -> Uuid {
    Uuid(u128::from(number).to_be_bytes())
}

/// A group that changes: members come and go, topics appear, grow and vanish, subscriptions change.
pub(crate) struct Model {
    seed: Seed,
    pub(crate) is_homogeneous: bool,
    pub(crate) counts: BTreeMap<Uuid, i32>,
    pub(crate) members: BTreeMap<Text, MemberSpec>,
    next_member: u64,
}

impl Model {
    pub(crate) fn new(seed: u64) -> Model {
        let mut seed = Seed(Random::new(seed));
        let is_homogeneous = seed.below(2) == 0;
        let counts = (1..=1 + seed.below(8)).map(|number| (topic(number), 1 + seed.below(20) as i32)).collect();
        let mut model = Model { seed, is_homogeneous, counts, members: BTreeMap::new(), next_member: 0 };
        for _ in 0..=model.seed.below(12) {
            model.join();
        }
        model.subscribe();
        model
    }

    fn join(&mut self) {
        self.next_member += 1;
        let id = Text::from(format!("m{}-{}", self.seed.below(10), self.next_member));
        let instance_id =
            (self.seed.below(4) == 0).then(|| Text::from(format!("i{}-{}", self.seed.below(10), id.len())));
        let taken = self.members.values().any(|member| instance_id.is_some() && member.instance_id == instance_id);
        let spec = MemberSpec {
            member_id: id.clone(),
            instance_id: if taken { None } else { instance_id },
            subscribed_topic_ids: Arc::default(),
            assignment: Arc::default(),
        };
        self.members.insert(id, spec);
    }

    /// Draws subscriptions: all topics for everyone, or some for each.
    pub(crate) fn subscribe(&mut self) {
        let all: Arc<BTreeSet<Uuid>> = Arc::new(self.counts.keys().copied().collect());
        for member in self.members.values_mut() {
            if self.is_homogeneous {
                member.subscribed_topic_ids = Arc::clone(&all);
            } else if member.subscribed_topic_ids.is_empty() || self.seed.below(4) == 0 {
                let some = all.iter().copied().filter(|_| self.seed.below(2) == 0);
                member.subscribed_topic_ids = Arc::new(some.collect());
            } else {
                let mine = member.subscribed_topic_ids.iter().copied().filter(|topic| all.contains(topic));
                member.subscribed_topic_ids = Arc::new(mine.collect());
            }
        }
    }

    pub(crate) fn change(&mut self) {
        match self.seed.below(6) {
            0 | 1 => self.join(),
            2 if self.members.len() > 1 => {
                let at = self.seed.below(self.members.len() as u64) as usize;
                let id = self.members.keys().nth(at).unwrap().clone();
                self.members.remove(&id);
            }
            3 => {
                let number = 1 + self.seed.below(12);
                let more = 1 + self.seed.below(9) as i32;
                *self.counts.entry(topic(number)).or_default() += more;
            }
            4 if self.counts.len() > 1 => {
                let at = self.seed.below(self.counts.len() as u64) as usize;
                let id = *self.counts.keys().nth(at).unwrap();
                self.counts.remove(&id);
            }
            _ => {}
        }
        self.subscribe();
    }

    pub(crate) fn assign(&mut self, assignor: Assignor) -> GroupAssignment {
        let counts = self.counts.clone();
        let count = |topic: Uuid| counts.get(&topic).copied();
        let group = GroupSpec {
            members: self.members.values().cloned().collect(),
            is_homogeneous: self.is_homogeneous,
            partition_count: &count,
        };
        let target = assignor.assign(&group).unwrap();
        assert_eq!(target.len(), group.members.len());
        target
    }

    pub(crate) fn adopt(&mut self, target: GroupAssignment) {
        for (member, assignment) in self.members.values_mut().zip(target) {
            member.assignment = assignment;
        }
    }

    /// Every partition of a topic someone wants belongs to exactly one member that wants it; nobody has anything else.
    pub(crate) fn check_valid(&self, target: &GroupAssignment) {
        let mut owners: BTreeMap<(Uuid, i32), usize> = BTreeMap::new();
        for (member, assignment) in self.members.values().zip(target) {
            for (topic, partitions) in assignment.iter() {
                assert!(!partitions.is_empty(), "an empty topic is kept");
                assert!(member.subscribed_topic_ids.contains(topic), "{} did not ask for {topic}", member.member_id);
                for partition in partitions {
                    assert!(*partition < self.counts[topic]);
                    *owners.entry((*topic, *partition)).or_default() += 1;
                }
            }
        }
        let wanted: BTreeSet<Uuid> =
            self.members.values().flat_map(|member| member.subscribed_topic_ids.iter().copied()).collect();
        let partitions = wanted.iter().flat_map(|topic| (0..self.counts[topic]).map(|partition| (*topic, partition)));
        let expected: BTreeMap<(Uuid, i32), usize> = partitions.map(|partition| (partition, 1)).collect();
        assert_eq!(owners, expected);
    }
}
