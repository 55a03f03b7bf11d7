//! OffsetFetch of one group. Kafka: `OffsetMetadataManager.fetchOffsets`, `fetchAllOffsets`.
//!
//! What must be stable is read with everything decided and answered once that is committed; an offset that an open
//! transaction is about to change is then refused. Everything else is read as committed.

use crate::group::consumer;
use crate::group::context::Context;
use crate::group::error::Refusal;
use crate::group::state::{CommittedOffset, Group, OffsetKey};
use milena_protocol::Text;
use milena_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use milena_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use milena_types::{ErrorCode, TopicId};

/// OffsetFetch of one group; topics have their names.
///
/// # Errors
/// Becomes the error of the group.
pub(crate) fn fetch(
    context: &Context<'_>,
    request: &OffsetFetchRequestGroup,
    require_stable: bool,
) -> Result<OffsetFetchResponseGroup, Refusal> {
    let state = context.state;
    let group = if require_stable { state.group(&request.group_id) } else { state.committed_group(&request.group_id) };
    if let Some(Group::Consumer(group)) = group {
        consumer::validate_fetch(group, request.member_id.as_ref(), request.member_epoch)?;
    }
    let reader = Reader { context, request, require_stable, is_known: group.is_some() };
    let topics = match &request.topics {
        Some(_) => reader.named(),
        None => reader.all(),
    };
    Ok(OffsetFetchResponseGroup { group_id: request.group_id.clone(), topics, ..Default::default() })
}

struct Reader<'a> {
    context: &'a Context<'a>,
    request: &'a OffsetFetchRequestGroup,
    require_stable: bool,
    is_known: bool,
}

impl Reader<'_> {
    /// The offsets asked for.
    fn named(&self) -> Vec<OffsetFetchResponseTopics> {
        let topics = self.request.topics.as_deref().unwrap_or_default();
        topics
            .iter()
            .map(|topic| {
                let partition = |index: &i32| self.one(&topic.name, *index, topic.topic_id);
                OffsetFetchResponseTopics {
                    name: topic.name.clone(),
                    topic_id: topic.topic_id,
                    partitions: topic.partition_indexes.iter().map(partition).collect(),
                    ..Default::default()
                }
            })
            .collect()
    }

    fn one(&self, topic: &Text, partition: i32, topic_id: TopicId) -> OffsetFetchResponsePartitions {
        if !self.is_known {
            return none(partition);
        }
        let key = OffsetKey { group: self.request.group_id.clone(), topic: topic.clone(), partition };
        let offsets = &self.context.state.offsets;
        let found = if self.require_stable { offsets.get(&key) } else { offsets.committed(&key) };
        if self.is_unstable(&key) {
            return unstable(partition);
        }
        // An offset of a topic that had the same name before is not this one's.
        let is_its =
            |offset: &&CommittedOffset| offset.topic_id.is_zero() || topic_id.is_zero() || offset.topic_id == topic_id;
        found.filter(is_its).map_or_else(|| none(partition), |offset| some(partition, offset))
    }

    /// Everything the group has.
    fn all(&self) -> Vec<OffsetFetchResponseTopics> {
        let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
        if !self.is_known {
            return topics;
        }
        let (state, group) = (self.context.state, &self.request.group_id);
        let offsets: Vec<(&OffsetKey, &CommittedOffset)> =
            if self.require_stable { state.offsets_of(group).collect() } else { state.committed_offsets_of(group) };
        for (key, offset) in offsets {
            let answer = if self.is_unstable(key) { unstable(key.partition) } else { some(key.partition, offset) };
            match topics.last_mut() {
                Some(topic) if topic.name == key.topic => topic.partitions.push(answer),
                _ => topics.push(OffsetFetchResponseTopics {
                    name: key.topic.clone(),
                    partitions: vec![answer],
                    ..Default::default()
                }),
            }
        }
        topics
    }

    fn is_unstable(&self, key: &OffsetKey) -> bool {
        self.require_stable && self.context.state.has_pending(key)
    }
}

fn some(partition: i32, offset: &CommittedOffset) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: partition,
        committed_offset: offset.offset.0,
        committed_leader_epoch: offset.leader_epoch.0,
        metadata: Some(offset.metadata.clone()),
        ..Default::default()
    }
}

fn none(partition: i32) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: partition,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Text::default()),
        ..Default::default()
    }
}

fn unstable(partition: i32) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions { error_code: ErrorCode::UNSTABLE_OFFSET_COMMIT.0, ..none(partition) }
}
