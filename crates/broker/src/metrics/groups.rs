//! Groups: what their coordinators here know. Kafka: `GroupCoordinatorMetrics`, `CoordinatorRuntimeMetricsImpl`; the names
//! of single groups and of lag are those of the exporter that most dashboards of lag are made for.

use super::names;
use super::partitions::SeenPartitions;
use crate::broker::Broker;
use crate::hosts::{GroupsSurvey, RuntimeCells};
use milena_coordinator::group::GroupSurvey;
use milena_metrics::{Family, Histogram, Metric, Page};
use std::fmt;

/// The states of groups of the consumer protocol. None is ever seen dead: it is gone then.
const CONSUMER_STATES: [&str; 5] = ["Empty", "Assigning", "Reconciling", "Stable", "Dead"];

pub(super) fn write(page: &mut Page<'_>, broker: &Broker, partitions: &SeenPartitions, room: usize) -> fmt::Result {
    let survey = broker.groups().survey(room);
    write_counts(page, &survey)?;
    if let Some(cells) = broker.cells() {
        write_times(page, &cells.groups)?;
    }
    write_single(page, &survey.groups, partitions)
}

fn write_counts(page: &mut Page<'_>, survey: &GroupsSurvey) -> fmt::Result {
    let (groups, counts) = (&survey.groups, &survey.counts);
    let classic = |state: &str| groups.classic.get(state).copied().unwrap_or(0);
    let classic_count: u64 = groups.classic.values().sum();
    page.family(&names::GROUP_COUNT, |family| {
        family.number(&[("protocol", "classic")], classic_count)?;
        family.number(&[("protocol", "consumer")], groups.consumer.values().sum::<u64>())
    })?;
    page.family(&names::CONSUMER_GROUP_COUNT, |family| {
        CONSUMER_STATES
            .iter()
            .try_for_each(|state| family.number(&[("state", state)], groups.consumer.get(state).copied().unwrap_or(0)))
    })?;
    page.number(&names::NUM_GROUPS, classic_count)?;
    page.number(&names::NUM_GROUPS_PREPARING, classic("PreparingRebalance"))?;
    page.number(&names::NUM_GROUPS_COMPLETING, classic("CompletingRebalance"))?;
    page.number(&names::NUM_GROUPS_STABLE, classic("Stable"))?;
    page.number(&names::NUM_GROUPS_DEAD, classic("Dead"))?;
    page.number(&names::NUM_GROUPS_EMPTY, classic("Empty"))?;
    page.number(&names::NUM_OFFSETS, groups.offsets)?;
    page.number(&names::OFFSET_COMMITS, counts.offset_commits())?;
    page.number(&names::OFFSET_EXPIRATIONS, counts.offset_expirations())?;
    page.number(&names::OFFSET_DELETIONS, counts.offset_deletions())?;
    page.number(&names::COMPLETED_REBALANCES, counts.completed_rebalances())?;
    page.number(&names::CONSUMER_REBALANCES, counts.consumer_group_rebalances())?;
    page.family(&names::NUM_PARTITIONS, |family| {
        family.number(&[("state", "loading")], survey.loading)?;
        family.number(&[("state", "active")], survey.active)?;
        family.number(&[("state", "failed")], survey.failed)
    })?;
    page.number(&names::EVENT_QUEUE_SIZE, survey.queued)
}

fn write_times(page: &mut Page<'_>, cells: &RuntimeCells) -> fmt::Result {
    let load = cells.partition_load.counts();
    page.number(&names::LOAD_TIME_MAX, load.max_ms())?;
    let average = if load.count() == 0 { 0.0 } else { load.sum_ms() / load.count() as f64 };
    page.number(&names::LOAD_TIME_AVG, average)?;
    let times: [(&'static Metric, &Histogram); 5] = [
        (&names::EVENT_QUEUE_TIME, &cells.event_queue),
        (&names::EVENT_PROCESSING_TIME, &cells.event_processing),
        (&names::EVENT_PURGATORY_TIME, &cells.event_purgatory),
        (&names::BATCH_FLUSH_TIME, &cells.batch_flush),
        (&names::BATCH_LINGER_TIME, &cells.batch_linger),
    ];
    times
        .iter()
        .try_for_each(|(metric, histogram)| page.family(metric, |family| family.histogram(&[], &histogram.counts())))
}

/// Groups and their offsets one by one.
fn write_single(page: &mut Page<'_>, groups: &GroupSurvey, partitions: &SeenPartitions) -> fmt::Result {
    page.family(&names::GROUP_MEMBERS, |family| {
        groups.members.iter().try_for_each(|(group, members)| family.number(&[("consumergroup", group)], *members))
    })?;
    let offsets = |page: &mut Page<'_>, metric, value: &dyn Fn(&str, i32, i64) -> Option<i64>| {
        page.family(metric, |family: &mut Family<'_>| {
            groups.committed.iter().try_for_each(|(key, offset)| {
                let partition = key.partition.to_string();
                let labels = [("consumergroup", &*key.group), ("topic", &*key.topic), ("partition", &*partition)];
                match value(&key.topic, key.partition, offset.0) {
                    Some(value) => family.number(&labels, value),
                    None => Ok(()),
                }
            })
        })
    };
    offsets(page, &names::GROUP_OFFSET, &|_, _, offset| Some(offset))?;
    offsets(page, &names::GROUP_LAG, &|topic, partition, offset| {
        let end = partitions.end_of(topic, partition)?;
        // Records may have been deleted, or the topic made anew.
        Some(end.0.saturating_sub(offset).max(0))
    })?;
    page.number(&names::LEFT_OUT, groups.left_out)
}
