//! Members of a consumer group that speak the classic protocol: while a group is migrated, or because they never will
//! speak another. To them a rebalance is a generation, which is their member epoch. Kafka:
//! `classicGroupJoinToConsumerGroup`, `classicGroupSyncToConsumerGroup`, `classicGroupHeartbeatToConsumerGroup`,
//! `classicGroupLeaveToConsumerGroup`.

use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::Text;
use milena_protocol::messages::consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol};
use milena_protocol::messages::leave_group_request::MemberIdentity;
use milena_protocol::messages::leave_group_response::MemberResponse;
use milena_protocol::messages::{
    ConsumerProtocolSubscription, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use milena_types::ErrorCode;

use super::heartbeat::{reconcile, refuse_if_full, replace_static_member, unknown_member};
use super::member::{Member, MemberState};
use super::migration::{self, Downgrade};
use super::reconcile::Target;
use super::state::ConsumerGroup;
use super::subscription::{RegexChange, unchanged, update_epoch, update_member, update_regex};
use super::{embedded, fence, target};
use crate::group::classic::CONSUMER_PROTOCOL_TYPE;
use crate::group::config::MigrationPolicy;
use crate::group::context::Context;
use crate::group::error::Refusal;
use crate::group::event::{Caller, GroupReply};
use crate::group::machine::GroupDecision;
use crate::group::timer::Timer;
use crate::runtime::{Decision, Ticket};

/// From this version on a new member is given its id first and has to come again with it (KIP-394).
const MEMBER_ID_REQUIRED_FROM_VERSION: i16 = 4;

/// JoinGroup of a consumer group that has members.
pub(crate) fn classic_join(
    context: &mut Context<'_>,
    ticket: Ticket,
    caller: &Caller,
    request: &JoinGroupRequest,
) -> GroupDecision {
    let reply = |response| GroupReply::JoinGroup(Box::new(response));
    let mut out = GroupDecision::default();
    match join(context, caller, request, &mut out) {
        Ok(response) => {
            out.replies.push((ticket, reply(response)));
            out
        }
        Err((refusal, member_id)) => {
            let error_code = refusal.error.0;
            Decision::at_once(ticket, reply(JoinGroupResponse { error_code, member_id, ..Default::default() }))
        }
    }
}

/// A refusal, with the id that the member is given or nothing.
type RefusedJoin = (Refusal, Text);

fn join(
    context: &mut Context<'_>,
    caller: &Caller,
    request: &JoinGroupRequest,
    out: &mut GroupDecision,
) -> Result<JoinGroupResponse, RefusedJoin> {
    let without_id = |refusal: Refusal| (refusal, Text::default());
    let group_id = &request.group_id.detached();
    let group = fence::existing_group(context, group_id).map_err(without_id)?;
    let is_new = request.member_id.is_empty();
    let member_id = match is_new {
        true => Text::from(context.live.random.uuid().to_string()),
        false => request.member_id.detached(),
    };
    refuse_strangers(context, group, &member_id, request).map_err(without_id)?;
    if is_new && request.group_instance_id.is_none() && caller.version >= MEMBER_ID_REQUIRED_FROM_VERSION {
        return Err((ErrorCode::MEMBER_ID_REQUIRED.into(), member_id));
    }
    let member = joining_member(group_id, group, &member_id, request, out).map_err(without_id)?;
    let subscription = request
        .protocols
        .first()
        .and_then(|protocol| embedded::read_subscription(&protocol.metadata).ok())
        .ok_or_else(|| without_id(ErrorCode::UNKNOWN_SERVER_ERROR.into()))?;
    let updated = with_request(&member, caller, request, &subscription);
    let updated = rebalance(context, (group_id, group), (&member, updated), &subscription, out).map_err(without_id)?;
    Ok(JoinGroupResponse {
        member_id: updated.member_id.clone(),
        generation_id: updated.member_epoch,
        protocol_type: Some(Text::from_static(CONSUMER_PROTOCOL_TYPE)),
        protocol_name: updated.classic_protocols().first().map(|protocol| protocol.name.clone()),
        ..Default::default()
    })
}

fn refuse_strangers(
    context: &Context<'_>,
    group: &ConsumerGroup,
    member_id: &Text,
    request: &JoinGroupRequest,
) -> Result<(), Refusal> {
    if context.config.consumer_migration_policy == MigrationPolicy::Disabled {
        return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL.into());
    }
    refuse_if_full(context, group, member_id)?;
    let names = request.protocols.iter().map(|protocol| &protocol.name);
    if !group.supports_classic_protocols(&request.protocol_type, names) {
        return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL.into());
    }
    Ok(())
}

