//! Single cases of compaction.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::Records;
use milena_records::{BatchBuilder, Batches, BuilderConfig, ValidBatch, end_transaction_marker};
use milena_storage::disk::RealDisk;
use milena_storage::{
    AppendContext, AppendOrigin, CleanError, Cleaner, CleanerLimits, Cleaning, Error, Exchange, FileCache, Log,
    LogConfig, LogOpen,
};
use milena_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::cleanings::describe;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn limits(slots: u64) -> CleanerLimits {
    CleanerLimits { map_bytes: 24 * slots, load_factor: 1.0, buffer_bytes: 4096 }
}

fn log(directory: &Path, segment_bytes: u32) -> Log<RealDisk> {
    let config = LogConfig { segment_bytes, cleanup_compact: true, delete_retention_ms: 0, ..LogConfig::default() };
    Log::create(&FileCache::new(RealDisk, 64), directory, &Arc::new(config), None, NOW).unwrap()
}

fn append(log: &mut Log<RealDisk>, batch: &Bytes, origin: AppendOrigin) {
    let context = AppendContext { leader_epoch: LeaderEpoch(0), now: NOW, origin, verify: false };
    log.append_with_origin(&[ValidBatch::trusted(batch).unwrap()], context).unwrap();
}

fn records(log: &mut Log<RealDisk>, config: BuilderConfig, records: &[(&str, Option<&str>)]) {
    let mut builder = BatchBuilder::new(config);
    for (key, value) in records {
        builder.append(NOW.0, Some(key.as_bytes()), value.map(str::as_bytes), &[]).unwrap();
    }
    append(log, &builder.build(Offset(0), LeaderEpoch::NONE).unwrap(), AppendOrigin::Client);
}

/// A log of twenty records of one key in several segments.
fn filled(directory: &Path, segment_bytes: u32) -> Log<RealDisk> {
    let mut log = log(directory, segment_bytes);
    append_values(&mut log, 0..20, "value");
    log
}

fn append_values(log: &mut Log<RealDisk>, numbers: std::ops::Range<i64>, value: &str) {
    for at in numbers {
        records(log, BuilderConfig::default(), &[("key", Some(&format!("{value} {at}")))]);
    }
}

/// Begins to clean with room for so many keys.
fn cleaning(log: &Log<RealDisk>, slots: u64, now: Timestamp) -> Cleaning<RealDisk> {
    let view = log.clean_view(log.log_end_offset());
    let plan = view.plan(now).unwrap();
    Cleaner::new(limits(slots), [1, 2]).begin(view, plan, log.last_records(), now, &mut |_| true).unwrap()
}

/// Cleans with room for so many keys.
fn clean(log: &mut Log<RealDisk>, slots: u64, now: Timestamp) {
    let mut cleaning = cleaning(log, slots, now);
    while let Some(group) = cleaning.next_group(&mut |_| true).unwrap() {
        assert!(log.replace_segments(group, now).unwrap().is_none());
    }
    log.set_cleaned_to(cleaning.end_offset());
}

fn offsets(directory: &Path) -> Vec<i64> {
    let lines = describe(directory);
    let records = lines.iter().filter(|line| line.starts_with("record"));
    records.map(|line| line.split('\t').nth(1).unwrap().parse().unwrap()).collect()
}

