//! How consumer groups are written. Kafka: `GroupCoordinatorRecordHelpers`.

use milena_protocol::Text;
use milena_protocol::messages::consumer_group_current_member_assignment_value::TopicPartitions as CurrentPartitions;
use milena_protocol::messages::consumer_group_target_assignment_member_value::TopicPartition as TargetPartitions;
use milena_protocol::messages::*;

use super::member::{Member, PartitionEpochs};
use super::regex::ResolvedRegex;
use crate::assignor::TopicPartitions;
use crate::group::records::GroupRecord;

/// Who a member is and what it wants.
pub(super) fn member(group: &Text, member: &Member) -> GroupRecord {
    let value = ConsumerGroupMemberMetadataValue {
        instance_id: member.instance_id.clone(),
        rack_id: member.rack_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        subscribed_topic_names: member.subscribed_topic_names.iter().cloned().collect(),
        subscribed_topic_regex: member.subscribed_topic_regex.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        server_assignor: member.server_assignor.clone(),
        classic_member_metadata: member.classic.as_deref().cloned(),
        ..Default::default()
    };
    GroupRecord::ConsumerGroupMemberMetadata(member_key(group, &member.member_id), Some(value))
}

pub(super) fn member_tombstone(group: &Text, member: &Text) -> GroupRecord {
    GroupRecord::ConsumerGroupMemberMetadata(member_key(group, member), None)
}

fn member_key(group: &Text, member: &Text) -> ConsumerGroupMemberMetadataKey {
    ConsumerGroupMemberMetadataKey { group_id: group.clone(), member_id: member.clone() }
}

/// The epoch of a group and the hash of what its members want.
pub(super) fn epoch(group: &Text, epoch: i32, metadata_hash: i64) -> GroupRecord {
    let value = ConsumerGroupMetadataValue { epoch, metadata_hash, ..Default::default() };
    GroupRecord::ConsumerGroupMetadata(epoch_key(group), Some(value))
}

pub(super) fn epoch_tombstone(group: &Text) -> GroupRecord {
    GroupRecord::ConsumerGroupMetadata(epoch_key(group), None)
}

fn epoch_key(group: &Text) -> ConsumerGroupMetadataKey {
    ConsumerGroupMetadataKey { group_id: group.clone() }
}

/// Since 4.1 topics are not in the log; what older brokers wrote is removed.
pub(super) fn partition_metadata_tombstone(group: &Text) -> GroupRecord {
    let key = ConsumerGroupPartitionMetadataKey { group_id: group.clone() };
    GroupRecord::ConsumerGroupPartitionMetadata(key, None)
}

/// What a member shall have.
pub(super) fn target(group: &Text, member: &Text, assignment: &TopicPartitions) -> GroupRecord {
    let topics = assignment.iter().map(|(topic_id, partitions)| TargetPartitions {
        topic_id: *topic_id,
        partitions: partitions.iter().copied().collect(),
        ..Default::default()
    });
    let value = ConsumerGroupTargetAssignmentMemberValue { topic_partitions: topics.collect(), ..Default::default() };
    GroupRecord::ConsumerGroupTargetAssignmentMember(target_key(group, member), Some(value))
}

pub(super) fn target_tombstone(group: &Text, member: &Text) -> GroupRecord {
    GroupRecord::ConsumerGroupTargetAssignmentMember(target_key(group, member), None)
}

fn target_key(group: &Text, member: &Text) -> ConsumerGroupTargetAssignmentMemberKey {
    ConsumerGroupTargetAssignmentMemberKey { group_id: group.clone(), member_id: member.clone() }
}

/// The group epoch the target was made for, and when.
pub(super) fn target_epoch(group: &Text, assignment_epoch: i32, assignment_timestamp: i64) -> GroupRecord {
    let value =
        ConsumerGroupTargetAssignmentMetadataValue { assignment_epoch, assignment_timestamp, ..Default::default() };
    GroupRecord::ConsumerGroupTargetAssignmentMetadata(target_epoch_key(group), Some(value))
}

pub(super) fn target_epoch_tombstone(group: &Text) -> GroupRecord {
    GroupRecord::ConsumerGroupTargetAssignmentMetadata(target_epoch_key(group), None)
}

fn target_epoch_key(group: &Text) -> ConsumerGroupTargetAssignmentMetadataKey {
    ConsumerGroupTargetAssignmentMetadataKey { group_id: group.clone() }
}

/// What a member has.
pub(super) fn current(group: &Text, member: &Member) -> GroupRecord {
    let value = ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: member.member_epoch,
        previous_member_epoch: member.previous_member_epoch,
        state: member.state.value(),
        assigned_partitions: current_partitions(&member.assigned),
        partitions_pending_revocation: current_partitions(&member.pending_revocation),
        ..Default::default()
    };
    GroupRecord::ConsumerGroupCurrentMemberAssignment(current_key(group, &member.member_id), Some(value))
}

pub(super) fn current_tombstone(group: &Text, member: &Text) -> GroupRecord {
    GroupRecord::ConsumerGroupCurrentMemberAssignment(current_key(group, member), None)
}

fn current_key(group: &Text, member: &Text) -> ConsumerGroupCurrentMemberAssignmentKey {
    ConsumerGroupCurrentMemberAssignmentKey { group_id: group.clone(), member_id: member.clone() }
}

fn current_partitions(epochs: &PartitionEpochs) -> Vec<CurrentPartitions> {
    let topics = epochs.iter().map(|(topic_id, partitions)| CurrentPartitions {
        topic_id: *topic_id,
        partitions: partitions.keys().copied().collect(),
        assignment_epochs: Some(partitions.values().copied().collect()),
        ..Default::default()
    });
    topics.collect()
}

/// The topics an expression stood for.
pub(super) fn regex(group: &Text, regex: &Text, resolved: &ResolvedRegex) -> GroupRecord {
    let value = ConsumerGroupRegularExpressionValue {
        topics: resolved.topics.iter().cloned().collect(),
        version: resolved.version,
        timestamp: resolved.timestamp,
        ..Default::default()
    };
    GroupRecord::ConsumerGroupRegularExpression(regex_key(group, regex), Some(value))
}

pub(super) fn regex_tombstone(group: &Text, regex: &Text) -> GroupRecord {
    GroupRecord::ConsumerGroupRegularExpression(regex_key(group, regex), None)
}

fn regex_key(group: &Text, regex: &Text) -> ConsumerGroupRegularExpressionKey {
    ConsumerGroupRegularExpressionKey { group_id: group.clone(), regular_expression: regex.clone() }
}

/// Takes a member out of the log, in the order that replaying asks for.
pub(super) fn remove_member(records: &mut Vec<GroupRecord>, group: &Text, member: &Text) {
    records.push(current_tombstone(group, member));
    records.push(target_tombstone(group, member));
    records.push(member_tombstone(group, member));
}