/// The member as it is known: any dynamic member may come, a static one without an id takes the place of its predecessor.
fn joining_member(
    group_id: &Text,
    group: &ConsumerGroup,
    member_id: &Text,
    request: &JoinGroupRequest,
    out: &mut GroupDecision,
) -> Result<Member, Refusal> {
    let known = || group.member(member_id).map_or_else(|| Member::new(member_id.clone()), |known| Member::clone(known));
    let Some(instance) = &request.group_instance_id else { return Ok(known()) };
    match group.static_member(instance) {
        existing if !request.member_id.is_empty() => {
            fence::known_static_member(existing, instance, member_id).map(|member| Member::clone(member))
        }
        Some(existing) => Ok(replace_static_member(group_id, group, existing, member_id, &mut out.records)),
        None => Ok(known()),
    }
}

fn with_request(
    member: &Member,
    caller: &Caller,
    request: &JoinGroupRequest,
    subscription: &ConsumerProtocolSubscription,
) -> Member {
    let protocols = request.protocols.iter().map(|protocol| ClassicProtocol {
        name: protocol.name.detached(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
        ..Default::default()
    });
    let classic = ClassicMemberMetadata {
        session_timeout_ms: request.session_timeout_ms,
        supported_protocols: protocols.collect(),
        ..Default::default()
    };
    let rack = subscription.rack_id.as_ref().filter(|rack| !rack.is_empty()).map(Text::detached);
    let timeout_ms = request.rebalance_timeout_ms;
    Member {
        instance_id: request.group_instance_id.as_ref().map(Text::detached).or(member.instance_id.clone()),
        rack_id: rack.or(member.rack_id.clone()),
        rebalance_timeout_ms: if timeout_ms == -1 { member.rebalance_timeout_ms } else { timeout_ms },
        subscribed_topic_names: Arc::new(subscription.topics.iter().map(Text::detached).collect()),
        subscribed_topic_regex: Some(Text::default()),
        client_id: caller.client_id.detached(),
        client_host: caller.client_host.detached(),
        classic: Some(Arc::new(classic)),
        ..member.clone()
    }
}

/// Gives the member what it may have now, or makes the group a classic one again if this was its last consumer of the new
/// protocol.
fn rebalance(
    context: &mut Context<'_>,
    (group_id, group): (&Text, &ConsumerGroup),
    (member, updated): (&Member, Member),
    subscription: &ConsumerProtocolSubscription,
    out: &mut GroupDecision,
) -> Result<Member, Refusal> {
    let existing = updated.instance_id.as_ref().and_then(|instance| group.static_member(instance));
    let is_downgrade = existing.is_some_and(|existing| migration::may_downgrade_replacing(context, group, existing));
    let change = (member, &updated);
    let names_changed = update_member(group_id, member, &updated, &mut out.records);
    let regex_change = update_regex(context, group_id, group, change, &mut out.records)?;
    let must_bump = names_changed || regex_change != RegexChange::None;
    let next = if must_bump || context.live.consumer.is_outdated(group_id, group, context.now) {
        update_epoch(context, group_id, group, change, must_bump, &mut out.records)
    } else {
        unchanged(group, change)
    };
    let owned = embedded::owned_partitions(subscription, context.image);
    let is_stale = is_downgrade && group.assignment_epoch < next.epoch;
    let target = match is_downgrade {
        true => Target { epoch: group.assignment_epoch, assignment: group.target_of(&updated) },
        false => target::update(context, group_id, group, change, &next, &mut out.records)?,
    };
    let updated = match is_stale {
        true => updated,
        false => reconcile(context, (group_id, group), updated, (&target, must_bump, Some(&owned)), &mut out.records)?,
    };
    let timer = |make: fn(Text, Text) -> Timer| make(group_id.clone(), updated.member_id.clone());
    context.live.timers.cancel(&timer(|group, member| Timer::ConsumerJoin { group, member }));
    if is_downgrade {
        let waits = updated.state != MemberState::Stable;
        let must_rebalance = is_stale || waits || migration::is_on_its_way(group, existing.map(|member| &**member));
        let change = Downgrade { leaving: &[], joining: Some(&updated), must_rebalance };
        migration::downgrade(context, group_id, group, &change, out)?;
    } else {
        let session_ms = updated.classic.as_ref().map_or(0, |classic| classic.session_timeout_ms);
        let session = timer(|group, member| Timer::ConsumerSession { group, member });
        context.live.set_timer(session, context.now, i64::from(session_ms));
        let sync = timer(|group, member| Timer::ConsumerSync { group, member });
        context.live.set_timer(sync, context.now, i64::from(updated.rebalance_timeout_ms));
    }
    Ok(updated)
}

/// SyncGroup of a consumer group that has members.
pub(crate) fn classic_sync(context: &mut Context<'_>, ticket: Ticket, request: &SyncGroupRequest) -> GroupDecision {
    let response = sync(context, request)
        .unwrap_or_else(|refusal| SyncGroupResponse { error_code: refusal.error.0, ..Default::default() });
    Decision::reply(ticket, GroupReply::SyncGroup(Box::new(response)), Vec::new())
}

fn sync(context: &mut Context<'_>, request: &SyncGroupRequest) -> Result<SyncGroupResponse, Refusal> {
    let group_id = request.group_id.detached();
    let group = fence::existing_group(context, &group_id)?;
    let member =
        Arc::clone(classic_member_of(group, &group_id, &request.member_id, request.group_instance_id.as_ref())?);
    if member.member_epoch != request.generation_id {
        return Err(ErrorCode::ILLEGAL_GENERATION.into());
    }
    let Some(protocol) = member.classic_protocols().first() else {
        return Err(ErrorCode::UNKNOWN_SERVER_ERROR.into());
    };
    let is_other_type = request.protocol_type.as_ref().is_some_and(|name| *name != CONSUMER_PROTOCOL_TYPE);
    let is_other_name = request.protocol_name.as_ref().is_some_and(|name| *name != protocol.name);
    if is_other_type || is_other_name {
        return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL.into());
    }
    if group.assignment_epoch > member.member_epoch && member.state != MemberState::UnrevokedPartitions {
        expect_join(context, &group_id, &member);
        return Err(ErrorCode::REBALANCE_IN_PROGRESS.into());
    }
    let topics = member.assigned.iter().map(|(topic, epochs)| (*topic, epochs.keys().copied().collect()));
    let assignment = embedded::write_assignment(topics, &protocol.metadata, context.image)
        .map_err(|_| Refusal::from(ErrorCode::UNKNOWN_SERVER_ERROR))?;
    let sync = Timer::ConsumerSync { group: group_id.clone(), member: member.member_id.clone() };
    context.live.timers.cancel(&sync);
    heard_of(context, &group_id, &member);
    Ok(SyncGroupResponse {
        protocol_type: request.protocol_type.clone(),
        protocol_name: request.protocol_name.clone(),
        assignment,
        ..Default::default()
    })
}

