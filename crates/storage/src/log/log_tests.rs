//! Tests of the log as a whole on the simulated disk.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::Records;
use milena_records::{BatchBuilder, Batches, BuilderConfig, ValidBatch, end_transaction_marker};
use milena_types::{ErrorCode, ProducerEpoch};

use super::*;
use crate::disk::{DiskFile, OpenMode, SimulatedDisk};
use crate::file_cache::FileCache;
use crate::files::file_name;
use crate::producers::AppendOrigin;

const NOW: Timestamp = Timestamp(1_000_000);
const EPOCH: LeaderEpoch = LeaderEpoch(3);

fn directory() -> &'static Path {
    Path::new("/topic-0")
}

fn small_config() -> Arc<LogConfig> {
    Arc::new(LogConfig {
        segment_bytes: 2000,
        index_interval_bytes: 200,
        checkpoint_interval_bytes: 700,
        ..LogConfig::default()
    })
}

fn create(disk: &SimulatedDisk, config: &Arc<LogConfig>) -> Log<SimulatedDisk> {
    let cache = FileCache::new(disk.clone(), 100);
    Log::create(&cache, directory(), config, None, NOW).unwrap()
}

fn open(disk: &SimulatedDisk, config: &Arc<LogConfig>, open: LogOpen) -> (Log<SimulatedDisk>, RecoveryReport) {
    let cache = FileCache::new(disk.clone(), 100);
    Log::open(&cache, directory(), config, open).unwrap()
}

fn unclean(recovery_point: i64) -> LogOpen {
    LogOpen {
        recovery_point: Offset(recovery_point),
        log_start_offset: Offset(0),
        clean_shutdown: false,
        cleaned_to: None,
        now: NOW,
    }
}

/// A batch of `count` records with timestamps from `timestamp` on.
fn batch(timestamp: i64, count: i32, producer: Option<(i64, i16, i32)>) -> ValidBatch {
    let (id, epoch, sequence) = producer.unwrap_or((-1, -1, -1));
    let mut builder = BatchBuilder::new(BuilderConfig {
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        ..BuilderConfig::default()
    });
    for at in 0..count {
        let value = format!("value {at} of {timestamp}");
        builder.append(timestamp + i64::from(at), None, Some(value.as_bytes()), &[]).unwrap();
    }
    ValidBatch::trusted(&builder.build(Offset(0), LeaderEpoch::NONE).unwrap()).unwrap()
}

/// A batch of one record in a transaction of producer 7.
fn transactional(timestamp: i64) -> ValidBatch {
    let mut builder = BatchBuilder::new(BuilderConfig {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        transactional: true,
        ..BuilderConfig::default()
    });
    builder.append(timestamp, None, Some(b"in doubt"), &[]).unwrap();
    ValidBatch::trusted(&builder.build(Offset(0), LeaderEpoch::NONE).unwrap()).unwrap()
}

fn bytes_of(records: &Records) -> Bytes {
    match records {
        Records::Bytes(bytes) => bytes.clone(),
        Records::File(slice) => {
            let mut bytes = vec![0; slice.len as usize];
            slice.source.read_exact_at(&mut bytes, slice.position).unwrap();
            bytes.into()
        }
    }
}

/// Offsets of all records from the log's start, read segment by segment.
fn all_offsets(log: &Log<SimulatedDisk>) -> Vec<i64> {
    let mut offsets = Vec::new();
    let mut next = log.log_start_offset();
    while next < log.log_end_offset() {
        let read = log.read(next, u32::MAX, log.log_end_offset(), true).unwrap();
        for batch in Batches::new(bytes_of(&read.records)) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            assert_eq!(batch.header.partition_leader_epoch, EPOCH);
            offsets.extend(batch.records(1 << 20).unwrap().map(|record| record.unwrap().offset.0));
            next = batch.header.next_offset();
        }
    }
    offsets
}

fn fill(log: &mut Log<SimulatedDisk>, batches: i64) {
    for at in 0..batches {
        log.append_as_leader(&[batch(at * 10, 3, None)], EPOCH, NOW).unwrap();
    }
}

#[test]
fn what_was_appended_is_read_back_from_every_offset() {
    let disk = SimulatedDisk::new(1);
    let mut log = create(&disk, &small_config());
    fill(&mut log, 100);
    assert!(log.segment_count() > 3);
    assert_eq!(all_offsets(&log), (0..300).collect::<Vec<_>>());
    for offset in 0..300 {
        let read = log.read(Offset(offset), 1, log.log_end_offset(), true).unwrap();
        let first = Batches::new(bytes_of(&read.records)).next().unwrap().unwrap();
        assert_eq!(first.header.base_offset.0, offset / 3 * 3);
    }
    let end = log.log_end_offset();
    assert!(log.read(end, 100, end, true).unwrap().records.is_empty());
    assert!(matches!(log.read(end + 1, 100, end, true), Err(ReadError::OutOfRange { .. })));
}

