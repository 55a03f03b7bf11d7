//! What could not be written has not happened: members whose end was taken back are expected again.

use crate::member::{GROUP, Member, TOPIC};
use crate::world::World;
use milena_coordinator::group::{GroupConfig, GroupReply, GroupRequest};
use milena_protocol::Text;
use milena_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use milena_types::ErrorCode;

fn beat(world: &mut World, epoch: i32) -> ConsumerGroupHeartbeatResponse {
    let request = ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: "m".into(),
        member_epoch: epoch,
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![TOPIC.into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    match world.call(1, GroupRequest::ConsumerGroupHeartbeat(Box::new(request))) {
        GroupReply::ConsumerGroupHeartbeat(response) => *response,
        other => panic!("{other:?}"),
    }
}

fn states(world: &mut World) -> Vec<Text> {
    match world.call(5, GroupRequest::ListGroups { states: Vec::new(), types: Vec::new() }) {
        GroupReply::ListGroups(Ok(groups)) => groups.into_iter().map(|group| group.group_state).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_consumer_whose_end_could_not_be_written_is_put_out_later() {
    let mut world = World::new(GroupConfig::default());
    assert_eq!(beat(&mut world, 0).error_code, 0);
    world.failure = Some(ErrorCode::NOT_ENOUGH_REPLICAS);
    world.pass(46_000);
    assert_eq!(world.failure, None, "its session ended");
    assert_ne!(states(&mut world), ["Empty"]);
    world.pass(120_000);
    assert_eq!(states(&mut world), ["Empty"]);
}

#[test]
fn a_consumer_whose_leave_could_not_be_written_is_put_out_later() {
    let mut world = World::new(GroupConfig::default());
    assert_eq!(beat(&mut world, 0).error_code, 0);
    world.failure = Some(ErrorCode::NOT_ENOUGH_REPLICAS);
    assert_eq!(ErrorCode(beat(&mut world, -1).error_code), ErrorCode::COORDINATOR_NOT_AVAILABLE);
    world.pass(120_000);
    assert_eq!(states(&mut world), ["Empty"]);
}

#[test]
fn classic_members_whose_upgrade_could_not_be_written_are_still_expected() {
    let mut world = World::new(GroupConfig::default());
    let mut member = Member::new();
    let ticket = member.join(&mut world);
    world.pass(3_000);
    member.joined(&mut world, ticket);
    let ticket = member.sync(&mut world, &[]);
    assert!(world.answer(ticket).is_some());
    world.failure = Some(ErrorCode::NOT_ENOUGH_REPLICAS);
    assert_eq!(ErrorCode(beat(&mut world, 0).error_code), ErrorCode::COORDINATOR_NOT_AVAILABLE);
    assert_eq!(states(&mut world), ["Stable"]);
    world.pass(120_000);
    assert_eq!(states(&mut world), ["Empty"]);
}