/// Kafka's cleaner, when it goes on in the midst of a segment, takes the transactions aborted before that place for open
/// ones: the producer's next records count as aborted and supersede nothing, and once their tombstones are gone the old
/// values are back.
#[test]
fn a_tombstone_counts_though_its_producer_aborted_a_transaction_in_the_same_segment() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("t-0");
    let mut log = log(&directory, 1 << 20);
    let transaction = |base_sequence| BuilderConfig {
        producer_id: ProducerId(1),
        producer_epoch: ProducerEpoch(0),
        base_sequence,
        transactional: true,
        ..BuilderConfig::default()
    };
    let marker = |committed| end_transaction_marker(ProducerId(1), ProducerEpoch(0), committed, 0, NOW.0).unwrap();
    let coordinator = AppendOrigin::Coordinator { transaction_version: 0 };
    records(&mut log, transaction(0), &[("aborted", Some("x"))]);
    append(&mut log, &marker(false), coordinator);
    for key in ["a", "b", "c", "deleted", "d"] {
        records(&mut log, BuilderConfig::default(), &[(key, Some("old"))]);
    }
    records(&mut log, transaction(1), &[("deleted", None)]);
    append(&mut log, &marker(true), coordinator);
    records(&mut log, BuilderConfig::default(), &[("last", Some("x"))]);
    log.roll(NOW).unwrap();
    records(&mut log, BuilderConfig::default(), &[("active", Some("x"))]);
    // The first round takes three keys and ends before "deleted".
    clean(&mut log, 3, NOW);
    assert_eq!(log.cleaned_to(), Some(Offset(5)));
    clean(&mut log, 100, NOW);
    clean(&mut log, 100, Timestamp(NOW.0 + 1));
    let left = offsets(&directory);
    assert!(!left.contains(&5), "the deleted value is there: {left:?}");
    assert!([2, 3, 4, 6].iter().all(|offset| left.contains(offset)), "{left:?}");
}

#[test]
fn a_log_that_was_cut_meanwhile_keeps_its_segments() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("t-0");
    let mut log = filled(&directory, 200);
    let mut cleaning = cleaning(&log, 100, NOW);
    let group = cleaning.next_group(&mut |_| true).unwrap().unwrap();
    log.truncate_to(Offset(10), NOW).unwrap();
    append_values(&mut log, 10..20, "other");
    log.replace_segments(group, NOW).unwrap().expect("it is handed back").discard();
    assert_eq!(offsets(&directory), (0..20).collect::<Vec<_>>());
    let is_leftover = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.ends_with(".cleaned") || name.ends_with(".swap")
    };
    assert!(!fs::read_dir(&directory).unwrap().any(is_leftover));
}

/// The first offset each read from an offset on gives.
fn readable(log: &Log<RealDisk>) -> Vec<i64> {
    let end = log.log_end_offset();
    let read = |from: i64| {
        let read = log.read(Offset(from), 1 << 20, end, true).unwrap();
        let Records::File(slice) = &read.records else { panic!("{read:?}") };
        let mut bytes = vec![0; slice.len as usize];
        slice.source.read_exact_at(&mut bytes, slice.position).unwrap();
        let batches: Vec<_> = Batches::new(bytes.into()).map(Result::unwrap).collect();
        batches.iter().for_each(|batch| batch.verify_crc().unwrap());
        batches.iter().map(|batch| batch.header.last_offset().0).find(|last| *last >= from).unwrap()
    };
    (log.log_start_offset().0..end.0).map(read).collect()
}

#[test]
fn an_exchange_is_read_from_before_and_after_its_files_are_renamed_though_few_may_be_open() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("t-0");
    let config = LogConfig {
        segment_bytes: 2000,
        index_interval_bytes: 100,
        cleanup_compact: true,
        delete_retention_ms: 0,
        ..LogConfig::default()
    };
    let mut log = Log::create(&FileCache::new(RealDisk, 0), &directory, &Arc::new(config), None, NOW).unwrap();
    for at in 0..200 {
        records(&mut log, BuilderConfig::default(), &[(&format!("key {}", at % 50), Some(&format!("value {at}")))]);
    }
    assert!(log.segment_count() > 6);
    let mut cleaning = cleaning(&log, 100, NOW);
    let mut exchanges = 0;
    while let Some(group) = cleaning.next_group(&mut |_| true).unwrap() {
        assert!(!group.has_aborted());
        let Exchange::Begun(mut work) = log.begin_exchange(group).unwrap() else { panic!("refused") };
        let before = readable(&log);
        // One at a time.
        assert!(log.begin_deletion(log.log_end_offset(), Timestamp(i64::MAX)).unwrap().is_none());
        work.run();
        assert_eq!(readable(&log), before);
        log.end_work(work, NOW).unwrap();
        assert_eq!(readable(&log), before);
        exchanges += 1;
    }
    assert!(exchanges > 0);
    let after = readable(&log);
    assert!(after.iter().enumerate().any(|(at, offset)| at as i64 != *offset), "something was removed");
    log.close().unwrap();
    let open = LogOpen {
        recovery_point: log.log_end_offset(),
        log_start_offset: Offset(0),
        clean_shutdown: true,
        cleaned_to: None,
        now: NOW,
    };
    let (log, _) = Log::open(&FileCache::new(RealDisk, 64), &directory, log.config(), open).unwrap();
    assert_eq!(readable(&log), after);
}

