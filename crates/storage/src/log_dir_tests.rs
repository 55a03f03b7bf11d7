//! Tests of log directories on the real and the simulated disk.

use milena_records::{BatchBuilder, BuilderConfig, ValidBatch};
use milena_types::{LeaderEpoch, PartitionIndex};

use super::*;
use crate::disk::{RealDisk, SimulatedDisk};

const NOW: Timestamp = Timestamp(1_000_000);

fn partition(at: i32) -> TopicPartition {
    TopicPartition { topic: "topic".into(), partition: PartitionIndex(at) }
}

fn batch() -> ValidBatch {
    let mut builder = BatchBuilder::new(BuilderConfig::default());
    builder.append(5, None, Some(b"value"), &[]).unwrap();
    ValidBatch::trusted(&builder.build(Offset(0), LeaderEpoch::NONE).unwrap()).unwrap()
}

fn load<D: Disk>(log_dir: &LogDir<D>) -> Vec<LoadedLog<D>> {
    log_dir.load(2, NOW, &|_| Arc::default()).unwrap()
}

fn write_and_close<D: Disk>(disk: &D, root: &Path) {
    let cache = FileCache::new(disk.clone(), 20);
    let log_dir = LogDir::open(&cache, root).unwrap();
    let config = Arc::default();
    let mut logs: Vec<_> =
        (0..40).map(|at| log_dir.create_log(&partition(at), Some(Uuid::ONE), &config, NOW).unwrap()).collect();
    for (at, log) in logs.iter_mut().enumerate() {
        for _ in 0..at {
            log.append_as_leader(&[batch()], LeaderEpoch(1), NOW).unwrap();
        }
    }
    assert!(cache.open_count() <= 21, "files are closed when too many are open");
    logs[20].advance_log_start(Offset(7)).unwrap();
    let deleted = log_dir.delete_log(&partition(39), logs.pop().unwrap(), Uuid([7; 16])).unwrap();
    assert!(disk.metadata(&deleted).unwrap().is_some());
    for log in &mut logs {
        log.close().unwrap();
    }
    let named = logs.iter().enumerate().map(|(at, log)| (partition(at as i32), log));
    log_dir.close(named, 42).unwrap();
}

fn check_loaded<D: Disk>(disk: &D, root: &Path) {
    let cache = FileCache::new(disk.clone(), 20);
    let log_dir = LogDir::open(&cache, root).unwrap();
    assert_eq!(log_dir.previous_shutdown(), Some(CleanShutdown { broker_epoch: Some(42) }));
    let logs = load(&log_dir);
    assert_eq!(logs.len(), 39);
    for (at, loaded) in logs.iter().enumerate() {
        assert_eq!(loaded.partition, partition(at as i32));
        // Of a log without records even the topic id may be lost.
        assert!(at == 0 || loaded.topic_id == Some(Uuid::ONE));
        assert_eq!(loaded.log.log_end_offset(), Offset(at as i64));
        assert_eq!(loaded.log.log_start_offset(), Offset(if at == 20 { 7 } else { 0 }));
        assert_eq!(loaded.report, RecoveryReport::default());
    }
    assert_eq!(CleanShutdown::read(disk, root).unwrap(), None, "the mark is gone while the directory is in use");
    let names = disk.list(root).unwrap();
    assert!(names.iter().all(|entry| !entry.name.ends_with("-delete")), "{names:?}");
}

#[test]
fn a_directory_of_a_real_disk_reads_back_after_a_clean_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    write_and_close(&RealDisk, folder.path());
    check_loaded(&RealDisk, folder.path());
}

#[test]
fn a_clean_shutdown_survives_a_power_cut() {
    let disk = SimulatedDisk::new(3);
    write_and_close(&disk, Path::new("/logs"));
    disk.sync_directory(Path::new("/")).unwrap();
    check_loaded(&disk.cut_power(), Path::new("/logs"));
}

#[test]
fn a_directory_in_use_and_foreign_directories_are_refused() {
    let root = "/logs";
    let disk = SimulatedDisk::new(3);
    let cache = FileCache::new(disk.clone(), 20);
    let log_dir = LogDir::open(&cache, Path::new(root)).unwrap();
    assert!(matches!(LogDir::open(&cache, Path::new(root)), Err(Error::Locked { .. })));
    disk.create_directory(Path::new("/logs/__cluster_metadata-0")).unwrap();
    disk.create_directory(Path::new("/logs/old-0.0123-stray")).unwrap();
    assert_eq!(load(&log_dir).len(), 0);
    disk.create_directory(Path::new("/logs/foreign")).unwrap();
    assert!(matches!(log_dir.load(1, NOW, &|_| Arc::default()), Err(Error::NotAPartition { .. })));
}

#[test]
fn a_directory_of_a_real_disk_is_locked_against_a_second_user() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FileCache::new(RealDisk, 20);
    let first = LogDir::open(&cache, folder.path()).unwrap();
    assert!(matches!(LogDir::open(&cache, folder.path()), Err(Error::Locked { .. })));
    drop(first);
    LogDir::open(&cache, folder.path()).unwrap();
}

#[test]
fn a_new_partition_costs_few_calls_and_an_idle_one_little_to_load() {
    let disk = SimulatedDisk::new(1);
    let cache = FileCache::new(disk.clone(), 20);
    let log_dir = LogDir::open(&cache, Path::new("/logs")).unwrap();
    let calls = disk.calls();
    log_dir.create_log(&partition(0), Some(Uuid::ONE), &Arc::default(), NOW).unwrap();
    assert_eq!(disk.calls() - calls, 4, "the directory, the topic id in two calls, the log");
    drop(log_dir);
    let log_dir = LogDir::open(&cache, Path::new("/logs")).unwrap();
    let calls = disk.calls();
    assert_eq!(load(&log_dir).len(), 1);
    let load_calls = disk.calls() - calls;
    assert!(load_calls <= 13, "{load_calls}");
}
