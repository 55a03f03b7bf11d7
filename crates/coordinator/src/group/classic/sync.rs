//! SyncGroup, Heartbeat and LeaveGroup. Kafka: `GroupMetadataManager.classicGroupSync`, `classicGroupHeartbeat`,
//! `classicGroupLeave`.

use super::group::ClassicState;
use super::step::{Step, step};
use crate::group::consumer;
use crate::group::context::Context;
use crate::group::error::Refusal;
use crate::group::event::GroupReply;
use crate::group::machine::GroupDecision;
use crate::group::state::Group;
use crate::group::timer::After;
use crate::runtime::{Decision, Ticket};
use bytes::Bytes;
use milena_protocol::Text;
use milena_protocol::messages::leave_group_request::MemberIdentity;
use milena_protocol::messages::leave_group_response::MemberResponse;
use milena_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use milena_types::ErrorCode;
use std::collections::BTreeMap;

/// SyncGroup of a group of either kind.
pub(crate) fn sync(context: &mut Context<'_>, ticket: Ticket, request: &SyncGroupRequest) -> GroupDecision {
    let group_id = &request.group_id;
    if let Some(Group::Consumer(group)) = context.state.group(group_id)
        && !group.is_empty()
    {
        return consumer::classic_sync(context, ticket, request);
    }
    let refuse = |error: ErrorCode| {
        let response = SyncGroupResponse { error_code: error.0, ..SyncGroupResponse::default() };
        Decision::at_once(ticket, GroupReply::SyncGroup(Box::new(response)))
    };
    let Some(mut step) = step(context, &group_id.detached()) else { return refuse(ErrorCode::UNKNOWN_MEMBER_ID) };
    if step.group.is_in(ClassicState::Empty) {
        return refuse(ErrorCode::UNKNOWN_MEMBER_ID);
    }
    if let Err(refusal) = validate_sync(&step, request) {
        return refuse(refusal.error);
    }
    match step.group.state() {
        ClassicState::PreparingRebalance => return refuse(ErrorCode::REBALANCE_IN_PROGRESS),
        ClassicState::CompletingRebalance => await_assignment(&mut step, ticket, request),
        ClassicState::Stable | ClassicState::Empty => {
            step.has_synchronized(&request.member_id);
            let assignment = step.group.member(&request.member_id).map(|member| member.assignment.clone());
            let response = SyncGroupResponse {
                protocol_type: step.group.protocol_type.clone(),
                protocol_name: step.group.protocol.clone(),
                assignment: assignment.unwrap_or_default(),
                ..Default::default()
            };
            step.reply_sync(ticket, response);
        }
    }
    step.out
}

fn validate_sync(step: &Step<'_>, request: &SyncGroupRequest) -> Result<(), Refusal> {
    let group = &step.group;
    group.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
    if request.generation_id != group.generation {
        return Err(ErrorCode::ILLEGAL_GENERATION.into());
    }
    let differs = |said: &Option<Text>, agreed: &Option<Text>| said.is_some() && said != agreed;
    if differs(&request.protocol_type, &group.protocol_type) || differs(&request.protocol_name, &group.protocol) {
        return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL.into());
    }
    Ok(())
}

/// The member waits for its assignment; the leader brings everyone's.
fn await_assignment(step: &mut Step<'_>, ticket: Ticket, request: &SyncGroupRequest) {
    step.await_sync(&request.member_id, ticket);
    step.has_synchronized(&request.member_id);
    if !step.group.is_leader(&request.member_id) {
        return;
    }
    let mut assignment: BTreeMap<Text, Bytes> =
        step.group.member_ids().into_iter().map(|member| (member, Bytes::new())).collect();
    for assigned in &request.assignments {
        if let Some(bytes) = assignment.get_mut(&assigned.member_id) {
            *bytes = Bytes::copy_from_slice(&assigned.assignment);
        }
    }
    step.out.records.push(step.group.to_record(&assignment));
    let (group, generation) = (step.group.id.clone(), step.group.generation);
    step.out.after.push(After::ClassicSync { group, generation, assignment });
}

