//! What the rest of the coordinator asks of consumer groups: whether offsets may be committed or fetched, and how a group
//! ends.

use milena_metadata::Image;
use milena_protocol::Text;
use milena_protocol::messages::OffsetCommitRequest;
use milena_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use milena_types::{ErrorCode, Uuid};

use super::member::Member;
use super::state::ConsumerGroup;
use super::{embedded, fence};
use crate::assignor::TopicPartitions;
use crate::group::classic::ClassicGroup;
use crate::group::context::Context;
use crate::group::error::Refusal;
use crate::group::records::GroupRecord;
use crate::group::timer::Timer;

/// Whether a classic group of consumers has partitions that belong to nobody although its assignor is one that leaves
/// nothing out. So it is when the rebalance after a downgrade was lost with its coordinator: the record of the group has
/// what each member kept. (Kafka finds the group stable, and the partitions stay without an owner.)
pub(crate) fn leaves_out(group: &ClassicGroup, image: &Image) -> bool {
    let Some(topics) = &group.subscribed_topics else { return false };
    let mut assigned = TopicPartitions::new();
    for member in group.members() {
        match embedded::read_assignment(&member.assignment) {
            Ok(share) if share.user_data.as_ref().is_none_or(|data| data.is_empty()) => {
                for (topic, partitions) in embedded::by_topic_id(&share, image) {
                    assigned.entry(topic).or_default().extend(partitions);
                }
            }
            _ => return false,
        }
    }
    topics.iter().filter_map(|name| image.topics.named(name)).any(|topic| {
        let count = assigned.get(&topic.id).map_or(0, |partitions| partitions.len());
        count < topic.partitions.len()
    })
}

/// From this version on members of the new protocol can be told that their epoch is stale.
const STALE_EPOCH_FROM_VERSION: i16 = 9;

/// The records that remove a consumer group without members; its timers are taken back.
pub(crate) fn tombstones(context: &mut Context<'_>, group_id: &Text) -> Vec<GroupRecord> {
    let Some(group) = context.state.consumer(group_id) else { return Vec::new() };
    context.live.timers.cancel(&Timer::ConsumerRefresh { group: group_id.clone() });
    fence::group_tombstones(group_id, group, None)
}

/// Whether a member may commit these offsets; topics have names (`ConsumerGroup.validateOffsetCommit`). A member whose
/// epoch has grown since it sent the request may still commit what it has had since the epoch it says.
///
/// # Errors
/// Becomes the error of every partition.
pub(crate) fn validate_commit(
    context: &Context<'_>,
    group: &ConsumerGroup,
    request: &OffsetCommitRequest,
    version: i16,
) -> Result<(), Refusal> {
    let epoch = request.generation_id_or_member_epoch;
    if epoch < 0 && group.is_empty() {
        return Ok(());
    }
    let Some(member) = group.member(&request.member_id) else { return Err(ErrorCode::UNKNOWN_MEMBER_ID.into()) };
    if !member.uses_classic() && version < STALE_EPOCH_FROM_VERSION {
        return Err(ErrorCode::UNSUPPORTED_VERSION.into());
    }
    if epoch == member.member_epoch {
        return Ok(());
    }
    if epoch > member.member_epoch {
        return Err(wrong_epoch(member));
    }
    let max = context.config.offset_metadata_max_bytes;
    for topic in &request.topics {
        let id = topic_id(context, topic);
        // Offsets with too much metadata are refused on their own.
        let partitions = topic.partitions.iter().filter(|partition| {
            partition.committed_metadata.as_ref().is_none_or(|metadata| metadata.encode_utf16().count() <= max)
        });
        for partition in partitions {
            if member.partition_epoch(id, partition.partition_index).is_none_or(|since| epoch < since) {
                return Err(wrong_epoch(member));
            }
        }
    }
    Ok(())
}

/// Requests of before topic ids name their topics only.
fn topic_id(context: &Context<'_>, topic: &OffsetCommitRequestTopic) -> Uuid {
    if topic.topic_id.is_zero() { context.image.topics.id_of(&topic.name).unwrap_or_default() } else { topic.topic_id }
}

fn wrong_epoch(member: &Member) -> Refusal {
    if member.uses_classic() { ErrorCode::ILLEGAL_GENERATION.into() } else { ErrorCode::STALE_MEMBER_EPOCH.into() }
}

/// Whether a member may fetch offsets; the group is as committed, or as decided if they must be stable.
///
/// # Errors
/// Becomes the error of the group.
pub(crate) fn validate_fetch(group: &ConsumerGroup, member: Option<&Text>, epoch: i32) -> Result<(), Refusal> {
    // Without a member this is an administrator or a consumer that manages itself.
    if member.is_none() && epoch < 0 {
        return Ok(());
    }
    match member.and_then(|member| group.member(member)) {
        None => Err(ErrorCode::UNKNOWN_MEMBER_ID.into()),
        Some(member) if member.member_epoch != epoch => Err(wrong_epoch(member)),
        Some(_) => Ok(()),
    }
}
