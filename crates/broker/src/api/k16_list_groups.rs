//! ListGroups, versions 0 to 5: the groups this broker coordinates; from version 4 by state (KIP-518), from 5 by type
//! (KIP-848). Kafka: `KafkaApis.handleListGroupsRequest`, `GroupCoordinatorService.listGroups`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use crate::hosts::listed_groups;
use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_protocol::ApiKey;
use milena_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::LIST_GROUPS, lane: Lane::Coordinator, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<ListGroupsRequest>() else { return Outcome::Close };
    let request = GroupRequest::ListGroups { states: request.states_filter, types: request.types_filter };
    let Some(later) = call.park() else { return Outcome::Close };
    let done = Box::new(move |replies: Vec<GroupReply>| {
        later.answer(&match listed_groups(replies) {
            Ok(groups) => ListGroupsResponse { groups, ..Default::default() },
            Err(error) => ListGroupsResponse { error_code: error.0, ..Default::default() },
        });
    });
    call.broker.groups().submit_to_all(&call.caller(), &request, done);
    Outcome::Pending
}
