//! ListGroups, DescribeGroups and DeleteGroups. Kafka: `GroupMetadataManager.listGroups`, `describeGroups`,
//! `GroupCoordinatorShard.deleteGroups`.

use super::classic::{ClassicState, Member, glance, step};
use super::consumer;
use super::context::Context;
use super::offsets;
use super::records::GroupRecord;
use super::state::Group;
use milena_protocol::Text;
use milena_protocol::messages::GroupMetadataKey;
use milena_protocol::messages::delete_groups_response::DeletableGroupResult;
use milena_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use milena_protocol::messages::list_groups_response::ListedGroup;
use milena_types::ErrorCode;

/// From this version on a group that is not there is an error (KIP-1043).
const GROUP_ID_NOT_FOUND_FROM_VERSION: i16 = 6;

/// The groups in one of `states` and of one of `types`; empty lists mean all.
pub(crate) fn list(context: &Context<'_>, states: &[Text], types: &[Text]) -> Vec<ListedGroup> {
    let is_wanted = |wanted: &[Text], is: &str| {
        wanted.is_empty() || wanted.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(is))
    };
    let state = context.state;
    let mut listed = Vec::new();
    for (id, group) in state.iter_committed() {
        let (state_name, kind, protocol_type) = match group {
            Group::Consumer(group) => (group.state_name(), "consumer", Text::from_static("consumer")),
            Group::Classic(record) => {
                let (state, protocol_type) = glance(context, id, record);
                (state.name(), "classic", protocol_type)
            }
        };
        if is_wanted(states, state_name) && is_wanted(types, kind) {
            listed.push(ListedGroup {
                group_id: id.clone(),
                protocol_type,
                group_state: Text::from_static(state_name),
                group_type: Text::from_static(kind),
                ..Default::default()
            });
        }
    }
    listed
}

/// One group of DescribeGroups, which knows classic groups only.
pub(crate) fn describe(context: &mut Context<'_>, id: &Text, version: i16) -> DescribedGroup {
    let known = context.state.committed_group(id);
    let why = match known {
        Some(Group::Classic(_)) => None,
        Some(Group::Consumer(_)) => Some(format!("Group {id} is not a classic group.")),
        None => Some(format!("Group {id} not found.")),
    };
    let step = if why.is_none() { step(context, id) } else { None };
    let Some(step) = step else {
        let mut dead =
            DescribedGroup { group_id: id.clone(), group_state: Text::from_static("Dead"), ..Default::default() };
        if version >= GROUP_ID_NOT_FOUND_FROM_VERSION {
            dead.error_code = ErrorCode::GROUP_ID_NOT_FOUND.0;
            dead.error_message = why.map(Text::from);
        }
        return dead;
    };
    let group = &step.group;
    let protocol = group.protocol.as_ref().filter(|_| group.is_in(ClassicState::Stable));
    let member = |member: &Member| DescribedGroupMember {
        member_id: member.id.clone(),
        group_instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        member_metadata: protocol.map(|protocol| member.metadata(protocol)).unwrap_or_default(),
        member_assignment: member.assignment.clone(),
        ..Default::default()
    };
    DescribedGroup {
        group_id: id.clone(),
        group_state: Text::from_static(group.state().name()),
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        protocol_data: protocol.cloned().unwrap_or_default(),
        members: group.members().map(member).collect(),
        ..Default::default()
    }
}

/// One group of DeleteGroups: it goes with its offsets if it has no members.
pub(crate) fn delete(context: &mut Context<'_>, id: &Text) -> (Vec<GroupRecord>, DeletableGroupResult) {
    let error = match context.state.group(id) {
        None => ErrorCode::GROUP_ID_NOT_FOUND,
        Some(Group::Consumer(group)) if group.is_empty() => ErrorCode::NONE,
        Some(Group::Consumer(_)) => ErrorCode::NON_EMPTY_GROUP,
        Some(Group::Classic(_)) => match step(context, id) {
            Some(step) if step.group.is_in(ClassicState::Empty) => ErrorCode::NONE,
            Some(_) => ErrorCode::NON_EMPTY_GROUP,
            None => ErrorCode::GROUP_ID_NOT_FOUND,
        },
    };
    let result = DeletableGroupResult { group_id: id.clone(), error_code: error.0, ..Default::default() };
    if !error.is_none() {
        return (Vec::new(), result);
    }
    let mut records = offsets::delete_all(context.state, id);
    records.extend(group_tombstones(context, id));
    (records, result)
}

/// The records that remove a group without members, none if it has some. What is live of it goes at once; should the
/// records be lost it follows from the log again.
pub(crate) fn group_tombstones(context: &mut Context<'_>, id: &Text) -> Vec<GroupRecord> {
    match context.state.group(id) {
        Some(Group::Consumer(group)) if group.is_empty() => consumer::tombstones(context, id),
        Some(Group::Classic(_)) if step(context, id).is_some_and(|step| step.group.is_in(ClassicState::Empty)) => {
            context.live.classic.remove(id);
            vec![GroupRecord::GroupMetadata(GroupMetadataKey { group: id.clone() }, None)]
        }
        _ => Vec::new(),
    }
}
