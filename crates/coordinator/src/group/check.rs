//! What is wrong with a request whoever coordinates the group, and how requests and answers carry an error. Kafka:
//! `GroupCoordinatorService`.

use super::config::GroupConfig;
use super::event::{GroupReply, GroupRequest};
use super::offsets::refused_transactional;
use milena_protocol::Text;
use milena_protocol::messages::consumer_group_describe_response;
use milena_protocol::messages::delete_groups_response::DeletableGroupResult;
use milena_protocol::messages::describe_groups_response::DescribedGroup;
use milena_protocol::messages::leave_group_response::MemberResponse;
use milena_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use milena_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use milena_protocol::messages::{
    ConsumerGroupHeartbeatResponse, HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetDeleteResponse, SyncGroupResponse,
};
use milena_types::ErrorCode;

impl GroupRequest {
    /// The group of a request of one group; it says which partition coordinates it.
    #[must_use]
    pub fn group_id(&self) -> Option<&Text> {
        match self {
            GroupRequest::JoinGroup(request) => Some(&request.group_id),
            GroupRequest::SyncGroup(request) => Some(&request.group_id),
            GroupRequest::Heartbeat(request) => Some(&request.group_id),
            GroupRequest::LeaveGroup(request) => Some(&request.group_id),
            GroupRequest::OffsetCommit(request) => Some(&request.group_id),
            GroupRequest::OffsetFetch { group, .. } => Some(&group.group_id),
            GroupRequest::OffsetDelete(request) => Some(&request.group_id),
            GroupRequest::ConsumerGroupHeartbeat(request) => Some(&request.group_id),
            GroupRequest::TxnOffsetCommit(request, _) => Some(&request.group_id),
            GroupRequest::EndTransaction(_)
            | GroupRequest::ListGroups { .. }
            | GroupRequest::DescribeGroups(_)
            | GroupRequest::DeleteGroups(_)
            | GroupRequest::ConsumerGroupDescribe(_) => None,
        }
    }

    /// The answer to a request that is wrong whoever coordinates the group.
    #[must_use]
    pub fn check(&self, config: &GroupConfig) -> Option<GroupReply> {
        let needs_group = matches!(
            self,
            GroupRequest::JoinGroup(_)
                | GroupRequest::SyncGroup(_)
                | GroupRequest::Heartbeat(_)
                | GroupRequest::LeaveGroup(_)
                | GroupRequest::OffsetDelete(_)
                | GroupRequest::TxnOffsetCommit(..)
        );
        let error = if needs_group && self.group_id().is_none_or(|group| group.is_empty()) {
            ErrorCode::INVALID_GROUP_ID
        } else if let GroupRequest::JoinGroup(request) = self
            && !(config.group_min_session_timeout_ms..=config.group_max_session_timeout_ms)
                .contains(&request.session_timeout_ms)
        {
            ErrorCode::INVALID_SESSION_TIMEOUT
        } else {
            return None;
        };
        let mut reply = self.refused(error);
        if let (GroupReply::JoinGroup(response), GroupRequest::JoinGroup(request)) = (&mut reply, self) {
            response.member_id.clone_from(&request.member_id);
        }
        Some(reply)
    }

