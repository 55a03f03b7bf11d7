//! Members that leave or are thrown out. Kafka: `consumerGroupLeave`, `consumerGroupFenceMembers`.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::Text;
use milena_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use milena_types::ErrorCode;

use super::heartbeat::unknown_member;
use super::member::{LEAVE_STATIC_EPOCH, Member, PartitionEpochs};
use super::migration::{self, Downgrade};
use super::record;
use super::state::{ConsumerGroup, remove_regex_topics, replace_names};
use crate::group::context::Context;
use crate::group::error::Refusal;
use crate::group::machine::GroupDecision;
use crate::group::records::GroupRecord;
use crate::group::state::Group;
use crate::group::timer::Timer;

/// A member says goodbye: for good, or as a static member until it comes back.
pub(super) fn leave(
    context: &mut Context<'_>,
    request: &ConsumerGroupHeartbeatRequest,
    out: &mut GroupDecision,
) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
    let ConsumerGroupHeartbeatRequest { member_id, instance_id, .. } = request;
    let group_id = &request.group_id.detached();
    let group = existing_group(context, group_id)?;
    let response = ConsumerGroupHeartbeatResponse {
        member_id: Some(member_id.clone()),
        member_epoch: request.member_epoch,
        ..Default::default()
    };
    let member = match instance_id {
        None => group.member(member_id).ok_or_else(|| unknown_member(group_id, member_id))?,
        Some(instance) => known_static_member(group.static_member(instance), instance, member_id)?,
    };
    if instance_id.is_some() && request.member_epoch == LEAVE_STATIC_EPOCH {
        out.records.push(record::current(group_id, &gone_for_now(member)));
        return Ok(response);
    }
    out.extend(fence(context, group_id, group, &[Arc::clone(member)])?);
    Ok(response)
}

/// The group, if it is a consumer group.
pub(super) fn existing_group<'a>(context: &Context<'a>, group_id: &Text) -> Result<&'a ConsumerGroup, Refusal> {
    let not_found = |text: String| Refusal::new(ErrorCode::GROUP_ID_NOT_FOUND, text);
    match context.state.group(group_id) {
        Some(Group::Consumer(group)) => Ok(group),
        Some(Group::Classic(_)) => Err(not_found(format!("Group {group_id} is not a consumer group."))),
        None => Err(not_found(format!("Group {group_id} not found."))),
    }
}

/// The static member, if it is the one that asks (`throwIfStaticMemberIsUnknown`, `throwIfInstanceIdIsFenced`).
pub(super) fn known_static_member<'a>(
    member: Option<&'a Arc<Member>>,
    instance: &str,
    member_id: &str,
) -> Result<&'a Arc<Member>, Refusal> {
    let Some(member) = member else {
        return Err(Refusal::new(ErrorCode::UNKNOWN_MEMBER_ID, format!("Instance id {instance} is unknown.")));
    };
    if *member.member_id != *member_id {
        let text =
            format!("Static member {member_id} with instance id {instance} was fenced by member {}.", member.member_id);
        return Err(Refusal::new(ErrorCode::FENCED_INSTANCE_ID, text));
    }
    Ok(member)
}

/// A static member that will be back keeps its partitions, so that nobody else gets them until its session ends.
fn gone_for_now(member: &Member) -> Member {
    let without_epochs: PartitionEpochs = member
        .assigned
        .iter()
        .map(|(topic, epochs)| (*topic, epochs.keys().map(|partition| (*partition, 0)).collect()))
        .collect();
    Member {
        member_epoch: LEAVE_STATIC_EPOCH,
        assigned: Arc::new(without_epochs),
        pending_revocation: Arc::default(),
        ..member.clone()
    }
}

/// Removes members and gives the group a new epoch. If only members of the classic protocol are left, they become a
/// classic group and begin a rebalance.
pub(super) fn fence(
    context: &mut Context<'_>,
    group_id: &Text,
    group: &ConsumerGroup,
    members: &[Arc<Member>],
) -> Result<GroupDecision, Refusal> {
    let mut out = GroupDecision::default();
    if members.is_empty() {
        return Ok(out);
    }
    if migration::may_downgrade_without(context, group, members) {
        let change = Downgrade { leaving: members, joining: None, must_rebalance: true };
        migration::downgrade(context, group_id, group, &change, &mut out)?;
        return Ok(out);
    }
    out.records = removal_records(context, group_id, group, members);
    for member in members {
        cancel_timers(context, group_id, &member.member_id);
    }
    Ok(out)
}

fn removal_records(
    context: &mut Context<'_>,
    group_id: &Text,
    group: &ConsumerGroup,
    members: &[Arc<Member>],
) -> Vec<GroupRecord> {
    let mut records = Vec::new();
    let mut topics = group.subscribed_topics.clone();
    let mut regexes: BTreeMap<&Text, usize> = BTreeMap::new();
    for member in members {
        record::remove_member(&mut records, group_id, &member.member_id);
        replace_names(&mut topics, Some(member), None);
        if let Some(regex) = member.regex() {
            *regexes.entry(regex).or_default() += 1;
        }
    }
    for (regex, leaving) in regexes {
        if group.regex_members(regex) == leaving {
            records.push(record::regex_tombstone(group_id, regex));
            if let Some(resolved) = group.resolved_regexes.get(regex) {
                remove_regex_topics(&mut topics, resolved);
            }
        }
    }
    let hash = context.live.consumer.metadata_hash(&topics, context.image);
    records.push(record::epoch(group_id, group.epoch + 1, hash));
    records
}

/// Nothing is awaited of the member any more.
pub(super) fn cancel_timers(context: &mut Context<'_>, group_id: &Text, member_id: &Text) {
    let (group, member) = (group_id.clone(), member_id.clone());
    for timer in [
        Timer::ConsumerSession { group: group.clone(), member: member.clone() },
        Timer::ConsumerRebalance { group: group.clone(), member: member.clone() },
        Timer::ConsumerJoin { group: group.clone(), member: member.clone() },
        Timer::ConsumerSync { group, member },
    ] {
        context.live.timers.cancel(&timer);
    }
}

/// The records that end a group (`createGroupTombstoneRecords`). If a static member was replaced in the same decision, its
/// successor is in the log instead.
pub(super) fn group_tombstones(
    group_id: &Text,
    group: &ConsumerGroup,
    replacement: Option<(&Text, &Text)>,
) -> Vec<GroupRecord> {
    let members: Vec<&Text> = group
        .members
        .keys()
        .map(|id| match replacement {
            Some((old, new)) if old == id => new,
            _ => id,
        })
        .collect();
    let mut records: Vec<GroupRecord> = Vec::new();
    records.extend(members.iter().map(|member| record::current_tombstone(group_id, member)));
    records.extend(members.iter().map(|member| record::target_tombstone(group_id, member)));
    records.push(record::target_epoch_tombstone(group_id));
    records.extend(members.iter().map(|member| record::member_tombstone(group_id, member)));
    records.extend(group.resolved_regexes.keys().map(|regex| record::regex_tombstone(group_id, regex)));
    records.push(record::partition_metadata_tombstone(group_id));
    records.push(record::epoch_tombstone(group_id));
    records
}