/// Heartbeat of a consumer group.
///
/// # Errors
/// Becomes an answer with this error.
pub(crate) fn classic_heartbeat(
    context: &mut Context<'_>,
    request: &HeartbeatRequest,
) -> Result<HeartbeatResponse, Refusal> {
    let group_id = request.group_id.detached();
    let group = fence::existing_group(context, &group_id)?;
    let member =
        Arc::clone(classic_member_of(group, &group_id, &request.member_id, request.group_instance_id.as_ref())?);
    if member.member_epoch != request.generation_id {
        return Err(ErrorCode::ILLEGAL_GENERATION.into());
    }
    let must_join = member.member_epoch < group.assignment_epoch
        || match member.state {
            MemberState::UnrevokedPartitions => true,
            MemberState::UnreleasedPartitions => !group.is_waiting_for_others(&member),
            MemberState::Stable | MemberState::Unknown => false,
        };
    heard_of(context, &group_id, &member);
    let mut response = HeartbeatResponse::default();
    if must_join {
        response.error_code = ErrorCode::REBALANCE_IN_PROGRESS.0;
        expect_join(context, &group_id, &member);
    }
    Ok(response)
}

/// The member, if it is one of the classic protocol and nobody else's instance.
fn classic_member_of<'a>(
    group: &'a ConsumerGroup,
    group_id: &Text,
    member_id: &Text,
    instance: Option<&Text>,
) -> Result<&'a Arc<Member>, Refusal> {
    let member = match instance {
        None => group.member(member_id).ok_or_else(|| unknown_member(group_id, member_id))?,
        Some(instance) => fence::known_static_member(group.static_member(instance), instance, member_id)?,
    };
    if member.uses_classic() { Ok(member) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID.into()) }
}

