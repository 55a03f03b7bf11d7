//! Session rules as a client meets them.

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn asked(partition: i32, fetch_offset: i64) -> RequestedPartition {
    RequestedPartition {
        topic: TopicKey::Id(Uuid([7; 16])),
        partition,
        max_bytes: 1024,
        fetch_offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
    }
}

fn head(session_id: i32, epoch: i32) -> SessionRequest {
    SessionRequest { session_id, epoch, uses_topic_ids: true, from_follower: false }
}

fn outcome(high_watermark: i64, records_size: usize) -> PartitionOutcome {
    PartitionOutcome {
        records_size,
        high_watermark: Offset(high_watermark),
        log_start_offset: Offset(0),
        error: ErrorCode::NONE,
        has_redirect: false,
    }
}

fn answer(cache: &mut FetchSessionCache, context: &FetchContext, outcomes: &[PartitionOutcome]) -> SessionResult {
    let answered: Vec<_> = context.partitions().iter().zip(outcomes.iter().copied()).collect();
    let mut next_id = 100 + cache.session_count() as i32;
    cache.finish(context, &answered, NOW, || {
        next_id += 1;
        next_id
    })
}

fn open(cache: &mut FetchSessionCache, partitions: i32) -> i32 {
    let context = cache.begin(head(0, 0), (0..partitions).map(|at| asked(at, 0)).collect(), &[], NOW);
    let outcomes: Vec<_> = (0..partitions).map(|_| outcome(10, 0)).collect();
    answer(cache, &context, &outcomes).session_id
}

fn partitions_of(context: &FetchContext) -> Vec<i32> {
    context.partitions().iter().map(|asked| asked.partition).collect()
}

#[test]
fn an_incremental_response_holds_only_what_changed() {
    let mut cache = FetchSessionCache::new(CacheLimits::default());
    let id = open(&mut cache, 3);
    assert_ne!(id, 0);
    let context = cache.begin(head(id, 1), vec![], &[], NOW);
    assert_eq!(partitions_of(&context), [0, 1, 2]);
    let result = answer(&mut cache, &context, &[outcome(10, 0), outcome(12, 50), outcome(10, 0)]);
    assert_eq!((result.error, result.session_id), (ErrorCode::NONE, id));
    assert_eq!(result.included, [false, true, false]);

    let context = cache.begin(head(id, 2), vec![asked(1, 12)], &[], NOW);
    assert_eq!(partitions_of(&context), [0, 2, 1], "who was served goes to the end");
    assert_eq!(context.partitions()[2].fetch_offset, 12);
    let failed = PartitionOutcome { error: ErrorCode::NOT_LEADER_OR_FOLLOWER, ..outcome(10, 0) };
    assert_eq!(answer(&mut cache, &context, &[failed, outcome(10, 0), outcome(12, 0)]).included, [true, false, false]);
    let context = cache.begin(head(id, 3), vec![], &[], NOW);
    let result = answer(&mut cache, &context, &[outcome(10, 0), outcome(10, 0), outcome(12, 0)]);
    assert_eq!(result.included, [true, false, false], "a partition is told again once its error is gone");
}

#[test]
fn forgotten_partitions_leave_and_an_emptied_session_closes() {
    let mut cache = FetchSessionCache::new(CacheLimits::default());
    let id = open(&mut cache, 2);
    let topic = || TopicKey::Id(Uuid([7; 16]));
    let context = cache.begin(head(id, 1), vec![], &[(topic(), 0)], NOW);
    assert_eq!(partitions_of(&context), [1]);
    assert_eq!(cache.partition_count(), 1);
    let context = cache.begin(head(id, 2), vec![], &[(topic(), 1)], NOW);
    assert_eq!(context, FetchContext::Sessionless { partitions: vec![] });
    assert_eq!((cache.session_count(), cache.partition_count()), (0, 0));
}

#[test]
fn wrong_ids_and_epochs_are_refused_with_kafkas_codes() {
    let mut cache = FetchSessionCache::new(CacheLimits::default());
    let id = open(&mut cache, 1);
    let error = |cache: &mut FetchSessionCache, request| match cache.begin(request, vec![], &[], NOW) {
        FetchContext::Error(error) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(error(&mut cache, head(id + 1, 1)), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    assert_eq!(error(&mut cache, head(id, 2)), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    let by_name = SessionRequest { uses_topic_ids: false, ..head(id, 1) };
    assert_eq!(error(&mut cache, by_name), ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
    let first = cache.begin(head(id, 1), vec![], &[], NOW);
    cache.begin(head(id, 2), vec![], &[], NOW);
    let result = answer(&mut cache, &first, &[outcome(11, 1)]);
    assert_eq!((result.error, result.included), (ErrorCode::INVALID_FETCH_SESSION_EPOCH, vec![false]));
    cache.begin(head(id, -1), vec![asked(0, 0)], &[], NOW);
    assert_eq!(cache.session_count(), 0, "the final epoch closes the session");
}

#[test]
fn a_full_cache_gives_way_only_to_the_worthier() {
    let mut cache = FetchSessionCache::new(CacheLimits { sessions_max: 2, eviction_ms: 1000 });
    let (first, second) = (open(&mut cache, 2), open(&mut cache, 3));
    assert_eq!(open(&mut cache, 9), 0, "young sessions stay");
    let follower = SessionRequest { from_follower: true, ..head(0, 0) };
    let context = cache.begin(follower, vec![asked(0, 0)], &[], NOW);
    let id = answer(&mut cache, &context, &[outcome(10, 0)]).session_id;
    assert_ne!(id, 0, "a follower pushes out the smallest consumer");
    assert!(cache.get(first).is_none() && cache.get(second).is_some());
    let later = Timestamp(NOW.0 + 1001);
    let context = cache.begin(head(0, 0), vec![asked(0, 0)], &[], later);
    let answered = [(&context.partitions()[0], outcome(10, 0))];
    assert_eq!(cache.finish(&context, &answered, later, || 555).session_id, 555, "unused for too long");
    assert_eq!(cache.eviction_count(), 2);
}

#[test]
fn session_epochs_wrap_to_one() {
    assert_eq!((next_epoch(1), next_epoch(i32::MAX), next_epoch(-1)), (2, 1, -1));
}
