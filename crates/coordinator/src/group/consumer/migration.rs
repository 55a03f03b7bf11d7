//! Classic groups become consumer groups and the reverse, with their members in them
//! (`group.consumer.migration.policy`). Kafka: `convertToConsumerGroup`, `convertToClassicGroup`,
//! `ConsumerGroup.fromClassicGroup`, `ClassicGroup.fromConsumerGroup`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::Text;
use milena_protocol::messages::GroupMetadataKey;
use milena_protocol::messages::consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol};
use milena_types::ErrorCode;

use super::embedded::{self, Malformed};
use super::member::{Member, MemberState, PartitionEpochs};
use super::state::ConsumerGroup;
use super::{fence, record};
use crate::assignor::TopicPartitions;
use crate::group::classic::{
    self, CONSUMER_PROTOCOL_TYPE, ClassicGroup, ClassicRecord, ClassicState, Member as ClassicMember, Protocol,
};
use crate::group::context::Context;
use crate::group::error::Refusal;
use crate::group::machine::GroupDecision;
use crate::group::records::GroupRecord;
use crate::group::timer::Timer;

fn not_found(text: String) -> Refusal {
    Refusal::new(ErrorCode::GROUP_ID_NOT_FOUND, text)
}

/// A consumer joins a classic group: one without members makes room, one with members becomes a consumer group if that is
/// allowed.
pub(super) fn upgrade(
    context: &mut Context<'_>,
    group_id: &Text,
    record: &ClassicRecord,
    out: &mut GroupDecision,
) -> Result<ConsumerGroup, Refusal> {
    let tombstone = GroupRecord::GroupMetadata(GroupMetadataKey { group: group_id.clone() }, None);
    let (state, protocol_type) = classic::glance(context, group_id, record);
    if state == ClassicState::Empty {
        out.records.push(tombstone);
        return Ok(ConsumerGroup::default());
    }
    let refuse =
        |why: &str| Err(not_found(format!("Cannot upgrade classic group {group_id} to consumer group because {why}.")));
    if !context.config.consumer_migration_policy.allows_upgrade() {
        return refuse("online upgrade is disabled");
    }
    if protocol_type != CONSUMER_PROTOCOL_TYPE {
        return refuse("the group does not use the consumer embedded protocol");
    }
    let max_size = context.config.consumer_max_size;
    let Some(step) = classic::step(context, group_id) else { return Err(ErrorCode::UNKNOWN_SERVER_ERROR.into()) };
    if step.group.member_count() > max_size {
        return refuse("the group size exceeds the consumer group maximum size");
    }
    // Whoever waits is told to come again and will find the consumer group.
    let waiting = step.group.members_mut().flat_map(|member| member.take_waiting(ErrorCode::REBALANCE_IN_PROGRESS));
    out.at_once.extend(waiting);
    let classic = step.group.clone();
    let mut group = from_classic(context, &classic)?;
    context.live.consumer.forget(group_id);
    // Where the leader left something out, as when topics have come since, a new target must be made. (Kafka takes what it
    // finds to be complete, and it stays so until topics change again.)
    if is_complete(&group, context) {
        group.metadata_hash = context.live.consumer.metadata_hash(&group.subscribed_topics, context.image);
    }
    out.records.push(tombstone);
    out.records.extend(group_records(group_id, &group));
    for (member_id, member) in group.members.iter() {
        let session_ms = member.classic.as_ref().map_or(0, |classic| classic.session_timeout_ms);
        let timer = Timer::ConsumerSession { group: group_id.clone(), member: member_id.clone() };
        context.live.set_timer(timer, context.now, i64::from(session_ms));
    }
    Ok(group)
}

/// Whether every partition that somebody wants is somebody's.
fn is_complete(group: &ConsumerGroup, context: &Context<'_>) -> bool {
    group.subscribed_topics.keys().filter_map(|name| context.image.topics.named(name)).all(|topic| {
        let assigned = group.target.values().filter_map(|target| target.get(&topic.id)).map(BTreeSet::len);
        assigned.sum::<usize>() >= topic.partitions.len()
    })
}

