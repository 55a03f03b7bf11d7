//! Requests to the coordinator of one partition, and their answers. A request for several groups is split by the host.

use crate::runtime::EndOfTransaction;
use milena_metadata::Image;
use milena_protocol::Text;
use milena_protocol::messages::*;
use milena_types::{ErrorCode, TopicId};
use std::sync::Arc;

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Caller {
    pub client_id: Text,
    /// As Java prints an address: `/127.0.0.1`.
    pub client_host: Text,
    /// The version of the request.
    pub version: i16,
}

/// Something happens to the groups of one partition.
#[derive(Clone, Debug)]
pub enum GroupEvent {
    /// A request; its ticket is answered once.
    Request { ticket: crate::runtime::Ticket, caller: Caller, request: GroupRequest },
    /// The cluster changed. Topics that are gone come by name and id.
    Image { image: Arc<Image>, deleted: Vec<(Text, TopicId)>, changed: Vec<TopicId> },
}

/// Requests; those of many groups reduced to the ones of this partition.
#[derive(Clone, PartialEq, Debug)]
pub enum GroupRequest {
    JoinGroup(Box<JoinGroupRequest>),
    SyncGroup(Box<SyncGroupRequest>),
    Heartbeat(HeartbeatRequest),
    LeaveGroup(LeaveGroupRequest),
    OffsetCommit(Box<OffsetCommitRequest>),
    OffsetFetch {
        group: offset_fetch_request::OffsetFetchRequestGroup,
        require_stable: bool,
    },
    OffsetDelete(OffsetDeleteRequest),
    /// Offsets of a transaction, with the guard that verifying the transaction gave.
    TxnOffsetCommit(Box<TxnOffsetCommitRequest>, Option<u64>),
    /// A transaction with offsets here ended.
    EndTransaction(EndOfTransaction),
    ListGroups {
        states: Vec<Text>,
        types: Vec<Text>,
    },
    DescribeGroups(Vec<Text>),
    DeleteGroups(Vec<Text>),
    ConsumerGroupHeartbeat(Box<ConsumerGroupHeartbeatRequest>),
    ConsumerGroupDescribe(Vec<Text>),
}

/// Answers.
#[derive(Clone, PartialEq, Debug)]
pub enum GroupReply {
    JoinGroup(Box<JoinGroupResponse>),
    SyncGroup(Box<SyncGroupResponse>),
    Heartbeat(HeartbeatResponse),
    LeaveGroup(LeaveGroupResponse),
    OffsetCommit(Box<OffsetCommitResponse>),
    OffsetFetch(offset_fetch_response::OffsetFetchResponseGroup),
    OffsetDelete(OffsetDeleteResponse),
    TxnOffsetCommit(Box<TxnOffsetCommitResponse>),
    EndTransaction(ErrorCode),
    ListGroups(Result<Vec<list_groups_response::ListedGroup>, ErrorCode>),
    DescribeGroups(Vec<describe_groups_response::DescribedGroup>),
    DeleteGroups(Vec<delete_groups_response::DeletableGroupResult>),
    ConsumerGroupHeartbeat(Box<ConsumerGroupHeartbeatResponse>),
    ConsumerGroupDescribe(Vec<consumer_group_describe_response::DescribedGroup>),
}
