//! Which partitions a fetcher asks for, and what it tells the session.

use milena_types::Uuid;

use super::*;
use crate::fetch_session::TopicKey;

fn key(index: i32) -> PartitionKey {
    (Uuid([1; 16]), PartitionIndex(index))
}

fn asked(index: i32, fetch_offset: i64) -> (PartitionKey, RequestedPartition) {
    let requested = RequestedPartition {
        topic: TopicKey::Id(Uuid([1; 16])),
        partition: index,
        max_bytes: 1,
        fetch_offset,
        current_leader_epoch: 0,
        last_fetched_epoch: -1,
        log_start_offset: 0,
    };
    (key(index), requested)
}

fn follow(plan: &mut FetchPlan, wanted: &[(i32, i32)]) {
    plan.follow(&wanted.iter().map(|(index, epoch)| (key(*index), LeaderEpoch(*epoch))).collect());
}

fn due(plan: &FetchPlan, now: i64) -> Vec<i32> {
    plan.due(Timestamp(now)).iter().map(|((_, index), _)| index.0).collect()
}

#[test]
fn a_delayed_partition_waits_and_a_failed_one_waits_for_another_epoch() {
    let mut plan = FetchPlan::default();
    follow(&mut plan, &[(0, 1), (1, 1), (2, 1)]);
    plan.delay(key(1), Timestamp(100));
    plan.fail(key(2));
    assert_eq!(due(&plan, 99), [0]);
    assert_eq!(plan.next_due(), Some(Timestamp(100)));
    assert_eq!(due(&plan, 100), [0, 1]);
    follow(&mut plan, &[(0, 1), (1, 1), (2, 1)]);
    assert_eq!(due(&plan, 99), [0], "the same epochs change nothing");
    follow(&mut plan, &[(1, 2), (2, 2)]);
    assert_eq!(due(&plan, 99), [1, 2]);
}

#[test]
fn a_session_is_told_only_what_changed() {
    let mut session = FetchSessionClient::default();
    let first = session.prepare([asked(0, 5), asked(1, 5)].into());
    assert_eq!((first.session_id, first.session_epoch, first.partitions.len()), (0, 0, 2));
    session.on_response(ErrorCode::NONE, 77);
    let second = session.prepare([asked(0, 6), asked(1, 5), asked(2, 0)].into());
    assert_eq!((second.session_id, second.session_epoch), (77, 1));
    assert_eq!(second.partitions, [asked(0, 6), asked(2, 0)]);
    session.on_response(ErrorCode::NONE, 77);
    let third = session.prepare([asked(0, 6)].into());
    assert_eq!((third.session_epoch, third.partitions.len()), (2, 0));
    assert_eq!(third.forgotten, [key(1), key(2)]);
}

#[test]
fn after_an_error_everything_is_told_again() {
    let mut session = FetchSessionClient::default();
    session.prepare([asked(0, 5)].into());
    session.on_response(ErrorCode::NONE, 77);
    session.prepare([asked(0, 6)].into());
    session.on_failure();
    let again = session.prepare([asked(0, 6)].into());
    assert_eq!((again.session_id, again.session_epoch, again.partitions.len()), (77, 0, 1));
    session.on_response(ErrorCode::FETCH_SESSION_ID_NOT_FOUND, 0);
    let again = session.prepare([asked(0, 6)].into());
    assert_eq!((again.session_id, again.session_epoch, again.forgotten.len()), (0, 0, 0));
    session.on_response(ErrorCode::NONE, 0);
    assert_eq!(session.prepare([asked(0, 6)].into()).session_epoch, 0, "the leader had no room for a session");
}
