//! `GroupCoordinators`: which coordinator has which group, and what becomes of coordinators when the cluster changes.

use super::host::{GroupDone, Host};
use super::loader::Loader;
use crate::broker::Broker;
use crate::partitions::LocalTopic;
use milena_coordinator::group::{Caller, GroupEvent, GroupMachine, GroupReply, GroupRequest, MemberMemory, java};
use milena_coordinator::runtime::{Coordinator, RuntimeConfig};
use milena_metadata::{Delta, Image};
use milena_protocol::Text;
use milena_types::{ErrorCode, TopicId};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The topic of groups.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Every group coordinator of this broker.
#[derive(Default)]
pub(crate) struct GroupCoordinators {
    /// By partition.
    hosts: RwLock<BTreeMap<i32, Arc<Host>>>,
    loader: Arc<Loader>,
    /// What members of classic groups have said, everywhere here.
    memory: OnceLock<MemberMemory>,
}

impl GroupCoordinators {
    pub(super) fn hosts(&self) -> RwLockReadGuard<'_, BTreeMap<i32, Arc<Host>>> {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn hosts_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<i32, Arc<Host>>> {
        self.hosts.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request of one group; `done` gets its answer, now or later.
    pub(crate) fn submit(&self, broker: &Broker, caller: Caller, request: GroupRequest, done: GroupDone) {
        if let Some(reply) = request.check(&broker.settings.groups.config) {
            return done(reply);
        }
        let group = request.group_id().cloned().unwrap_or_default();
        self.submit_to(partition_of(broker, &group), caller, request, done);
    }

    /// A request of groups of one partition.
    pub(crate) fn submit_to(&self, partition: i32, caller: Caller, request: GroupRequest, done: GroupDone) {
        let host = self.hosts().get(&partition).cloned();
        match host {
            Some(host) => host.request(caller, request, done),
            None => done(request.refused(ErrorCode::NOT_COORDINATOR)),
        }
    }

    /// Follows the leaderships of the groups' topic, and tells every coordinator what changed. The partitions have
    /// followed the image already, and it is the broker's.
    pub(crate) fn follow(&self, broker: &Arc<Broker>, image: &Arc<Image>, delta: Option<&Delta>) {
        let local = broker.partitions.named(OFFSETS_TOPIC);
        let concerns_us = delta.is_none_or(|delta| {
            let topic = image.topics.id_of(OFFSETS_TOPIC);
            topic.is_none() || topic.is_some_and(|topic| delta.changed_partitions.contains_key(&topic))
        });
        if concerns_us {
            self.follow_leaders(broker, image, local.as_deref());
        }
        let Some(delta) = delta else { return };
        let is_of_interest =
            delta.has_topics() || delta.features || !delta.configs.is_empty() || !delta.brokers.is_empty();
        if !is_of_interest {
            return;
        }
        let deleted: Vec<(Text, TopicId)> =
            delta.deleted_topics.iter().map(|(id, topic)| (topic.name.clone(), *id)).collect();
        let changed: Vec<TopicId> = delta.changed_partitions.keys().copied().collect();
        let hosts: Vec<Arc<Host>> = self.hosts().values().cloned().collect();
        for host in hosts {
            let (image, deleted, changed) = (Arc::clone(image), deleted.clone(), changed.clone());
            host.event(GroupEvent::Image { image, deleted, changed });
        }
    }

    fn follow_leaders(&self, broker: &Arc<Broker>, image: &Arc<Image>, local: Option<&LocalTopic>) {
        let led: BTreeMap<i32, _> = local
            .into_iter()
            .flat_map(|local| local.partitions.iter().flatten())
            .filter_map(|partition| Some((partition.index.0, (Arc::clone(partition), partition.led_epoch()?))))
            .collect();
        let mut ended = Vec::new();
        let mut begun = Vec::new();
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
            let settings = &broker.settings.groups;
            let seed = crate::random::seed();
            let machine = GroupMachine::new(Arc::clone(&settings.config), Arc::clone(image), seed);
            let memory = self.memory.get_or_init(|| MemberMemory::new(settings.member_bytes_max));
            let machine = machine.sharing(memory.clone());
            let config = RuntimeConfig {
                max_batch_bytes: partition.max_batch_bytes(),
                append_linger_ms: settings.config.append_linger_ms,
                write_timeout_ms: settings.config.offsets_commit_timeout_ms,
                codec: settings.offsets_topic_codec,
            };
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
    pub(crate) fn stop(&self) {
        let hosts = std::mem::take(&mut *self.hosts_mut());
        for host in hosts.into_values() {
            host.end(ErrorCode::NOT_COORDINATOR);
        }
    }
}

/// The partition of the groups' topic that a group is on, whether the topic exists or not.
pub(crate) fn partition_of(broker: &Broker, group: &str) -> i32 {
    let existing = broker.image().topics.named(OFFSETS_TOPIC).map(|topic| topic.partitions.len());
    let count = existing.and_then(|count| i32::try_from(count).ok());
    java::partition_for(group, count.unwrap_or(broker.settings.groups.offsets_topic_num_partitions))
}

/// Collects the answers of several coordinators.
pub(super) struct Gather<T> {
    state: std::sync::Mutex<(usize, Vec<T>, Option<GatherDone<T>>)>,
}

pub(super) type GatherDone<T> = Box<dyn FnOnce(Vec<T>) + Send>;

impl<T: Send> Gather<T> {
    /// `done` gets everything once `count` parts have come.
    pub(super) fn new(count: usize, done: GatherDone<T>) -> Arc<Self> {
        let gather = Arc::new(Gather { state: std::sync::Mutex::new((count, Vec::new(), Some(done))) });
        gather.finish(gather.lock());
        gather
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (usize, Vec<T>, Option<GatherDone<T>>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One part.
    pub(super) fn add(&self, part: T) {
        let mut state = self.lock();
        state.0 = state.0.saturating_sub(1);
        state.1.push(part);
        self.finish(state);
    }

    fn finish(&self, mut state: std::sync::MutexGuard<'_, (usize, Vec<T>, Option<GatherDone<T>>)>) {
        if state.0 > 0 {
            return;
        }
        let parts = std::mem::take(&mut state.1);
        let done = state.2.take();
        drop(state);
        if let Some(done) = done {
            done(parts);
        }
    }
}

/// Whether two answers are of one kind is the coordinator's affair.
pub(super) type ReplyGather = Gather<GroupReply>;
