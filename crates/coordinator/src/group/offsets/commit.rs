//! OffsetCommit. Kafka: `OffsetMetadataManager.commitOffset`, `ClassicGroup.validateOffsetCommit`.

use crate::group::classic::{ClassicState, Step, step};
use crate::group::consumer;
use crate::group::context::Context;
use crate::group::error::Refusal;
use crate::group::event::Caller;
use crate::group::records::GroupRecord;
use crate::group::state::Group;
use milena_protocol::Text;
use milena_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use milena_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use milena_protocol::messages::{OffsetCommitKey, OffsetCommitRequest, OffsetCommitResponse, OffsetCommitValue};
use milena_types::ErrorCode;

/// From this version on a group that is not there has an error of its own (KIP-848).
const GROUP_ID_NOT_FOUND_FROM_VERSION: i16 = 9;

/// OffsetCommit; topics have their names. Offsets whose metadata are too long are refused one by one.
///
/// # Errors
/// Becomes the error of every partition.
pub(crate) fn commit(
    context: &mut Context<'_>,
    caller: &Caller,
    request: &OffsetCommitRequest,
) -> Result<(Vec<GroupRecord>, OffsetCommitResponse), Refusal> {
    validate(context, caller, request)?;
    let now = context.now.0;
    let expire_timestamp = match request.retention_time_ms {
        -1 => -1,
        retention_ms => now.saturating_add(retention_ms),
    };
    let group = request.group_id.detached();
    let mut records = Vec::new();
    let mut response = OffsetCommitResponse::default();
    for topic in &request.topics {
        let name = topic.name.detached();
        let mut answer = OffsetCommitResponseTopic {
            name: name.clone(),
            topic_id: topic.topic_id,
            partitions: Vec::with_capacity(topic.partitions.len()),
            ..Default::default()
        };
        for partition in &topic.partitions {
            let mut error = ErrorCode::NONE;
            if is_too_long(partition.committed_metadata.as_ref(), context.config.offset_metadata_max_bytes) {
                error = ErrorCode::OFFSET_METADATA_TOO_LARGE;
            } else {
                let key =
                    OffsetCommitKey { group: group.clone(), topic: name.clone(), partition: partition.partition_index };
                records.push(GroupRecord::OffsetCommit(key, Some(value(topic, partition, now, expire_timestamp))));
            }
            answer.partitions.push(OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.0,
                ..Default::default()
            });
        }
        response.topics.push(answer);
    }
    Ok((records, response))
}

pub(super) fn value(
    topic: &OffsetCommitRequestTopic,
    partition: &OffsetCommitRequestPartition,
    now: i64,
    expire_timestamp: i64,
) -> OffsetCommitValue {
    OffsetCommitValue {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.as_ref().map(Text::detached).unwrap_or_default(),
        commit_timestamp: now,
        expire_timestamp,
        topic_id: topic.topic_id,
        ..Default::default()
    }
}

/// Kafka counts Java's characters.
pub(super) fn is_too_long(metadata: Option<&Text>, max: usize) -> bool {
    metadata.is_some_and(|metadata| metadata.len() > max && metadata.encode_utf16().count() > max)
}

fn validate(context: &mut Context<'_>, caller: &Caller, request: &OffsetCommitRequest) -> Result<(), Refusal> {
    match context.state.group(&request.group_id) {
        Some(Group::Consumer(group)) => consumer::validate_commit(context, group, request, caller.version),
        // An administrator, or a consumer that manages itself: the offset makes the group, without members.
        None if request.generation_id_or_member_epoch < 0 => Ok(()),
        None if caller.version >= GROUP_ID_NOT_FOUND_FROM_VERSION => Err(ErrorCode::GROUP_ID_NOT_FOUND.into()),
        None => Err(ErrorCode::ILLEGAL_GENERATION.into()),
        Some(Group::Classic(_)) => match step(context, &request.group_id.detached()) {
            Some(step) => validate_classic(step, request),
            None => Err(ErrorCode::UNKNOWN_SERVER_ERROR.into()),
        },
    }
}

fn validate_classic(mut step: Step<'_>, request: &OffsetCommitRequest) -> Result<(), Refusal> {
    let generation = request.generation_id_or_member_epoch;
    let state = step.group.state();
    if generation < 0 && state == ClassicState::Empty {
        return Ok(());
    }
    if generation >= 0 || !request.member_id.is_empty() || request.group_instance_id.is_some() {
        step.group.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
        if generation != step.group.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION.into());
        }
    } else if state != ClassicState::Empty {
        // Someone outside must not commit for a group that has members.
        return Err(ErrorCode::UNKNOWN_MEMBER_ID.into());
    }
    if state == ClassicState::CompletingRebalance {
        return Err(ErrorCode::REBALANCE_IN_PROGRESS.into());
    }
    if matches!(state, ClassicState::Stable | ClassicState::PreparingRebalance) {
        step.reschedule_heartbeat(&request.member_id.detached());
    }
    Ok(())
}
