//! A log directory that Apache Kafka 4.3.1 wrote (`testdata/kafka-4.3.1`): five producers, five codecs, an aborted
//! transaction, a roll by time, a clean shutdown. It must open here, and the same batches must give the same files.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_protocol::Records;
use milena_records::{Batch, Batches, ValidBatch};
use milena_storage::checkpoint::{
    CLEANER_OFFSET_CHECKPOINT, CleanShutdown, MetaProperties, QuorumState, REPLICATION_OFFSET_CHECKPOINT,
};
use milena_storage::disk::RealDisk;
use milena_storage::{AppendContext, AppendOrigin, FileCache, LoadedLog, Log, LogConfig, LogDir};
use milena_types::{LeaderEpoch, Offset, ProducerId, Timestamp};

const NOW: Timestamp = Timestamp(1_795_274_440_000);

fn captured() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/kafka-4.3.1")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn config() -> Arc<LogConfig> {
    Arc::new(LogConfig {
        segment_bytes: 1 << 20,
        index_interval_bytes: 1000,
        // The producers' timestamps are of 1970.
        producer_id_expiration_ms: i64::MAX,
        ..LogConfig::default()
    })
}

fn load(root: &Path) -> LoadedLog<RealDisk> {
    let log_dir = LogDir::open(&FileCache::new(RealDisk, 100), root).unwrap();
    let mut logs = log_dir.load(2, NOW, &|_| config()).unwrap();
    assert_eq!(logs.len(), 1);
    logs.remove(0)
}

fn batches(log: &Log<RealDisk>) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut next = log.log_start_offset();
    while next < log.log_end_offset() {
        let read = log.read(next, u32::MAX, log.log_end_offset(), true).unwrap();
        let Records::File(slice) = &read.records else { panic!("nothing at {next}") };
        let mut bytes = vec![0; slice.len as usize];
        slice.source.read_exact_at(&mut bytes, slice.position).unwrap();
        batches.extend(Batches::new(bytes.into()).map(Result::unwrap));
        next = batches.last().unwrap().header.next_offset();
    }
    batches
}

fn check(log: &Log<RealDisk>) {
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(0), Offset(1001)));
    let mut next = 0;
    for batch in batches(log).iter() {
        batch.verify_crc().unwrap();
        for record in batch.records(1 << 20).unwrap() {
            assert_eq!(record.unwrap().offset, Offset(next));
            next += 1;
        }
    }
    assert_eq!(next, 1001);
    // As Apache Kafka's own client was told before the shutdown.
    let max = log.offset_of_max_timestamp().unwrap().unwrap();
    assert_eq!(
        (max.offset, max.timestamp, max.leader_epoch),
        (Offset(800), Timestamp(1_795_274_437_844), LeaderEpoch(0))
    );
    let found = log.offset_for_timestamp(Timestamp(1_000_123)).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (Offset(123), Timestamp(1_000_123)));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(0)));
    let producers: Vec<_> = log
        .active_producers()
        .map(|(id, entry)| (id.0, entry.epoch.0, entry.last_sequence(), entry.last_timestamp, entry.coordinator_epoch))
        .collect();
    assert_eq!(
        producers,
        [
            (0, 0, 199, 1_000_199, -1),
            (1, 0, 199, 1_000_199, -1),
            (2, 0, 199, 1_000_199, -1),
            (3, 1, -1, 1_795_274_437_844, 0),
            (4, 0, 199, 1_000_199, -1)
        ]
    );
    let read = log.read(Offset(600), u32::MAX, Offset(1001), true).unwrap();
    let aborted = log.aborted_transactions(Offset(600), &read).unwrap();
    assert_eq!(aborted.len(), 1);
    assert_eq!(aborted[0].producer_id, ProducerId(3));
    assert_eq!((aborted[0].first_offset, aborted[0].last_offset), (Offset(600), Offset(800)));
    assert_eq!(aborted[0].last_stable_offset, Offset(801));
}

fn same_files(ours: &Path, names: &[&str]) {
    for name in names {
        let expected = fs::read(captured().join("captured-0").join(name)).unwrap();
        assert!(fs::read(ours.join(name)).unwrap() == expected, "{name} differs from Apache Kafka's");
    }
}

const INDEXES: [&str; 5] = [
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "00000000000000000800.index",
    "00000000000000000800.timeindex",
    "00000000000000000800.txnindex",
];

#[test]
fn a_cleanly_closed_directory_of_apache_kafka_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    copy(&captured(), folder.path());
    let log_dir = LogDir::open(&FileCache::new(RealDisk, 100), folder.path()).unwrap();
    assert_eq!(log_dir.previous_shutdown(), Some(CleanShutdown { broker_epoch: Some(14) }));
    assert!(log_dir.read_checkpoint(CLEANER_OFFSET_CHECKPOINT).unwrap().is_empty());
    assert!(log_dir.read_checkpoint(REPLICATION_OFFSET_CHECKPOINT).unwrap().len() > 1);
    drop(log_dir);
    assert_eq!(MetaProperties::read(&RealDisk, folder.path()).unwrap().unwrap().node_id.0, 1);
    assert_eq!(QuorumState::read(&RealDisk, folder.path()).unwrap().unwrap().leader_id.0, 1);
    let loaded = load(folder.path());
    assert_eq!(loaded.report.segments_scanned, 0);
    assert!(loaded.topic_id.is_some());
    check(&loaded.log);
}

#[test]
fn a_directory_without_marks_and_indexes_is_recovered_to_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    copy(&captured(), folder.path());
    for name in [".kafka_cleanshutdown", "recovery-point-offset-checkpoint"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    for entry in fs::read_dir(folder.path().join("captured-0")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|suffix| suffix != "log" && suffix != "metadata") {
            fs::remove_file(path).unwrap();
        }
    }
    fs::remove_file(folder.path().join("captured-0/leader-epoch-checkpoint")).unwrap();
    let mut loaded = load(folder.path());
    assert_eq!(loaded.report.segments_scanned, 2);
    check(&loaded.log);
    loaded.log.close().unwrap();
    let directory = folder.path().join("captured-0");
    same_files(&directory, &INDEXES);
    same_files(&directory, &["leader-epoch-checkpoint", "00000000000000001001.snapshot"]);
}

#[test]
fn the_same_batches_appended_here_give_the_same_files_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    copy(&captured(), folder.path());
    let source = load(folder.path()).log;
    let directory = folder.path().join("again-0");
    let cache = FileCache::new(RealDisk, 100);
    let mut log = Log::create(&cache, &directory, &config(), None, NOW).unwrap();
    for batch in batches(&source) {
        let origin = if batch.header.is_control() {
            AppendOrigin::Coordinator { transaction_version: 2 }
        } else {
            AppendOrigin::Client
        };
        let context = AppendContext { leader_epoch: LeaderEpoch(0), now: NOW, origin, verify: false };
        log.append_with_origin(&[ValidBatch::trusted(&batch.bytes).unwrap()], context).unwrap();
    }
    check(&log);
    log.close().unwrap();
    same_files(&directory, &INDEXES);
    same_files(&directory, &["00000000000000000000.log", "00000000000000000800.log", "leader-epoch-checkpoint"]);
    same_files(&directory, &["00000000000000000800.snapshot", "00000000000000001001.snapshot"]);
}
