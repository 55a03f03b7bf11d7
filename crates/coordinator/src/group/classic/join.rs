//! JoinGroup. Kafka: `GroupMetadataManager.classicGroupJoin` and what it calls.

use super::group::{ClassicGroup, ClassicState};
use super::member::{Member, Protocol, protocols_of};
use super::step::{Step, revive, step_of_live};
use crate::group::consumer;
use crate::group::context::Context;
use crate::group::event::{Caller, GroupReply};
use crate::group::machine::GroupDecision;
use crate::group::state::Group;
use crate::group::timer::{After, Replaced};
use crate::runtime::{Decision, Ticket};
use milena_protocol::Text;
use milena_protocol::messages::{JoinGroupRequest, JoinGroupResponse, SyncGroupResponse};
use milena_types::ErrorCode;

/// From this version on a new member is given its id first and has to come again with it (KIP-394).
const MEMBER_ID_REQUIRED_FROM_VERSION: i16 = 4;
/// From this version on a leader can be told to keep the assignment (KIP-814).
const SKIP_ASSIGNMENT_FROM_VERSION: i16 = 9;
/// How long a member that has joined may take to be in its first generation
/// (`CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`).
const NEW_MEMBER_JOIN_TIMEOUT_MS: i32 = 5 * 60 * 1000;

/// A JoinGroup request.
struct Join<'a> {
    ticket: Ticket,
    caller: &'a Caller,
    request: &'a JoinGroupRequest,
    protocols: Vec<Protocol>,
}

/// JoinGroup of a group of either kind.
pub(crate) fn join(
    context: &mut Context<'_>,
    ticket: Ticket,
    caller: &Caller,
    request: &JoinGroupRequest,
) -> GroupDecision {
    let said_bytes = request.protocols.iter().map(|protocol| protocol.metadata.len()).sum();
    if !context.live.memory.has_room(said_bytes) {
        return refused(ticket, &Text::default(), ErrorCode::GROUP_MAX_SIZE_REACHED);
    }
    let is_new_member = request.member_id.is_empty();
    let group_id = request.group_id.detached();
    let mut records = Vec::new();
    let mut is_new_group = false;
    match context.state.group(&group_id) {
        Some(Group::Consumer(group)) if !group.is_empty() => {
            return consumer::classic_join(context, ticket, caller, request);
        }
        Some(Group::Consumer(_)) => {
            // A consumer group that everyone has left becomes a classic one.
            records = consumer::tombstones(context, &group_id);
            is_new_group = true;
        }
        Some(Group::Classic(_)) => {
            revive(context, &group_id);
        }
        None => is_new_group = true,
    }
    if is_new_group {
        if !is_new_member {
            return refused(ticket, &request.member_id, ErrorCode::UNKNOWN_MEMBER_ID);
        }
        context.live.classic.insert(group_id.clone(), ClassicGroup::new(group_id.clone(), context.now));
    }
    let new_id = if is_new_member { new_member_id(context, caller, request) } else { Text::default() };
    let protocols = protocols_of(&request.protocols, &context.live.memory);
    let Some(mut step) = step_of_live(context, &group_id) else { return GroupDecision::default() };
    let join = Join { ticket, caller, request, protocols };
    if !accepts(&step, &request.member_id) {
        step.group.remove(&request.member_id);
        step.refuse_join(ticket, &Text::default(), ErrorCode::GROUP_MAX_SIZE_REACHED);
    } else if is_new_member {
        join_new(&mut step, join, new_id);
    } else {
        join_existing(&mut step, join);
    }
    if is_new_group && step.out.records.is_empty() {
        records.push(step.group.to_first_record());
        step.out.records = records;
        step.out.after.push(After::ClassicCreated { group: group_id });
    }
    step.out
}

fn refused(ticket: Ticket, member: &Text, error: ErrorCode) -> GroupDecision {
    let response = JoinGroupResponse { error_code: error.0, member_id: member.clone(), ..Default::default() };
    Decision::at_once(ticket, GroupReply::JoinGroup(Box::new(response)))
}