    /// The answer with this error.
    #[must_use]
    pub fn refused(&self, error: ErrorCode) -> GroupReply {
        let error_code = error.0;
        match self {
            GroupRequest::JoinGroup(_) => {
                GroupReply::JoinGroup(Box::new(JoinGroupResponse { error_code, ..Default::default() }))
            }
            GroupRequest::SyncGroup(_) => {
                GroupReply::SyncGroup(Box::new(SyncGroupResponse { error_code, ..Default::default() }))
            }
            // While the coordinator loads nobody's session ends.
            GroupRequest::Heartbeat(_) if error == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => {
                GroupReply::Heartbeat(HeartbeatResponse::default())
            }
            GroupRequest::Heartbeat(_) => GroupReply::Heartbeat(HeartbeatResponse { error_code, ..Default::default() }),
            GroupRequest::LeaveGroup(request) if error == ErrorCode::UNKNOWN_MEMBER_ID => {
                let unknown =
                    |member: &milena_protocol::messages::leave_group_request::MemberIdentity| MemberResponse {
                        member_id: member.member_id.clone(),
                        group_instance_id: member.group_instance_id.clone(),
                        error_code,
                        ..Default::default()
                    };
                let members = request.members.iter().map(unknown).collect();
                GroupReply::LeaveGroup(LeaveGroupResponse { members, ..Default::default() })
            }
            GroupRequest::LeaveGroup(_) => {
                GroupReply::LeaveGroup(LeaveGroupResponse { error_code, ..Default::default() })
            }
            GroupRequest::OffsetCommit(request) => GroupReply::OffsetCommit(Box::new(refused_commit(request, error))),
            GroupRequest::OffsetFetch { group, .. } => GroupReply::OffsetFetch(OffsetFetchResponseGroup {
                group_id: group.group_id.clone(),
                error_code,
                ..Default::default()
            }),
            GroupRequest::OffsetDelete(_) => {
                GroupReply::OffsetDelete(OffsetDeleteResponse { error_code, ..Default::default() })
            }
            GroupRequest::TxnOffsetCommit(request, _) => {
                GroupReply::TxnOffsetCommit(Box::new(refused_transactional(request, error)))
            }
            GroupRequest::EndTransaction(_) => GroupReply::EndTransaction(marker_error(error)),
            GroupRequest::ListGroups { .. } => GroupReply::ListGroups(Err(error)),
            GroupRequest::DescribeGroups(groups) => {
                let described =
                    |group: &Text| DescribedGroup { error_code, group_id: group.clone(), ..Default::default() };
                GroupReply::DescribeGroups(groups.iter().map(described).collect())
            }
            GroupRequest::DeleteGroups(groups) => {
                let result =
                    |group: &Text| DeletableGroupResult { error_code, group_id: group.clone(), ..Default::default() };
                GroupReply::DeleteGroups(groups.iter().map(result).collect())
            }
            GroupRequest::ConsumerGroupHeartbeat(_) => {
                GroupReply::ConsumerGroupHeartbeat(Box::new(ConsumerGroupHeartbeatResponse {
                    error_code,
                    ..Default::default()
                }))
            }
            GroupRequest::ConsumerGroupDescribe(groups) => {
                let described = |group: &Text| consumer_group_describe_response::DescribedGroup {
                    error_code,
                    group_id: group.clone(),
                    ..Default::default()
                };
                GroupReply::ConsumerGroupDescribe(groups.iter().map(described).collect())
            }
        }
    }
}

/// An OffsetCommit with one error for everything in it.
pub(crate) fn refused_commit(request: &OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.0,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

/// Whoever sends markers knows partitions, not their coordinators (`KafkaApis.handleWriteTxnMarkersRequest`).
fn marker_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::COORDINATOR_NOT_AVAILABLE | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS | ErrorCode::NOT_COORDINATOR => {
            ErrorCode::NOT_LEADER_OR_FOLLOWER
        }
        error => error,
    }
}

impl GroupReply {
    /// The answer when its records could not be written.
    #[must_use]
    pub fn failed(mut self, error: ErrorCode) -> GroupReply {
        let error_code = error.0;
        match &mut self {
            GroupReply::JoinGroup(response) => {
                **response = JoinGroupResponse { error_code, ..Default::default() };
            }
            GroupReply::SyncGroup(response) => {
                **response = SyncGroupResponse { error_code, ..Default::default() };
            }
            GroupReply::Heartbeat(response) => response.error_code = error_code,
            GroupReply::LeaveGroup(response) => *response = LeaveGroupResponse { error_code, ..Default::default() },
            GroupReply::OffsetCommit(response) => {
                for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    partition.error_code = error_code;
                }
            }
            GroupReply::TxnOffsetCommit(response) => {
                for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    partition.error_code = error_code;
                }
            }
            GroupReply::EndTransaction(outcome) => *outcome = marker_error(error),
            GroupReply::OffsetFetch(group) => {
                group.topics.clear();
                group.error_code = error_code;
            }
            GroupReply::OffsetDelete(response) => {
                *response = OffsetDeleteResponse { error_code, ..Default::default() };
            }
            GroupReply::ListGroups(groups) => *groups = Err(error),
            GroupReply::DescribeGroups(groups) => groups.iter_mut().for_each(|group| group.error_code = error_code),
            GroupReply::DeleteGroups(groups) => groups.iter_mut().for_each(|group| group.error_code = error_code),
            GroupReply::ConsumerGroupHeartbeat(response) => {
                **response = ConsumerGroupHeartbeatResponse { error_code, ..Default::default() };
            }
            GroupReply::ConsumerGroupDescribe(groups) => {
                groups.iter_mut().for_each(|group| group.error_code = error_code);
            }
        }
        self
    }
}
