//! What the rest of the coordinator asks of consumer groups: members that speak the classic protocol, and whether offsets
//! may be committed, fetched or deleted.
//!
//! While `group.version` is 0 consumer groups come only out of a log that another version wrote; their members are strangers
//! to the classic protocol here.

use super::record;
use super::state::ConsumerGroup;
use crate::group::context::Context;
use crate::group::error::Refusal;
use crate::group::event::{Caller, GroupReply};
use crate::group::machine::GroupDecision;
use crate::group::records::GroupRecord;
use crate::runtime::{Decision, Ticket};
use milena_protocol::Text;
use milena_protocol::messages::leave_group_response::MemberResponse;
use milena_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    OffsetCommitRequest, SyncGroupRequest, SyncGroupResponse,
};
use milena_types::ErrorCode;

/// JoinGroup of a consumer group that has members.
pub(crate) fn classic_join(
    _context: &mut Context<'_>,
    ticket: Ticket,
    _caller: &Caller,
    _request: &JoinGroupRequest,
) -> GroupDecision {
    let error_code = ErrorCode::INCONSISTENT_GROUP_PROTOCOL.0;
    let response = JoinGroupResponse { error_code, ..JoinGroupResponse::default() };
    Decision::at_once(ticket, GroupReply::JoinGroup(Box::new(response)))
}

/// SyncGroup of a consumer group that has members.
pub(crate) fn classic_sync(_context: &mut Context<'_>, ticket: Ticket, _request: &SyncGroupRequest) -> GroupDecision {
    let error_code = ErrorCode::UNKNOWN_MEMBER_ID.0;
    let response = SyncGroupResponse { error_code, ..SyncGroupResponse::default() };
    Decision::at_once(ticket, GroupReply::SyncGroup(Box::new(response)))
}

/// Heartbeat of a consumer group.
///
/// # Errors
/// Becomes an answer with this error.
pub(crate) fn classic_heartbeat(
    _context: &mut Context<'_>,
    _request: &HeartbeatRequest,
) -> Result<HeartbeatResponse, Refusal> {
    Err(ErrorCode::UNKNOWN_MEMBER_ID.into())
}

/// LeaveGroup of a consumer group.
pub(crate) fn classic_leave(_context: &mut Context<'_>, ticket: Ticket, request: &LeaveGroupRequest) -> GroupDecision {
    let unknown = |member: &milena_protocol::messages::leave_group_request::MemberIdentity| MemberResponse {
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
        error_code: ErrorCode::UNKNOWN_MEMBER_ID.0,
        ..MemberResponse::default()
    };
    let members = request.members.iter().map(unknown).collect();
    let response = LeaveGroupResponse { members, ..LeaveGroupResponse::default() };
    Decision::reply(ticket, GroupReply::LeaveGroup(response), Vec::new())
}

/// The records that remove a consumer group without members; its timers are taken back.
pub(crate) fn tombstones(_context: &mut Context<'_>, group_id: &Text) -> Vec<GroupRecord> {
    vec![record::target_epoch_tombstone(group_id), record::epoch_tombstone(group_id)]
}

/// Whether a member may commit these offsets; topics have names.
///
/// # Errors
/// Becomes the error of every partition.
pub(crate) fn validate_commit(
    _group: &ConsumerGroup,
    _request: &OffsetCommitRequest,
    _version: i16,
) -> Result<(), Refusal> {
    Err(ErrorCode::UNKNOWN_MEMBER_ID.into())
}

/// Whether a member may fetch offsets; the group is as committed, or as decided if they must be stable.
///
/// # Errors
/// Becomes the error of the group.
pub(crate) fn validate_fetch(_group: &ConsumerGroup, member: Option<&Text>, epoch: i32) -> Result<(), Refusal> {
    // Without a member this is an administrator or a consumer that manages itself.
    if member.is_none() && epoch < 0 { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID.into()) }
}
