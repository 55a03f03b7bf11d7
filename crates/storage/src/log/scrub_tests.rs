//! Damage in closed segments: it is found, nothing else is, and what lies around it stays readable.

use std::path::Path;
use std::sync::Arc;

use milena_records::{BatchBuilder, BuilderConfig, ValidBatch};
use milena_types::{LeaderEpoch, Offset, Timestamp};

use super::*;
use crate::ReadError;
use crate::config::LogConfig;
use crate::disk::{DiskFile, SimulatedDisk};
use crate::file_cache::FileCache;
use crate::files::file_name;

fn directory() -> &'static Path {
    Path::new("/topic-0")
}

fn filled(disk: &SimulatedDisk) -> Log<SimulatedDisk> {
    let config = Arc::new(LogConfig { segment_bytes: 2000, index_interval_bytes: 200, ..LogConfig::default() });
    let cache = FileCache::new(disk.clone(), 100);
    let mut log = Log::create(&cache, directory(), &config, None, Timestamp(1)).unwrap();
    for at in 0..100 {
        let mut builder = BatchBuilder::new(BuilderConfig::default());
        for _ in 0..3 {
            builder.append(at, None, Some(b"a value of some length"), &[]).unwrap();
        }
        let bytes = builder.build(Offset(0), LeaderEpoch(-1)).unwrap();
        log.append_as_leader(&[ValidBatch::trusted(&bytes).unwrap()], LeaderEpoch(1), Timestamp(at)).unwrap();
    }
    assert!(log.segment_count() > 4);
    log
}

fn check(log: &Log<SimulatedDisk>) -> Vec<Damage> {
    log.closed_segments().iter().flat_map(|segment| segment.check(&mut |_| true).unwrap()).collect()
}

/// Offsets that can be read, and those that cannot.
fn readable(log: &Log<SimulatedDisk>) -> (Vec<i64>, Vec<i64>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for offset in 0..log.log_end_offset().0 {
        match log.read(Offset(offset), 1 << 20, log.log_end_offset(), true) {
            Ok(read) => {
                assert!(!read.records.is_empty(), "{offset}");
                let milena_protocol::Records::File(slice) = &read.records else { panic!("{read:?}") };
                let mut bytes = vec![0; slice.len as usize];
                slice.source.read_exact_at(&mut bytes, slice.position).unwrap();
                for batch in milena_records::Batches::new(bytes.into()) {
                    batch.unwrap().verify_crc().unwrap();
                }
                good.push(offset);
            }
            Err(ReadError::Storage(Error::Corrupt { .. })) => bad.push(offset),
            Err(error) => panic!("{offset}: {error}"),
        }
    }
    (good, bad)
}

#[test]
fn a_byte_that_changed_in_a_closed_segment_is_found_and_what_lies_around_it_can_be_read() {
    let disk = SimulatedDisk::new(1);
    let mut log = filled(&disk);
    assert_eq!(check(&log), []);
    let base = log.segments[1].base_offset;
    let place = log.segments[1].find(&log.files, base + 4).unwrap().unwrap();
    // In the records, in the length, in the base offset, high and low.
    for (byte, whole_rest) in [(70, false), (10, true), (5, true), (7, true)] {
        let path = directory().join(file_name(base, "log"));
        disk.flip_byte(&path, place.position + byte);
        let found = check(&log);
        let end = if whole_rest { log.segments[2].base_offset } else { base + 6 };
        assert_eq!(found, [Damage::new(base, place.position, (base + 3, end))], "byte {byte}");
        assert!(log.note_damage(found[0]) && !log.note_damage(found[0]) && log.is_damaged());
        let (good, bad) = readable(&log);
        assert_eq!(bad, (base + 3..end).collect::<Vec<_>>());
        assert_eq!(good.len() + bad.len(), 300);
        disk.flip_byte(&path, place.position + byte);
        log.damaged.clear();
    }
    assert_eq!(readable(&log).0.len(), 300);
}

#[test]
fn records_missing_at_the_end_of_a_closed_segment_are_found() {
    let disk = SimulatedDisk::new(1);
    let log = filled(&disk);
    let (base, end) = (log.segments[1].base_offset, log.segments[2].base_offset);
    let place = log.segments[1].find(&log.files, end - 1).unwrap().unwrap();
    let path = directory().join(file_name(base, "log"));
    disk.open(&path, OpenMode::ReadWrite).unwrap().truncate(place.position).unwrap();
    let found = check(&log);
    assert_eq!(found, [Damage::new(base, place.position, (end - 3, end))]);
}

/// The log of a closed segment, opened again.
fn reopened(disk: &SimulatedDisk, mut log: Log<SimulatedDisk>) -> Log<SimulatedDisk> {
    let end = log.log_end_offset();
    let config = Arc::clone(log.config());
    log.close().unwrap();
    drop(log);
    let cache = FileCache::new(disk.clone(), 100);
    let open = crate::LogOpen {
        recovery_point: end,
        log_start_offset: Offset(0),
        clean_shutdown: true,
        cleaned_to: None,
        now: Timestamp(1),
    };
    Log::open(&cache, directory(), &config, open).unwrap().0
}

