//! Tests of the producer rules, one per rule of `ProducerAppendInfo`.

use milena_types::LeaderEpoch;

use super::*;

const CLIENT: AppendOrigin = AppendOrigin::Client;

fn header(epoch: i16, first: i32, count: i32, transactional: bool) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(0),
        batch_length: 100,
        partition_leader_epoch: LeaderEpoch(0),
        magic: 2,
        crc: 0,
        attributes: if transactional { 0x10 } else { 0 },
        last_offset_delta: count - 1,
        base_timestamp: 1000,
        max_timestamp: 1000,
        producer_id: ProducerId(9),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: first,
        record_count: count,
    }
}

fn marker(epoch: i16) -> BatchHeader {
    BatchHeader { attributes: 0x30, base_sequence: -1, ..header(epoch, 0, 1, true) }
}

fn abort(coordinator_epoch: i32) -> Option<Marker> {
    Some(Marker { kind: ControlType::Abort, coordinator_epoch })
}

#[test]
fn sequences_must_follow_each_other_within_an_epoch_and_begin_at_zero_after_it() {
    let mut producers = Producers::default();
    let mut apply = |epoch, first, offset| {
        producers
            .apply(&header(epoch, first, 5, false), Offset(offset), CLIENT, None)
            .map_err(|refused| refused.error)
            .err()
    };
    assert_eq!(apply(0, 7, 0), None, "an unknown producer may begin anywhere");
    assert_eq!(apply(0, 12, 5), None);
    assert_eq!(apply(0, 18, 10), Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(apply(0, 12, 10), Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(apply(1, 3, 10), Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(apply(1, 0, 10), None);
    assert_eq!(apply(0, 17, 15), Some(ErrorCode::INVALID_PRODUCER_EPOCH));
}

#[test]
fn sequences_wrap_after_the_greatest_integer() {
    let mut producers = Producers::default();
    producers.apply(&header(0, i32::MAX - 4, 5, false), Offset(0), CLIENT, None).unwrap();
    producers.apply(&header(0, 0, 5, false), Offset(5), CLIENT, None).unwrap();
    let wrapped = ProducerBatch { last_sequence: 1, last_offset: 10, offset_delta: 4, timestamp: 0 };
    assert_eq!(wrapped.first_sequence(), i32::MAX - 2);
}

#[test]
fn one_of_the_last_five_batches_is_recognised_when_it_comes_again() {
    let mut producers = Producers::default();
    for at in 0..7 {
        producers.apply(&header(0, at * 5, 5, false), Offset(i64::from(at) * 5), CLIENT, None).unwrap();
    }
    let again = |first| producers.duplicate_of(&header(0, first, 5, false)).map(|batch| batch.first_offset());
    assert_eq!(again(5), None, "too old");
    assert_eq!(again(10), Some(10));
    assert_eq!(again(30), Some(30));
    assert_eq!(again(35), None, "new");
    assert_eq!(producers.duplicate_of(&header(1, 30, 5, false)), None, "another epoch");
    assert_eq!(producers.duplicate_of(&header(0, 30, 4, false)), None, "another length");
}

#[test]
fn what_is_undone_never_happened() {
    let mut producers = Producers::default();
    let (first, _) = producers.apply(&header(0, 0, 5, true), Offset(0), CLIENT, None).unwrap();
    let (second, _) = producers.apply(&header(0, 5, 5, true), Offset(5), CLIENT, None).unwrap();
    assert_eq!(producers.first_unstable_offset(), Some(0));
    producers.undo(&second);
    assert_eq!(producers.entries().get(9).unwrap().last_sequence(), 4);
    producers.undo(&first);
    assert!(producers.is_empty());
    assert_eq!(producers.first_unstable_offset(), None);
}

#[test]
fn what_is_not_written_is_not_in_the_snapshot_and_can_be_undone_whatever_it_was() {
    let mut producers = Producers::default();
    for at in 0..6 {
        producers.apply(&header(0, at * 5, 5, false), Offset(i64::from(at) * 5), CLIENT, None).unwrap();
    }
    let saved =
        |producers: &Producers| producers.entries().iter().map(|(id, one)| (id, one.clone())).collect::<Vec<_>>();
    let (before, bytes) = (saved(&producers), producers.snapshot());
    let other = BatchHeader { producer_id: ProducerId(4), ..header(0, 0, 5, false) };
    let coordinator = AppendOrigin::Coordinator { transaction_version: 1 };
    let mut undo = Vec::new();
    // Of an epoch that goes on, of a new one, of a new producer, of a transaction, and its marker.
    let batches =
        [header(0, 30, 5, false), header(1, 0, 5, false), other, header(1, 5, 5, true), header(1, 10, 5, true)];
    for (at, batch) in batches.iter().enumerate() {
        undo.push(producers.apply(batch, Offset(30 + 5 * at as i64), CLIENT, None).unwrap().0);
    }
    undo.push(producers.apply(&marker(1), Offset(60), coordinator, abort(1)).unwrap().0);
    assert_eq!(producers.snapshot_without(&undo), bytes);
    assert_ne!(producers.snapshot(), bytes);
    undo.iter().rev().for_each(|one| producers.undo(one));
    assert_eq!(saved(&producers), before);
    assert_eq!(producers.snapshot(), bytes);
}

#[test]
fn a_transaction_holds_the_last_stable_offset_until_its_marker_is_replicated() {
    let mut producers = Producers::default();
    producers.apply(&header(0, 0, 5, true), Offset(10), CLIENT, None).unwrap();
    let plain = producers.apply(&header(0, 5, 5, false), Offset(15), CLIENT, None).unwrap_err();
    assert_eq!(plain.error, ErrorCode::INVALID_TXN_STATE);
    let coordinator = AppendOrigin::Coordinator { transaction_version: 1 };
    let (_, completed) = producers.apply(&marker(0), Offset(15), coordinator, abort(3)).unwrap();
    let completed = completed.unwrap();
    assert_eq!((completed.first_offset, completed.last_offset, completed.aborted), (10, 15, true));
    assert_eq!(producers.last_stable_offset_after(&completed), 16);
    producers.complete(&completed);
    assert_eq!(producers.first_unstable_offset(), Some(10));
    producers.remove_unreplicated_below(15);
    assert_eq!(producers.first_unstable_offset(), Some(10));
    producers.remove_unreplicated_below(16);
    assert_eq!(producers.first_unstable_offset(), None);
    let zombie = producers.apply(&marker(0), Offset(16), coordinator, abort(2)).unwrap_err();
    assert_eq!(zombie.error, ErrorCode::TRANSACTION_COORDINATOR_FENCED);
}

#[test]
fn from_transaction_version_two_a_marker_must_raise_the_epoch_unless_it_is_a_repetition() {
    let mut producers = Producers::default();
    let coordinator = AppendOrigin::Coordinator { transaction_version: 2 };
    producers.apply(&header(4, 0, 5, true), Offset(0), CLIENT, None).unwrap();
    let same = producers.apply(&marker(4), Offset(5), coordinator, abort(0)).unwrap_err();
    assert_eq!(same.error, ErrorCode::INVALID_PRODUCER_EPOCH);
    assert!(producers.apply(&marker(5), Offset(5), coordinator, abort(0)).unwrap().1.is_some());
    assert!(producers.apply(&marker(5), Offset(6), coordinator, abort(0)).unwrap().1.is_none(), "repeated");
}

#[test]
fn silent_producers_are_forgotten_unless_a_transaction_is_open() {
    let mut producers = Producers::default();
    producers.apply(&header(0, 0, 5, false), Offset(0), CLIENT, None).unwrap();
    let open = BatchHeader { producer_id: ProducerId(10), ..header(0, 0, 5, true) };
    producers.apply(&open, Offset(5), CLIENT, None).unwrap();
    producers.remove_expired(1999, 1000);
    assert_eq!(producers.entries().len(), 2);
    producers.remove_expired(2000, 1000);
    assert_eq!(producers.entries().iter().map(|(id, _)| id).collect::<Vec<_>>(), [10]);
}

fn verified(guard: Option<VerificationGuard>) -> Terms {
    Terms { origin: CLIENT, verify: true, guard }
}

#[test]
fn records_of_a_transaction_need_the_guard_of_a_verification_that_nothing_ended() {
    let mut producers = Producers::default();
    let first = header(0, 0, 5, true);
    let unverified = producers.apply(&first, Offset(0), verified(None), None).unwrap_err();
    assert_eq!(unverified.error, ErrorCode::INVALID_TXN_STATE);
    let guard = producers.start_verification(&first, false, 0).unwrap();
    assert!(guard.is_some());
    // The transaction is aborted while its coordinator is asked (KAFKA-14402).
    producers.apply(&marker(1), Offset(0), AppendOrigin::Coordinator { transaction_version: 1 }, abort(3)).unwrap();
    let late = producers.apply(&header(1, 0, 5, true), Offset(1), verified(guard), None).unwrap_err();
    assert_eq!(late.error, ErrorCode::INVALID_TXN_STATE);
    let next = header(1, 0, 5, true);
    let guard = producers.start_verification(&next, false, 0).unwrap();
    producers.apply(&next, Offset(1), verified(guard), None).unwrap();
    assert_eq!(producers.start_verification(&header(1, 5, 5, true), false, 0).unwrap(), None, "it is open");
    producers.apply(&header(1, 5, 5, true), Offset(6), verified(None), None).unwrap();
    let stale = producers.start_verification(&first, false, 0).unwrap_err();
    assert_eq!(stale.error, ErrorCode::INVALID_PRODUCER_EPOCH);
}

#[test]
fn a_write_that_failed_leaves_its_verification() {
    let mut producers = Producers::default();
    let first = header(0, 0, 5, true);
    let guard = producers.start_verification(&first, false, 0).unwrap();
    let (undo, _) = producers.apply(&first, Offset(0), verified(guard), None).unwrap();
    producers.undo(&undo);
    producers.apply(&first, Offset(0), verified(guard), None).unwrap();
}

#[test]
fn of_batches_that_are_verified_the_first_is_written_first() {
    let mut producers = Producers::default();
    let guard = producers.start_verification(&header(0, 5, 5, true), false, 0).unwrap();
    assert_eq!(producers.start_verification(&header(0, 0, 5, true), false, 0).unwrap(), guard);
    let second = producers.apply(&header(0, 5, 5, true), Offset(0), verified(guard), None).unwrap_err();
    assert_eq!(second.error, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    producers.apply(&header(0, 0, 5, true), Offset(0), verified(guard), None).unwrap();
    let other = BatchHeader { producer_id: ProducerId(10), ..header(0, 5, 5, true) };
    let guard = producers.start_verification(&other, true, 0).unwrap();
    let unknown = producers.apply(&other, Offset(5), verified(guard), None).unwrap_err();
    assert_eq!(unknown.error, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, "version 2 begins with 0");
}

#[test]
fn a_marker_of_the_last_epoch_can_be_repeated_though_the_transaction_is_open() {
    let mut producers = Producers::default();
    let coordinator = AppendOrigin::Coordinator { transaction_version: 2 };
    producers.apply(&header(i16::MAX, 0, 5, true), Offset(0), CLIENT, None).unwrap();
    assert!(producers.apply(&marker(i16::MAX), Offset(5), coordinator, abort(0)).unwrap().1.is_some());
}
