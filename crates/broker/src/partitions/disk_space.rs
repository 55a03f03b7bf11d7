//! Full disks: how much room each log directory has, and what is done when that is less than the reserve. Records of clients
//! and of leaders are refused then, with an error that clients repeat and that says for certain that nothing was written;
//! reads, deletions, coordinators and metadata go on, with the reserve. Old segments and deleted files go at once instead
//! of in their time, and records are taken again as soon as there is room. Apache Kafka takes the directory offline, or
//! ends. Decision 11 says why.
//!
//! Between two looks what is appended is counted (`Directory::take_room`), so that the reserve is not overrun.

use super::checkpoints::Checkpoints;
use super::maintenance::{Schedule, remove_files, retain};
use super::partition::Partition;
use crate::broker::Broker;
use crate::log_dirs::Directory;
use crate::settings::DiskSettings;
use milena_replication::Durability;
use milena_storage::disk::{RealDisk, Space};
use std::sync::Arc;
use std::time::Duration;

/// The least reserve, if there is one: what metadata, indexes and checkpoints may need on a small file system.
const RESERVE_BYTES_MIN: u64 = 16 << 20;

/// On a smaller file system no more than this part of it is kept back.
const RESERVE_SHARE_MAX: u64 = 16;

/// How often room is made where there is none.
const MAKE_ROOM_MS: u64 = 1000;

impl DiskSettings {
    /// What is kept back of a file system of this size.
    pub(super) fn reserve_bytes(self, total: u64) -> u64 {
        if self.reserve_percent == 0 {
            return 0;
        }
        let share = total / 100 * u64::from(self.reserve_percent);
        share.max(RESERVE_BYTES_MIN.min(total / RESERVE_SHARE_MAX)).min(self.reserve_bytes_max)
    }

    /// What must be free before a full directory takes records again: more than the reserve, so that it does not change
    /// its mind with every batch.
    pub(super) fn resume_bytes(self, total: u64) -> u64 {
        let reserve = self.reserve_bytes(total);
        reserve.saturating_add((reserve / 4).max((4 << 20).min(total / 32)))
    }
}

/// Looks after the room of all directories.
pub(super) struct DiskSpace {
    make_room: Schedule,
}

impl Default for DiskSpace {
    fn default() -> Self {
        Self { make_room: Schedule::new(Duration::ZERO, MAKE_ROOM_MS) }
    }
}

impl DiskSpace {
    /// One look, a few system calls.
    pub(super) fn look(&mut self, broker: &Broker) {
        for log_dir in broker.log_dirs().online() {
            look_at(broker, log_dir);
        }
        let is_any_full = broker.log_dirs().online().any(|log_dir| log_dir.is_full());
        if is_any_full && self.make_room.is_due() {
            make_room(broker);
        }
    }
}

fn look_at(broker: &Broker, log_dir: &Arc<Directory>) {
    let space = match RealDisk.space(log_dir.path()) {
        Ok(space) => space,
        Err(error) => {
            tracing::debug!(path = %log_dir.path().display(), %error, "the room of a log directory is not known");
            return;
        }
    };
    let Space { total_bytes, free_bytes } = space;
    let settings = broker.settings.disk;
    let reserve = settings.reserve_bytes(total_bytes);
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    log_dir.set_room(signed(free_bytes), signed(reserve));
    if free_bytes < reserve {
        log_dir.set_full(true, &format!("{free_bytes} bytes are free, {reserve} are kept in reserve"));
    } else if log_dir.is_full() && free_bytes >= settings.resume_bytes(total_bytes) && catch_up(broker, log_dir) {
        log_dir.set_full(false, "");
        flush_what_waits(broker, log_dir);
        broker.place_missing();
    }
}

/// Writes what may have found no room: a recovery point must not be above the end of a log that was cut meanwhile.
fn catch_up(broker: &Broker, log_dir: &Arc<Directory>) -> bool {
    Checkpoints::default().write_after_truncation_in(broker, log_dir)
}

fn flush_what_waits(broker: &Broker, log_dir: &Arc<Directory>) {
    for partition in in_directory(broker, log_dir) {
        let inner = partition.lock();
        let is_behind = inner.log.recovery_point() < inner.log.log_end_offset();
        drop(inner);
        if is_behind && broker.settings.durability == Durability::Fsync {
            broker.flush_queue().add(&partition);
        }
    }
}

/// Deletes what may go, now. Partitions with `compact` are the cleaner's.
fn make_room(broker: &Broker) {
    for log_dir in broker.log_dirs().online().filter(|log_dir| log_dir.is_full()) {
        for partition in in_directory(broker, log_dir) {
            if !partition.settings().log.cleanup_compact {
                retain(broker, &partition);
            }
        }
    }
    remove_files(broker);
}

fn in_directory(broker: &Broker, log_dir: &Arc<Directory>) -> Vec<Arc<Partition>> {
    let mut partitions = broker.partitions.all();
    partitions.retain(|partition| Arc::ptr_eq(&partition.log_dir(), log_dir));
    partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_grows_with_the_file_system_between_bounds() {
        let settings = DiskSettings::default();
        assert_eq!(settings.reserve_bytes(64 << 20), 4 << 20, "a sixteenth of a small one");
        assert_eq!(settings.reserve_bytes(1 << 30), 16 << 20);
        assert_eq!(settings.reserve_bytes(100_000_000_000), 1_000_000_000);
        assert_eq!(settings.reserve_bytes(1 << 44), 1 << 30);
        let none = DiskSettings { reserve_percent: 0, ..settings };
        assert_eq!(none.reserve_bytes(1 << 40), 0);
        assert_eq!(none.resume_bytes(1 << 40), 4 << 20, "a device that was full takes records again when some fit");
        let little = DiskSettings { reserve_bytes_max: 1000, ..settings };
        assert_eq!(little.reserve_bytes(1 << 40), 1000);
    }
}