/// The same group as a consumer group: its generation is the epoch, what members have is what they shall have.
fn from_classic(context: &Context<'_>, classic: &ClassicGroup) -> Result<ConsumerGroup, Refusal> {
    let group_id = &classic.id;
    let epoch = classic.generation;
    let mut group = ConsumerGroup::default();
    group.epoch = epoch;
    group.assignment_epoch = epoch;
    // A group that has never agreed on a protocol cannot be read.
    let Some(protocol) = &classic.protocol else { return Err(ErrorCode::UNKNOWN_SERVER_ERROR.into()) };
    let malformed = |_: Malformed| {
        not_found(format!(
            "Cannot upgrade classic group {group_id} to consumer group because the embedded consumer protocol is \
             malformed."
        ))
    };
    for member in classic.members() {
        let mut assigned = TopicPartitions::new();
        if !member.assignment.is_empty() {
            let assignment = embedded::read_assignment(&member.assignment).map_err(malformed)?;
            if assignment.user_data.as_ref().is_some_and(|data| !data.is_empty()) {
                return Err(not_found(format!(
                    "Cannot upgrade classic group {group_id} to consumer group because an unsupported custom assignor is \
                     in use. Please refer to the documentation or switch to a default assignor before re-attempting the \
                     upgrade."
                )));
            }
            assigned = embedded::by_topic_id(&assignment, context.image);
        }
        let subscription = embedded::read_subscription(&member.metadata(protocol)).map_err(malformed)?;
        let epochs: PartitionEpochs = assigned
            .iter()
            .map(|(topic, partitions)| (*topic, partitions.iter().map(|partition| (*partition, epoch)).collect()))
            .collect();
        group.target.insert(member.id.clone(), Arc::new(assigned));
        group.update_member(Member {
            member_epoch: epoch,
            previous_member_epoch: epoch,
            instance_id: member.instance_id.clone(),
            rack_id: subscription.rack_id.filter(|rack| !rack.is_empty()).map(|rack| rack.detached()),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: Arc::new(subscription.topics.iter().map(Text::detached).collect()),
            assigned: Arc::new(epochs),
            classic: Some(Arc::new(classic_metadata(member.session_timeout_ms, &member.protocols))),
            ..Member::new(member.id.clone())
        });
    }
    Ok(group)
}

fn classic_metadata(session_timeout_ms: i32, protocols: &[Protocol]) -> ClassicMemberMetadata {
    let protocols = protocols.iter().map(|protocol| ClassicProtocol {
        name: protocol.name.clone(),
        metadata: protocol.metadata.clone(),
        ..Default::default()
    });
    ClassicMemberMetadata { session_timeout_ms, supported_protocols: protocols.collect(), ..Default::default() }
}

/// The records of a whole group (`createConsumerGroupRecords`).
fn group_records(group_id: &Text, group: &ConsumerGroup) -> Vec<GroupRecord> {
    let mut records: Vec<GroupRecord> = Vec::new();
    records.extend(group.members.values().map(|member| record::member(group_id, member)));
    records.push(record::epoch(group_id, group.epoch, group.metadata_hash));
    records.extend(group.target.iter().map(|(member, target)| record::target(group_id, member, target)));
    records.push(record::target_epoch(group_id, group.assignment_epoch, group.assignment_timestamp));
    records.extend(group.members.values().map(|member| record::current(group_id, member)));
    records
}

/// Whether only members of the classic protocol are left once these have gone, and they may become a classic group.
pub(super) fn may_downgrade_without(context: &Context<'_>, group: &ConsumerGroup, leaving: &[Arc<Member>]) -> bool {
    let left = group.members.len().saturating_sub(leaving.len());
    let leaving_classic = leaving.iter().filter(|member| member.uses_classic()).count();
    group.classic_member_count.saturating_sub(leaving_classic) == left
        && left > 0
        && context.config.consumer_migration_policy.allows_downgrade()
        && left <= context.config.group_max_size
}

/// The same when the last member of the new protocol comes back with the classic one.
pub(super) fn may_downgrade_replacing(context: &Context<'_>, group: &ConsumerGroup, replaced: &Member) -> bool {
    group.classic_member_count + 1 == group.members.len()
        && !replaced.uses_classic()
        && context.config.consumer_migration_policy.allows_downgrade()
        && group.members.len() <= context.config.group_max_size
}

/// Who is not in the classic group, who is instead, and whether there must be a rebalance.
pub(super) struct Downgrade<'a> {
    pub(super) leaving: &'a [Arc<Member>],
    /// In the place of the static member of its instance id.
    pub(super) joining: Option<&'a Member>,
    pub(super) must_rebalance: bool,
}