#[test]
fn a_read_ends_at_its_bound_and_at_its_size() {
    let disk = SimulatedDisk::new(1);
    let mut log = create(&disk, &Arc::new(LogConfig::default()));
    fill(&mut log, 10);
    for bound in 1..30 {
        let read = log.read(Offset(0), u32::MAX, Offset(bound), true).unwrap();
        let last =
            Batches::new(bytes_of(&read.records)).last().map_or(0, |batch| batch.unwrap().header.next_offset().0);
        assert_eq!(last, bound / 3 * 3, "a batch that goes beyond the bound is not given");
    }
    let batch_bytes = batch(0, 3, None).bytes.len() as u32;
    let read = log.read(Offset(0), 10, Offset(30), true).unwrap();
    assert_eq!((read.records.len() as u32, read.first_batch_incomplete), (batch_bytes, false));
    let read = log.read(Offset(0), 10, Offset(30), false).unwrap();
    assert_eq!((read.records.len() as u32, read.first_batch_incomplete), (10, true));
}

#[test]
fn small_and_large_batches_of_several_requests_are_written_in_one_call() {
    let disk = SimulatedDisk::new(1);
    let mut log = create(&disk, &Arc::new(LogConfig::default()));
    fill(&mut log, 1);
    let large = batch(0, 1000, None);
    assert!(large.bytes.len() > 4096);
    let small = batch(0, 2, None);
    let (first, second) = ([small.clone(), large.clone()], [large, small]);
    let context = AppendContext { leader_epoch: EPOCH, now: NOW, origin: AppendOrigin::Client, verify: false };
    let calls = disk.calls();
    let outcomes = log.append_groups(&[&first, &second], &[], context).unwrap();
    assert_eq!(disk.calls() - calls, 1, "one write and nothing else");
    let offsets: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().map(|at| (at.first_offset.0, at.last_offset.0)).unwrap())
        .collect();
    assert_eq!(offsets, [(3, 1004), (1005, 2006)]);
    assert_eq!(all_offsets(&log), (0..2007).collect::<Vec<_>>());
}

