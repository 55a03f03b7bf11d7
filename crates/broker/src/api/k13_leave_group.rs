//! LeaveGroup, versions 0 to 5: members leave; from version 3 several at once, and static ones by their instance id
//! (KIP-345). Kafka: `KafkaApis.handleLeaveGroupRequest`, `GroupMetadataManager.classicGroupLeave`, `LeaveGroupResponse`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_protocol::ApiKey;
use milena_protocol::messages::leave_group_request::MemberIdentity;
use milena_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::LEAVE_GROUP, lane: Lane::Coordinator, handle };

const BATCHED_FROM_VERSION: i16 = 3;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(mut request) = call.decode::<LeaveGroupRequest>() else { return Outcome::Close };
    let is_batched = call.version() >= BATCHED_FROM_VERSION;
    if !is_batched {
        request.members = vec![MemberIdentity { member_id: request.member_id.clone(), ..Default::default() }];
    }
    call.coordinate(GroupRequest::LeaveGroup(request), move |reply| {
        let GroupReply::LeaveGroup(response) = reply else { return None };
        Some(if is_batched { response } else { single(&response) })
    })
}

/// The one member's error is the answer's.
fn single(response: &LeaveGroupResponse) -> LeaveGroupResponse {
    let of_member = response.members.first().map_or(0, |member| member.error_code);
    let error_code = if response.error_code == 0 { of_member } else { response.error_code };
    LeaveGroupResponse { error_code, ..Default::default() }
}
