//! The state of the partitions: each is locked for as long as it takes to copy a few numbers.

use super::names;
use crate::broker::Broker;
use crate::partitions::{Partition, Traffic};
use milena_metrics::{Family, Metric, Page};
use milena_protocol::Text;
use milena_types::Offset;
use std::fmt;
use std::sync::Arc;

/// What one partition is told with.
pub(super) struct Seen {
    partition: Arc<Partition>,
    pub(super) topic: Text,
    /// The partition's number, as a label.
    pub(super) index: String,
    number: i32,
    numbers: Numbers,
}

/// What is copied under its lock.
struct Numbers {
    is_leader: bool,
    is_offline: bool,
    replicas: usize,
    in_sync: usize,
    min_in_sync: usize,
    size_bytes: u64,
    segments: usize,
    log_start: Offset,
    log_end: Offset,
    high_watermark: Offset,
    producers: usize,
}

/// All partitions here.
pub(super) struct SeenPartitions {
    /// By topic and number.
    all: Vec<Seen>,
    /// What went through those that are gone.
    pub(super) gone: Traffic,
}

impl SeenPartitions {
    /// What went through each, by topic.
    pub(super) fn traffic(&self) -> impl Iterator<Item = (&Text, &Traffic)> {
        self.all.iter().map(|seen| (&seen.topic, &seen.partition.traffic))
    }

    /// The high watermark of a partition that is led here.
    pub(super) fn end_of(&self, topic: &str, partition: i32) -> Option<Offset> {
        let found = self.all.binary_search_by(|seen| (&*seen.topic, seen.number).cmp(&(topic, partition))).ok()?;
        self.all.get(found).filter(|seen| seen.numbers.is_leader).map(|seen| seen.numbers.high_watermark)
    }
}

pub(super) fn look(broker: &Broker) -> SeenPartitions {
    let mut seen = Vec::new();
    let (all, gone) = broker.partitions.all_and_gone();
    for partition in all {
        let (topic, index) = (partition.topic.clone(), partition.index.0.to_string());
        let number = partition.index.0;
        let inner = partition.lock();
        let state = &inner.state;
        let is_leader = state.is_leader();
        let numbers = Numbers {
            is_leader,
            is_offline: inner.log.is_failed() || !inner.log_dir.is_online(),
            replicas: state.replicas().len(),
            in_sync: if is_leader { state.isr().committed().len() } else { 0 },
            // `Partition.effectiveMinIsr`.
            min_in_sync: state.config().min_insync_replicas.min(state.replicas().len()),
            size_bytes: inner.log.size_bytes(),
            segments: inner.log.segment_count(),
            log_start: inner.log.log_start_offset(),
            log_end: inner.log.log_end_offset(),
            high_watermark: state.high_watermark(),
            producers: inner.log.active_producers().count(),
        };
        drop(inner);
        seen.push(Seen { partition, topic, index, number, numbers });
    }
    seen.sort_by(|one, other| (&*one.topic, one.number).cmp(&(&*other.topic, other.number)));
    SeenPartitions { all: seen, gone }
}

impl Seen {
    fn is_under_replicated(&self) -> bool {
        self.numbers.is_leader && self.numbers.in_sync < self.numbers.replicas
    }
}

pub(super) fn write(page: &mut Page<'_>, broker: &Broker, partitions: &SeenPartitions) -> fmt::Result {
    let all = &partitions.all;
    let count = |holds: fn(&Seen) -> bool| all.iter().filter(|seen| holds(seen)).count();
    // Replicas that could not be opened are not there at all.
    let node_id = broker.settings.node_id;
    let image = broker.image().clone();
    let assigned: usize = image
        .topics
        .iter()
        .map(|topic| topic.partitions.iter().filter(|partition| partition.has_replica(node_id)).count())
        .sum();
    let offline = count(|seen| seen.numbers.is_offline) + assigned.saturating_sub(all.len());
    page.number(&names::LEADER_COUNT, count(|seen| seen.numbers.is_leader))?;
    page.number(&names::PARTITION_COUNT, all.len())?;
    page.number(&names::OFFLINE_REPLICAS, offline)?;
    page.number(&names::UNDER_REPLICATED, count(Seen::is_under_replicated))?;
    page.number(
        &names::UNDER_MIN_ISR,
        count(|seen| seen.numbers.is_leader && seen.numbers.in_sync < seen.numbers.min_in_sync),
    )?;
    page.number(
        &names::AT_MIN_ISR,
        count(|seen| seen.numbers.is_leader && seen.numbers.in_sync == seen.numbers.min_in_sync),
    )?;
    page.number(&names::PRODUCER_IDS, all.iter().map(|seen| seen.numbers.producers).sum::<usize>())?;
    each(page, &names::LOG_SIZE, all, |seen| seen.numbers.size_bytes as i64)?;
    each(page, &names::LOG_SEGMENTS, all, |seen| seen.numbers.segments as i64)?;
    each(page, &names::LOG_START, all, |seen| seen.numbers.log_start.0)?;
    each(page, &names::LOG_END, all, |seen| seen.numbers.log_end.0)?;
    each(page, &names::PARTITION_UNDER_REPLICATED, all, |seen| i64::from(seen.is_under_replicated()))?;
    each(page, &names::PARTITION_ISR, all, |seen| seen.numbers.in_sync as i64)?;
    let isr = broker.isr_changes();
    page.number(&names::ISR_SHRINKS, isr.shrinks.get())?;
    page.number(&names::ISR_EXPANDS, isr.expands.get())?;
    page.number(&names::FAILED_ISR_UPDATES, isr.failed.get())?;
    page.number(&names::LOG_DIR_OFFLINE, broker.log_dirs().all().filter(|(_, usable)| usable.is_none()).count())?;
    let quarantine = broker.quarantine();
    page.number(&names::DAMAGED_REPLICAS, quarantine.len())?;
    page.number(&names::DAMAGES_FOUND, quarantine.damages_found.get())?;
    page.number(&names::SCRUBBED, quarantine.scrubbed_bytes.get())?;
    page.number(&names::SET_ASIDE, quarantine.set_aside.get())
}

/// A line for each partition.
fn each(page: &mut Page<'_>, metric: &'static Metric, all: &[Seen], value: impl Fn(&Seen) -> i64) -> fmt::Result {
    page.family(metric, |family: &mut Family<'_>| {
        all.iter().try_for_each(|seen| {
            family.number(&[("topic", &*seen.topic), ("partition", seen.index.as_str())], value(seen))
        })
    })
}