#[test]
fn a_refused_request_leaves_no_trace_and_a_repeated_one_answers_with_its_old_offsets() {
    let disk = SimulatedDisk::new(1);
    let mut log = create(&disk, &small_config());
    let groups = [
        [batch(0, 3, Some((7, 0, 0)))],
        [batch(0, 3, Some((7, 0, 9)))],
        [batch(0, 3, Some((7, 0, 3)))],
        [batch(0, 3, Some((7, 0, 0)))],
    ];
    let groups: Vec<&[ValidBatch]> = groups.iter().map(|group| group.as_slice()).collect();
    let context = AppendContext { leader_epoch: EPOCH, now: NOW, origin: AppendOrigin::Client, verify: false };
    let outcomes = log.append_groups(&groups, &[], context).unwrap();
    assert_eq!(outcomes[1].as_ref().unwrap_err().error, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(outcomes[2].as_ref().unwrap().first_offset.0, 3);
    let repeated = outcomes[3].as_ref().unwrap();
    assert_eq!((repeated.first_offset.0, repeated.last_offset.0, repeated.duplicate), (0, 2, true));
    assert_eq!(log.log_end_offset().0, 6);
}

#[test]
fn kafka_13574_a_batch_whose_success_was_not_told_is_not_written_twice_by_the_next_leader() {
    let mut old = create(&SimulatedDisk::new(1), &small_config());
    let batches = [batch(0, 3, Some((7, 0, 0))), batch(0, 3, Some((7, 0, 3)))];
    old.append_as_leader(&batches, EPOCH, NOW).unwrap();
    let end = old.log_end_offset();
    let mut next = create(&SimulatedDisk::new(2), &small_config());
    while next.log_end_offset() < end {
        let read = old.read(next.log_end_offset(), 1 << 20, end, true).unwrap();
        next.append_as_follower(bytes_of(&read.records), NOW).unwrap();
    }
    // Its producer was told that the old leader is none any more, and sends it to the next one.
    let again = next.append_as_leader(&batches[1..], LeaderEpoch(EPOCH.0 + 1), NOW).unwrap();
    assert_eq!((again.first_offset.0, again.last_offset.0, again.duplicate), (3, 5, true));
    assert_eq!(next.log_end_offset(), end);
}

#[test]
fn a_full_device_refuses_the_append_and_leaves_the_log_as_it_was() {
    let disk = SimulatedDisk::new(1);
    let mut log = create(&disk, &Arc::new(LogConfig::default()));
    fill(&mut log, 3);
    disk.set_capacity(log.size_bytes() + 20 + 8);
    let refused = log.append_as_leader(&[batch(0, 3, Some((7, 0, 0)))], EPOCH, NOW);
    assert!(matches!(refused, Err(AppendError::Storage(_))));
    assert!(!log.is_failed() && log.producer(ProducerId(7)).is_none());
    disk.set_capacity(0);
    log.append_as_leader(&[batch(0, 3, Some((7, 0, 0)))], EPOCH, NOW).unwrap();
    assert_eq!(all_offsets(&log), (0..12).collect::<Vec<_>>());
}

#[test]
fn a_marker_whose_index_entry_has_no_room_is_not_in_the_log() {
    let disk = SimulatedDisk::new(1);
    let mut log = create(&disk, &Arc::new(LogConfig::default()));
    fill(&mut log, 2);
    log.append_as_leader(&[transactional(1)], EPOCH, NOW).unwrap();
    let (before, end) = (log.producer(ProducerId(7)).cloned(), log.log_end_offset());
    let marker = end_transaction_marker(ProducerId(7), ProducerEpoch(0), false, 0, NOW.0).unwrap();
    let marker = ValidBatch::trusted(&marker).unwrap();
    let origin = AppendOrigin::Coordinator { transaction_version: 0 };
    let context = AppendContext { leader_epoch: EPOCH, now: NOW, origin, verify: false };
    // The marker fits, the entry of the index of aborted transactions only in part.
    disk.set_capacity(disk.used_bytes() + marker.bytes.len() as u64 + 20);
    let error = log.append_with_origin(std::slice::from_ref(&marker), context).unwrap_err();
    assert!(matches!(&error, AppendError::Storage(error) if error.is_out_of_space()), "{error}");
    assert!(!log.is_failed());
    assert_eq!((log.producer(ProducerId(7)).cloned(), log.log_end_offset()), (before, end));
    assert_eq!(log.last_stable_offset(end).0, end.0 - 1, "the transaction is open as before");
    disk.set_capacity(0);
    log.append_with_origin(&[marker], context).unwrap();
    log.on_high_watermark(log.log_end_offset());
    assert_eq!(log.last_stable_offset(log.log_end_offset()), log.log_end_offset());
    let read = log.read(Offset(0), 1 << 20, log.log_end_offset(), true).unwrap();
    assert_eq!(log.aborted_transactions(Offset(0), &read).unwrap().len(), 1);
}

#[test]
fn a_log_whose_indexes_have_no_room_is_opened_and_they_are_written_later() {
    for room in 0..60 {
        let disk = SimulatedDisk::new(room);
        let config = small_config();
        let mut log = create(&disk, &config);
        fill(&mut log, 60);
        let (end, offsets) = (log.log_end_offset().0, all_offsets(&log));
        let time = log.offset_for_timestamp(Timestamp(1000)).unwrap();
        let bases: Vec<i64> = log.segments.iter().map(|segment| segment.base_offset).collect();
        log.close().unwrap();
        // A closed segment below the recovery point lost its indexes; those of the last one are made anew in any case.
        for suffix in ["index", "timeindex"] {
            disk.remove(&directory().join(file_name(bases[1], suffix))).unwrap();
        }
        disk.set_capacity(disk.used_bytes() + room);
        let at = |recovery_point| unclean(recovery_point);
        let (mut log, _) = open(&disk, &config, at(*bases.last().unwrap()));
        assert!(room > 40 || log.holds_indexes, "room for {room} bytes");
        assert_eq!(all_offsets(&log), offsets, "room for {room} bytes");
        assert_eq!(log.offset_for_timestamp(Timestamp(1000)).unwrap(), time);
        // Killed, and killed once more, there is no part of an index that the next start believes.
        drop(log);
        (log, _) = open(&disk, &config, at(end));
        assert_eq!((all_offsets(&log), log.log_end_offset().0), (offsets.clone(), end));
        assert_eq!(log.offset_for_timestamp(Timestamp(1000)).unwrap(), time);
        assert!(log.roll(NOW).is_ok() || !log.is_failed());
        disk.set_capacity(0);
        fill(&mut log, 1);
        log.flush().unwrap();
        log.close().unwrap();
        assert!(!log.segments.iter().any(Segment::has_held) && !log.is_failed());
        let names: Vec<String> = disk.list(directory()).unwrap().into_iter().map(|entry| entry.name).collect();
        for suffix in ["index", "timeindex"] {
            assert!(names.contains(&file_name(bases[1], suffix)), "{names:?}");
        }
        let clean = LogOpen { clean_shutdown: true, ..at(log.log_end_offset().0) };
        let (log, report) = open(&disk, &config, clean);
        assert_eq!((all_offsets(&log).len(), report.segments_scanned), (offsets.len() + 3, 0));
        assert_eq!(log.offset_for_timestamp(Timestamp(1000)).unwrap(), time);
    }
}

#[test]
fn a_log_that_could_not_be_made_can_be_made_later() {
    let disk = SimulatedDisk::new(1);
    let cache = FileCache::new(disk.clone(), 100);
    let config = Arc::new(LogConfig::default());
    let make = || Log::create(&cache, directory(), &config, Some(milena_types::Uuid([7; 16])), NOW);
    disk.set_capacity(1);
    assert!(make().unwrap_err().is_out_of_space());
    disk.set_capacity(0);
    assert_eq!(make().unwrap().log_end_offset().0, 0);
}

#[test]
fn a_flush_without_room_for_the_epochs_is_done_when_there_is_room() {
    let disk = SimulatedDisk::new(1);
    let mut log = create(&disk, &Arc::new(LogConfig::default()));
    fill(&mut log, 2);
    disk.set_capacity(disk.used_bytes() + 3);
    let error = log.flush().unwrap_err();
    assert!(error.is_out_of_space() && !log.is_failed(), "{error}");
    assert_eq!(log.recovery_point().0, 0);
    disk.set_capacity(0);
    log.flush().unwrap();
    assert_eq!(log.recovery_point(), log.log_end_offset());
    let after = disk.cut_power();
    assert_eq!(open(&after, &Arc::new(LogConfig::default()), unclean(0)).0.latest_epoch(), Some(EPOCH));
}

#[test]
fn a_closed_log_opens_with_the_same_contents_and_without_reading_batches() {
    let disk = SimulatedDisk::new(1);
    let mut log = create(&disk, &small_config());
    fill(&mut log, 50);
    log.append_as_leader(&[batch(900, 3, Some((7, 0, 0)))], EPOCH, NOW).unwrap();
    log.close().unwrap();
    let clean = LogOpen { clean_shutdown: true, ..unclean(153) };
    let (again, report) = open(&disk, &small_config(), clean);
    assert_eq!(report, RecoveryReport::default());
    assert_eq!(all_offsets(&again), (0..153).collect::<Vec<_>>());
    assert_eq!(again.producer(ProducerId(7)).unwrap().last_sequence(), 2);
    assert_eq!(again.latest_epoch(), Some(EPOCH));
}

#[test]
fn timestamps_lead_to_the_exact_record() {
    let disk = SimulatedDisk::new(1);
    let mut log = create(&disk, &small_config());
    fill(&mut log, 100);
    for timestamp in 0..=992 {
        let found = log.offset_for_timestamp(Timestamp(timestamp)).unwrap().unwrap();
        let (tens, rest) = (timestamp / 10, timestamp % 10);
        let expected = if rest <= 2 { tens * 3 + rest } else { (tens + 1) * 3 };
        assert_eq!(found.offset.0, expected, "timestamp {timestamp}");
        assert_eq!(found.leader_epoch, EPOCH);
    }
    assert_eq!(log.offset_for_timestamp(Timestamp(993)).unwrap(), None);
    log.append_as_leader(&[batch(500, 3, None)], EPOCH, NOW).unwrap();
    let max = log.offset_of_max_timestamp().unwrap().unwrap();
    assert_eq!((max.timestamp.0, max.offset.0), (992, 299));
}

#[test]
fn truncation_cuts_records_epochs_and_producers() {
    let disk = SimulatedDisk::new(1);
    let mut log = create(&disk, &small_config());
    for at in 0..60 {
        let epoch = LeaderEpoch(at / 20);
        log.append_as_leader(&[batch(i64::from(at), 1, Some((7, 0, at)))], epoch, NOW).unwrap();
    }
    assert!(log.truncate_to(Offset(35), NOW).unwrap());
    assert_eq!(log.log_end_offset().0, 35);
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(1)));
    assert_eq!(log.producer(ProducerId(7)).unwrap().last_sequence(), 34);
    assert_eq!(log.offset_of_max_timestamp().unwrap().unwrap().offset.0, 34);
    log.append_as_leader(&[batch(99, 1, Some((7, 0, 35)))], LeaderEpoch(4), NOW).unwrap();
    assert_eq!(log.epoch_end_offset(LeaderEpoch(1)), Some((LeaderEpoch(1), Offset(35))));
    log.truncate_fully_and_start_at(Offset(1000), NOW).unwrap();
    assert_eq!((log.log_start_offset().0, log.log_end_offset().0, log.size_bytes()), (1000, 1000, 0));
    assert_eq!(log.active_producers().count(), 0);
}