fn heard_of(context: &mut Context<'_>, group_id: &Text, member: &Member) {
    let session_ms = member.classic.as_ref().map_or(0, |classic| classic.session_timeout_ms);
    let timer = Timer::ConsumerSession { group: group_id.clone(), member: member.member_id.clone() };
    context.live.set_timer(timer, context.now, i64::from(session_ms));
}

/// The member has been told to join again and must in time.
fn expect_join(context: &mut Context<'_>, group_id: &Text, member: &Member) {
    let timer = Timer::ConsumerJoin { group: group_id.clone(), member: member.member_id.clone() };
    let at = context.now.0.saturating_add(i64::from(member.rebalance_timeout_ms));
    context.live.timers.set_if_absent(timer, milena_types::Timestamp(at));
}

/// LeaveGroup of a consumer group. Members of either protocol can be removed with it.
pub(crate) fn classic_leave(context: &mut Context<'_>, ticket: Ticket, request: &LeaveGroupRequest) -> GroupDecision {
    let reply = |response| GroupReply::LeaveGroup(response);
    let group_id = request.group_id.detached();
    let Ok(group) = fence::existing_group(context, &group_id) else {
        let error_code = ErrorCode::UNKNOWN_MEMBER_ID.0;
        return Decision::at_once(ticket, reply(LeaveGroupResponse { error_code, ..Default::default() }));
    };
    let mut leaving: Vec<Arc<Member>> = Vec::new();
    let mut members = Vec::with_capacity(request.members.len());
    for identity in &request.members {
        let found = leaving_member(group, &group_id, identity);
        members.push(MemberResponse {
            member_id: identity.member_id.clone(),
            group_instance_id: identity.group_instance_id.clone(),
            error_code: found.as_ref().map_or_else(|refusal| refusal.error.0, |_| 0),
            ..Default::default()
        });
        if let Ok(member) = found
            && !leaving.iter().any(|known| known.member_id == member.member_id)
        {
            leaving.push(Arc::clone(member));
        }
    }
    match fence::fence(context, &group_id, group, &leaving) {
        Ok(mut out) => {
            out.replies.push((ticket, reply(LeaveGroupResponse { members, ..Default::default() })));
            out
        }
        Err(refusal) => {
            let error_code = refusal.error.0;
            Decision::at_once(ticket, reply(LeaveGroupResponse { error_code, ..Default::default() }))
        }
    }
}

fn leaving_member<'a>(
    group: &'a ConsumerGroup,
    group_id: &Text,
    identity: &MemberIdentity,
) -> Result<&'a Arc<Member>, Refusal> {
    let Some(instance) = &identity.group_instance_id else {
        return group.member(&identity.member_id).ok_or_else(|| unknown_member(group_id, &identity.member_id));
    };
    let member = group.static_member(instance);
    // An administrator knows the instance only.
    let member_id = match member {
        Some(member) if identity.member_id.is_empty() => &member.member_id,
        _ => &identity.member_id,
    };
    fence::known_static_member(member, instance, member_id)
}
