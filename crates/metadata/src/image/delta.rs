//! `Delta`: what replayed records changed, so that a publisher touches only that (`MetadataDelta`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_types::{BrokerId, PartitionIndex, TopicId};

use super::{ConfigResource, Topic};

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
