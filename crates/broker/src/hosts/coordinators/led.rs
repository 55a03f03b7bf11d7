//! `Led`: the coordinators of the partitions that this broker leads.

use super::Hosted;
use super::host::Host;
use super::loader::Loader;
use crate::broker::Broker;
use crate::partitions::Partition;
use milena_coordinator::group::java;
use milena_coordinator::runtime::{Coordinator, RuntimeConfig};
use milena_metadata::{Delta, Image};
use milena_types::ErrorCode;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// All of one kind.
pub(in crate::hosts) struct Led<M: Hosted> {
    /// By partition.
    hosts: RwLock<BTreeMap<i32, Arc<Host<M>>>>,
    loader: Arc<Loader<M>>,
}

impl<M: Hosted> Default for Led<M> {
    fn default() -> Self {
        Led { hosts: RwLock::default(), loader: Arc::default() }
    }
}

impl<M: Hosted> Led<M> {
    fn hosts(&self) -> RwLockReadGuard<'_, BTreeMap<i32, Arc<Host<M>>>> {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn hosts_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<i32, Arc<Host<M>>>> {
        self.hosts.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The coordinator on a partition, if it is here.
    pub(in crate::hosts) fn on(&self, partition: i32) -> Option<Arc<Host<M>>> {
        self.hosts().get(&partition).cloned()
    }

    /// Every coordinator here.
    pub(in crate::hosts) fn all(&self) -> Vec<Arc<Host<M>>> {
        self.hosts().values().cloned().collect()
    }

    /// Follows the leaderships of the topic. The partitions have followed the image already, and it is the broker's.
    pub(in crate::hosts) fn follow(
        &self,
        broker: &Arc<Broker>,
        (image, delta): (&Image, Option<&Delta>),
        begin: impl Fn(&Partition) -> (M, RuntimeConfig),
    ) {
        let concerns_us = delta.is_none_or(|delta| {
            let topic = image.topics.id_of(M::TOPIC);
            topic.is_none() || topic.is_some_and(|topic| delta.changed_partitions.contains_key(&topic))
        });
        if !concerns_us {
            return;
        }
        let local = broker.partitions.named(M::TOPIC);
        let led: BTreeMap<i32, _> = local
            .iter()
            .flat_map(|local| local.partitions.iter().flatten())
            .filter_map(|partition| Some((partition.index.0, (Arc::clone(partition), partition.led_epoch()?))))
            .collect();
        let (mut ended, mut begun) = (Vec::new(), Vec::new());
        let mut hosts = self.hosts_mut();
        hosts.retain(|index, host| {
            let goes_on = led
                .get(index)
                .is_some_and(|(partition, epoch)| *epoch == host.epoch && Arc::ptr_eq(partition, &host.partition));
            if !goes_on {
                ended.push(Arc::clone(host));
            }
            goes_on
        });
        for (index, (partition, epoch)) in led {
            if hosts.contains_key(&index) {
                continue;
            }
            let (machine, config) = begin(&partition);
            let host = Host::new(broker, partition, epoch, Coordinator::new(machine, config, epoch));
            hosts.insert(index, Arc::clone(&host));
            begun.push(host);
        }
        drop(hosts);
        for host in ended {
            host.end(ErrorCode::NOT_COORDINATOR);
        }
        for host in begun {
            self.loader.add(broker, host);
        }
    }

    /// The broker stops: whoever waits is told to look elsewhere.
    pub(in crate::hosts) fn stop(&self) {
        let hosts = std::mem::take(&mut *self.hosts_mut());
        for host in hosts.into_values() {
            host.end(ErrorCode::NOT_COORDINATOR);
        }
    }
}

/// The partition of the topic that a group or a transactional id is on, whether the topic exists or not.
pub(in crate::hosts) fn partition_of<M: Hosted>(broker: &Broker, id: &str) -> i32 {
    let existing = broker.image().topics.named(M::TOPIC).map(|topic| topic.partitions.len());
    let count = existing.and_then(|count| i32::try_from(count).ok());
    java::partition_for(id, count.unwrap_or_else(|| M::partitions_if_new(&broker.settings)))
}
