//! DeleteGroups, versions 0 to 2: groups without members go, with their offsets. Kafka:
//! `KafkaApis.handleDeleteGroupsRequest`, `GroupCoordinatorShard.deleteGroups`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_protocol::ApiKey;
use milena_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use std::collections::BTreeSet;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::DELETE_GROUPS, lane: Lane::Coordinator, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<DeleteGroupsRequest>() else { return Outcome::Close };
    let mut seen = BTreeSet::new();
    let groups: Vec<_> = request.groups_names.into_iter().filter(|group| seen.insert(group.clone())).collect();
    let Some(later) = call.park() else { return Outcome::Close };
    let done = Box::new(move |replies: Vec<GroupReply>| {
        let mut response = DeleteGroupsResponse::default();
        for reply in replies {
            if let GroupReply::DeleteGroups(results) = reply {
                response.results.extend(results);
            }
        }
        later.answer(&response);
    });
    let caller = call.caller();
    call.broker.groups().submit_by_group(call.broker, &caller, &groups, GroupRequest::DeleteGroups, done);
    Outcome::Pending
}
