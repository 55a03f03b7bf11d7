//! ConsumerGroupHeartbeat: joining, staying, changing one's mind and leaving are all this one request. Kafka:
//! `GroupCoordinatorService.consumerGroupHeartbeat`, `GroupMetadataManager.consumerGroupHeartbeat`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::Text;
use milena_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as OwnedPartitions;
use milena_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use milena_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use milena_types::ErrorCode;

use super::fence;
use super::member::{LEAVE_EPOCH, LEAVE_STATIC_EPOCH, Member, MemberState, PartitionEpochs};
use super::reconcile::{Reconciliation, Target};
use super::state::ConsumerGroup;
use super::subscription::{RegexChange, TopicResolver, unchanged, update_epoch, update_member, update_regex};
use super::{migration, record, target};
use crate::group::config::GroupConfig;
use crate::group::context::Context;
use crate::group::error::Refusal;
use crate::group::event::{Caller, GroupReply};
use crate::group::machine::GroupDecision;
use crate::group::records::GroupRecord;
use crate::group::state::Group;
use crate::group::timer::Timer;
use crate::runtime::Ticket;

/// What is wrong with a request whatever the group is (`throwIfConsumerGroupHeartbeatRequestIsInvalid`). The host asks
/// before it looks for the coordinator.
///
/// # Errors
/// INVALID_REQUEST or UNSUPPORTED_ASSIGNOR.
pub fn check_heartbeat(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
    config: &GroupConfig,
) -> Result<(), Refusal> {
    let invalid = |message: &'static str| Err(Refusal::new(ErrorCode::INVALID_REQUEST, message));
    // Java's `String.trim` cuts every character up to the space.
    let is_blank = |text: &Text| text.chars().all(|c| c <= ' ');
    if (version >= 1 || request.member_epoch > 0 || request.member_epoch == LEAVE_EPOCH) && is_blank(&request.member_id)
    {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(&request.group_id) {
        return invalid("GroupId can't be empty.");
    }
    if request.instance_id.as_ref().is_some_and(is_blank) {
        return invalid("InstanceId can't be empty.");
    }
    if request.rack_id.as_ref().is_some_and(is_blank) {
        return invalid("RackId can't be empty.");
    }
    match request.member_epoch {
        0 if request.rebalance_timeout_ms == -1 => {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        0 if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        0 if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() => {
            return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
        }
        LEAVE_STATIC_EPOCH if request.instance_id.is_none() => return invalid("InstanceId can't be null."),
        epoch if epoch < LEAVE_STATIC_EPOCH => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    match &request.server_assignor {
        Some(name) if !config.consumer_assignors.contains(name) => {
            let supported = config.consumer_assignors.iter().map(|name| &**name).collect::<Vec<&str>>().join(", ");
            let text = format!("ServerAssignor {name} is not supported. Supported assignors: {supported}.");
            Err(Refusal::new(ErrorCode::UNSUPPORTED_ASSIGNOR, text))
        }
        _ => Ok(()),
    }
}

/// ConsumerGroupHeartbeat.
pub(crate) fn heartbeat(
    context: &mut Context<'_>,
    ticket: Ticket,
    caller: &Caller,
    request: &ConsumerGroupHeartbeatRequest,
) -> GroupDecision {
    let mut out = GroupDecision::default();
    let result = check_heartbeat(request, caller.version, context.config).and_then(|()| match request.member_epoch {
        LEAVE_EPOCH | LEAVE_STATIC_EPOCH => fence::leave(context, request, &mut out),
        _ => stay(context, caller, request, &mut out),
    });
    let response = result.unwrap_or_else(|refusal| {
        // Members of a classic group that were told to come again have been told.
        out = GroupDecision { at_once: std::mem::take(&mut out.at_once), ..GroupDecision::default() };
        ConsumerGroupHeartbeatResponse {
            error_code: refusal.error.0,
            error_message: refusal.message,
            ..ConsumerGroupHeartbeatResponse::default()
        }
    });
    out.replies.push((ticket, GroupReply::ConsumerGroupHeartbeat(Box::new(response))));
    out
}

fn stay(
    context: &mut Context<'_>,
    caller: &Caller,
    request: &ConsumerGroupHeartbeatRequest,
    out: &mut GroupDecision,
) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
    let group_id = &request.group_id.detached();
    let is_joining = request.member_epoch == 0;
    let group = get_or_create(context, group_id, is_joining, out)?;
    let group = &*group;
    let records = &mut out.records;
    refuse_if_full(context, group, &request.member_id)?;
    let member_id = match request.member_id.is_empty() {
        true => Text::from(context.live.random.uuid().to_string()),
        false => request.member_id.detached(),
    };
    let member = match &request.instance_id {
        None => dynamic_member(group, &member_id, request, is_joining)?,
        Some(instance) => static_member(group, &member_id, instance, request, is_joining, records)?,
    };
    let updated = with_request(&member, caller, request);
    let change = (&member, &updated);
    let names_changed = update_member(group_id, &member, &updated, records);
    let regex_change = update_regex(context, group_id, group, change, records)?;
    let must_bump = names_changed || regex_change == RegexChange::Resolved;
    let subscription = if must_bump || context.live.consumer.is_outdated(group_id, group, context.now) {
        update_epoch(context, group_id, group, change, must_bump, records)
    } else {
        unchanged(group, change)
    };
    let target = target::update(context, group_id, group, change, &subscription, records)?;
    let owned = request.topic_partitions.as_deref();
    let has_changed = names_changed || regex_change != RegexChange::None;
    let updated = reconcile(context, (group_id, group), updated, (&target, has_changed, owned), records)?;

    let timeouts = context.config.consumer_timeouts(context.image, group_id);
    let session = Timer::ConsumerSession { group: group_id.clone(), member: member_id };
    context.live.set_timer(session, context.now, i64::from(timeouts.session_timeout_ms));
    let is_full_request = request.rebalance_timeout_ms != -1
        && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
        && request.topic_partitions.is_some();
    let must_tell = is_joining || is_full_request || member.assigned != updated.assigned;
    let response = ConsumerGroupHeartbeatResponse {
        member_id: Some(updated.member_id.clone()),
        member_epoch: updated.member_epoch,
        heartbeat_interval_ms: timeouts.heartbeat_interval_ms,
        assignment: must_tell.then(|| assignment(&updated.assigned)),
        ..Default::default()
    };
    Ok(response)
}

/// The group the request is about, made if the member joins (`getOrMaybeCreateConsumerGroup`).
fn get_or_create<'a>(
    context: &mut Context<'a>,
    group_id: &Text,
    create: bool,
    out: &mut GroupDecision,
) -> Result<Cow<'a, ConsumerGroup>, Refusal> {
    let not_found = |text: String| Refusal::new(ErrorCode::GROUP_ID_NOT_FOUND, text);
    match context.state.group(group_id) {
        None if create => Ok(Cow::Owned(ConsumerGroup::default())),
        None => Err(not_found(format!("Consumer group {group_id} not found."))),
        Some(Group::Consumer(group)) => Ok(Cow::Borrowed(group)),
        Some(Group::Classic(record)) if create => migration::upgrade(context, group_id, record, out).map(Cow::Owned),
        Some(Group::Classic(_)) => Err(not_found(format!("Group {group_id} is not a consumer group."))),
    }
}