#[test]
fn a_log_that_was_cut_knows_its_producers_after_a_clean_restart() {
    for by_handle in [true, false] {
        let disk = SimulatedDisk::new(1);
        let config = Arc::new(LogConfig::default());
        let mut log = create(&disk, &config);
        log.append_as_leader(&[batch(0, 1, Some((7, 0, 0)))], EPOCH, NOW).unwrap();
        log.append_as_leader(&[batch(1, 1, Some((8, 0, 0)))], EPOCH, NOW).unwrap();
        log.close().unwrap();
        // The producers as of the end go with it, and nothing is appended after that.
        log.truncate_to(Offset(1), NOW).unwrap();
        if by_handle {
            log.close().unwrap();
        } else if let Some(flushed) = log.prepare_close().unwrap() {
            log.flushed(flushed);
        }
        let clean = LogOpen { clean_shutdown: true, ..unclean(1) };
        let (mut log, _) = open(&disk, &config, clean);
        let again = log.append_as_leader(&[batch(0, 1, Some((7, 0, 0)))], EPOCH, NOW).unwrap();
        assert!(again.duplicate, "what was acknowledged is there once");
    }
}

#[test]
fn a_producer_of_deleted_records_is_known_after_a_kill_as_long_as_their_segment_is_there() {
    let disk = SimulatedDisk::new(1);
    let config = Arc::new(LogConfig::default());
    let mut log = create(&disk, &config);
    log.append_as_leader(&[batch(0, 4, Some((7, 0, 0)))], EPOCH, NOW).unwrap();
    log.append_as_leader(&[batch(4, 4, Some((8, 0, 0)))], EPOCH, NOW).unwrap();
    assert!(log.advance_log_start(Offset(6)).unwrap());
    drop(log);
    let (mut log, _) = open(&disk, &config, LogOpen { log_start_offset: Offset(6), ..unclean(0) });
    assert_eq!(log.log_start_offset().0, 6);
    let again = log.append_as_leader(&[batch(0, 4, Some((7, 0, 0)))], EPOCH, NOW).unwrap();
    assert!(again.duplicate, "Apache Kafka recovers whole segments");
}

