//! A member of a classic group. Kafka: `ClassicGroupMember`.

use crate::group::event::GroupReply;
use crate::group::memory::MemberMemory;
use crate::runtime::Ticket;
use bytes::Bytes;
use milena_protocol::Text;
use milena_protocol::messages::group_metadata_value::MemberMetadata;
use milena_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use milena_protocol::messages::{GroupMetadataValue, JoinGroupResponse, SyncGroupResponse};
use milena_types::ErrorCode;

/// A protocol a member can do, with what it says to the leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Protocol {
    pub(crate) name: Text,
    pub(crate) metadata: Bytes,
}

/// One member.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Member {
    pub(crate) id: Text,
    pub(crate) instance_id: Option<Text>,
    pub(crate) client_id: Text,
    pub(crate) client_host: Text,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    pub(crate) protocol_type: Text,
    /// The ones it likes best come first.
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    /// Its JoinGroup that is not answered.
    pub(crate) awaiting_join: Option<Ticket>,
    /// Its SyncGroup that is not answered.
    pub(crate) awaiting_sync: Option<Ticket>,
    /// It has not been in a generation yet: waiting does not keep it alive.
    pub(crate) is_new: bool,
}

/// Copies of their own: the request's frame is not kept.
pub(crate) fn protocols_of(request: &[JoinGroupRequestProtocol], memory: &MemberMemory) -> Vec<Protocol> {
    request
        .iter()
        .map(|protocol| Protocol { name: protocol.name.detached(), metadata: memory.hold(&protocol.metadata) })
        .collect()
}

impl Member {
    pub(crate) fn from_record(member: &MemberMetadata, group: &GroupMetadataValue) -> Member {
        let rebalance = member.rebalance_timeout;
        Member {
            id: member.member_id.clone(),
            instance_id: member.group_instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: if rebalance == -1 { member.session_timeout } else { rebalance },
            session_timeout_ms: member.session_timeout,
            protocol_type: group.protocol_type.clone(),
            protocols: vec![Protocol {
                name: group.protocol.clone().unwrap_or_default(),
                metadata: member.subscription.clone(),
            }],
            assignment: member.assignment.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        }
    }

    /// What it says for a protocol.
    pub(crate) fn metadata(&self, protocol: &Text) -> Bytes {
        let found = self.protocols.iter().find(|known| known.name == *protocol);
        found.map(|protocol| protocol.metadata.clone()).unwrap_or_default()
    }

    /// Whether it is known to be alive because it waits for us.
    pub(crate) fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    /// Answers, with this error, whatever it waits for.
    pub(crate) fn take_waiting(&mut self, error: ErrorCode) -> Vec<(Ticket, GroupReply)> {
        let error_code = error.0;
        let mut replies = Vec::new();
        if let Some(ticket) = self.awaiting_join.take() {
            let member_id = self.id.clone();
            let response = JoinGroupResponse { error_code, member_id, ..JoinGroupResponse::default() };
            replies.push((ticket, GroupReply::JoinGroup(Box::new(response))));
        }
        if let Some(ticket) = self.awaiting_sync.take() {
            let response = SyncGroupResponse { error_code, ..SyncGroupResponse::default() };
            replies.push((ticket, GroupReply::SyncGroup(Box::new(response))));
        }
        replies
    }
}