/// Refuses one member too many (`throwIfConsumerGroupIsFull`).
pub(super) fn refuse_if_full(context: &Context<'_>, group: &ConsumerGroup, member_id: &Text) -> Result<(), Refusal> {
    let max = context.config.consumer_max_size;
    if group.members.len() >= max && (member_id.is_empty() || group.member(member_id).is_none()) {
        let text = format!("The consumer group has reached its maximum capacity of {max} members.");
        return Err(Refusal::new(ErrorCode::GROUP_MAX_SIZE_REACHED, text));
    }
    Ok(())
}

pub(super) fn unknown_member(group_id: &str, member_id: &str) -> Refusal {
    Refusal::new(ErrorCode::UNKNOWN_MEMBER_ID, format!("Member {member_id} is not a member of group {group_id}."))
}

fn dynamic_member(
    group: &ConsumerGroup,
    member_id: &Text,
    request: &ConsumerGroupHeartbeatRequest,
    is_joining: bool,
) -> Result<Member, Refusal> {
    let member = match group.member(member_id) {
        Some(member) => Member::clone(member),
        None if is_joining => Member::new(member_id.clone()),
        None => return Err(unknown_member(&request.group_id, member_id)),
    };
    refuse_wrong_epoch(&member, request)?;
    Ok(member)
}

/// A static member comes back under a new id and takes the place of the one that left
/// (`getOrMaybeSubscribeStaticConsumerGroupMember`).
fn static_member(
    group: &ConsumerGroup,
    member_id: &Text,
    instance: &Text,
    request: &ConsumerGroupHeartbeatRequest,
    is_joining: bool,
    records: &mut Vec<GroupRecord>,
) -> Result<Member, Refusal> {
    let existing = group.static_member(instance);
    if !is_joining {
        let existing = fence::known_static_member(existing, instance, member_id)?;
        refuse_wrong_epoch(existing, request)?;
        return Ok(Member::clone(existing));
    }
    let Some(existing) = existing else {
        return Ok(group
            .member(member_id)
            .map_or_else(|| Member::new(member_id.clone()), |member| Member::clone(member)));
    };
    if !existing.uses_classic() && existing.member_epoch != LEAVE_STATIC_EPOCH {
        let text = format!(
            "Static member {member_id} with instance id {instance} cannot join the group because the instance id is \
             owned by {} member.",
            existing.member_id
        );
        return Err(Refusal::new(ErrorCode::UNRELEASED_INSTANCE_ID, text));
    }
    Ok(replace_static_member(&request.group_id, group, existing, member_id, records))
}

