//! The scrub: every `milena.scrub.interval.ms` all closed segments are read and checked, no faster than
//! `milena.scrub.max.bytes.per.second`. What is damaged is said, is not read by anybody any more, and where the partition has
//! other replicas the log is fetched anew (`quarantine`). Kafka has nothing like it.

use super::directories::directory_name;
use super::maintenance::Schedule;
use super::partition::Partition;
use crate::broker::Broker;
use milena_storage::ClosedSegment;
use milena_storage::disk::RealDisk;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often it is looked whether a round is due.
const TICK: Duration = Duration::from_millis(500);

/// Scrubs until the broker stops.
pub(super) fn run(broker: &Arc<Broker>, stopping: &AtomicBool) {
    let settings = broker.settings.disk;
    if settings.scrub_interval_ms == 0 || settings.scrub_bytes_per_second == 0 {
        return;
    }
    let every = settings.scrub_interval_ms;
    let mut rounds = Schedule::new(Duration::from_millis(every), every);
    while !stopping.load(Ordering::Relaxed) {
        if rounds.is_due() {
            round(broker, stopping);
        }
        std::thread::park_timeout(TICK.min(Duration::from_millis(every)));
    }
}

fn round(broker: &Arc<Broker>, stopping: &AtomicBool) {
    let mut pace = Pace::new(broker.settings.disk.scrub_bytes_per_second);
    for partition in broker.partitions.all() {
        let segments = partition.lock().log.closed_segments();
        for segment in segments {
            let mut go_on = |bytes: u64| {
                broker.quarantine().scrubbed_bytes.add(bytes);
                pace.take(bytes);
                !stopping.load(Ordering::Relaxed)
            };
            if !go_on(0) {
                return;
            }
            check(broker, &partition, &segment, &mut go_on);
        }
    }
}

/// Looks at once for what is damaged in a partition somebody could not read.
pub(super) fn check_whole(broker: &Broker, partition: &Arc<Partition>) {
    let segments = partition.lock().log.closed_segments();
    for segment in segments {
        check(broker, partition, &segment, &mut |bytes| {
            broker.quarantine().scrubbed_bytes.add(bytes);
            true
        });
    }
}

fn check(
    broker: &Broker,
    partition: &Arc<Partition>,
    segment: &ClosedSegment<RealDisk>,
    pace: &mut dyn FnMut(u64) -> bool,
) {
    let outcome = segment.check(pace);
    let mut inner = partition.lock();
    // Deleted, cleaned or cut off meanwhile: what was read says nothing.
    if !inner.log.has_segment(segment) || inner.is_leaving {
        return;
    }
    let found = match outcome {
        Ok(found) => found,
        Err(error) => return inner.storage_failed(&error, "a closed segment cannot be read"),
    };
    let mut is_new = false;
    for damage in found {
        if inner.log.note_damage(damage) {
            is_new = true;
            broker.quarantine().damages_found.add(1);
            tracing::error!(path = %segment.path().display(), position = damage.position, from = %damage.from, to = %damage.to, "a closed segment is damaged");
        }
    }
    drop(inner);
    if is_new {
        let name = directory_name(&partition.topic, partition.index);
        broker.quarantine().add_open((partition.topic_id, partition.index), &name);
    }
}

/// Keeps to a rate.
struct Pace {
    began: Instant,
    bytes: u64,
    bytes_per_second: u64,
}

impl Pace {
    fn new(bytes_per_second: u64) -> Self {
        Self { began: Instant::now(), bytes: 0, bytes_per_second }
    }

    /// Waits until so many bytes more may have been read.
    fn take(&mut self, bytes: u64) {
        self.bytes += bytes;
        let due = Duration::from_millis(self.bytes.saturating_mul(1000) / self.bytes_per_second);
        // Unparked when the broker stops.
        if let Some(wait) = due.checked_sub(self.began.elapsed()) {
            std::thread::park_timeout(wait);
        }
    }
}