fn new_member_id(context: &mut Context<'_>, caller: &Caller, request: &JoinGroupRequest) -> Text {
    let name = request.group_instance_id.as_ref().unwrap_or(&caller.client_id);
    Text::from(format!("{name}-{}", context.live.random.dashed_uuid()))
}

/// Whether there is room (`acceptJoiningMember`).
fn accepts(step: &Step<'_>, member: &Text) -> bool {
    let (group, max) = (&step.group, step.config.group_max_size);
    match group.state() {
        ClassicState::Empty => true,
        ClassicState::PreparingRebalance => {
            group.member(member).is_some_and(|member| member.awaiting_join.is_some())
                || group.awaiting_join_count() < max
        }
        ClassicState::CompletingRebalance | ClassicState::Stable => {
            group.member(member).is_some() || group.member_count() < max
        }
    }
}

fn join_new(step: &mut Step<'_>, join: Join<'_>, new_id: Text) {
    let request = join.request;
    if !step.group.supports(&request.protocol_type, &join.protocols) {
        return step.refuse_join(join.ticket, &Text::default(), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
    if let Some(instance) = &request.group_instance_id {
        return match step.group.static_member(instance).cloned() {
            Some(old_id) => replace_static(step, join, old_id, new_id),
            None => add_member(step, join, new_id),
        };
    }
    if join.caller.version < MEMBER_ID_REQUIRED_FROM_VERSION {
        return add_member(step, join, new_id);
    }
    step.group.add_pending(new_id.clone());
    step.reschedule_heartbeat_in(&new_id, request.session_timeout_ms);
    step.refuse_join(join.ticket, &new_id, ErrorCode::MEMBER_ID_REQUIRED);
}

fn join_existing(step: &mut Step<'_>, join: Join<'_>) {
    let (ticket, request) = (join.ticket, join.request);
    let member_id = &request.member_id;
    if !step.group.supports(&request.protocol_type, &join.protocols) {
        return step.refuse_join(ticket, member_id, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
    if step.group.is_pending(member_id) {
        if request.group_instance_id.is_some() {
            // Only dynamic members are given an id first; Kafka ends in an IllegalStateException.
            return step.refuse_join(ticket, &Text::default(), ErrorCode::UNKNOWN_SERVER_ERROR);
        }
        let member_id = member_id.detached();
        return add_member(step, join, member_id);
    }
    if let Err(refusal) = step.group.validate_member(member_id, request.group_instance_id.as_ref()) {
        return step.refuse_join(ticket, member_id, refusal.error);
    }
    let is_unchanged = step.group.member(member_id).is_some_and(|member| member.protocols == join.protocols);
    let is_leader = step.group.is_leader(member_id);
    match step.group.state() {
        ClassicState::CompletingRebalance if is_unchanged => {
            // Its answer got lost.
            let response = step.generation_answer(member_id, is_leader);
            step.reply_join(ticket, response);
        }
        ClassicState::Stable if is_unchanged && !is_leader => {
            let response = step.generation_answer(member_id, false);
            step.reply_join(ticket, response);
        }
        ClassicState::PreparingRebalance | ClassicState::CompletingRebalance | ClassicState::Stable => {
            let member_id = member_id.clone();
            step.group.update_member(
                &member_id,
                join.protocols,
                request.rebalance_timeout_ms,
                request.session_timeout_ms,
            );
            step.await_join(&member_id, ticket);
            step.rebalance_or_complete_join();
        }
        ClassicState::Empty => step.refuse_join(ticket, member_id, ErrorCode::UNKNOWN_MEMBER_ID),
    }
}

fn add_member(step: &mut Step<'_>, join: Join<'_>, id: Text) {
    let request = join.request;
    let member = Member {
        id: id.clone(),
        instance_id: request.group_instance_id.as_ref().map(Text::detached),
        client_id: join.caller.client_id.detached(),
        client_host: join.caller.client_host.clone(),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        session_timeout_ms: request.session_timeout_ms,
        protocol_type: request.protocol_type.detached(),
        protocols: join.protocols,
        assignment: bytes::Bytes::new(),
        awaiting_join: Some(join.ticket),
        awaiting_sync: None,
        is_new: true,
    };
    if step.group.is_initial_rebalance() {
        step.group.new_member_added = true;
    }
    step.group.add(member);
    step.reschedule_heartbeat_in(&id, NEW_MEMBER_JOIN_TIMEOUT_MS);
    step.rebalance_or_complete_join();
}

/// A static member comes back without its id: it gets a new one, and keeps its place if it can do what it could
/// (`updateStaticMemberThenRebalanceOrCompleteJoin`).
fn replace_static(step: &mut Step<'_>, join: Join<'_>, old_id: Text, new_id: Text) {
    let (ticket, request) = (join.ticket, join.request);
    let Some(instance) = request.group_instance_id.as_ref().map(Text::detached) else { return };
    let leader_before = step.group.leader_or_empty();
    let Some(before) = step.group.replace_static(&instance, &old_id, &new_id) else { return };
    fence_old(step, &before);
    step.reschedule_heartbeat(&new_id);
    step.group.update_member(&new_id, join.protocols, request.rebalance_timeout_ms, request.session_timeout_ms);
    step.await_join(&new_id, ticket);
    match step.group.state() {
        ClassicState::Stable if step.group.select_protocol() == step.group.protocol => {
            let assignment =
                step.group.members().map(|member| (member.id.clone(), member.assignment.clone())).collect();
            step.out.records.push(step.group.to_record(&assignment));
            step.out.after.push(After::ClassicReplaced(Box::new(Replaced {
                group: step.group.id.clone(),
                instance,
                new_id,
                before,
                leader_before,
                can_skip_assignment: join.caller.version >= SKIP_ASSIGNMENT_FROM_VERSION,
            })));
        }
        ClassicState::Stable => step.rebalance_or_complete_join(),
        ClassicState::CompletingRebalance => step.prepare_rebalance(),
        ClassicState::Empty | ClassicState::PreparingRebalance => step.maybe_complete_join(),
    }
}

/// Whoever is still there under the old id is told that it was replaced.
fn fence_old(step: &mut Step<'_>, before: &Member) {
    if let Some(ticket) = before.awaiting_join {
        step.refuse_join(ticket, &before.id, ErrorCode::FENCED_INSTANCE_ID);
    }
    if let Some(ticket) = before.awaiting_sync {
        let error_code = ErrorCode::FENCED_INSTANCE_ID.0;
        step.reply_sync(ticket, SyncGroupResponse { error_code, ..SyncGroupResponse::default() });
    }
}

/// The record of a replaced static member is committed, or is not.
pub(crate) fn after_replaced(step: &mut Step<'_>, replaced: Replaced, result: Result<(), ErrorCode>) {
    let Replaced { instance, new_id, before, leader_before, can_skip_assignment, .. } = replaced;
    match result {
        Ok(()) => {
            let is_leader = can_skip_assignment && step.group.is_leader(&new_id);
            let mut response = step.generation_answer(&new_id, is_leader);
            response.skip_assignment = is_leader;
            if !can_skip_assignment {
                response.leader = leader_before;
            }
            step.complete_join_of(&new_id, response);
        }
        Err(error) => {
            let mut response = step.generation_answer(&Text::default(), false);
            response.leader = leader_before;
            response.error_code = error.0;
            step.complete_join_of(&new_id, response);
            step.group.update_member(
                &new_id,
                before.protocols.clone(),
                before.rebalance_timeout_ms,
                before.session_timeout_ms,
            );
            step.group.replace_static(&instance, &new_id, &before.id);
            step.reschedule_heartbeat(&before.id);
        }
    }
}
