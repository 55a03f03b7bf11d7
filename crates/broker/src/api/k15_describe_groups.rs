//! DescribeGroups, versions 0 to 6: classic groups with their members. From version 6 a group that is not there is an error
//! (KIP-1043). Kafka: `KafkaApis.handleDescribeGroupsRequest`, `GroupMetadataManager.describeGroups`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_protocol::ApiKey;
use milena_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::DESCRIBE_GROUPS, lane: Lane::Coordinator, handle };

/// What may be done to a group when nobody is refused anything, a bit for each `AclOperation`: read, delete, describe,
/// describe configs, alter configs.
pub(super) const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<DescribeGroupsRequest>() else { return Outcome::Close };
    let with_operations = request.include_authorized_operations;
    let Some(later) = call.park() else { return Outcome::Close };
    let done = Box::new(move |replies: Vec<GroupReply>| {
        let mut response = DescribeGroupsResponse::default();
        for reply in replies {
            if let GroupReply::DescribeGroups(groups) = reply {
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
    let groups = call.broker.groups();
    groups.submit_by_group(call.broker, &caller, &request.groups, GroupRequest::DescribeGroups, done);
    Outcome::Pending
}
