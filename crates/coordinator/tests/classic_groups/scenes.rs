//! Single scenes of classic groups.

use crate::member::{GROUP, Member, join_answer, sync_answer};
use crate::world::World;
use bytes::Bytes;
use milena_coordinator::group::{GroupConfig, GroupReply, GroupRequest};
use milena_protocol::Text;
use milena_types::ErrorCode;

const DELAY_MS: i64 = 3_000;

/// A group of members that are stable; the first is the leader.
fn stable(world: &mut World, mut members: Vec<Member>) -> Vec<Member> {
    let tickets: Vec<_> = members.iter_mut().map(|member| member.join(world)).collect();
    world.pass(2 * DELAY_MS);
    for (member, ticket) in members.iter_mut().zip(tickets) {
        assert_eq!(member.joined(world, ticket).error_code, 0);
    }
    synchronize(world, &members);
    members
}

/// Everyone gets its own id as its assignment; the leader is whoever the group says.
fn synchronize(world: &mut World, members: &[Member]) {
    let assignments: Vec<(Text, Bytes)> =
        members.iter().map(|member| (member.id.clone(), member.id.clone().into_bytes())).collect();
    let tickets: Vec<_> = members.iter().map(|member| member.sync(world, &assignments)).collect();
    for (member, ticket) in members.iter().zip(tickets) {
        let response = sync_answer(world, ticket).expect("the leader has brought the assignment");
        assert_eq!((response.error_code, response.assignment), (0, member.id.clone().into_bytes()));
    }
}

