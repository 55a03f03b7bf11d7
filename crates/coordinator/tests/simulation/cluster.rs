//! The cluster beside the coordinator: topics that come, grow and go, with the records producers have written to them.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_coordinator::group::GroupEvent;
use milena_metadata::{Delta, Image};
use milena_protocol::Text;
use milena_protocol::messages::{MetadataRecord, PartitionRecord, RemoveTopicRecord, TopicRecord};
use milena_types::{LeaderEpoch, Offset, Uuid};

/// A partition.
pub(crate) type Spot = (Uuid, i32);

/// What a member wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    Names(BTreeSet<Text>),
    Regex(Text),
}

impl Wish {
    /// Every topic there can be.
    pub(crate) fn all() -> Wish {
        Wish::Names((0..4).map(|number| Text::from(format!("t{number}"))).collect())
    }

    pub(crate) fn wants(&self, topic: &Text) -> bool {
        match self {
            Wish::Names(names) => names.contains(topic),
            // The expressions used here are `t.*` and `t[0-2]`.
            Wish::Regex(regex) => **regex == *"t.*" || matches!(&**topic, "t0" | "t1" | "t2"),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) image: Arc<Image>,
    pub(crate) topics: BTreeMap<Text, (Uuid, i32)>,
    /// How many records each partition has; those of topics that are gone stay to be looked up.
    pub(crate) ends: BTreeMap<Spot, i64>,
    last_id: u128,
}

impl Cluster {
    fn change(&mut self, records: &[MetadataRecord]) -> GroupEvent {
        let image = Arc::make_mut(&mut self.image);
        let mut delta = Delta::default();
        for record in records {
            let offset = Offset(image.offset.0 + 1);
            image.replay(record, offset, LeaderEpoch(1), &mut delta).unwrap();
        }
        let deleted = delta.deleted_topics.iter().map(|(id, topic)| (topic.name.clone(), *id)).collect();
        let changed = delta.changed_partitions.keys().copied().collect();
        GroupEvent::Image { image: Arc::clone(&self.image), deleted, changed }
    }

    pub(crate) fn create(&mut self, name: &Text, count: i32) -> GroupEvent {
        self.last_id += 1;
        let id = Uuid((self.last_id + 1_000).to_be_bytes());
        self.topics.insert(name.clone(), (id, count));
        self.ends.extend((0..count).map(|number| ((id, number), 0)));
        let topic = TopicRecord { name: name.clone(), topic_id: id, ..Default::default() };
        let mut records = vec![MetadataRecord::Topic(topic)];
        records.extend((0..count).map(|number| partition_record(id, number)));
        self.change(&records)
    }

    pub(crate) fn grow(&mut self, name: &Text, more: i32) -> Option<GroupEvent> {
        let (id, count) = self.topics.get_mut(name)?;
        let (id, from, to) = (*id, *count, *count + more);
        *count = to;
        self.ends.extend((from..to).map(|number| ((id, number), 0)));
        let records: Vec<MetadataRecord> = (from..to).map(|number| partition_record(id, number)).collect();
        Some(self.change(&records))
    }

    pub(crate) fn delete(&mut self, name: &Text) -> Option<GroupEvent> {
        let (topic_id, _) = self.topics.remove(name)?;
        let record = RemoveTopicRecord { topic_id, ..Default::default() };
        Some(self.change(&[MetadataRecord::RemoveTopic(record)]))
    }

    pub(crate) fn id_of(&self, name: &Text) -> Option<Uuid> {
        self.topics.get(name).map(|(id, _)| *id)
    }

    pub(crate) fn name_of(&self, id: Uuid) -> Option<&Text> {
        self.topics.iter().find(|(_, (known, _))| *known == id).map(|(name, _)| name)
    }

    pub(crate) fn end_of(&self, spot: Spot) -> Option<i64> {
        self.name_of(spot.0)?;
        self.ends.get(&spot).copied()
    }

    pub(crate) fn spots(&self) -> impl Iterator<Item = (&Text, Spot)> {
        self.topics.iter().flat_map(|(name, (id, count))| (0..*count).map(move |number| (name, (*id, number))))
    }

    /// The partitions of what is wanted.
    pub(crate) fn wanted(&self, wish: &Wish) -> BTreeSet<Spot> {
        self.spots().filter(|(name, _)| wish.wants(name)).map(|(_, spot)| spot).collect()
    }
}

fn partition_record(topic_id: Uuid, partition_id: i32) -> MetadataRecord {
    MetadataRecord::Partition(PartitionRecord {
        topic_id,
        partition_id,
        replicas: vec![1],
        isr: vec![1],
        leader: 1,
        ..Default::default()
    })
}