#[test]
fn an_epoch_without_records_goes_when_the_log_is_cut_to_its_end() {
    let disk = SimulatedDisk::new(1);
    let mut log = create(&disk, &small_config());
    log.append_as_leader(&[batch(0, 3, None)], LeaderEpoch(1), NOW).unwrap();
    // Led in epoch 2 and wrote nothing; the next leader knows no epoch 2 and says that the logs part at the end.
    log.assign_epoch_start(LeaderEpoch(2), Offset(3));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(2)));
    assert!(!log.truncate_to(Offset(3), NOW).unwrap(), "no record goes");
    assert_eq!((log.latest_epoch(), log.log_end_offset()), (Some(LeaderEpoch(1)), Offset(3)));
}

#[test]
fn an_epoch_that_was_cut_off_is_not_believed_after_a_crash_where_records_of_an_older_one_follow() {
    let disk = SimulatedDisk::new(1);
    let mut log = create(&disk, &small_config());
    log.append_as_leader(&[batch(0, 3, None)], LeaderEpoch(1), NOW).unwrap();
    log.assign_epoch_start(LeaderEpoch(2), Offset(3));
    log.flush().unwrap();
    // The next leader has more of epoch 1, and the file of the epochs is not written again before the end.
    assert!(!log.truncate_to(Offset(3), NOW).unwrap());
    log.append_as_leader(&[batch(5, 3, None)], LeaderEpoch(1), NOW).unwrap();
    drop(log);
    let (log, _) = open(&disk, &small_config(), unclean(3));
    assert_eq!(log.epoch_end_offset(LeaderEpoch(1)), Some((LeaderEpoch(1), Offset(6))));
    assert_eq!(log.epochs().len(), 1);
}

#[test]
fn a_follower_takes_the_leaders_bytes_and_refuses_damage() {
    let disk = SimulatedDisk::new(1);
    let mut leader = create(&disk, &small_config());
    leader.append_as_leader(&[batch(0, 3, None), batch(5, 3, None)], EPOCH, NOW).unwrap();
    let bytes = bytes_of(&leader.read(Offset(0), u32::MAX, Offset(6), true).unwrap().records);
    let cache = FileCache::new(disk, 10);
    let mut follower = Log::create(&cache, Path::new("/copy-0"), &small_config(), None, NOW).unwrap();
    let cut = bytes.slice(..bytes.len() - 1);
    assert_eq!(follower.append_as_follower(cut, NOW).unwrap().unwrap().last_offset.0, 2);
    let refused = follower.append_as_follower(bytes.clone(), NOW).unwrap_err();
    assert!(matches!(refused, AppendError::Rejected(refused) if refused.error == ErrorCode::OFFSET_OUT_OF_RANGE));
    let half = bytes.len() / 2;
    let mut damaged = bytes.slice(half..).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let refused = follower.append_as_follower(damaged.into(), NOW).unwrap_err();
    assert!(matches!(refused, AppendError::Rejected(refused) if refused.error == ErrorCode::CORRUPT_MESSAGE));
    follower.append_as_follower(bytes.slice(half..), NOW).unwrap();
    assert_eq!(all_offsets(&follower), [0, 1, 2, 3, 4, 5]);
    assert_eq!(follower.latest_epoch(), Some(EPOCH));
}

#[test]
fn old_segments_go_by_time_size_and_log_start_but_never_above_the_high_watermark() {
    let disk = SimulatedDisk::new(1);
    let mut log = create(&disk, &small_config());
    fill(&mut log, 100);
    let (segments, size) = (log.segment_count(), log.size_bytes());
    assert_eq!(log.delete_old_segments(Offset(0), Timestamp(i64::MAX / 2)).unwrap(), 0);
    let by_size =
        Arc::new(LogConfig { retention_bytes: size as i64 - 4500, retention_ms: -1, ..(*small_config()).clone() });
    log.update_config(by_size);
    assert_eq!(log.delete_old_segments(Offset(300), NOW).unwrap(), 2);
    assert_eq!(log.segment_count(), segments - 2);
    let start = log.log_start_offset();
    assert!(start.0 > 0 && all_offsets(&log) == (start.0..300).collect::<Vec<_>>());
    assert!(log.advance_log_start(Offset(150)).unwrap());
    log.delete_old_segments(Offset(300), NOW).unwrap();
    assert!(matches!(log.read(Offset(149), 1, Offset(300), true), Err(ReadError::OutOfRange { .. })));
    let by_time = Arc::new(LogConfig { retention_ms: 10, ..(*small_config()).clone() });
    log.update_config(by_time);
    log.delete_old_segments(Offset(300), NOW).unwrap();
    assert_eq!((log.log_start_offset().0, log.log_end_offset().0, log.segment_count()), (300, 300, 1));
    assert_eq!(log.remove_deleted_files(NOW).unwrap(), 0);
    assert!(log.remove_deleted_files(Timestamp(NOW.0 + 60_000)).unwrap() > 6);
    let names = disk.list(directory()).unwrap();
    assert!(names.iter().all(|entry| !entry.name.ends_with(".deleted")), "{names:?}");
}

