//! `Delta`: what replayed records changed, so that a publisher touches only that (`MetadataDelta`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_types::{BrokerId, PartitionIndex, TopicId};

use super::{ConfigResource, Image, Topic};

/// What changed since the delta was empty. The new state is in the image; only what is gone is kept here.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Delta {
    /// Whether a feature level changed.
    pub features: bool,
    /// Brokers that registered, changed or left.
    pub brokers: BTreeSet<BrokerId>,
    /// Controllers that registered.
    pub controllers: BTreeSet<BrokerId>,
    /// Topics that are new; those created and deleted within the delta are not in it.
    pub created_topics: BTreeSet<TopicId>,
    /// Topics that are gone, as they last were.
    pub deleted_topics: BTreeMap<TopicId, Arc<Topic>>,
    /// Partitions that are new or changed, of topics that still exist.
    pub changed_partitions: BTreeMap<TopicId, BTreeSet<PartitionIndex>>,
    /// Resources whose dynamic configs changed, also by the deletion of their topic.
    pub configs: BTreeSet<ConfigResource>,
    /// Whether a block of producer ids was given out.
    pub producer_ids: bool,
    /// Whether access control entries changed.
    pub acls: bool,
    /// Whether client quotas changed.
    pub client_quotas: bool,
    /// Whether SCRAM credentials changed.
    pub scram: bool,
    /// Whether delegation tokens changed.
    pub delegation_tokens: bool,
}

impl Delta {
    /// From one image to a later one that does not follow it record by record (`MetadataDelta.finishSnapshot`): what
    /// may have changed is noted, and exactly what is gone.
    #[must_use]
    pub fn replacing(before: &Image, after: &Image) -> Delta {
        let gone = before.topics.iter_by_id().filter(|topic| after.topics.get(topic.id).is_none());
        let new = after.topics.iter_by_id().filter(|topic| before.topics.get(topic.id).is_none());
        let partitions =
            after.topics.iter_by_id().map(|topic| (topic.id, topic.iter().map(|(index, _)| index).collect()));
        let brokers = |image: &Image| image.cluster.brokers.keys().copied().collect::<BTreeSet<_>>();
        let controllers = |image: &Image| image.cluster.controllers.keys().copied().collect::<BTreeSet<_>>();
        let configs =
            |image: &Image| image.configs.iter().map(|(resource, _)| resource.clone()).collect::<BTreeSet<_>>();
        Delta {
            features: true,
            brokers: &brokers(before) | &brokers(after),
            controllers: &controllers(before) | &controllers(after),
            created_topics: new.map(|topic| topic.id).collect(),
            deleted_topics: gone.map(|topic| (topic.id, Arc::clone(topic))).collect(),
            changed_partitions: partitions.collect(),
            configs: &configs(before) | &configs(after),
            producer_ids: true,
            acls: true,
            client_quotas: true,
            scram: true,
            delegation_tokens: true,
        }
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Delta::default()
    }

    /// Whether topics or partitions changed.
    #[must_use]
    pub fn has_topics(&self) -> bool {
        !self.created_topics.is_empty() || !self.deleted_topics.is_empty() || !self.changed_partitions.is_empty()
    }

    pub(super) fn topic_deleted(&mut self, topic: Arc<Topic>) {
        self.changed_partitions.remove(&topic.id);
        if !self.created_topics.remove(&topic.id) {
            self.deleted_topics.insert(topic.id, topic);
        }
    }

    pub(super) fn partition_changed(&mut self, topic: TopicId, partition: PartitionIndex) {
        self.changed_partitions.entry(topic).or_default().insert(partition);
    }
}
