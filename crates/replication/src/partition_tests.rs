//! Leader, follower, high watermark and ISR of one partition.

use super::*;
use crate::isr::IsrReply;
use crate::read_bound::{Isolation, ReadRequest};
use crate::replica::ReplicaFetch;

const NOW: Timestamp = Timestamp(1_000_000);

fn config(durability: Durability, min_insync_replicas: usize) -> PartitionConfig {
    PartitionConfig { local: BrokerId(1), durability, min_insync_replicas, replica_lag_time_max_ms: 30_000 }
}

fn assignment(epoch: i32, partition_epoch: i32, replicas: &[i32], isr: &[i32]) -> Assignment {
    Assignment {
        leader: BrokerId(1),
        leader_epoch: LeaderEpoch(epoch),
        partition_epoch,
        replicas: replicas.iter().copied().map(BrokerId).collect(),
        isr: isr.iter().copied().map(BrokerId).collect(),
    }
}

fn fetch(replica: i32, offset: i64) -> ReplicaFetch {
    let fetch_offset = Offset(offset);
    ReplicaFetch { replica: BrokerId(replica), fetch_offset, log_start_offset: Offset(0), broker_epoch: 7 }
}

#[test]
fn a_lone_leader_commits_what_it_appends() {
    let mut partition = PartitionState::new(config(Durability::Os, 1), Offset(0), Offset(0));
    assert!(partition.assign(&assignment(0, 0, &[1], &[1]), NOW));
    assert_eq!(partition.check_append(-1), Ok(()));
    assert_eq!(partition.on_local_append(Offset(10), NOW), Some(Offset(10)));
    assert_eq!(partition.ack_state(Offset(10)), AckState::Done(Ok(())));
    assert_eq!(partition.ack_state(Offset(11)), AckState::Pending);
}

#[test]
fn with_fsync_only_synced_records_are_committed() {
    let mut partition = PartitionState::new(config(Durability::Fsync, 1), Offset(0), Offset(0));
    partition.assign(&assignment(0, 0, &[1], &[1]), NOW);
    assert_eq!(partition.on_local_append(Offset(10), NOW), None);
    assert_eq!(partition.ack_state(Offset(10)), AckState::Pending);
    assert_eq!(partition.on_durable(Offset(4), NOW), Some(Offset(4)));
    assert_eq!(partition.on_durable(Offset(99), NOW), Some(Offset(10)), "nothing beyond the log end is durable");
    assert_eq!(partition.ack_state(Offset(10)), AckState::Done(Ok(())));
}

