//! Committed offsets: what is seen when, and when they go.

use crate::member::{GROUP, Member, TOPIC, committed};
use crate::world::World;
use milena_coordinator::group::{GroupConfig, GroupEvent, GroupReply, GroupRequest};
use milena_metadata::Image;
use milena_protocol::Text;
use milena_types::{ErrorCode, Uuid};
use std::sync::Arc;

const HOUR_MS: i64 = 3_600_000;

fn groups(world: &mut World) -> usize {
    match world.call(5, GroupRequest::ListGroups { states: Vec::new(), types: Vec::new() }) {
        GroupReply::ListGroups(groups) => groups.map_or(0, |groups| groups.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_offset_is_seen_once_it_is_committed_and_stays_through_a_move() {
    let mut world = World::new(GroupConfig::default());
    world.commits = false;
    let ticket = world.ask(9, Member::new().commit_request(0, 5));
    assert_eq!(committed(&mut world, 0, false), Some(-1));
    // Whoever needs it stable waits for it.
    assert_eq!(committed(&mut world, 0, true), None);
    world.commit();
    assert!(world.answer(ticket).is_some());
    assert_eq!(committed(&mut world, 0, false), Some(5));
    world.load();
    assert_eq!(committed(&mut world, 0, false), Some(5));
}

#[test]
fn a_commit_that_cannot_be_written_changes_nothing() {
    let mut world = World::new(GroupConfig::default());
    assert_eq!(Member::new().commit(&mut world, 0, 5), ErrorCode::NONE);
    world.failure = Some(ErrorCode::NOT_ENOUGH_REPLICAS);
    assert_eq!(Member::new().commit(&mut world, 0, 6), ErrorCode::COORDINATOR_NOT_AVAILABLE);
    assert_eq!(committed(&mut world, 0, false), Some(5));
    assert_eq!(Member::new().commit(&mut world, 0, 7), ErrorCode::NONE);
    world.load();
    assert_eq!(committed(&mut world, 0, false), Some(7));
}

#[test]
fn offsets_without_a_group_go_when_they_are_old_and_take_the_group_with_them() {
    let config = GroupConfig { offsets_retention_ms: 10 * HOUR_MS, ..GroupConfig::default() };
    let mut world = World::new(config);
    assert_eq!(Member::new().commit(&mut world, 0, 5), ErrorCode::NONE);
    world.pass(8 * HOUR_MS);
    assert_eq!(Member::new().commit(&mut world, 1, 6), ErrorCode::NONE);
    world.pass(3 * HOUR_MS);
    assert_eq!((committed(&mut world, 0, false), committed(&mut world, 1, false)), (Some(-1), Some(6)));
    assert_eq!(groups(&mut world), 1);
    world.pass(8 * HOUR_MS);
    assert_eq!((committed(&mut world, 1, false), groups(&mut world)), (Some(-1), 0));
    world.load();
    assert_eq!(groups(&mut world), 0);
}

#[test]
fn offsets_of_a_group_with_members_stay_and_those_of_an_empty_one_count_from_its_last_member() {
    let config = GroupConfig { offsets_retention_ms: HOUR_MS, ..GroupConfig::default() };
    let mut world = World::new(config);
    let mut member = Member { session_ms: 1_800_000, ..Member::new() };
    let ticket = member.join(&mut world);
    world.pass(3_000);
    member.joined(&mut world, ticket);
    let ticket = member.sync(&mut world, &[]);
    assert!(world.answer(ticket).is_some());
    assert_eq!(member.commit(&mut world, 0, 5), ErrorCode::NONE);
    for _ in 0..4 {
        world.pass(HOUR_MS / 2 - 1_000);
        assert_eq!(member.heartbeat(&mut world), ErrorCode::NONE);
    }
    assert_eq!(committed(&mut world, 0, false), Some(5));
    assert_eq!(member.leave(&mut world), ErrorCode::NONE);
    world.pass(HOUR_MS / 2);
    assert_eq!(committed(&mut world, 0, false), Some(5));
    world.pass(HOUR_MS);
    assert_eq!((committed(&mut world, 0, false), groups(&mut world)), (Some(-1), 0));
}

#[test]
fn offsets_go_with_their_topic_but_not_with_one_of_the_same_name() {
    let mut world = World::new(GroupConfig::default());
    assert_eq!(Member::new().commit(&mut world, 0, 5), ErrorCode::NONE);
    let gone = |id: u8| (Text::from(TOPIC), Uuid([id; 16]));
    let mut request = Member::new().commit_request(1, 6);
    if let GroupRequest::OffsetCommit(request) = &mut request {
        request.topics.iter_mut().for_each(|topic| topic.topic_id = Uuid([2; 16]));
    }
    world.call(10, request);
    for (id, left) in [(1, (Some(-1), Some(6))), (2, (Some(-1), Some(-1)))] {
        let event =
            GroupEvent::Image { image: Arc::new(Image::default()), deleted: vec![gone(id)], changed: Vec::new() };
        let now = world.now;
        world.coordinator.handle(event, now);
        world.pass(0);
        world.commit();
        assert_eq!((committed(&mut world, 0, false), committed(&mut world, 1, false)), left);
    }
}

#[test]
fn a_deleted_group_leaves_nothing_and_its_name_can_be_used_again() {
    let mut world = World::new(GroupConfig::default());
    for partition in 0..50 {
        assert_eq!(Member::new().commit(&mut world, partition, 5), ErrorCode::NONE);
    }
    let delete = GroupRequest::DeleteGroups(vec![GROUP.into()]);
    assert!(matches!(world.call(2, delete), GroupReply::DeleteGroups(results) if results[0].error_code == 0));
    assert_eq!((committed(&mut world, 7, false), groups(&mut world)), (Some(-1), 0));
    world.load();
    assert_eq!((committed(&mut world, 7, false), groups(&mut world)), (Some(-1), 0));
    assert_eq!(Member::new().commit(&mut world, 7, 1), ErrorCode::NONE);
    assert_eq!(committed(&mut world, 7, false), Some(1));
}
