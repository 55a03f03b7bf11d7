//! ConsumerGroupDescribe. Kafka: `ConsumerGroup.asDescribedGroup`.

use std::collections::BTreeMap;

use milena_metadata::Image;
use milena_protocol::Text;
use milena_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions as DescribedPartitions,
};
use milena_types::{ErrorCode, Uuid};

use super::member::Member;
use super::state::ConsumerGroup;
use crate::group::context::Context;
use crate::group::state::Group;

/// One group of ConsumerGroupDescribe, as committed.
pub(crate) fn describe(context: &Context<'_>, group_id: &Text) -> DescribedGroup {
    let group = match context.state.committed_group(group_id) {
        Some(Group::Consumer(group)) => group,
        Some(Group::Classic(_)) => return not_found(group_id, format!("Group {group_id} is not a consumer group.")),
        None => return not_found(group_id, format!("Group {group_id} not found.")),
    };
    let default_assignor = || context.config.consumer_assignors.first().cloned().unwrap_or_default();
    DescribedGroup {
        group_id: group_id.clone(),
        group_state: Text::from_static(group.state().name()),
        group_epoch: group.epoch,
        assignment_epoch: group.assignment_epoch,
        assignor_name: group.preferred_assignor().unwrap_or_else(default_assignor),
        members: group.members.values().map(|member| describe_member(group, member, context.image)).collect(),
        ..Default::default()
    }
}

fn not_found(group_id: &Text, message: String) -> DescribedGroup {
    DescribedGroup {
        group_id: group_id.clone(),
        error_code: ErrorCode::GROUP_ID_NOT_FOUND.0,
        error_message: Some(Text::from(message)),
        ..Default::default()
    }
}

fn describe_member(group: &ConsumerGroup, member: &Member, image: &Image) -> DescribedMember {
    let mut has: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, epochs) in member.assigned.iter().chain(member.pending_revocation.iter()) {
        has.entry(*topic).or_default().extend(epochs.keys());
    }
    let target = group.target.get(&member.member_id);
    let shall_have = target.iter().flat_map(|target| target.iter());
    DescribedMember {
        member_id: member.member_id.clone(),
        instance_id: member.instance_id.clone(),
        rack_id: member.rack_id.clone(),
        member_epoch: member.member_epoch,
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        subscribed_topic_names: member.subscribed_topic_names.iter().cloned().collect(),
        subscribed_topic_regex: member.subscribed_topic_regex.clone(),
        assignment: assignment(image, has),
        target_assignment: assignment(image, shall_have.map(|(id, all)| (*id, all.iter().copied().collect()))),
        member_type: i8::from(!member.uses_classic()),
        ..Default::default()
    }
}

/// Topics that are gone are left out: they have no name.
fn assignment(image: &Image, topics: impl IntoIterator<Item = (Uuid, Vec<i32>)>) -> Assignment {
    let described = topics.into_iter().filter_map(|(topic_id, partitions)| {
        let topic_name = image.topics.get(topic_id)?.name.clone();
        Some(DescribedPartitions { topic_id, topic_name, partitions, ..Default::default() })
    });
    Assignment { topic_partitions: described.collect(), ..Default::default() }
}
