//! One session: the partitions a client fetches, in the order they are served, and what it was last told of each.

use std::collections::{BTreeMap, HashMap};

use milena_types::{ErrorCode, Offset, Timestamp};

use super::{PartitionOutcome, RequestedPartition, TopicKey};

#[derive(Debug)]
struct CachedPartition {
    requested: RequestedPartition,
    /// As last told to the client; `Offset::NONE` forces the next response to tell.
    high_watermark: Offset,
    log_start_offset: Offset,
}

/// A cached session. Partitions that just had records go to the end of the order, so that all get their turn.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) privileged: bool,
    pub(super) uses_topic_ids: bool,
    pub(super) created: Timestamp,
    pub(super) last_used: Timestamp,
    /// The epoch the next request must carry.
    pub(super) epoch: i32,
    /// The size under which the cache has filed it.
    pub(super) filed_size: usize,
    places: HashMap<(TopicKey, i32), u64>,
    order: BTreeMap<u64, CachedPartition>,
    next_place: u64,
}

impl Session {
    pub(super) fn new(privileged: bool, uses_topic_ids: bool, now: Timestamp) -> Session {
        Session {
            privileged,
            uses_topic_ids,
            created: now,
            last_used: now,
            epoch: 1,
            filed_size: 0,
            places: HashMap::new(),
            order: BTreeMap::new(),
            next_place: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Adds a partition, or changes what is asked of it.
    pub(super) fn put(&mut self, requested: &RequestedPartition) {
        let key = (requested.topic.clone(), requested.partition);
        if let Some(cached) = self.places.get(&key).and_then(|place| self.order.get_mut(place)) {
            let topic = cached.requested.topic.clone();
            cached.requested = RequestedPartition { topic, ..requested.clone() };
            return;
        }
        let topic = requested.topic.detached();
        let key = (topic.clone(), requested.partition);
        let cached = CachedPartition {
            requested: RequestedPartition { topic, ..requested.clone() },
            high_watermark: Offset::NONE,
            log_start_offset: Offset::NONE,
        };
        self.places.insert(key, self.next_place);
        self.order.insert(self.next_place, cached);
        self.next_place += 1;
    }

    pub(super) fn update(&mut self, changed: &[RequestedPartition], forgotten: &[(TopicKey, i32)]) {
        for requested in changed {
            self.put(requested);
        }
        for key in forgotten {
            if let Some(place) = self.places.remove(key) {
                self.order.remove(&place);
            }
        }
    }

    pub(super) fn requested(&self) -> Vec<RequestedPartition> {
        self.order.values().map(|cached| cached.requested.clone()).collect()
    }

    /// What the first full response told.
    pub(super) fn note_told(&mut self, asked: &RequestedPartition, outcome: &PartitionOutcome) {
        if let Some((_, cached)) = self.find(asked) {
            cached.high_watermark = outcome.high_watermark;
            cached.log_start_offset = outcome.log_start_offset;
        }
    }

    /// Whether this outcome differs from what the client knows; remembers what it is told then.
    pub(super) fn note_outcome(&mut self, asked: &RequestedPartition, outcome: &PartitionOutcome) -> bool {
        let next_place = self.next_place;
        let Some((place, cached)) = self.find(asked) else {
            return true;
        };
        let news = cached.has_news(outcome);
        cached.high_watermark = if outcome.error.is_none() { outcome.high_watermark } else { Offset::NONE };
        cached.log_start_offset = outcome.log_start_offset;
        if news && outcome.records_size > 0 {
            if let Some(cached) = self.order.remove(&place) {
                self.order.insert(next_place, cached);
            }
            self.places.insert((asked.topic.clone(), asked.partition), next_place);
            self.next_place += 1;
        }
        news
    }

    pub(super) fn has_news(&self, asked: &RequestedPartition, outcome: &PartitionOutcome) -> bool {
        let place = self.places.get(&(asked.topic.clone(), asked.partition));
        place.and_then(|place| self.order.get(place)).is_none_or(|cached| cached.has_news(outcome))
    }

    fn find(&mut self, asked: &RequestedPartition) -> Option<(u64, &mut CachedPartition)> {
        let place = *self.places.get(&(asked.topic.clone(), asked.partition))?;
        Some((place, self.order.get_mut(&place)?))
    }
}

impl CachedPartition {
    fn has_news(&self, outcome: &PartitionOutcome) -> bool {
        outcome.records_size > 0
            || outcome.high_watermark != self.high_watermark
            || outcome.log_start_offset != self.log_start_offset
            || outcome.has_redirect
            || outcome.error != ErrorCode::NONE
    }
}