/// The assignment of a generation is committed, or is not. Whether the group is stable with it.
pub(crate) fn after_sync(
    step: &mut Step<'_>,
    generation: i32,
    assignment: &BTreeMap<Text, Bytes>,
    result: Result<(), ErrorCode>,
) -> bool {
    // A member may have joined or left in the meantime.
    if !step.group.is_in(ClassicState::CompletingRebalance) || step.group.generation != generation {
        return false;
    }
    let is_committed = result.is_ok();
    match result {
        Ok(()) => {
            step.set_assignment(assignment);
            step.group.transition_to(ClassicState::Stable, step.now);
        }
        Err(error) => {
            step.reset_assignment(error);
            step.rebalance_or_complete_join();
        }
    }
    is_committed
}

/// Heartbeat of a group of either kind.
///
/// # Errors
/// Becomes an answer with this error.
pub(crate) fn heartbeat(context: &mut Context<'_>, request: &HeartbeatRequest) -> Result<HeartbeatResponse, Refusal> {
    if context.state.consumer(&request.group_id).is_some() {
        return consumer::classic_heartbeat(context, request);
    }
    let Some(mut step) = step(context, &request.group_id.detached()) else {
        return Err(ErrorCode::UNKNOWN_MEMBER_ID.into());
    };
    step.group.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
    if request.generation_id != step.group.generation {
        return Err(ErrorCode::ILLEGAL_GENERATION.into());
    }
    match step.group.state() {
        ClassicState::Empty => Err(ErrorCode::UNKNOWN_MEMBER_ID.into()),
        ClassicState::PreparingRebalance => {
            step.reschedule_heartbeat(&request.member_id.detached());
            Err(ErrorCode::REBALANCE_IN_PROGRESS.into())
        }
        ClassicState::CompletingRebalance | ClassicState::Stable => {
            step.reschedule_heartbeat(&request.member_id.detached());
            Ok(HeartbeatResponse::default())
        }
    }
}

/// LeaveGroup of a group of either kind.
pub(crate) fn leave(context: &mut Context<'_>, ticket: Ticket, request: &LeaveGroupRequest) -> GroupDecision {
    if context.state.consumer(&request.group_id).is_some() {
        return consumer::classic_leave(context, ticket, request);
    }
    let answer = |members| GroupReply::LeaveGroup(LeaveGroupResponse { members, ..LeaveGroupResponse::default() });
    let Some(mut step) = step(context, &request.group_id.detached()) else {
        let unknown = |member| leave_answer(member, ErrorCode::UNKNOWN_MEMBER_ID);
        return Decision::at_once(ticket, answer(request.members.iter().map(unknown).collect()));
    };
    let members: Vec<MemberResponse> =
        request.members.iter().map(|member| leave_answer(member, leave_one(&mut step, member))).collect();
    if members.iter().any(|member| member.error_code == 0) {
        match step.group.state() {
            ClassicState::PreparingRebalance => step.maybe_complete_join(),
            ClassicState::CompletingRebalance | ClassicState::Stable => step.rebalance_or_complete_join(),
            ClassicState::Empty => {}
        }
    }
    step.out.replies.push((ticket, answer(members)));
    step.out
}

fn leave_one(step: &mut Step<'_>, member: &MemberIdentity) -> ErrorCode {
    let id = if member.member_id.is_empty() {
        // An administrator removes a static member by its instance id.
        let instance = member.group_instance_id.as_ref();
        match instance.and_then(|instance| step.group.static_member(instance)).cloned() {
            Some(id) => id,
            None => return ErrorCode::UNKNOWN_MEMBER_ID,
        }
    } else if step.group.is_pending(&member.member_id) {
        member.member_id.clone()
    } else {
        match step.group.validate_member(&member.member_id, member.group_instance_id.as_ref()) {
            Ok(()) => member.member_id.clone(),
            Err(refusal) => return refusal.error,
        }
    };
    step.timers.cancel(&step.heartbeat_timer(&id));
    step.tell_removed(&id);
    step.group.remove(&id);
    ErrorCode::NONE
}

fn leave_answer(member: &MemberIdentity, error: ErrorCode) -> MemberResponse {
    MemberResponse {
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
        error_code: error.0,
        ..MemberResponse::default()
    }
}
