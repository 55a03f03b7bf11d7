//! The server-side assignors: what every assignment must keep to, how long a large group takes (`speed.rs`), and whether
//! Kafka's own classes give the same (`oracle.rs`).

mod model;
mod oracle;
mod speed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_coordinator::assignor::{Assignor, GroupAssignment, GroupSpec, MemberSpec, TopicPartitions};
use milena_protocol::Text;
use model::{Model, topic};

fn size(assignment: &TopicPartitions) -> usize {
    assignment.values().map(BTreeSet::len).sum()
}

/// How many partitions of `target` its members did not have before.
fn moved(members: &BTreeMap<Text, MemberSpec>, target: &GroupAssignment) -> usize {
    let news = members.values().zip(target).flat_map(|(member, assignment)| {
        assignment.iter().map(|(topic, partitions)| match member.assignment.get(topic) {
            Some(old) => partitions.difference(old).count(),
            None => partitions.len(),
        })
    });
    news.sum()
}

#[test]
fn every_wanted_partition_goes_to_one_subscriber() {
    for seed in 0..400 {
        for assignor in Assignor::ALL {
            let mut model = Model::new(seed);
            for _ in 0..12 {
                let target = model.assign(assignor);
                model.check_valid(&target);
                model.adopt(target);
                model.change();
            }
        }
    }
}

#[test]
fn uniform_is_even_and_moves_no_more_than_it_must() {
    for seed in (0..800).filter(|seed| Model::new(*seed).is_homogeneous) {
        let mut model = Model::new(seed);
        for _ in 0..12 {
            let target = model.assign(Assignor::Uniform);
            let sizes: Vec<usize> = target.iter().map(|assignment| size(assignment)).collect();
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            assert!(most - least <= 1, "{sizes:?}");
            assert_eq!(moved(&model.members, &target), fewest_moves(&model));
            model.adopt(target);
            model.change();
        }
    }
}

/// With quotas that differ by at most one, the most that can stay is the sum of what fits under the best quotas.
fn fewest_moves(model: &Model) -> usize {
    let live = |member: &MemberSpec| {
        let wanted = member.assignment.iter().filter(|(topic, _)| member.subscribed_topic_ids.contains(topic));
        wanted.map(|(_, partitions)| partitions.len()).sum::<usize>()
    };
    let partitions: usize = model.counts.values().map(|count| *count as usize).sum();
    let (minimum, extras) = (partitions / model.members.len(), partitions % model.members.len());
    let stay: usize = model.members.values().map(|member| live(member).min(minimum)).sum();
    let rich = model.members.values().filter(|member| live(member) > minimum).count();
    partitions - stay - rich.min(extras)
}

#[test]
fn uniform_is_even_among_those_who_want_the_same_when_subscriptions_differ() {
    for seed in (0..800).filter(|seed| !Model::new(*seed).is_homogeneous) {
        let mut model = Model::new(seed);
        for _ in 0..12 {
            let target = model.assign(Assignor::Uniform);
            for (left, mine) in model.members.values().zip(&target) {
                for (right, theirs) in model.members.values().zip(&target) {
                    let could_take = theirs.keys().any(|topic| left.subscribed_topic_ids.contains(topic));
                    assert!(
                        !could_take || size(theirs) <= size(mine) + 1,
                        "seed {seed}: {} has {} and {} has {}",
                        left.member_id,
                        size(mine),
                        right.member_id,
                        size(theirs)
                    );
                }
            }
            model.adopt(target);
            model.change();
        }
    }
}

#[test]
fn an_unchanged_group_keeps_its_assignment_and_its_allocations() {
    for seed in 0..200 {
        for assignor in Assignor::ALL {
            let mut model = Model::new(seed);
            let target = model.assign(assignor);
            model.adopt(target.clone());
            let again = model.assign(assignor);
            assert!(target.iter().zip(&again).all(|(before, after)| Arc::ptr_eq(before, after) || before.is_empty()));
        }
    }
}

#[test]
fn range_keeps_equally_partitioned_topics_together() {
    for seed in 0..200 {
        let mut model = Model::new(seed);
        model.is_homogeneous = true;
        model.counts.values_mut().for_each(|count| *count = 7);
        model.subscribe();
        for assignment in model.assign(Assignor::Range) {
            let mut runs = assignment.values();
            let first = runs.next();
            assert!(runs.all(|run| Some(run) == first), "{assignment:?}");
        }
    }
}

#[test]
fn a_topic_without_a_count_is_refused() {
    let members = vec![MemberSpec {
        member_id: Text::from_static("m"),
        instance_id: None,
        subscribed_topic_ids: Arc::new(BTreeSet::from([topic(1)])),
        assignment: Arc::default(),
    }];
    for (is_homogeneous, assignor) in [(true, Assignor::Uniform), (false, Assignor::Uniform), (true, Assignor::Range)] {
        let group = GroupSpec { members: members.clone(), is_homogeneous, partition_count: &|_| None };
        assignor.assign(&group).unwrap_err();
    }
}
