//! The state of the partitions: each is locked for as long as it takes to copy a few numbers.

use super::names;
use crate::broker::Broker;
use milena_metrics::{Family, Metric, Page};
use milena_protocol::Text;
use milena_types::Offset;
use std::fmt;

/// What one partition is told with.
pub(super) struct Seen {
    pub(super) topic: Text,
    /// The partition's number, as a label.
    pub(super) index: String,
    number: i32,
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

/// All partitions here, by topic and number.
pub(super) struct SeenPartitions(Vec<Seen>);

impl SeenPartitions {
    /// The high watermark of a partition that is led here.
    pub(super) fn end_of(&self, topic: &str, partition: i32) -> Option<Offset> {
        let found = self.0.binary_search_by(|seen| (&*seen.topic, seen.number).cmp(&(topic, partition))).ok()?;
        self.0.get(found).filter(|seen| seen.is_leader).map(|seen| seen.high_watermark)
    }
}

pub(super) fn look(broker: &Broker) -> SeenPartitions {
    let mut seen = Vec::new();
    for partition in broker.partitions.all() {
        let (topic, index) = (partition.topic.clone(), partition.index.0.to_string());
        let inner = partition.lock();
        let state = &inner.state;
        let is_leader = state.is_leader();
        seen.push(Seen {
            topic,
            index,
            number: partition.index.0,
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
        });
    }
    seen.sort_by(|one, other| (&*one.topic, one.number).cmp(&(&*other.topic, other.number)));
    SeenPartitions(seen)
}

impl Seen {
    fn is_under_replicated(&self) -> bool {
        self.is_leader && self.in_sync < self.replicas
    }
}

pub(super) fn write(page: &mut Page<'_>, broker: &Broker, partitions: &SeenPartitions) -> fmt::Result {
    let all = &partitions.0;
    let count = |holds: fn(&Seen) -> bool| all.iter().filter(|seen| holds(seen)).count();
    // Replicas that could not be opened are not there at all.
    let node_id = broker.settings.node_id;
    let image = broker.image().clone();
    let assigned: usize = image
        .topics
        .iter()
        .map(|topic| topic.partitions.iter().filter(|partition| partition.has_replica(node_id)).count())
        .sum();
    let offline = count(|seen| seen.is_offline) + assigned.saturating_sub(all.len());
    page.number(&names::LEADER_COUNT, count(|seen| seen.is_leader))?;
    page.number(&names::PARTITION_COUNT, all.len())?;
    page.number(&names::OFFLINE_REPLICAS, offline)?;
    page.number(&names::UNDER_REPLICATED, count(Seen::is_under_replicated))?;
    page.number(&names::UNDER_MIN_ISR, count(|seen| seen.is_leader && seen.in_sync < seen.min_in_sync))?;
    page.number(&names::AT_MIN_ISR, count(|seen| seen.is_leader && seen.in_sync == seen.min_in_sync))?;
    page.number(&names::PRODUCER_IDS, all.iter().map(|seen| seen.producers).sum::<usize>())?;
    each(page, &names::LOG_SIZE, all, |seen| seen.size_bytes as i64)?;
    each(page, &names::LOG_SEGMENTS, all, |seen| seen.segments as i64)?;
    each(page, &names::LOG_START, all, |seen| seen.log_start.0)?;
    each(page, &names::LOG_END, all, |seen| seen.log_end.0)?;
    each(page, &names::PARTITION_UNDER_REPLICATED, all, |seen| i64::from(seen.is_under_replicated()))?;
    each(page, &names::PARTITION_ISR, all, |seen| seen.in_sync as i64)?;
    page.number(&names::LOG_DIR_OFFLINE, broker.log_dirs().all().filter(|(_, usable)| usable.is_none()).count())
}

/// A line for each partition.
fn each(page: &mut Page<'_>, metric: &'static Metric, all: &[Seen], value: impl Fn(&Seen) -> i64) -> fmt::Result {
    page.family(metric, |family: &mut Family<'_>| {
        all.iter().try_for_each(|seen| {
            family.number(&[("topic", &*seen.topic), ("partition", seen.index.as_str())], value(seen))
        })
    })
}