#[test]
fn segments_that_cannot_be_renamed_go_with_the_next_deletion_and_leave_no_gap() {
    let config = Arc::new(LogConfig { retention_bytes: 4500, retention_ms: -1, ..(*small_config()).clone() });
    for renames in 0.. {
        let disk = SimulatedDisk::new(1);
        let mut log = create(&disk, &config);
        fill(&mut log, 100);
        log.flush().unwrap();
        disk.fail_call(disk.calls() + 1 + renames, true);
        let outcome = log.delete_old_segments(Offset(300), NOW);
        disk.fail_call(0, false);
        let start = log.log_start_offset();
        let (again, _) = Log::open(&FileCache::new(disk.clone(), 10), directory(), &config, unclean(300)).unwrap();
        let first = again.log_start_offset().0;
        assert!(first <= start.0);
        assert_eq!(all_offsets(&again), (first..300).collect::<Vec<_>>());
        assert_eq!(all_offsets(&log), (start.0..300).collect::<Vec<_>>());
        if outcome.is_ok() && first == start.0 {
            assert!(renames > 6);
            return;
        }
        log.delete_old_segments(Offset(300), NOW).unwrap();
        assert_eq!(all_offsets(&log), (start.0..300).collect::<Vec<_>>());
    }
}

#[test]
fn an_aborted_transaction_is_listed_for_the_reads_it_touches() {
    let disk = SimulatedDisk::new(1);
    let mut log = create(&disk, &small_config());
    fill(&mut log, 2);
    log.append_as_leader(&[transactional(5)], EPOCH, NOW).unwrap();
    assert_eq!(log.last_stable_offset(Offset(7)).0, 6);
    let marker = end_transaction_marker(ProducerId(7), ProducerEpoch(0), false, 0, 9).unwrap();
    let origin = AppendOrigin::Coordinator { transaction_version: 1 };
    let context = AppendContext { leader_epoch: EPOCH, now: NOW, origin, verify: false };
    log.append_with_origin(&[ValidBatch::trusted(&marker).unwrap()], context).unwrap();
    assert_eq!(log.last_stable_offset(Offset(8)).0, 6, "the marker is not replicated yet");
    log.on_high_watermark(Offset(8));
    assert_eq!(log.last_stable_offset(Offset(8)).0, 8);
    let read = log.read(Offset(0), u32::MAX, Offset(8), true).unwrap();
    let aborted = log.aborted_transactions(Offset(0), &read).unwrap();
    assert_eq!(aborted.len(), 1);
    assert_eq!((aborted[0].first_offset.0, aborted[0].last_offset.0, aborted[0].last_stable_offset.0), (6, 7, 8));
    // After a crash the index is rebuilt from the log.
    log.flush().unwrap();
    let (again, _) = open(&disk.cut_power(), &small_config(), unclean(0));
    assert_eq!(again.aborted_transactions(Offset(0), &read).unwrap(), aborted);
}

/// Random appends, flushes, rolls and truncations; then the power goes. What is left must be what was appended, up to
/// some offset not below what was flushed.
#[test]
fn after_a_power_cut_the_log_is_a_prefix_that_holds_all_that_was_flushed() {
    for seed in 0..300_u64 {
        let disk = SimulatedDisk::new(seed);
        let mut log = create(&disk, &small_config());
        disk.sync_directory(Path::new("/")).unwrap();
        let mut state = seed * 7919 + 1;
        let mut random = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let (mut sequence, mut flushed) = (0, 0);
        for at in 0..random(80) {
            match random(10) {
                0 => {
                    log.flush().unwrap();
                    flushed = log.log_end_offset().0;
                }
                1 => log.roll(NOW).unwrap(),
                _ => {
                    let count = 1 + random(5) as i32;
                    log.append_as_leader(&[batch(at as i64, count, Some((7, 0, sequence)))], EPOCH, NOW).unwrap();
                    sequence += count;
                }
            }
        }
        let (end, recovery_point) = (log.log_end_offset().0, log.recovery_point().0);
        let survived = disk.cut_power();
        let (again, report) = open(&survived, &small_config(), unclean(recovery_point));
        let offsets = all_offsets(&again);
        let left = again.log_end_offset().0;
        assert_eq!(offsets, (0..left).collect::<Vec<_>>(), "seed {seed} {report:?}");
        assert!((flushed..=end).contains(&left), "seed {seed}: {flushed} <= {left} <= {end}");
        let last = again.producer(ProducerId(7)).map_or(-1, ProducerEntry::last_sequence);
        assert_eq!(i64::from(last), left - 1, "seed {seed}: producers follow the log");
        let max = again.offset_of_max_timestamp().unwrap();
        assert_eq!(max.is_some(), left > 0, "seed {seed}");
    }
}

