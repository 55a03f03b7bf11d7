//! Ten thousand partitions in one log directory of the real file system, within a bound of descriptors and of memory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::sync::Arc;

use milena_protocol::Records;
use milena_records::{BatchBuilder, Batches, BuilderConfig, ValidBatch};
use milena_storage::disk::RealDisk;
use milena_storage::{FileCache, LoadedLog, Log, LogDir, TopicPartition};
use milena_types::{LeaderEpoch, Offset, PartitionIndex, Timestamp, Uuid};

const PARTITIONS: i32 = 10_000;
/// What the process may have open; the cache is given half of it, as the broker does.
const DESCRIPTORS_MAX: usize = 4096;
const NOW: Timestamp = Timestamp(1_000_000);

fn batch(value: &str) -> ValidBatch {
    let mut builder = BatchBuilder::new(BuilderConfig::default());
    builder.append(5, None, Some(value.as_bytes()), &[]).unwrap();
    ValidBatch::trusted(&builder.build(Offset(0), LeaderEpoch::NONE).unwrap()).unwrap()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Bytes of memory the process holds.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn check_descriptors(what: &str) {
    let open = descriptors();
    assert!(open < DESCRIPTORS_MAX, "{open} descriptors while {what}");
}

/// Reads the records of `log` from `offset` on and returns their values.
fn values(log: &Log<RealDisk>, offset: i64) -> Vec<String> {
    let read = log.read(Offset(offset), 1 << 20, log.log_end_offset(), true).unwrap();
    let Records::File(slice) = &read.records else { panic!("nothing at {offset}") };
    let mut bytes = vec![0; slice.len as usize];
    slice.source.read_exact_at(&mut bytes, slice.position).unwrap();
    let batches =
        Batches::new(bytes.into()).map(|batch| batch.unwrap().records(1000).unwrap().next().unwrap().unwrap());
    batches.map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()).collect()
}

#[test]
fn ten_thousand_partitions_are_written_and_read_within_4096_descriptors() {
    // In memory if the machine has such a place: it is about descriptors, not about the device.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let cache = FileCache::new(RealDisk, DESCRIPTORS_MAX / 2);
    let log_dir = LogDir::open(&cache, folder.path()).unwrap();
    let config = Arc::default();
    let before = resident();
    let mut logs = Vec::new();
    for at in 0..PARTITIONS {
        let name = TopicPartition { topic: "topic".into(), partition: PartitionIndex(at) };
        let log = log_dir.create_log(&name, Some(Uuid::ONE), &config, NOW).unwrap();
        logs.push((name, log));
    }
    check_descriptors("making logs");
    // Twice round, so that every file is closed and opened again.
    for round in 0..2 {
        for (name, log) in &mut logs {
            let value = format!("{round} of {name}");
            log.append_as_leader(&[batch(&value)], LeaderEpoch(1), NOW).unwrap();
        }
        check_descriptors("appending");
    }
    for (name, log) in &logs {
        assert_eq!(values(log, 0), [format!("0 of {name}"), format!("1 of {name}")]);
    }
    check_descriptors("reading");
    assert!(descriptors() > DESCRIPTORS_MAX / 4, "the files are kept open as far as that goes");
    let each = resident().saturating_sub(before) / PARTITIONS as usize;
    assert!(each < 4096, "{each} bytes of memory a partition");

    let prepared: Vec<_> = logs.iter_mut().map(|(_, log)| log.prepare_close().unwrap().unwrap()).collect();
    log_dir.sync_file_system().unwrap();
    for ((_, log), flushed) in logs.iter_mut().zip(prepared) {
        log.flushed(flushed);
        log.close_files();
    }
    log_dir.close(logs.iter().map(|(name, log)| (name.clone(), log)), 7).unwrap();
    drop(logs);

    let log_dir = LogDir::open(&cache, folder.path()).unwrap();
    let loaded = log_dir.load(2, NOW, &|_| Arc::default()).unwrap();
    assert_eq!(loaded.len(), PARTITIONS as usize);
    check_descriptors("loading");
    for LoadedLog { partition, log, report, .. } in &loaded {
        assert_eq!(report.bytes_scanned, 0, "{partition} was recovered though it was closed");
        assert_eq!(values(log, 1), [format!("1 of {partition}")]);
    }
    check_descriptors("reading after a restart");
}
