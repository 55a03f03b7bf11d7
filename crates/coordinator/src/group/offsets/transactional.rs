//! TxnOffsetCommit: offsets that count once their transaction is committed (KIP-98), fenced by the group's generation or the
//! member's epoch (KIP-447). Kafka: `OffsetMetadataManager.commitTransactionalOffset`,
//! `validateTransactionalOffsetCommit`.

use super::commit::{is_too_long, value};
use crate::group::classic::{ClassicState, Step, step};
use crate::group::consumer;
use crate::group::context::Context;
use crate::group::error::Refusal;
use crate::group::records::GroupRecord;
use crate::group::state::Group;
use milena_protocol::Message;
use milena_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use milena_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use milena_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use milena_protocol::messages::{
    OffsetCommitKey, OffsetCommitRequest, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use milena_types::ErrorCode;

/// TxnOffsetCommit. Offsets whose metadata are too long are refused one by one.
///
/// # Errors
/// Becomes the error of every partition.
pub(crate) fn commit_transactional(
    context: &mut Context<'_>,
    request: &TxnOffsetCommitRequest,
) -> Result<(Vec<GroupRecord>, TxnOffsetCommitResponse), Refusal> {
    let topics: Vec<OffsetCommitRequestTopic> = request.topics.iter().map(plain).collect();
    validate(context, request, &topics)?;
    let now = context.now.0;
    let group = request.group_id.detached();
    let mut records = Vec::new();
    let mut response = TxnOffsetCommitResponse::default();
    for topic in &topics {
        let name = topic.name.detached();
        let mut answer = TxnOffsetCommitResponseTopic { name: name.clone(), ..Default::default() };
        for partition in &topic.partitions {
            let is_refused =
                is_too_long(partition.committed_metadata.as_ref(), context.config.offset_metadata_max_bytes);
            if !is_refused {
                let key =
                    OffsetCommitKey { group: group.clone(), topic: name.clone(), partition: partition.partition_index };
                records.push(GroupRecord::OffsetCommit(key, Some(value(topic, partition, now, -1))));
            }
            let error = if is_refused { ErrorCode::OFFSET_METADATA_TOO_LARGE } else { ErrorCode::NONE };
            answer.partitions.push(TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.0,
                ..Default::default()
            });
        }
        response.topics.push(answer);
    }
    Ok((records, response))
}

/// The same offsets outside of a transaction.
fn plain(topic: &TxnOffsetCommitRequestTopic) -> OffsetCommitRequestTopic {
    let partitions = topic.partitions.iter().map(|partition| OffsetCommitRequestPartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        committed_metadata: partition.committed_metadata.clone(),
        ..Default::default()
    });
    OffsetCommitRequestTopic { name: topic.name.clone(), partitions: partitions.collect(), ..Default::default() }
}

fn validate(
    context: &mut Context<'_>,
    request: &TxnOffsetCommitRequest,
    topics: &[OffsetCommitRequestTopic],
) -> Result<(), Refusal> {
    let generation = request.generation_id;
    match context.state.group(&request.group_id) {
        // A producer of before KIP-447, or one whose consumer manages itself.
        None if generation < 0 => Ok(()),
        None => Err(ErrorCode::ILLEGAL_GENERATION.into()),
        Some(Group::Consumer(group)) => {
            let is_anonymous = generation == -1 && request.member_id.is_empty() && request.group_instance_id.is_none();
            if is_anonymous {
                return Ok(());
            }
            let plain = OffsetCommitRequest {
                group_id: request.group_id.clone(),
                member_id: request.member_id.clone(),
                generation_id_or_member_epoch: generation,
                topics: topics.to_vec(),
                ..Default::default()
            };
            // Whatever the version, it can tell of a wrong generation.
            let newest = OffsetCommitRequest::MAX_VERSION;
            consumer::validate_commit(context, group, &plain, newest).map_err(|refusal| match refusal.error {
                ErrorCode::STALE_MEMBER_EPOCH => ErrorCode::ILLEGAL_GENERATION.into(),
                _ => refusal,
            })
        }
        Some(Group::Classic(_)) => match step(context, &request.group_id.detached()) {
            Some(step) => validate_classic(&step, request),
            None => Err(ErrorCode::UNKNOWN_SERVER_ERROR.into()),
        },
    }
}

/// The state of the group does not matter, and producers of before KIP-447 name no member.
fn validate_classic(step: &Step<'_>, request: &TxnOffsetCommitRequest) -> Result<(), Refusal> {
    let generation = request.generation_id;
    if generation < 0 && step.group.state() == ClassicState::Empty {
        return Ok(());
    }
    let names_member = generation >= 0 || !request.member_id.is_empty() || request.group_instance_id.is_some();
    if !names_member {
        return Ok(());
    }
    step.group.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
    if generation == step.group.generation { Ok(()) } else { Err(ErrorCode::ILLEGAL_GENERATION.into()) }
}

/// A TxnOffsetCommit with one error for everything in it.
pub(crate) fn refused_transactional(request: &TxnOffsetCommitRequest, error: ErrorCode) -> TxnOffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.0,
                ..Default::default()
            })
            .collect::<Vec<_>>(),
        ..Default::default()
    });
    TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}
