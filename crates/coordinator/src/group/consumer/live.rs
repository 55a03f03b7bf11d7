//! What consumer groups remember beside the log, and what they do when the cluster changes.

use std::collections::BTreeMap;

use milena_metadata::{Image, Topics};
use milena_protocol::Text;
use milena_types::{Timestamp, TopicId};

use super::metadata_hash::{group_hash, topic_hash};
use super::state::{ConsumerGroup, SubscribedTopics};
use crate::group::context::Context;
use crate::group::state::Group;

/// For so long the topics of a group are believed to be unchanged when nothing says otherwise.
const BELIEVED_MS: i64 = i32::MAX as i64;

/// What is forgotten when the coordinator moves.
#[derive(Debug, Default)]
pub struct ConsumerLive {
    /// By group: until when, and at which group epoch, its metadata hash is known to be right.
    checked: BTreeMap<Text, Checked>,
    /// Of topics that groups want. Racks of brokers are looked at once: Kafka does not look again either.
    topic_hashes: BTreeMap<Text, i64>,
    /// The offset of the last metadata in which there was a new topic.
    pub(super) new_topics_version: i64,
    known_topics: Topics,
}

#[derive(Clone, Copy, Debug)]
struct Checked {
    until: Timestamp,
    epoch: i32,
}

impl ConsumerLive {
    /// Whether the topics of a group must be looked at again (`ModernGroup.hasMetadataExpired`). A group whose epoch is
    /// smaller than when they were looked at has lost its records since.
    pub(super) fn is_outdated(&self, id: &Text, group: &ConsumerGroup, now: Timestamp) -> bool {
        self.checked.get(id).is_none_or(|checked| now >= checked.until || group.epoch < checked.epoch)
    }

    /// The group has become another.
    pub(super) fn forget(&mut self, id: &Text) {
        self.checked.remove(id);
    }

    /// The topics of a group have just been looked at.
    pub(super) fn set_checked(&mut self, id: &Text, epoch: i32, now: Timestamp) {
        let until = Timestamp(now.0.saturating_add(BELIEVED_MS));
        self.checked.insert(id.clone(), Checked { until, epoch });
    }

    /// The metadata hash of these topics (`ModernGroup.computeMetadataHash`).
    pub(super) fn metadata_hash(&mut self, topics: &SubscribedTopics, image: &Image) -> i64 {
        let mut hashes = BTreeMap::new();
        for name in topics.keys() {
            let Some(topic) = image.topics.named(name) else { continue };
            let hash = match self.topic_hashes.get(name) {
                Some(hash) => *hash,
                None => *self.topic_hashes.entry(name.clone()).or_insert_with(|| topic_hash(topic, image)),
            };
            hashes.insert(name, hash);
        }
        group_hash(&hashes)
    }

    /// The coordinator begins with this cluster.
    pub(super) fn begin(&mut self, image: &Image) {
        self.new_topics_version = image.offset.0;
        self.known_topics = image.topics.clone();
    }
}

/// The cluster changed; the image of the context is the new one (`onMetadataUpdate`).
pub(crate) fn image_changed(context: &mut Context<'_>, deleted: &[(Text, TopicId)], changed: &[TopicId]) {
    let live = &mut context.live.consumer;
    // Neither is said after a log was loaded: anything may have happened meanwhile.
    if changed.is_empty() && deleted.is_empty() && live.known_topics != context.image.topics {
        live.new_topics_version = context.image.offset.0;
        live.topic_hashes.clear();
        live.checked.clear();
    }
    if changed.iter().any(|id| live.known_topics.get(*id).is_none()) {
        live.new_topics_version = context.image.offset.0;
    }
    live.known_topics = context.image.topics.clone();
    let changed = changed.iter().filter_map(|id| context.image.topics.get(*id)).map(|topic| &topic.name);
    let names: Vec<&Text> = changed.chain(deleted.iter().map(|(name, _)| name)).collect();
    for name in &names {
        live.topic_hashes.remove(*name);
    }
    live.checked.retain(|id, _| context.state.consumer(id).is_some());
    for (id, group) in context.state.iter() {
        if let Group::Consumer(group) = group
            && names.iter().any(|name| group.is_subscribed_to(name))
        {
            live.checked.remove(id);
        }
    }
}
