//! ConsumerGroupDescribe, versions 0 and 1 (KIP-848): consumer groups with their members, what those have and what they
//! shall have. From version 1 it says which protocol a member speaks (KIP-1099). Kafka:
//! `KafkaApis.handleConsumerGroupDescribe`, `GroupCoordinatorService.consumerGroupDescribe`.

use super::k15_describe_groups::GROUP_OPERATIONS;
use super::k68_consumer_group_heartbeat::is_enabled;
use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_protocol::messages::consumer_group_describe_response::DescribedGroup;
use milena_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use milena_protocol::{ApiKey, Text};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::CONSUMER_GROUP_DESCRIBE, lane: Lane::Coordinator, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<ConsumerGroupDescribeRequest>() else { return Outcome::Close };
    if !is_enabled(call.broker) {
        let groups = request.group_ids.iter().map(|group| refused(group, ErrorCode::UNSUPPORTED_VERSION)).collect();
        return call.answer(&ConsumerGroupDescribeResponse { groups, ..Default::default() });
    }
    let (named, unnamed): (Vec<Text>, Vec<Text>) = request.group_ids.into_iter().partition(|group| !group.is_empty());
    let unnamed: Vec<DescribedGroup> =
        unnamed.iter().map(|group| refused(group, ErrorCode::INVALID_GROUP_ID)).collect();
    let with_operations = request.include_authorized_operations;
    let Some(later) = call.park() else { return Outcome::Close };
    let done = Box::new(move |replies: Vec<GroupReply>| {
        let mut response = ConsumerGroupDescribeResponse { groups: unnamed, ..Default::default() };
        for reply in replies {
            if let GroupReply::ConsumerGroupDescribe(groups) = reply {
                response.groups.extend(groups);
            }
        }
        if with_operations {
            for group in response.groups.iter_mut().filter(|group| group.error_code == 0) {
                group.authorized_operations = GROUP_OPERATIONS;
            }
        }
        later.answer(&response);
    });
    let caller = call.caller();
    call.broker.groups().submit_by_group(call.broker, &caller, &named, GroupRequest::ConsumerGroupDescribe, done);
    Outcome::Pending
}

fn refused(group_id: &Text, error: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id: group_id.clone(), error_code: error.0, ..Default::default() }
}
