//! A member of a classic group as a client library is one.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use crate::world::World;
use bytes::Bytes;
use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_coordinator::runtime::Ticket;
use milena_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use milena_protocol::messages::leave_group_request::MemberIdentity;
use milena_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use milena_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use milena_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use milena_protocol::messages::{
    ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    OffsetCommitRequest, SyncGroupRequest, SyncGroupResponse,
};
use milena_protocol::{Message, Text, Writer};
use milena_types::ErrorCode;

pub(crate) const GROUP: &str = "group";
pub(crate) const TOPIC: &str = "topic";

#[derive(Clone, Default)]
pub(crate) struct Member {
    pub(crate) id: Text,
    pub(crate) instance: Option<Text>,
    pub(crate) generation: i32,
    pub(crate) session_ms: i32,
    pub(crate) rebalance_ms: i32,
}

impl Member {
    pub(crate) fn new() -> Member {
        Member { generation: -1, session_ms: 10_000, rebalance_ms: 20_000, ..Member::default() }
    }

    pub(crate) fn with_instance(instance: &str) -> Member {
        Member { instance: Some(instance.into()), ..Member::new() }
    }

    pub(crate) fn join_request(&self) -> GroupRequest {
        let mut writer = Writer::new();
        writer.write_i16(0);
        ConsumerProtocolSubscription { topics: vec![TOPIC.into()], ..Default::default() }
            .encode(&mut writer, 0)
            .unwrap();
        let metadata = writer.into_bytes().unwrap();
        GroupRequest::JoinGroup(Box::new(JoinGroupRequest {
            group_id: GROUP.into(),
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            session_timeout_ms: self.session_ms,
            rebalance_timeout_ms: self.rebalance_ms,
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata, ..Default::default() }],
            ..Default::default()
        }))
    }

    /// Joins; what a new member is told first is followed.
    pub(crate) fn join(&mut self, world: &mut World) -> Ticket {
        let ticket = world.ask(9, self.join_request());
        if !self.id.is_empty() || self.instance.is_some() {
            return ticket;
        }
        let response = join_answer(world, ticket).unwrap();
        assert_eq!(ErrorCode(response.error_code), ErrorCode::MEMBER_ID_REQUIRED);
        self.id = response.member_id;
        world.ask(9, self.join_request())
    }

    /// The answer to a join that must be there.
    pub(crate) fn joined(&mut self, world: &mut World, ticket: Ticket) -> JoinGroupResponse {
        let response = join_answer(world, ticket).expect("the join is answered");
        if response.error_code == 0 {
            self.id = response.member_id.clone();
            self.generation = response.generation_id;
        }
        response
    }

    pub(crate) fn sync(&self, world: &mut World, assignments: &[(Text, Bytes)]) -> Ticket {
        let assignment = |(member, assignment): &(Text, Bytes)| SyncGroupRequestAssignment {
            member_id: member.clone(),
            assignment: assignment.clone(),
            ..Default::default()
        };
        let request = SyncGroupRequest {
            group_id: GROUP.into(),
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            generation_id: self.generation,
            assignments: assignments.iter().map(assignment).collect(),
            ..Default::default()
        };
        world.ask(5, GroupRequest::SyncGroup(Box::new(request)))
    }

    pub(crate) fn heartbeat(&self, world: &mut World) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            generation_id: self.generation,
            ..Default::default()
        };
        match world.call(4, GroupRequest::Heartbeat(request)) {
            GroupReply::Heartbeat(response) => ErrorCode(response.error_code),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn commit_request(&self, partition: i32, offset: i64) -> GroupRequest {
        let partition =
            OffsetCommitRequestPartition { partition_index: partition, committed_offset: offset, ..Default::default() };
        let topic = OffsetCommitRequestTopic { name: TOPIC.into(), partitions: vec![partition], ..Default::default() };
        GroupRequest::OffsetCommit(Box::new(OffsetCommitRequest {
            group_id: GROUP.into(),
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            generation_id_or_member_epoch: self.generation,
            topics: vec![topic],
            ..Default::default()
        }))
    }

    pub(crate) fn commit(&self, world: &mut World, partition: i32, offset: i64) -> ErrorCode {
        match world.call(9, self.commit_request(partition, offset)) {
            GroupReply::OffsetCommit(response) => {
                ErrorCode(response.topics.first().unwrap().partitions.first().unwrap().error_code)
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn leave(&self, world: &mut World) -> ErrorCode {
        let member = MemberIdentity {
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            ..Default::default()
        };
        let request = LeaveGroupRequest { group_id: GROUP.into(), members: vec![member], ..Default::default() };
        match world.call(5, GroupRequest::LeaveGroup(request)) {
            GroupReply::LeaveGroup(response) => {
                response.members.first().map_or(ErrorCode(response.error_code), |member| ErrorCode(member.error_code))
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn join_answer(world: &mut World, ticket: Ticket) -> Option<JoinGroupResponse> {
    match world.answer(ticket)? {
        GroupReply::JoinGroup(response) => Some(*response),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn sync_answer(world: &mut World, ticket: Ticket) -> Option<SyncGroupResponse> {
    match world.answer(ticket)? {
        GroupReply::SyncGroup(response) => Some(*response),
        other => panic!("{other:?}"),
    }
}

/// The committed offset of a partition, -1 without one.
pub(crate) fn committed(world: &mut World, partition: i32, require_stable: bool) -> Option<i64> {
    let topic =
        OffsetFetchRequestTopics { name: TOPIC.into(), partition_indexes: vec![partition], ..Default::default() };
    let group = OffsetFetchRequestGroup { group_id: GROUP.into(), topics: Some(vec![topic]), ..Default::default() };
    let ticket = world.ask(9, GroupRequest::OffsetFetch { group, require_stable });
    match world.answer(ticket)? {
        GroupReply::OffsetFetch(group) => {
            Some(group.topics.first().unwrap().partitions.first().unwrap().committed_offset)
        }
        other => panic!("{other:?}"),
    }
}