/// Every call of a fixed history fails in turn, once and for good; afterwards the disk is healed and the log opened.
#[test]
fn whichever_call_fails_nothing_flushed_is_lost_and_nothing_refused_is_kept_half() {
    let run = |disk: &SimulatedDisk| -> Result<i64, i64> {
        let cache = FileCache::new(disk.clone(), 8);
        let mut flushed = 0;
        let mut log = Log::create(&cache, directory(), &small_config(), None, NOW).map_err(|_| 0)?;
        for at in 0..40 {
            let batches = [batch(at * 10, 3, Some((7, 0, at as i32 * 3)))];
            log.append_as_leader(&batches, EPOCH, NOW).map_err(|_| flushed)?;
            if at % 5 == 4 {
                log.flush().map_err(|_| flushed)?;
                flushed = log.log_end_offset().0;
            }
        }
        log.truncate_to(Offset(100), NOW).map_err(|_| 100)?;
        log.close().map_err(|_| 100)?;
        Ok(100)
    };
    let calls = {
        let disk = SimulatedDisk::new(1);
        run(&disk).unwrap();
        disk.calls()
    };
    for at in 1..=calls {
        for for_good in [false, true] {
            let disk = SimulatedDisk::new(at);
            disk.fail_call(at, for_good);
            let outcome = run(&disk);
            disk.fail_call(0, false);
            let kept = match outcome {
                Ok(kept) | Err(kept) => kept,
            };
            let cache = FileCache::new(disk.clone(), 8);
            if disk.metadata(directory()).unwrap().is_none() {
                continue;
            }
            let (log, _) = Log::open(&cache, directory(), &small_config(), unclean(0)).unwrap();
            let end = log.log_end_offset().0;
            assert!(end >= kept.min(99), "call {at}: {end} < {kept}");
            assert_eq!(all_offsets(&log), (0..end).collect::<Vec<_>>(), "call {at}");
        }
    }
}

#[test]
fn a_damaged_batch_above_the_recovery_point_ends_the_log_there() {
    let disk = SimulatedDisk::new(1);
    let mut log = create(&disk, &Arc::new(LogConfig::default()));
    fill(&mut log, 10);
    let batch_bytes = batch(0, 3, None).bytes.len() as u64;
    drop(log);
    disk.flip_byte(&directory().join("00000000000000000000.log"), batch_bytes * 4 + 70);
    let (again, report) = open(&disk, &Arc::new(LogConfig::default()), unclean(0));
    assert_eq!(again.log_end_offset().0, 12);
    assert!(report.bytes_truncated > 0 && report.bytes_scanned == again.size_bytes());
}

#[test]
fn recovery_reads_only_what_follows_the_last_checkpoint() {
    let disk = SimulatedDisk::new(1);
    let config =
        Arc::new(LogConfig { index_interval_bytes: 200, checkpoint_interval_bytes: 700, ..LogConfig::default() });
    let mut log = create(&disk, &config);
    disk.sync_directory(Path::new("/")).unwrap();
    for at in 0..200 {
        log.append_as_leader(&[batch(at * 10, 3, Some((7, 0, at as i32 * 3)))], EPOCH, NOW).unwrap();
        log.flush().unwrap();
    }
    let (size, recovery_point) = (log.size_bytes(), log.recovery_point().0);
    let (again, report) = open(&disk.cut_power(), &config, unclean(recovery_point));
    assert!(report.bytes_scanned < 2000 && size > 20_000, "{report:?} of {size}");
    assert_eq!(again.log_end_offset().0, 600);
    assert_eq!(again.producer(ProducerId(7)).unwrap().last_sequence(), 599);
    assert_eq!(again.offset_of_max_timestamp().unwrap().unwrap().offset.0, 599);
}

/// A closed log of ten batches, in which a byte of the fifth is changed; where the fifth begins, and the log's size.
fn damaged_in_the_fifth_batch(disk: &SimulatedDisk, byte: u64) -> (u64, u64) {
    let mut log = create(disk, &Arc::new(LogConfig::default()));
    fill(&mut log, 10);
    log.close().unwrap();
    let start = log.segments[0].find(&log.files, 12).unwrap().unwrap().position;
    disk.flip_byte(&directory().join("00000000000000000000.log"), start + byte);
    (start, log.size_bytes())
}

#[test]
fn a_damaged_batch_that_was_durable_is_left_and_nothing_after_it_is_cut() {
    for (clean_shutdown, recovery_point) in [(false, 27), (false, 15), (true, 0)] {
        let disk = SimulatedDisk::new(1);
        let (_, size) = damaged_in_the_fifth_batch(&disk, 70);
        // Without its index the segment is read, also after a clean shutdown.
        disk.remove(&directory().join("00000000000000000000.index")).unwrap();
        let (mut again, report) =
            open(&disk, &Arc::new(LogConfig::default()), LogOpen { clean_shutdown, ..unclean(recovery_point) });
        assert_eq!((again.log_end_offset().0, again.size_bytes()), (30, size));
        assert_eq!((report.batches_damaged, report.bytes_truncated), (1, 0));
        fill(&mut again, 1);
        assert_eq!(again.log_end_offset().0, 33);
    }
}

