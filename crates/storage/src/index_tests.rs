//! Tests of the indexes against a plain sorted list.

use std::path::Path;

use super::*;
use crate::disk::{SimulatedDisk, read_whole};
use crate::file_cache::FileCache;

fn files(disk: &SimulatedDisk) -> Files<SimulatedDisk> {
    Files { cache: FileCache::new(disk.clone(), 10), directory: Path::new("/").into(), suffix: "" }
}

#[test]
fn lookups_agree_with_a_sorted_list_in_memory_and_on_disk() {
    let disk = SimulatedDisk::new(1);
    let files = files(&disk);
    let mut index = Index::<OffsetEntry, SimulatedDisk>::empty(100);
    for at in 0..3000_u32 {
        index.push(&files, OffsetEntry { relative_offset: at * 10 + 5, position: at * 4096 });
    }
    for round in 0..2 {
        for key in (0..31_000_i64).step_by(7) {
            let expected = ((key - 5).div_euclid(10)).min(2999);
            let found = index.lookup(&files, key).unwrap().map(|entry| i64::from(entry.position / 4096));
            assert_eq!(found, (expected >= 0).then_some(expected), "key {key} round {round}");
        }
        index.persist(&files).unwrap();
    }
    let bytes = read_whole(&disk, Path::new("/00000000000000000100.index")).unwrap().unwrap();
    assert_eq!(bytes.len(), 3000 * 8);
    assert_eq!(bytes[8..16], [0, 0, 0, 15, 0, 0, 16, 0]);
    let again = Index::<OffsetEntry, SimulatedDisk>::existing(100, true);
    assert_eq!(again.last(&files).unwrap(), index.last(&files).unwrap());
}

#[test]
fn truncation_removes_the_offset_and_all_after_it() {
    let disk = SimulatedDisk::new(1);
    let files = files(&disk);
    for keep in [0_u32, 1, 3, 511, 512, 513, 600] {
        let mut index = Index::<TimeEntry, SimulatedDisk>::empty(i64::from(keep) * 10_000);
        for at in 0..600_u32 {
            index.push(&files, TimeEntry { timestamp: i64::from(at) * 3, relative_offset: at });
        }
        let base = i64::from(keep) * 10_000;
        index.truncate_to(&files, base + i64::from(keep)).unwrap();
        assert_eq!(index.count(&files).unwrap(), keep);
        index.push(&files, TimeEntry { timestamp: 5000, relative_offset: 900 });
        assert_eq!(index.last(&files).unwrap().unwrap().timestamp, 5000);
        assert_eq!(index.lookup(&files, 2).unwrap().is_some(), keep > 0);
    }
}