/// Takes a static member out and puts its successor in.
pub(super) fn replace_static_member(
    group_id: &Text,
    group: &ConsumerGroup,
    existing: &Member,
    member_id: &Text,
    records: &mut Vec<GroupRecord>,
) -> Member {
    let successor =
        Member { member_id: member_id.clone(), member_epoch: 0, previous_member_epoch: 0, ..existing.clone() };
    let target = group.target.get(&existing.member_id).cloned().unwrap_or_default();
    record::remove_member(records, group_id, &existing.member_id);
    records.push(record::member(group_id, &successor));
    records.push(record::target(group_id, member_id, &target));
    records.push(record::current(group_id, &successor));
    successor
}

/// Fences a member whose epoch is not the group's (`throwIfConsumerGroupMemberEpochIsInvalid`). One that has missed the
/// answer with its new epoch may use the last one, if it has nothing that was taken from it.
fn refuse_wrong_epoch(member: &Member, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let (received, known) = (request.member_epoch, member.member_epoch);
    let fenced = |comparison: &str| {
        let text = format!(
            "The consumer group member has a {comparison} member epoch ({received}) than the one known by the group \
             coordinator ({known}). The member must abandon all its partitions and rejoin."
        );
        Err(Refusal::new(ErrorCode::FENCED_MEMBER_EPOCH, text))
    };
    if received == 0 || received == known {
        return Ok(());
    }
    if received > known {
        return fenced("greater");
    }
    let has_only_its_own = request.topic_partitions.as_ref().is_some_and(|owned| is_subset(owned, &member.assigned));
    if received != member.previous_member_epoch || !has_only_its_own {
        return fenced("smaller");
    }
    Ok(())
}

fn is_subset(owned: &[OwnedPartitions], assigned: &PartitionEpochs) -> bool {
    owned.iter().all(|topic| {
        let assigned = assigned.get(&topic.topic_id);
        assigned.is_some_and(|assigned| topic.partitions.iter().all(|partition| assigned.contains_key(partition)))
    })
}

/// The member with what the request says; what it does not say stays.
fn with_request(member: &Member, caller: &Caller, request: &ConsumerGroupHeartbeatRequest) -> Member {
    let mut updated = Member {
        client_id: keep_if_same(&member.client_id, &caller.client_id),
        client_host: keep_if_same(&member.client_host, &caller.client_host),
        classic: None,
        ..member.clone()
    };
    if let Some(instance) = &request.instance_id {
        updated.instance_id = Some(instance.detached());
    }
    if let Some(rack) = &request.rack_id {
        updated.rack_id = Some(rack.detached());
    }
    if request.rebalance_timeout_ms != -1 {
        updated.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if let Some(assignor) = &request.server_assignor {
        updated.server_assignor = Some(assignor.detached());
    }
    if let Some(names) = &request.subscribed_topic_names {
        updated.subscribed_topic_names = Arc::new(names.iter().map(Text::detached).collect());
    }
    if let Some(regex) = &request.subscribed_topic_regex {
        updated.subscribed_topic_regex = Some(regex.detached());
    }
    updated
}

/// A copy of its own of what is new: the frame a request came in is not kept.
fn keep_if_same(present: &Text, new: &Text) -> Text {
    if present == new { present.clone() } else { new.detached() }
}

/// Brings the member closer to its target and watches over it while it has to revoke (`maybeReconcile`).
pub(super) fn reconcile(
    context: &mut Context<'_>,
    (group_id, group): (&Text, &ConsumerGroup),
    member: Member,
    (target, has_subscription_changed, owned): (&Target, bool, Option<&[OwnedPartitions]>),
    records: &mut Vec<GroupRecord>,
) -> Result<Member, Refusal> {
    if !has_subscription_changed && member.is_reconciled_to(target.epoch) {
        return Ok(member);
    }
    let resolver = TopicResolver::new(context.image, &group.resolved_regexes);
    let updated = Reconciliation { group, resolver, target, has_subscription_changed, owned }.step(&member)?;
    if updated == member {
        return Ok(member);
    }
    records.push(record::current(group_id, &updated));
    if !updated.uses_classic() {
        let timer = Timer::ConsumerRebalance { group: group_id.clone(), member: updated.member_id.clone() };
        if updated.state == MemberState::UnrevokedPartitions {
            context.live.set_timer(timer, context.now, i64::from(updated.rebalance_timeout_ms));
        } else {
            context.live.timers.cancel(&timer);
        }
    }
    Ok(updated)
}

fn assignment(assigned: &PartitionEpochs) -> Assignment {
    let topics = assigned.iter().map(|(topic_id, epochs): (_, &BTreeMap<i32, i32>)| TopicPartitions {
        topic_id: *topic_id,
        partitions: epochs.keys().copied().collect(),
        ..Default::default()
    });
    Assignment { topic_partitions: topics.collect(), ..Default::default() }
}
