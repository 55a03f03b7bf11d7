//! What this broker follows, by leader: kept up to date by the metadata thread, read by the fetchers
//! (`ReplicaManager.applyLocalFollowersDelta`).

use crate::broker::Broker;
use crate::partitions::Partition;
use milena_metadata::{Delta, Image, Topic};
use milena_replication::{PartitionKey, Role};
use milena_types::{BrokerId, LeaderEpoch};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A partition and the leader epoch it is followed in.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) partition: Arc<Partition>,
    pub(crate) leader_epoch: LeaderEpoch,
}

/// The partitions of one leader.
pub(crate) type Targets = BTreeMap<PartitionKey, Target>;

/// Everything followed.
#[derive(Debug)]
pub(crate) struct Following {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    by_leader: BTreeMap<BrokerId, Targets>,
    leader_of: BTreeMap<PartitionKey, BrokerId>,
}

impl Default for Following {
    fn default() -> Self {
        Self { state: Mutex::default(), changed: watch::channel(0).0 }
    }
}

impl Following {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells when something changed.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The leaders of what is followed.
    pub(crate) fn leaders(&self) -> Vec<BrokerId> {
        self.state().by_leader.keys().copied().collect()
    }

    /// What is followed from one leader.
    pub(crate) fn of(&self, leader: BrokerId) -> Targets {
        self.state().by_leader.get(&leader).cloned().unwrap_or_default()
    }

    fn announce(&self) {
        self.changed.send_modify(|version| *version = version.wrapping_add(1));
    }
}

impl State {
    fn set(&mut self, key: PartitionKey, followed: Option<(BrokerId, Target)>) {
        let leader = followed.as_ref().map(|(leader, _)| *leader);
        let before = match leader {
            Some(leader) => self.leader_of.insert(key, leader),
            None => self.leader_of.remove(&key),
        };
        if let Some(before) = before.filter(|before| leader != Some(*before))
            && let Some(targets) = self.by_leader.get_mut(&before)
        {
            targets.remove(&key);
            if targets.is_empty() {
                self.by_leader.remove(&before);
            }
        }
        if let Some((leader, target)) = followed {
            self.by_leader.entry(leader).or_default().insert(key, target);
        }
    }
}

impl Broker {
    /// Brings what is followed, and what leaders know of their followers' registrations, to where `image` is.
    pub(crate) fn follow_image(&self, image: &Image, delta: Option<&Delta>) {
        let everything = delta.is_none_or(|delta| !delta.brokers.is_empty());
        let mut state = self.following().state();
        if let Some(delta) = delta {
            for topic in delta.deleted_topics.values() {
                topic.iter().for_each(|(index, _)| state.set((topic.id, index), None));
            }
        }
        let topics: Vec<&Arc<Topic>> = match delta {
            Some(delta) if !everything => {
                delta.changed_partitions.keys().filter_map(|id| image.topics.get(*id)).collect()
            }
            _ => image.topics.iter_by_id().collect(),
        };
        for topic in topics {
            let local = self.partitions.by_id(topic.id);
            for (index, _) in topic.iter() {
                let partition = local.as_ref().and_then(|local| local.get(index));
                let followed = partition.and_then(|partition| look_at(partition, image));
                state.set((topic.id, index), followed);
            }
        }
        drop(state);
        self.following().announce();
    }
}

/// Tells a leader of its followers' registrations; says whom a follower follows.
fn look_at(partition: &Arc<Partition>, image: &Image) -> Option<(BrokerId, Target)> {
    let mut inner = partition.lock();
    match inner.state.role() {
        Role::Leader => {
            for id in inner.state.replicas().to_vec() {
                let registration = image.cluster.broker(id).filter(|broker| broker.is_active());
                inner.state.set_registered_epoch(id, registration.map(|broker| broker.epoch));
            }
            None
        }
        Role::Follower { leader } if leader.is_some() => {
            let target = Target { partition: Arc::clone(partition), leader_epoch: inner.state.leader_epoch() };
            Some((leader, target))
        }
        Role::Follower { .. } | Role::Offline => None,
    }
}