/// Makes a classic group of a consumer group.
pub(super) fn downgrade(
    context: &mut Context<'_>,
    group_id: &Text,
    group: &ConsumerGroup,
    change: &Downgrade<'_>,
    out: &mut GroupDecision,
) -> Result<(), Refusal> {
    let replaced = change.joining.and_then(|member| member.instance_id.as_ref());
    let replaced = replaced.and_then(|instance| group.static_member(instance));
    let replacement = replaced.zip(change.joining).map(|(old, new)| (&old.member_id, new));
    let new_id = replacement.map(|(old, new)| (old, &new.member_id));
    out.records.extend(fence::group_tombstones(group_id, group, new_id));
    let stays = |member: &&Arc<Member>| {
        !change.leaving.iter().any(|leaving| leaving.member_id == member.member_id)
            && replaced.is_none_or(|replaced| replaced.member_id != member.member_id)
    };
    let mut classic = ClassicGroup::new(group_id.clone(), context.now);
    classic.generation = group.epoch;
    classic.protocol_type = Some(Text::from_static(CONSUMER_PROTOCOL_TYPE));
    let staying = group.members.values().filter(stays).map(|member| &**member);
    for member in staying.chain(change.joining) {
        classic.add(classic_member(member));
    }
    classic.transition_to(ClassicState::Stable, context.now);
    classic.protocol = classic.select_protocol();
    classic.subscribed_topics = classic.compute_subscribed_topics();
    let assignment = assignments(context, group, &classic, replacement).map_err(|_| {
        not_found(format!("Cannot downgrade the classic group {group_id}: the consumer protocol is malformed."))
    })?;
    for member in classic.members_mut() {
        member.assignment = assignment.get(&member.id).cloned().unwrap_or_default();
    }
    out.records.push(classic.to_record(&assignment));
    for member_id in group.members.keys() {
        fence::cancel_timers(context, group_id, member_id);
    }
    begin(context, group_id, classic, change.must_rebalance, out);
    Ok(())
}

/// The group lives as a classic one from now on.
fn begin(
    context: &mut Context<'_>,
    group_id: &Text,
    classic: ClassicGroup,
    must_rebalance: bool,
    out: &mut GroupDecision,
) {
    let members = classic.member_ids();
    context.live.classic.insert(group_id.clone(), classic);
    let Some(mut step) = classic::step_of_live(context, group_id) else { return };
    for member in &members {
        step.reschedule_heartbeat(member);
    }
    if must_rebalance {
        step.prepare_rebalance();
    }
    out.extend(step.out);
}

fn classic_member(member: &Member) -> ClassicMember {
    let protocols = member
        .classic_protocols()
        .iter()
        .map(|protocol| Protocol { name: protocol.name.clone(), metadata: protocol.metadata.clone() });
    ClassicMember {
        id: member.member_id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        session_timeout_ms: member.classic.as_ref().map_or(0, |classic| classic.session_timeout_ms),
        protocol_type: Text::from_static(CONSUMER_PROTOCOL_TYPE),
        protocols: protocols.collect(),
        assignment: Bytes::new(),
        awaiting_join: None,
        awaiting_sync: None,
        is_new: false,
    }
}

/// Whether a member is on its way to its target. In a classic group nobody tells it to go on, so there must be a rebalance.
/// (Kafka tells it to go on where a member leaves; where a static member came back in the classic protocol, partitions
/// that others wait for stay without an owner.)
pub(super) fn is_on_its_way(group: &ConsumerGroup, replaced: Option<&Member>) -> bool {
    let stays = |member: &&Arc<Member>| replaced.is_none_or(|replaced| replaced.member_id != member.member_id);
    group.members.values().filter(stays).any(|member| member.state != MemberState::Stable)
}

/// What of its target a member has: a coordinator that finds partitions without an owner begins the rebalance again
/// (`leaves_out`).
fn kept(member: &Member, target: &TopicPartitions) -> TopicPartitions {
    if member.state == MemberState::Stable {
        return target.clone();
    }
    let has = |topic, partition| member.assigned.get(topic).is_some_and(|epochs| epochs.contains_key(partition));
    target
        .iter()
        .map(|(topic, wanted)| (*topic, wanted.iter().filter(|partition| has(topic, partition)).copied().collect()))
        .collect()
}

/// What each member shall have, as its leader would have told it.
fn assignments(
    context: &Context<'_>,
    group: &ConsumerGroup,
    classic: &ClassicGroup,
    replacement: Option<(&Text, &Member)>,
) -> Result<BTreeMap<Text, Bytes>, Malformed> {
    let protocol = classic.protocol.clone().unwrap_or_default();
    let mut assignments = BTreeMap::new();
    for member in classic.members() {
        let (id, known) = match replacement {
            Some((old, new)) if new.member_id == member.id => (old, Some(new)),
            _ => (&member.id, group.member(&member.id).map(|member| &**member)),
        };
        let target = group.target.get(id).cloned().unwrap_or_default();
        let target = known.map_or_else(TopicPartitions::new, |known| kept(known, &target));
        let topics = target.iter().map(|(topic, partitions)| (*topic, partitions.iter().copied().collect()));
        let bytes = embedded::write_assignment(topics, &member.metadata(&protocol), context.image)?;
        assignments.insert(member.id.clone(), bytes);
    }
    Ok(assignments)
}
