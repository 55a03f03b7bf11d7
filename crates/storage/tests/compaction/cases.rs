//! Single cases of compaction.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use milena_records::{BatchBuilder, BuilderConfig, ValidBatch, end_transaction_marker};
use milena_storage::disk::RealDisk;
use milena_storage::{
    AppendContext, AppendOrigin, CleanError, Cleaner, CleanerLimits, Error, FileCache, Log, LogConfig,
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

/// Cleans with room for so many keys.
fn clean(log: &mut Log<RealDisk>, slots: u64, now: Timestamp) {
    let view = log.clean_view(log.log_end_offset());
    let plan = view.plan(now).unwrap();
    let producers = log.last_records();
    let mut cleaning = Cleaner::new(limits(slots), [1, 2]).begin(view, plan, producers, now, &mut |_| true).unwrap();
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
    let mut log = log(&directory, 200);
    for at in 0..20 {
        records(&mut log, BuilderConfig::default(), &[("key", Some(&format!("value {at}")))]);
    }
    let view = log.clean_view(log.log_end_offset());
    let plan = view.plan(NOW).unwrap();
    let mut cleaning =
        Cleaner::new(limits(100), [1, 2]).begin(view, plan, log.last_records(), NOW, &mut |_| true).unwrap();
    let group = cleaning.next_group(&mut |_| true).unwrap().unwrap();
    log.truncate_to(Offset(10), NOW).unwrap();
    for at in 10..20 {
        records(&mut log, BuilderConfig::default(), &[("key", Some(&format!("other {at}")))]);
    }
    log.replace_segments(group, NOW).unwrap().expect("it is handed back").discard();
    assert_eq!(offsets(&directory), (0..20).collect::<Vec<_>>());
    let is_leftover = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.ends_with(".cleaned") || name.ends_with(".swap")
    };
    assert!(!fs::read_dir(&directory).unwrap().any(is_leftover));
}

#[test]
fn cutting_a_log_makes_what_follows_dirty_again() {
    let root = tempfile::tempdir().unwrap();
    let mut log = log(&root.path().join("t-0"), 200);
    for at in 0..20 {
        records(&mut log, BuilderConfig::default(), &[("key", Some(&format!("value {at}")))]);
    }
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
    let mut log = log(&directory, 300);
    for at in 0..20 {
        records(&mut log, BuilderConfig::default(), &[("key", Some(&format!("value {at}")))]);
    }
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
    let mut log = log(&directory, 300);
    for at in 0..20 {
        records(&mut log, BuilderConfig::default(), &[("key", Some(&format!("value {at}")))]);
    }
    let files = || fs::read_dir(&directory).unwrap().count();
    let before = files();
    let view = log.clean_view(log.log_end_offset());
    let plan = view.plan(NOW).unwrap();
    let mut cleaning =
        Cleaner::new(limits(100), [1, 2]).begin(view, plan, log.last_records(), NOW, &mut |_| true).unwrap();
    assert!(matches!(cleaning.next_group(&mut |_| false), Err(CleanError::Stopped)));
    assert_eq!(files(), before);
}