fn state(world: &mut World) -> String {
    match world.call(6, GroupRequest::DescribeGroups(vec![GROUP.into()])) {
        GroupReply::DescribeGroups(groups) => {
            groups.first().map(|group| group.group_state.to_string()).unwrap_or_default()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_rebalance_waits_for_more_members_but_not_longer_than_they_may_take() {
    let mut world = World::new(GroupConfig::default());
    let mut first = Member { rebalance_ms: 7_000, ..Member::new() };
    let ticket = first.join(&mut world);
    world.pass(2_000);
    let mut second = Member { rebalance_ms: 7_000, ..Member::new() };
    let second_ticket = second.join(&mut world);
    // Someone came while it waited: another delay.
    world.pass(2_000);
    assert!(join_answer(&mut world, ticket).is_none());
    world.pass(2_000);
    assert_eq!(first.joined(&mut world, ticket).members.len(), 2);
    assert_eq!(second.joined(&mut world, second_ticket).members.len(), 0);
}

#[test]
fn a_member_that_does_not_come_back_in_time_is_out_of_the_next_generation() {
    let mut world = World::new(GroupConfig::default());
    let members = stable(&mut world, vec![Member::new(), Member { session_ms: 60_000, ..Member::new() }]);
    let (mut stays, goes) = (members[0].clone(), members[1].clone());
    let ticket = stays.join(&mut world);
    assert_eq!(state(&mut world), "PreparingRebalance");
    assert_eq!(goes.heartbeat(&mut world), ErrorCode::REBALANCE_IN_PROGRESS);
    world.pass(20_000);
    let response = stays.joined(&mut world, ticket);
    assert_eq!((response.generation_id, response.members.len()), (2, 1));
    assert_eq!(goes.heartbeat(&mut world), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_member_that_is_not_heard_of_is_removed_and_the_others_rebalance() {
    let mut world = World::new(GroupConfig::default());
    let members = stable(&mut world, vec![Member::new(), Member::new()]);
    for _ in 0..4 {
        world.pass(3_000);
        let _ = members[0].heartbeat(&mut world);
    }
    assert_eq!(members[0].heartbeat(&mut world), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(members[1].heartbeat(&mut world), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn an_id_that_is_not_used_is_forgotten() {
    let mut world = World::new(GroupConfig::default());
    let mut member = Member::new();
    let ticket = world.ask(9, member.join_request());
    member.id = join_answer(&mut world, ticket).map(|response| response.member_id).unwrap_or_default();
    world.pass(10_001);
    let ticket = world.ask(9, member.join_request());
    let response = join_answer(&mut world, ticket).map(|response| ErrorCode(response.error_code));
    assert_eq!(response, Some(ErrorCode::UNKNOWN_MEMBER_ID));
}

#[test]
fn members_that_do_not_synchronize_are_removed() {
    let mut world = World::new(GroupConfig::default());
    let mut members = [Member { session_ms: 60_000, ..Member::new() }, Member { session_ms: 60_000, ..Member::new() }];
    let tickets: Vec<_> = members.iter_mut().map(|member| member.join(&mut world)).collect();
    world.pass(2 * DELAY_MS);
    for (member, ticket) in members.iter_mut().zip(tickets) {
        member.joined(&mut world, ticket);
    }
    let ticket = members[0].sync(&mut world, &[]);
    world.pass(20_000);
    assert_eq!(sync_answer(&mut world, ticket).map(|response| response.error_code), Some(0));
    assert_eq!(members[0].heartbeat(&mut world), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(members[1].heartbeat(&mut world), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_group_survives_the_move_of_its_coordinator() {
    let mut world = World::new(GroupConfig::default());
    let members = stable(&mut world, vec![Member::new(), Member::with_instance("i")]);
    world.load();
    assert_eq!(state(&mut world), "Stable");
    for member in &members {
        assert_eq!(member.heartbeat(&mut world), ErrorCode::NONE);
        let ticket = member.sync(&mut world, &[]);
        let assignment = sync_answer(&mut world, ticket).map(|response| response.assignment);
        assert_eq!(assignment, Some(member.id.clone().into_bytes()));
    }
    // Sessions begin anew.
    world.pass(10_000);
    assert_eq!(members[0].heartbeat(&mut world), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn an_assignment_is_told_only_once_it_is_committed() {
    let mut world = World::new(GroupConfig::default());
    let mut member = Member::new();
    let ticket = member.join(&mut world);
    world.pass(DELAY_MS);
    member.joined(&mut world, ticket);
    world.commits = false;
    let ticket = member.sync(&mut world, &[(member.id.clone(), Bytes::from_static(b"all"))]);
    assert!(sync_answer(&mut world, ticket).is_none());
    assert_eq!(state(&mut world), "CompletingRebalance");
    world.commit();
    assert_eq!(sync_answer(&mut world, ticket).map(|response| response.assignment), Some(Bytes::from_static(b"all")));
    assert_eq!(state(&mut world), "Stable");
}

#[test]
fn an_assignment_that_cannot_be_written_begins_another_rebalance() {
    let mut world = World::new(GroupConfig::default());
    let mut member = Member::new();
    let ticket = member.join(&mut world);
    world.pass(DELAY_MS);
    member.joined(&mut world, ticket);
    world.failure = Some(ErrorCode::NOT_ENOUGH_REPLICAS);
    let ticket = member.sync(&mut world, &[]);
    let error = sync_answer(&mut world, ticket).map(|response| ErrorCode(response.error_code));
    assert_eq!(error, Some(ErrorCode::COORDINATOR_NOT_AVAILABLE));
    assert_eq!(state(&mut world), "PreparingRebalance");
}

#[test]
fn an_assignment_that_is_committed_late_is_not_that_of_the_next_generation() {
    let mut world = World::new(GroupConfig::default());
    let mut members = stable(&mut world, vec![Member::with_instance("one"), Member::with_instance("two")]);
    // The leader brings an assignment of generation 2, which is not committed yet.
    let tickets: Vec<_> = members.iter_mut().map(|member| member.join(&mut world)).collect();
    for (member, ticket) in members.iter_mut().zip(tickets) {
        assert_eq!(member.joined(&mut world, ticket).generation_id, 2);
    }
    world.commits = false;
    let leader = members[0].clone();
    let waiting = leader.sync(&mut world, &[(leader.id.clone(), Bytes::from_static(b"of generation 2"))]);
    // Meanwhile there is another member, and with it another generation.
    let mut third = Member::with_instance("three");
    let third_ticket = third.join(&mut world);
    let error = sync_answer(&mut world, waiting).map(|response| ErrorCode(response.error_code));
    assert_eq!(error, Some(ErrorCode::REBALANCE_IN_PROGRESS));
    let tickets: Vec<_> = members.iter_mut().map(|member| member.join(&mut world)).collect();
    for (member, ticket) in members.iter_mut().zip(tickets) {
        assert_eq!(member.joined(&mut world, ticket).generation_id, 3);
    }
    assert_eq!(third.joined(&mut world, third_ticket).generation_id, 3);
    let follower = members[1].sync(&mut world, &[]);
    world.commit();
    assert_eq!((state(&mut world).as_str(), sync_answer(&mut world, follower)), ("CompletingRebalance", None));
}

#[test]
fn offsets_of_another_generation_are_refused() {
    let mut world = World::new(GroupConfig::default());
    let members = stable(&mut world, vec![Member::new()]);
    for (generation, error) in [
        (0, ErrorCode::ILLEGAL_GENERATION),
        (2, ErrorCode::ILLEGAL_GENERATION),
        (-1, ErrorCode::ILLEGAL_GENERATION),
        (1, ErrorCode::NONE),
    ] {
        let member = Member { generation, ..members[0].clone() };
        assert_eq!(member.commit(&mut world, 0, 5), error, "generation {generation}");
    }
    assert_eq!(Member::new().commit(&mut world, 0, 5), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_group_that_could_not_be_written_is_not_there() {
    let mut world = World::new(GroupConfig::default());
    world.failure = Some(ErrorCode::KAFKA_STORAGE_ERROR);
    let member = Member::with_instance("i");
    let ticket = world.ask(9, member.join_request());
    let error = join_answer(&mut world, ticket).map(|response| ErrorCode(response.error_code));
    assert_eq!(error, Some(ErrorCode::NOT_COORDINATOR));
    assert_eq!(state(&mut world), "Dead");
    // And it can be made.
    let ticket = world.ask(9, member.join_request());
    world.pass(DELAY_MS);
    assert_eq!(join_answer(&mut world, ticket).map(|response| response.error_code), Some(0));
}

#[test]
fn a_replaced_static_member_keeps_its_place_unless_that_cannot_be_written() {
    let mut world = World::new(GroupConfig::default());
    let members = stable(&mut world, vec![Member::with_instance("one"), Member::with_instance("two")]);
    world.failure = Some(ErrorCode::NOT_ENOUGH_REPLICAS);
    let again = Member::with_instance("two");
    let ticket = world.ask(9, again.join_request());
    let error = join_answer(&mut world, ticket).map(|response| ErrorCode(response.error_code));
    assert_eq!(error, Some(ErrorCode::COORDINATOR_NOT_AVAILABLE));
    assert_eq!(members[1].heartbeat(&mut world), ErrorCode::NONE);
    let ticket = world.ask(9, again.join_request());
    let response = join_answer(&mut world, ticket).expect("the place is kept");
    assert_eq!((response.error_code, response.generation_id), (0, 1));
    assert_eq!(members[1].heartbeat(&mut world), ErrorCode::FENCED_INSTANCE_ID);
    world.load();
    let again = Member { id: response.member_id, generation: 1, ..again };
    assert_eq!(again.heartbeat(&mut world), ErrorCode::NONE);
}

#[test]
fn a_full_group_takes_no_one_and_shrinks_after_a_move() {
    let mut world = World::new(GroupConfig { group_max_size: 2, ..GroupConfig::default() });
    let members = stable(&mut world, vec![Member::new(), Member::new()]);
    let ticket = world.ask(9, Member::new().join_request());
    let error = join_answer(&mut world, ticket).map(|response| ErrorCode(response.error_code));
    assert_eq!(error, Some(ErrorCode::GROUP_MAX_SIZE_REACHED));
    world.config = GroupConfig { group_max_size: 1, ..GroupConfig::default() }.into();
    world.load();
    let first = world.ask(9, members[0].join_request());
    let second = world.ask(9, members[1].join_request());
    let error = join_answer(&mut world, second).map(|response| ErrorCode(response.error_code));
    assert_eq!(error, Some(ErrorCode::GROUP_MAX_SIZE_REACHED));
    world.pass(20_000);
    assert_eq!(join_answer(&mut world, first).map(|response| response.error_code), Some(0));
}

#[test]
fn nobody_waits_for_a_coordinator_that_goes() {
    let mut world = World::new(GroupConfig::default());
    let ticket = world.ask(9, Member::with_instance("i").join_request());
    world.coordinator.end(ErrorCode::NOT_COORDINATOR);
    world.pass(0);
    world.commit();
    let error = join_answer(&mut world, ticket).map(|response| ErrorCode(response.error_code));
    assert_eq!(error, Some(ErrorCode::NOT_COORDINATOR));
}

#[test]
fn a_request_that_is_sent_again_takes_the_place_of_the_one_before() {
    let mut world = World::new(GroupConfig::default());
    let mut member = Member::new();
    let first = member.join(&mut world);
    let second = world.ask(9, member.join_request());
    let error = join_answer(&mut world, first).map(|response| ErrorCode(response.error_code));
    assert_eq!(error, Some(ErrorCode::REBALANCE_IN_PROGRESS));
    world.pass(DELAY_MS);
    assert_eq!(member.joined(&mut world, second).error_code, 0);
}