#[test]
fn a_log_whose_durable_batches_cannot_be_told_apart_is_not_opened_and_not_cut() {
    // Bytes of its base offset and of its length.
    for byte in [3, 10] {
        let disk = SimulatedDisk::new(1);
        let (start, size) = damaged_in_the_fifth_batch(&disk, byte);
        let cache = FileCache::new(disk.clone(), 100);
        let opened = Log::open(&cache, directory(), &Arc::new(LogConfig::default()), unclean(30)).map(|_| ());
        assert!(matches!(&opened, Err(Error::Corrupt { position, .. }) if *position == start), "{opened:?}");
        let path = directory().join("00000000000000000000.log");
        assert_eq!(disk.metadata(&path).unwrap().unwrap().len, size);
    }
}

#[test]
fn a_log_that_ends_before_what_was_durable_is_not_opened() {
    for clean_shutdown in [false, true] {
        let disk = SimulatedDisk::new(1);
        let config = small_config();
        let mut log = create(&disk, &config);
        fill(&mut log, 40);
        log.close().unwrap();
        let (last, end) = (log.segments.last().unwrap().base_offset, log.log_end_offset().0);
        let open_at = |recovery_point| {
            let cache = FileCache::new(disk.clone(), 100);
            let open = LogOpen { clean_shutdown, ..unclean(recovery_point) };
            Log::open(&cache, directory(), &config, open).map(|(log, _)| log.log_end_offset().0)
        };
        assert_eq!(open_at(end).unwrap(), end);
        // Exactly at the end of a batch, so that none is damaged.
        let place = log.segments.last().unwrap().find(&log.files, end - 1).unwrap().unwrap();
        let path = directory().join(file_name(last, "log"));
        disk.open(&path, OpenMode::ReadWrite).unwrap().truncate(place.position).unwrap();
        assert!(matches!(open_at(end), Err(Error::Corrupt { .. })), "{clean_shutdown}");
        assert_eq!(open_at(place.header.base_offset.0).unwrap(), place.header.base_offset.0);
    }
}

#[test]
fn a_log_file_that_is_gone_is_noticed_and_nothing_is_removed() {
    let disk = SimulatedDisk::new(1);
    let config = small_config();
    let mut log = create(&disk, &config);
    fill(&mut log, 60);
    log.close().unwrap();
    let bases: Vec<i64> = log.segments.iter().map(|segment| segment.base_offset).collect();
    assert!(bases.len() > 3);
    let before = disk.list(directory()).unwrap();
    for base in [bases[0], bases[1], *bases.last().unwrap()] {
        let path = directory().join(file_name(base, "log"));
        let aside = directory().join("aside");
        disk.rename(&path, &aside).unwrap();
        for (clean_shutdown, recovery_point) in [(false, 0), (false, 180), (true, 180)] {
            let cache = FileCache::new(disk.clone(), 100);
            let open = LogOpen { clean_shutdown, ..unclean(recovery_point) };
            let opened = Log::open(&cache, directory(), &config, open).map(|_| ());
            assert!(matches!(&opened, Err(Error::Corrupt { .. })), "{base}: {opened:?}");
        }
        disk.rename(&aside, &path).unwrap();
        assert_eq!(disk.list(directory()).unwrap(), before);
    }
    // A deletion that a crash stopped after it had renamed the log is completed.
    let path = directory().join(file_name(bases[0], "log"));
    disk.rename(&path, &directory().join(file_name(bases[0], "log") + ".deleted")).unwrap();
    let (log, _) = open(&disk, &config, unclean(0));
    assert_eq!(log.log_start_offset().0, bases[1]);
    assert!(disk.list(directory()).unwrap().iter().all(|entry| !entry.name.contains(&format!("{:020}", bases[0]))));
}

#[test]
fn retention_by_size_passes_over_a_segment_that_compaction_emptied() {
    let disk = SimulatedDisk::new(1);
    let config = Arc::new(LogConfig { retention_bytes: 700, ..LogConfig::clone(&small_config()) });
    let mut log = create(&disk, &config);
    fill(&mut log, 60);
    assert!(log.segments.len() > 3);
    log.segments[0].size = 0;
    log.delete_old_segments(log.log_end_offset(), NOW).unwrap();
    assert!(log.segments.len() < 3, "{}", log.segments.len());
}

#[test]
fn a_clean_end_does_not_rely_on_a_flush_that_has_not_ended() {
    let (disk, config) = (SimulatedDisk::new(5), small_config());
    let mut log = create(&disk, &config);
    log.append_as_leader(&[batch(1, 2, None)], LeaderEpoch(3), NOW).unwrap();
    log.flush().unwrap();
    log.append_as_leader(&[batch(2, 2, None)], LeaderEpoch(5), NOW).unwrap();
    let handle = log.prepare_flush().unwrap().expect("something to sync");
    log.close().unwrap();
    drop((handle, log));
    let (log, _) = open(&disk.cut_power(), &config, LogOpen { clean_shutdown: true, ..unclean(4) });
    assert_eq!((log.log_end_offset(), log.latest_epoch()), (Offset(4), Some(LeaderEpoch(5))));
}
