//! How long a large group takes.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_coordinator::assignor::{Assignor, GroupSpec, MemberSpec};
use milena_protocol::Text;

use crate::model::topic;

/// The time of one assignment when one member more comes to a settled group of `members` over `members` partitions.
fn one_more(assignor: Assignor, members: u64, is_homogeneous: bool) -> Duration {
    let topics = 10;
    let count = i32::try_from(members / topics).unwrap();
    let all: Arc<BTreeSet<_>> = Arc::new((1..=topics).map(topic).collect());
    let nearly_all: Arc<BTreeSet<_>> = Arc::new((2..=topics).map(topic).collect());
    let member = |number: u64| MemberSpec {
        member_id: Text::from(format!("member-{number:06}")),
        instance_id: None,
        subscribed_topic_ids: Arc::clone(if is_homogeneous || number.is_multiple_of(2) { &all } else { &nearly_all }),
        assignment: Arc::default(),
    };
    let partition_count = &|_| Some(count);
    let mut group = GroupSpec { members: (0..members).map(member).collect(), is_homogeneous, partition_count };
    let target = assignor.assign(&group).unwrap();
    for (member, assignment) in group.members.iter_mut().zip(target) {
        member.assignment = assignment;
    }
    group.members.push(member(members));
    let begin = Instant::now();
    assignor.assign(&group).unwrap();
    begin.elapsed()
}

#[test]
fn time_does_not_grow_with_the_square_of_the_group() {
    for (assignor, is_homogeneous) in [(Assignor::Uniform, true), (Assignor::Uniform, false), (Assignor::Range, true)] {
        let fastest = |members| (0..3).map(|_| one_more(assignor, members, is_homogeneous)).min().unwrap();
        let (small, large) = (fastest(1_000), fastest(10_000));
        let name = assignor.name();
        println!("{name}, homogeneous {is_homogeneous}: 1,000 x 1,000 in {small:?}, 10,000 x 10,000 in {large:?}");
        // A hundred million steps take longer, also on a busy machine and without optimization.
        assert!(large < Duration::from_secs(1), "{large:?}");
    }
}
