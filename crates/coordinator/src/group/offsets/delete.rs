//! OffsetDelete, and offsets that go with their group or topic. Kafka: `OffsetMetadataManager.deleteOffsets`,
//! `deleteAllOffsets`, `onTopicsDeleted`.

use crate::group::classic::{ClassicState, step};
use crate::group::context::Context;
use crate::group::error::Refusal;
use crate::group::records::GroupRecord;
use crate::group::state::{Group, Groups, OffsetKey};
use milena_protocol::Text;
use milena_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use milena_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use milena_protocol::messages::{OffsetCommitKey, OffsetDeleteRequest, OffsetDeleteResponse};
use milena_types::{ErrorCode, TopicId};
use std::collections::BTreeSet;

/// OffsetDelete. Offsets of topics that members want stay.
///
/// # Errors
/// Becomes the error of the answer.
pub(crate) fn delete(
    context: &mut Context<'_>,
    request: &OffsetDeleteRequest,
) -> Result<(Vec<GroupRecord>, OffsetDeleteResponse), Refusal> {
    let group_id = request.group_id.detached();
    let state = context.state;
    let subscribed: Vec<bool> = match state.group(&group_id) {
        None => return Err(ErrorCode::GROUP_ID_NOT_FOUND.into()),
        Some(Group::Consumer(group)) => {
            request.topics.iter().map(|topic| group.is_subscribed_to(&topic.name)).collect()
        }
        Some(Group::Classic(_)) => {
            let Some(step) = step(context, &group_id) else { return Err(ErrorCode::GROUP_ID_NOT_FOUND.into()) };
            if !step.group.is_in(ClassicState::Empty) && !step.group.uses_consumer_protocol() {
                return Err(ErrorCode::NON_EMPTY_GROUP.into());
            }
            request.topics.iter().map(|topic| step.group.is_subscribed_to(&topic.name)).collect()
        }
    };
    let mut records = Vec::new();
    let topics = request.topics.iter().zip(subscribed);
    let topics =
        topics.map(|(topic, is_subscribed)| delete_topic(state, &group_id, topic, is_subscribed, &mut records));
    let response = OffsetDeleteResponse { topics: topics.collect(), ..OffsetDeleteResponse::default() };
    Ok((records, response))
}

fn delete_topic(
    state: &Groups,
    group: &Text,
    topic: &OffsetDeleteRequestTopic,
    is_subscribed: bool,
    records: &mut Vec<GroupRecord>,
) -> OffsetDeleteResponseTopic {
    let mut answer = OffsetDeleteResponseTopic { name: topic.name.clone(), ..Default::default() };
    for partition in &topic.partitions {
        let index = partition.partition_index;
        let error = if is_subscribed { ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC } else { ErrorCode::NONE };
        answer.partitions.push(OffsetDeleteResponsePartition { partition_index: index, error_code: error.0 });
        let key = OffsetKey { group: group.clone(), topic: topic.name.detached(), partition: index };
        if !is_subscribed && (state.offsets.contains_key(&key) || state.has_pending(&key)) {
            records.push(tombstone(&key));
        }
    }
    answer
}

/// The record that removes an offset.
pub(super) fn tombstone(key: &OffsetKey) -> GroupRecord {
    let key = OffsetCommitKey { group: key.group.clone(), topic: key.topic.clone(), partition: key.partition };
    GroupRecord::OffsetCommit(key, None)
}

/// The records that remove every offset of a group, those of open transactions too.
pub(crate) fn delete_all(state: &Groups, group: &Text) -> Vec<GroupRecord> {
    let mut keys: BTreeSet<&OffsetKey> = state.offsets_of(group).map(|(key, _)| key).collect();
    for (_, pending) in state.pending.iter() {
        keys.extend(pending.keys().filter(|key| key.group == *group));
    }
    keys.into_iter().map(tombstone).collect()
}

/// The records that remove the offsets of topics that are gone. An offset that knows its topic's id stays if that is
/// another one.
pub(crate) fn topics_deleted(state: &Groups, deleted: &[(Text, TopicId)]) -> Vec<GroupRecord> {
    if deleted.is_empty() {
        return Vec::new();
    }
    let is_gone = |key: &OffsetKey, id: TopicId| {
        deleted.iter().any(|(name, gone)| *name == key.topic && (id.is_zero() || id == *gone))
    };
    let pending = state.pending.iter().flat_map(|(_, pending)| pending.iter());
    let keys: BTreeSet<&OffsetKey> = state
        .offsets
        .iter()
        .chain(pending)
        .filter(|(key, offset)| is_gone(key, offset.topic_id))
        .map(|(key, _)| key)
        .collect();
    keys.into_iter().map(tombstone).collect()
}
