//! Requests about groups of several coordinators: each is asked for its own, and the answers are put together.

use super::directory::{GroupCoordinators, partition_of};
use crate::broker::Broker;
use crate::hosts::coordinators::{Gather, GatherDone};
use milena_coordinator::group::{Caller, GroupReply, GroupRequest};
use milena_protocol::Text;
use milena_types::ErrorCode;
use std::collections::BTreeMap;
use std::sync::Arc;

impl GroupCoordinators {
    /// Asks every coordinator here.
    pub(crate) fn submit_to_all(&self, caller: &Caller, request: &GroupRequest, done: GatherDone<GroupReply>) {
        let hosts = self.led.all();
        let gather = Gather::new(hosts.len(), done);
        for host in hosts {
            let gather = Arc::clone(&gather);
            let request = (caller.clone(), Box::new(request.clone()));
            host.request(request, Box::new(move |reply| gather.add(reply)));
        }
    }

    /// Asks for each of `groups` the coordinator it has; `request` makes the request of those of one.
    pub(crate) fn submit_by_group(
        &self,
        broker: &Broker,
        caller: &Caller,
        groups: &[Text],
        request: fn(Vec<Text>) -> GroupRequest,
        done: GatherDone<GroupReply>,
    ) {
        let mut by_partition: BTreeMap<i32, Vec<Text>> = BTreeMap::new();
        for group in groups {
            by_partition.entry(partition_of(broker, group)).or_default().push(group.detached());
        }
        let gather = Gather::new(by_partition.len(), done);
        for (partition, groups) in by_partition {
            let gather = Arc::clone(&gather);
            self.submit_to(partition, caller.clone(), request(groups), Box::new(move |reply| gather.add(reply)));
        }
    }
}

/// The groups of all coordinators. Those that have moved away tell nothing; one that loads makes the list incomplete.
pub(crate) fn listed(
    replies: Vec<GroupReply>,
) -> Result<Vec<milena_protocol::messages::list_groups_response::ListedGroup>, ErrorCode> {
    let mut all = Vec::new();
    for reply in replies {
        match reply {
            GroupReply::ListGroups(Ok(groups)) => all.extend(groups),
            GroupReply::ListGroups(Err(ErrorCode::NOT_COORDINATOR)) => {}
            GroupReply::ListGroups(Err(error)) => return Err(error),
            _ => return Err(ErrorCode::UNKNOWN_SERVER_ERROR),
        }
    }
    Ok(all)
}