#[test]
fn the_high_watermark_waits_for_every_member_of_the_isr() {
    let mut partition = PartitionState::new(config(Durability::Os, 2), Offset(0), Offset(0));
    partition.assign(&assignment(3, 5, &[1, 2, 3], &[1, 2, 3]), NOW);
    assert_eq!(partition.on_local_append(Offset(10), NOW), None);
    assert_eq!(partition.on_replica_fetch(&fetch(2, 10), NOW), Ok(None));
    assert_eq!(partition.on_replica_fetch(&fetch(3, 6), NOW), Ok(Some(Offset(6))));
    assert_eq!(partition.on_replica_fetch(&fetch(9, 6), NOW), Err(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    partition.assign(&assignment(3, 6, &[1, 2, 3], &[1, 2]), NOW);
    // Replica 3 left the ISR but was caught up moments ago: waited for only if it may join again.
    assert_eq!(partition.high_watermark(), Offset(10));
}

#[test]
fn an_isr_below_the_minimum_refuses_acks_all_and_stops_the_high_watermark() {
    let mut partition = PartitionState::new(config(Durability::Os, 2), Offset(0), Offset(0));
    partition.assign(&assignment(0, 0, &[1, 2], &[1]), NOW);
    assert_eq!(partition.check_append(-1), Err(ErrorCode::NOT_ENOUGH_REPLICAS));
    assert_eq!(partition.check_append(1), Ok(()));
    assert_eq!(partition.on_local_append(Offset(1), NOW), None);
    assert_eq!(partition.high_watermark(), Offset(0));
}

#[test]
fn a_caught_up_follower_joins_and_a_silent_one_leaves() {
    let mut partition = PartitionState::new(config(Durability::Os, 1), Offset(0), Offset(0));
    partition.assign(&assignment(0, 0, &[1, 2], &[1]), NOW);
    partition.on_local_append(Offset(5), NOW);
    assert_eq!(partition.propose_isr_change(1, NOW), None, "it has not fetched yet");
    partition.on_replica_fetch(&fetch(2, 5), NOW).unwrap();
    assert_eq!(partition.propose_isr_change(1, NOW), None, "the metadata does not know its broker as alive");
    partition.set_registered_epoch(BrokerId(2), Some(7));
    let change = partition.propose_isr_change(1, NOW).unwrap();
    assert_eq!(change.new_isr, vec![(BrokerId(1), 1), (BrokerId(2), 7)]);
    assert_eq!(partition.isr().maximal().len(), 2, "growing is assumed at once");
    assert_eq!(partition.propose_isr_change(1, NOW), None, "one change at a time");
    assert_eq!(partition.on_isr_reply(&change, Ok(&assignment(0, 1, &[1, 2], &[1, 2])), NOW), IsrReply::Applied);

    partition.on_local_append(Offset(9), NOW);
    let late = Timestamp(NOW.0 + 30_001);
    let change = partition.propose_isr_change(1, late).unwrap();
    assert_eq!(change.new_isr, vec![(BrokerId(1), 1)]);
    assert_eq!(partition.isr().maximal().len(), 2, "shrinking is not assumed");
    assert_eq!(partition.on_isr_reply(&change, Err(ErrorCode::INELIGIBLE_REPLICA), late), IsrReply::Reverted);
    assert!(!partition.isr().is_in_flight());
}

#[test]
fn a_replica_that_left_is_waited_for_until_the_metadata_say_so() {
    let mut partition = PartitionState::new(config(Durability::Os, 1), Offset(0), Offset(0));
    partition.assign(&assignment(0, 0, &[1, 2], &[1, 2]), NOW);
    partition.on_local_append(Offset(5), NOW);
    let late = Timestamp(NOW.0 + 30_001);
    let change = partition.propose_isr_change(1, late).unwrap();
    let answer = assignment(0, 1, &[1, 2], &[1]);
    assert_eq!(partition.on_isr_reply(&change, Ok(&answer), late), IsrReply::AwaitMetadata);
    assert_eq!(partition.high_watermark(), Offset(0), "the controller may have a larger minimum, and 2 be eligible");
    partition.reconfigure(config(Durability::Os, 2), late);
    partition.assign(&answer, late);
    assert_eq!((partition.isr().committed(), partition.high_watermark()), ([BrokerId(1)].as_slice(), Offset(0)));
}

#[test]
fn readers_are_fenced_by_epoch_before_role() {
    let mut partition = PartitionState::new(config(Durability::Os, 1), Offset(0), Offset(0));
    partition.assign(&assignment(4, 0, &[1, 2], &[1]), NOW);
    partition.on_local_append(Offset(8), NOW);
    let mut request = ReadRequest {
        current_leader_epoch: LeaderEpoch(3),
        replica: None,
        leader_only: true,
        isolation: Isolation::LastStable,
        first_unstable_offset: Some(Offset(6)),
    };
    assert_eq!(partition.read_bound(&request), Err(ErrorCode::FENCED_LEADER_EPOCH));
    request.current_leader_epoch = LeaderEpoch(5);
    assert_eq!(partition.read_bound(&request), Err(ErrorCode::UNKNOWN_LEADER_EPOCH));
    request.current_leader_epoch = LeaderEpoch(4);
    assert_eq!(partition.read_bound(&request).map(|read| read.bound), Ok(Offset(6)));
    request.isolation = Isolation::HighWatermark;
    assert_eq!(partition.read_bound(&request).map(|read| read.bound), Ok(Offset(8)));
    request.replica = Some(BrokerId(3));
    assert_eq!(partition.read_bound(&request), Err(ErrorCode::UNKNOWN_LEADER_EPOCH));
    request.current_leader_epoch = LeaderEpoch::NONE;
    assert_eq!(partition.read_bound(&request), Err(ErrorCode::NOT_LEADER_OR_FOLLOWER));

    let follower = Assignment { leader: BrokerId(2), ..assignment(5, 1, &[1, 2], &[2]) };
    assert!(!partition.assign(&follower, NOW));
    request.replica = None;
    assert_eq!(partition.read_bound(&request), Err(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    request.leader_only = false;
    assert!(partition.read_bound(&request).is_ok());
}

#[test]
fn kafka_13574_who_waits_for_a_leader_that_lost_its_place_is_not_told_that_nothing_was_written() {
    let mut partition = PartitionState::new(config(Durability::Os, 1), Offset(0), Offset(0));
    partition.assign(&assignment(4, 0, &[1, 2], &[1, 2]), NOW);
    partition.on_local_append(Offset(8), NOW);
    assert_eq!(partition.ack_state(Offset(8)), AckState::Pending);
    partition.assign(&Assignment { leader: BrokerId(2), ..assignment(5, 1, &[1, 2], &[1, 2]) }, NOW);
    assert_eq!(partition.check_append(-1), Err(ErrorCode::NOT_LEADER_OR_FOLLOWER), "nothing was");
    assert_eq!(partition.ack_state(Offset(8)), AckState::Done(Err(ErrorCode::REQUEST_TIMED_OUT)), "something may be");
}

#[test]
fn a_new_leader_behind_its_epoch_start_has_no_latest_offset_yet() {
    let mut partition = PartitionState::new(config(Durability::Os, 1), Offset(10), Offset(4));
    partition.assign(&assignment(2, 0, &[1, 2], &[1, 2]), NOW);
    let latest = |partition: &PartitionState| partition.latest_offset(LeaderEpoch(2), Isolation::HighWatermark, None);
    assert_eq!(latest(&partition), Err(ErrorCode::OFFSET_NOT_AVAILABLE));
    partition.on_replica_fetch(&fetch(2, 10), NOW).unwrap();
    assert_eq!(latest(&partition), Ok(Offset(10)));
}

#[test]
fn an_older_partition_epoch_changes_nothing() {
    let mut partition = PartitionState::new(config(Durability::Os, 1), Offset(0), Offset(0));
    partition.assign(&assignment(4, 9, &[1], &[1]), NOW);
    assert!(!partition.assign(&assignment(5, 8, &[1], &[1]), NOW));
    assert_eq!(partition.leader_epoch(), LeaderEpoch(4));
}

#[test]
fn metadata_that_says_nothing_new_does_not_take_back_a_change_that_is_asked_for() {
    let mut partition = PartitionState::new(config(Durability::Os, 1), Offset(0), Offset(0));
    partition.assign(&assignment(0, 1, &[1, 2, 3], &[1, 2]), NOW);
    partition.set_registered_epoch(BrokerId(3), Some(7));
    partition.on_replica_fetch(&fetch(3, 0), NOW).unwrap();
    let change = partition.propose_isr_change(1, NOW).unwrap();
    // The answer to an earlier change was taken over before its metadata came.
    partition.assign(&assignment(0, 1, &[1, 2, 3], &[1, 2]), NOW);
    assert_eq!(partition.isr().maximal().len(), 3, "the controller may have accepted replica 3 by now");
    assert!(partition.is_asking_for(&change));
    partition.assign(&assignment(0, 2, &[1, 2, 3], &[1]), NOW);
    assert!(!partition.is_asking_for(&change));
    assert_eq!(partition.on_isr_reply(&change, Ok(&assignment(0, 2, &[1], &[1, 2, 3])), NOW), IsrReply::Ignored);
}