#[test]
fn a_closed_segment_cut_in_its_midst_is_not_passed_over_by_readers() {
    for (cut, unreadable) in [(1, 3), (-1, 0), (i64::MIN, i64::MAX)] {
        let disk = SimulatedDisk::new(1);
        let mut log = filled(&disk);
        log.flush().unwrap();
        let (base, end) = (log.segments[1].base_offset, log.segments[2].base_offset);
        let place = log.segments[1].find(&log.files, end - 4).unwrap().unwrap();
        let path = directory().join(file_name(base, "log"));
        log.close().unwrap();
        let length = place.position.saturating_add_signed(cut);
        disk.open(&path, OpenMode::ReadWrite).unwrap().truncate(length).unwrap();
        let log = reopened(&disk, log);
        let (good, bad) = readable(&log);
        let first = match unreadable {
            3 => end - 6,
            0 => end - 9,
            _ => base,
        };
        assert_eq!(bad, (first..end).collect::<Vec<_>>(), "cut to {length}");
        assert_eq!(good.len() + bad.len(), 300);
    }
}

#[test]
fn what_an_index_says_is_not_believed_where_the_log_says_otherwise() {
    let whole = SimulatedDisk::new(1);
    let mut log = filled(&whole);
    log.flush().unwrap();
    log.close().unwrap();
    let (base, last) = (log.segments[1].base_offset, log.segments.last().unwrap().base_offset);
    for base in [base, last] {
        let path = directory().join(file_name(base, "index"));
        let length = whole.metadata(&path).unwrap().unwrap().len;
        assert!(length >= 32);
        for byte in 0..length {
            let disk = SimulatedDisk::new(1);
            let mut log = filled(&disk);
            log.flush().unwrap();
            log.close().unwrap();
            disk.flip_byte(&path, byte);
            let log = reopened(&disk, log);
            assert_eq!(log.log_end_offset(), Offset(300), "byte {byte} of {length}");
            for offset in 0..300 {
                let read = log.read(Offset(offset), 1 << 20, Offset(300), true).unwrap();
                let milena_protocol::Records::File(slice) = &read.records else { panic!("{read:?}") };
                let mut bytes = vec![0; slice.len as usize];
                slice.source.read_exact_at(&mut bytes, slice.position).unwrap();
                let first = milena_records::Batches::new(bytes.into()).next().unwrap().unwrap().header;
                assert!(first.base_offset.0 <= offset, "byte {byte}, offset {offset}: {first:?}");
            }
        }
    }
}

#[test]
fn offsets_that_compaction_took_out_are_not_damaged_whatever_the_topic_says_now() {
    let disk = SimulatedDisk::new(1);
    let config = Arc::new(LogConfig { segment_bytes: 2000, index_interval_bytes: 200, ..LogConfig::default() });
    let cache = FileCache::new(disk, 100);
    let mut log = Log::create(&cache, directory(), &config, None, Timestamp(1)).unwrap();
    // As a follower gets them from a leader that has cleaned them once.
    for at in 0..100 {
        let mut builder = BatchBuilder::new(BuilderConfig::default());
        builder.append(at, None, Some(b"a value of some length"), &[]).unwrap();
        let bytes = builder.build(Offset(at * 7), LeaderEpoch(1)).unwrap();
        log.append_as_follower(bytes, Timestamp(at)).unwrap();
    }
    assert!(log.segment_count() > 4);
    assert_eq!(check(&log), []);
}

#[test]
fn what_the_device_cannot_read_is_damaged_and_any_other_failure_is_not() {
    let disk = SimulatedDisk::new(1);
    let log = filled(&disk);
    let segment = log.closed_segments().remove(1);
    let (base, end) = (segment.base_offset, segment.end_offset);
    let first = disk.calls() + 1;
    assert_eq!(segment.check(&mut |_| true).unwrap(), []);
    for call in first..=disk.calls() {
        disk.fail_call(disk.calls() + 1 + (call - first), false);
        let found = segment.check(&mut |_| true).unwrap();
        assert_eq!(found.last().map(|damage| damage.to), Some(Offset(end)), "call {call}: {found:?}");
        assert!(found.iter().all(|damage| damage.from >= Offset(base)));
    }
    disk.remove(&segment.path()).unwrap();
    log.segments[1].close();
    assert!(matches!(segment.check(&mut |_| true), Err(Error::Io { .. })));
}

#[test]
fn what_is_cut_off_is_not_damaged_any_more() {
    let disk = SimulatedDisk::new(1);
    let mut log = filled(&disk);
    let closed = log.closed_segments().remove(1);
    log.note_damage(Damage::new(closed.base_offset, 0, (closed.base_offset, closed.base_offset + 3)));
    assert!(log.has_segment(&closed));
    log.truncate_to(Offset(closed.base_offset), Timestamp(1)).unwrap();
    assert!(!log.is_damaged() && !log.has_segment(&closed));
}
