//! The throttles of replication (KIP-73): rates of the broker, `leader.replication.throttled.rate` and
//! `follower.replication.throttled.rate`, for the replicas that topics name. Replicas in sync are never throttled.

use milena_replication::Throttle;
use milena_types::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One side's rate.
#[derive(Debug)]
pub(crate) struct Rate(Mutex<Throttle>);

/// Both sides.
#[derive(Debug)]
pub(crate) struct Throttles {
    pub(crate) leader: Rate,
    pub(crate) follower: Rate,
}

impl Throttles {
    /// Windows as the file says.
    pub(crate) fn new(texts: &BTreeMap<String, String>) -> Self {
        let number = |key: &str, default| texts.get(key).and_then(|text| text.trim().parse().ok()).unwrap_or(default);
        let windows = number("replication.quota.window.num", 11);
        let seconds = number("replication.quota.window.size.seconds", 1);
        let rate = || Rate(Mutex::new(Throttle::new(windows, seconds)));
        Self { leader: rate(), follower: rate() }
    }

    /// Follows the broker's configs.
    pub(crate) fn set(&self, texts: &BTreeMap<String, String>) {
        let rate = |key: &str| texts.get(key).and_then(|text| text.trim().parse().ok());
        self.leader.throttle().set_rate(rate("leader.replication.throttled.rate"));
        self.follower.throttle().set_rate(rate("follower.replication.throttled.rate"));
    }
}

impl Rate {
    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether throttled replicas must wait.
    pub(crate) fn is_exceeded(&self, now: Timestamp) -> bool {
        self.throttle().is_exceeded(now)
    }

    /// Bytes of throttled replicas went.
    pub(crate) fn record(&self, bytes: usize, now: Timestamp) {
        if bytes > 0 {
            self.throttle().record(bytes as u64, now);
        }
    }
}

/// The partitions of a topic whose replicas here are throttled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Throttled {
    #[default]
    None,
    All,
    Some(Vec<i32>),
}

impl Throttled {
    /// From `*` or a list of `partition:broker`.
    pub(crate) fn of(entries: &[String], node: milena_types::BrokerId) -> Throttled {
        if entries.iter().any(|entry| entry == "*") {
            return Throttled::All;
        }
        let here = entries.iter().filter_map(|entry| {
            let (partition, broker) = entry.split_once(':')?;
            (broker.parse() == Ok(node.0)).then(|| partition.parse().ok()).flatten()
        });
        match here.collect::<Vec<i32>>() {
            here if here.is_empty() => Throttled::None,
            here => Throttled::Some(here),
        }
    }

    /// Whether a partition's replica is.
    pub(crate) fn has(&self, partition: milena_types::PartitionIndex) -> bool {
        match self {
            Throttled::None => false,
            Throttled::All => true,
            Throttled::Some(here) => here.contains(&partition.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_types::{BrokerId, PartitionIndex};

    #[test]
    fn a_list_names_the_replicas_of_each_broker() {
        let of = |text: &str| Throttled::of(&text.split(',').map(str::to_owned).collect::<Vec<_>>(), BrokerId(2));
        assert_eq!(of(""), Throttled::None);
        assert_eq!(of("0:1,1:3"), Throttled::None);
        assert_eq!(of("*"), Throttled::All);
        let some = of("0:1,1:2,2:2,3:12");
        let has: Vec<bool> = (0..4).map(|partition| some.has(PartitionIndex(partition))).collect();
        assert_eq!(has, [false, true, true, false]);
    }
}
