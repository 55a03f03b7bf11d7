//! What went through partitions, by topic and in all. Kafka: `BrokerTopicStats`.

use super::names;
use super::partitions::SeenPartitions;
use crate::partitions::Traffic;
use milena_metrics::{Counter, Metric, Page};
use milena_protocol::Text;
use std::fmt;

/// A metric and its count of a partition.
type Column = (&'static Metric, fn(&Traffic) -> &Counter);

/// With a line for each topic.
static BY_TOPIC: [Column; 8] = [
    (&names::MESSAGES_IN, |traffic| &traffic.messages_in),
    (&names::BYTES_IN, |traffic| &traffic.bytes_in),
    (&names::BYTES_OUT, |traffic| &traffic.bytes_out),
    (&names::BYTES_REJECTED, |traffic| &traffic.bytes_rejected),
    (&names::PRODUCE_REQUESTS, |traffic| &traffic.produce_requests),
    (&names::FETCH_REQUESTS, |traffic| &traffic.fetch_requests),
    (&names::FAILED_PRODUCE_REQUESTS, |traffic| &traffic.failed_produce_requests),
    (&names::FAILED_FETCH_REQUESTS, |traffic| &traffic.failed_fetch_requests),
];

/// In all only, as Apache Kafka has them.
static IN_ALL: [Column; 2] = [
    (&names::REPLICATION_BYTES_IN, |traffic| &traffic.replication_bytes_in),
    (&names::REPLICATION_BYTES_OUT, |traffic| &traffic.replication_bytes_out),
];

pub(super) fn write(page: &mut Page<'_>, partitions: &SeenPartitions) -> fmt::Result {
    let mut topics: Vec<(&Text, Traffic)> = Vec::new();
    for (topic, traffic) in partitions.traffic() {
        match topics.last() {
            Some((last, sum)) if *last == topic => sum.add(traffic),
            _ => {
                let sum = Traffic::default();
                sum.add(traffic);
                topics.push((topic, sum));
            }
        }
    }
    let in_all = |of: fn(&Traffic) -> &Counter| {
        of(&partitions.gone).get() + topics.iter().map(|(_, traffic)| of(traffic).get()).sum::<u64>()
    };
    for (metric, of) in BY_TOPIC {
        page.family(metric, |family| {
            family.number(&[], in_all(of))?;
            topics.iter().try_for_each(|(topic, traffic)| family.number(&[("topic", topic)], of(traffic).get()))
        })?;
    }
    IN_ALL.iter().try_for_each(|(metric, of)| page.number(metric, in_all(*of)))
}
