//! Who of a group shall have what, once a member has changed. Kafka: `TargetAssignmentBuilder`,
//! `maybeUpdateTargetAssignment`.

use std::sync::Arc;

use milena_protocol::Text;
use milena_types::{ErrorCode, Timestamp, Uuid};

use super::member::Member;
use super::reconcile::Target;
use super::record;
use super::state::ConsumerGroup;
use super::subscription::{Subscription, TopicResolver};
use crate::assignor::{Assignor, GroupSpec, MemberSpec, TopicPartitions};
use crate::group::context::Context;
use crate::group::error::Refusal;
use crate::group::records::GroupRecord;

/// The target of the changed member: the present one, or a new one for everybody when the group's epoch has grown and the
/// present one is old enough.
pub(super) fn update(
    context: &Context<'_>,
    group_id: &Text,
    group: &ConsumerGroup,
    (old, new): (&Member, &Member),
    subscription: &Subscription,
    records: &mut Vec<GroupRecord>,
) -> Result<Target, Refusal> {
    let interval_ms = context.config.consumer_timeouts(context.image, group_id).assignment_interval_ms;
    if group.assignment_epoch >= subscription.epoch || !may_compute(group, interval_ms, context.now) {
        return Ok(Target { epoch: group.assignment_epoch, assignment: group.target_of(new) });
    }
    let (members, present) = member_specs(context, group, new);
    let spec = GroupSpec {
        members,
        is_homogeneous: subscription.is_homogeneous,
        partition_count: &|id: Uuid| {
            context.image.topics.get(id).map(|topic| i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX))
        },
    };
    let target = assignor(context, group, old, new)
        .ok_or_else(|| "no such assignor".to_owned())
        .and_then(|assignor| assignor.assign(&spec).map_err(|error| error.0))
        .map_err(|_| Refusal::from(ErrorCode::UNKNOWN_SERVER_ERROR))?;
    let mut mine = Arc::default();
    for ((member, present), assignment) in spec.members.iter().zip(&present).zip(&target) {
        let is_same = |present: &Arc<_>| Arc::ptr_eq(present, assignment) || present == assignment;
        if !present.as_ref().is_some_and(is_same) {
            records.push(record::target(group_id, &member.member_id, assignment));
        }
        if member.member_id == new.member_id {
            mine = Arc::clone(assignment);
        }
    }
    records.push(record::target_epoch(group_id, subscription.epoch, context.now.0));
    Ok(Target { epoch: subscription.epoch, assignment: mine })
}

/// Whether the present target is old enough to be replaced (`canComputeNextTargetAssignment`).
fn may_compute(group: &ConsumerGroup, interval_ms: i32, now: Timestamp) -> bool {
    let made = group.assignment_timestamp;
    made == 0 || interval_ms == 0 || now.0 >= made.saturating_add(i64::from(interval_ms))
}

/// The assignor most members ask for, or the first of the broker's.
fn assignor(context: &Context<'_>, group: &ConsumerGroup, old: &Member, new: &Member) -> Option<Assignor> {
    let preferred = group.preferred_assignor_with(old, new);
    Assignor::named(&preferred.or_else(|| context.config.consumer_assignors.first().cloned())?)
}

/// What a member shall have at present, if that was ever said.
type Present = Option<Arc<TopicPartitions>>;

/// All members with the changed one, in the order of their ids, and what each shall have at present. One that replaces a
/// static member takes over its target. Members and targets are walked side by side: this is done for every member that joins.
fn member_specs(context: &Context<'_>, group: &ConsumerGroup, new: &Member) -> (Vec<MemberSpec>, Vec<Present>) {
    let mut resolver = TopicResolver::new(context.image, &group.resolved_regexes);
    let mut spec = |member: &Member, assignment: Arc<_>| MemberSpec {
        member_id: member.member_id.clone(),
        instance_id: member.instance_id.clone(),
        subscribed_topic_ids: resolver.topic_ids(member),
        assignment,
    };
    let replaced = new.instance_id.as_ref().and_then(|instance| group.static_members.get(instance));
    let mut specs = Vec::with_capacity(group.members.len() + 1);
    let mut present = Vec::with_capacity(group.members.len() + 1);
    let mut targets = group.target.iter().peekable();
    let mut place = None;
    for (id, member) in group.members.iter() {
        if place.is_none() && *id >= new.member_id {
            place = Some(specs.len());
        }
        if *id == new.member_id || Some(id) == replaced {
            continue;
        }
        let mut mine = None;
        while let Some((order, target)) = targets.peek().map(|(other, target)| ((*other).cmp(id), *target)) {
            if order.is_gt() {
                break;
            }
            targets.next();
            mine = order.is_eq().then(|| Arc::clone(target));
        }
        specs.push(spec(member, mine.clone().unwrap_or_default()));
        present.push(mine);
    }
    let place = place.unwrap_or(specs.len());
    let predecessor = replaced.unwrap_or(&new.member_id);
    specs.insert(place, spec(new, group.target.get(predecessor).cloned().unwrap_or_default()));
    present.insert(place, group.target.get(&new.member_id).cloned());
    (specs, present)
}
