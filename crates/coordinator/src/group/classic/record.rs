//! `ClassicRecord`: a classic group as its last record has it (`GroupMetadataValue`).

use super::group::ClassicGroup;
use super::member::Member;
use crate::group::records::GroupRecord;
use bytes::Bytes;
use milena_protocol::Text;
use milena_protocol::messages::group_metadata_value::MemberMetadata;
use milena_protocol::messages::{GroupMetadataKey, GroupMetadataValue};
use milena_types::Timestamp;
use std::collections::BTreeMap;

/// What is in the log of a classic group.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ClassicRecord {
    value: GroupMetadataValue,
}

impl ClassicRecord {
    pub(crate) fn new(value: &GroupMetadataValue) -> ClassicRecord {
        ClassicRecord { value: value.clone() }
    }

    /// A group that offsets were committed for, without members ever.
    pub(crate) fn simple() -> ClassicRecord {
        ClassicRecord::default()
    }

    /// The record.
    #[must_use]
    pub fn value(&self) -> &GroupMetadataValue {
        &self.value
    }

    /// Whether members never came and offsets are all there is.
    #[must_use]
    pub fn is_simple(&self) -> bool {
        self.value.protocol_type.is_empty() && self.value.members.is_empty()
    }
}

impl ClassicGroup {
    /// The record of the group with these assignments.
    pub(crate) fn to_record(&self, assignment: &BTreeMap<Text, Bytes>) -> GroupRecord {
        let member = |member: &Member| MemberMetadata {
            member_id: member.id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            group_instance_id: member.instance_id.clone(),
            subscription: self.protocol.as_ref().map(|protocol| member.metadata(protocol)).unwrap_or_default(),
            assignment: assignment.get(&member.id).cloned().unwrap_or_default(),
            ..Default::default()
        };
        let value = GroupMetadataValue {
            protocol: self.protocol.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            leader: self.leader.clone(),
            current_state_timestamp: self.state_timestamp.unwrap_or(Timestamp::NONE).0,
            members: self.members().map(member).collect(),
            ..Default::default()
        };
        GroupRecord::GroupMetadata(GroupMetadataKey { group: self.id.clone() }, Some(value))
    }

    /// The record of a group that was just made.
    pub(crate) fn to_first_record(&self) -> GroupRecord {
        let value = GroupMetadataValue {
            protocol: None,
            leader: None,
            current_state_timestamp: self.state_timestamp.unwrap_or(Timestamp::NONE).0,
            ..Default::default()
        };
        GroupRecord::GroupMetadata(GroupMetadataKey { group: self.id.clone() }, Some(value))
    }
}