#[test]
fn who_cuts_a_log_waits_until_the_files_of_an_exchange_have_their_names() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("t-0");
    let mut log = filled(&directory, 200);
    let mut cleaning = cleaning(&log, 100, NOW);
    let group = cleaning.next_group(&mut |_| true).unwrap().unwrap();
    let Exchange::Begun(mut work) = log.begin_exchange(group).unwrap() else { panic!("refused") };
    let log = std::sync::Mutex::new(log);
    std::thread::scope(|scope| {
        let (log, (cutting, begun)) = (&log, std::sync::mpsc::channel());
        scope.spawn(move || {
            let mut log = log.lock().unwrap();
            cutting.send(()).unwrap();
            log.truncate_fully_and_start_at(Offset(0), NOW).unwrap();
        });
        begun.recv().unwrap();
        work.run();
        log.lock().unwrap().end_work(work, NOW).unwrap();
    });
    let mut log = log.into_inner().unwrap();
    assert_eq!((log.log_end_offset(), log.segment_count()), (Offset(0), 1));
    append_values(&mut log, 0..20, "other");
    assert_eq!(readable(&log), (0..20).collect::<Vec<_>>());
    assert_eq!(offsets(&directory), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_log_start_is_remembered_until_what_lies_before_it_is_out_of_the_way() {
    let root = tempfile::tempdir().unwrap();
    let mut log = filled(&root.path().join("t-0"), 200);
    let start = Offset(log.closed_segments().len() as i64 / 2 * 2);
    log.advance_log_start(start).unwrap();
    let mut work = log.begin_deletion(log.log_end_offset(), NOW).unwrap().unwrap();
    assert!(work.segments_to_delete() > 0);
    assert_eq!(log.log_start_to_checkpoint(), Some(log.log_start_offset()));
    work.run();
    log.end_work(work, NOW).unwrap();
    assert_eq!(readable(&log).first(), Some(&log.log_start_offset().0));
}

#[test]
fn cutting_a_log_makes_what_follows_dirty_again() {
    let root = tempfile::tempdir().unwrap();
    let mut log = filled(&root.path().join("t-0"), 200);
    clean(&mut log, 100, NOW);
    let cleaned_to = log.cleaned_to().unwrap();
    assert!(cleaned_to > Offset(10));
    log.truncate_to(Offset(4), NOW).unwrap();
    assert_eq!(log.cleaned_to(), Some(Offset(4)));
}

#[test]
fn a_damaged_batch_ends_the_cleaning_and_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("t-0");
    let log = filled(&directory, 300);
    let path = directory.join("00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    let files = || fs::read_dir(&directory).unwrap().count();
    let before = files();
    let view = log.clean_view(log.log_end_offset());
    let plan = view.plan(NOW).unwrap();
    let begun = Cleaner::new(limits(100), [1, 2]).begin(view, plan, log.last_records(), NOW, &mut |_| true);
    let Err(CleanError::Storage(Error::Corrupt { position: 78, path: damaged, .. })) = begun else {
        panic!("{begun:?}")
    };
    assert_eq!((damaged, files()), (path, before));
}

#[test]
fn a_cleaning_that_is_told_to_stop_leaves_no_files() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("t-0");
    let log = filled(&directory, 300);
    let files = || fs::read_dir(&directory).unwrap().count();
    let before = files();
    let mut cleaning = cleaning(&log, 100, NOW);
    assert!(matches!(cleaning.next_group(&mut |_| false), Err(CleanError::Stopped)));
    assert_eq!(files(), before);
}
