//! What a record of a consumer group changes. Kafka: `GroupMetadataManager.replay`.
//!
//! Records that come without what they belong to are passed over, as after compaction they do.

use std::sync::Arc;

use milena_protocol::messages::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue, ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
};

use super::member::Member;
use super::regex::ResolvedRegex;
use super::state::ConsumerGroup;
use crate::assignor::TopicPartitions;
use crate::group::records::GroupRecord;
use crate::group::state::Groups;

/// The assignment epoch of a group whose target got a tombstone.
const NO_TARGET_EPOCH: i32 = -1;

/// Makes the change of a record of a consumer group.
pub(crate) fn replay(groups: &mut Groups, record: &GroupRecord) {
    match record {
        GroupRecord::ConsumerGroupMetadata(key, None) => groups.remove_consumer(&key.group_id),
        GroupRecord::ConsumerGroupMetadata(key, Some(value)) => {
            if let Some(group) = groups.consumer_mut(&key.group_id, true) {
                group.epoch = value.epoch;
                group.metadata_hash = value.metadata_hash;
            }
        }
        GroupRecord::ConsumerGroupPartitionMetadata(key, value) => {
            if let Some(group) = groups.consumer_mut(&key.group_id, value.is_some()) {
                group.has_partition_metadata = value.is_some();
            }
        }
        GroupRecord::ConsumerGroupMemberMetadata(key, value) => {
            if let Some(group) = groups.consumer_mut(&key.group_id, value.is_some()) {
                replay_member(group, key, value.as_ref());
            }
        }
        GroupRecord::ConsumerGroupTargetAssignmentMetadata(key, value) => {
            if let Some(group) = groups.consumer_mut(&key.group_id, value.is_some()) {
                group.assignment_epoch = value.as_ref().map_or(NO_TARGET_EPOCH, |value| value.assignment_epoch);
                group.assignment_timestamp = value.as_ref().map_or(0, |value| value.assignment_timestamp);
            }
        }
        GroupRecord::ConsumerGroupTargetAssignmentMember(key, value) => {
            if let Some(group) = groups.consumer_mut(&key.group_id, value.is_some()) {
                replay_target(group, key, value.as_ref());
            }
        }
        GroupRecord::ConsumerGroupCurrentMemberAssignment(key, value) => {
            if let Some(group) = groups.consumer_mut(&key.group_id, value.is_some()) {
                replay_current(group, key, value.as_ref());
            }
        }
        GroupRecord::ConsumerGroupRegularExpression(key, value) => {
            if let Some(group) = groups.consumer_mut(&key.group_id, value.is_some()) {
                group.update_resolved_regex(&key.regular_expression, value.as_ref().map(resolved));
            }
        }
        GroupRecord::LegacyOffsetCommit(..) | GroupRecord::OffsetCommit(..) | GroupRecord::GroupMetadata(..) => {}
    }
}

fn replay_member(
    group: &mut ConsumerGroup,
    key: &ConsumerGroupMemberMetadataKey,
    value: Option<&ConsumerGroupMemberMetadataValue>,
) {
    match value {
        Some(value) => {
            let member = match group.member(&key.member_id) {
                Some(member) => member.with_metadata(value),
                None => Member::new(key.member_id.clone()).with_metadata(value),
            };
            group.update_member(member);
        }
        None => group.remove_member(&key.member_id),
    }
}

fn replay_target(
    group: &mut ConsumerGroup,
    key: &ConsumerGroupTargetAssignmentMemberKey,
    value: Option<&ConsumerGroupTargetAssignmentMemberValue>,
) {
    let Some(value) = value else {
        group.target.remove(&key.member_id);
        return;
    };
    let topics = value.topic_partitions.iter().filter(|topic| !topic.partitions.is_empty());
    let target: TopicPartitions =
        topics.map(|topic| (topic.topic_id, topic.partitions.iter().copied().collect())).collect();
    group.target.insert(key.member_id.clone(), Arc::new(target));
}

fn replay_current(
    group: &mut ConsumerGroup,
    key: &ConsumerGroupCurrentMemberAssignmentKey,
    value: Option<&ConsumerGroupCurrentMemberAssignmentValue>,
) {
    let member = match (group.member(&key.member_id), value) {
        (Some(member), Some(value)) => member.with_current_assignment(value),
        (None, Some(value)) => Member::new(key.member_id.clone()).with_current_assignment(value),
        (Some(member), None) => member.without_assignment(),
        (None, None) => return,
    };
    group.update_member(member);
}

fn resolved(value: &ConsumerGroupRegularExpressionValue) -> ResolvedRegex {
    ResolvedRegex {
        topics: Arc::new(value.topics.iter().cloned().collect()),
        version: value.version,
        timestamp: value.timestamp,
    }
}
