//! AddRaftVoter, RemoveRaftVoter, UpdateRaftVoter: handed to the quorum, answered when it says so (KIP-853;
//! `AddVoterHandler`, `RemoveVoterHandler`, `UpdateVoterHandler`).

use milena_protocol::Text;
use milena_protocol::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, RemoveRaftVoterRequest, RemoveRaftVoterResponse, UpdateRaftVoterRequest,
    UpdateRaftVoterResponse,
};
use milena_raft::{AddVoterAsk, Endpoint, Ticket};
use milena_storage::disk::Disk;
use milena_types::ErrorCode;

use super::MetadataLoop;
use crate::controller_handle::{ControllerDone, ControllerResponse};
use crate::hosts::raft_wire::{
    add_voter_ask, is_other_cluster, remove_voter_key, update_voter_ask, update_voter_response,
};

/// Whoever waits for a change of the voters.
pub(super) struct VoterChange {
    is_removal: bool,
    done: ControllerDone,
}

impl VoterChange {
    fn answer(self, error: ErrorCode, message: Option<String>) {
        // Who does not lead says nothing more.
        let message = message.or_else(|| (error == ErrorCode::NOT_LEADER_OR_FOLLOWER).then(String::new));
        let (error_code, error_message) = (error.0, message.map(Text::from));
        let response = if self.is_removal {
            let response = RemoveRaftVoterResponse { error_code, error_message, ..Default::default() };
            ControllerResponse::RemoveRaftVoter(response)
        } else {
            ControllerResponse::AddRaftVoter(AddRaftVoterResponse { error_code, error_message, ..Default::default() })
        };
        (self.done)(Ok(response));
    }
}

impl<D: Disk> MetadataLoop<D> {
    pub(super) fn add_voter(&mut self, request: &AddRaftVoterRequest, done: ControllerDone) {
        let change = VoterChange { is_removal: false, done };
        if is_other_cluster(request.cluster_id.as_ref(), &self.cluster_id) {
            return change.answer(ErrorCode::INCONSISTENT_CLUSTER_ID, self.other_cluster(request.cluster_id.as_ref()));
        }
        let ask = add_voter_ask(request);
        if let Some(why) = self.unreachable(&ask) {
            return change.answer(ErrorCode::INVALID_REQUEST, Some(why));
        }
        let ticket = self.ticket(change);
        self.quorum.handle_add_voter(ask, ticket, self.clock.steady(), &mut self.fx);
    }

    pub(super) fn remove_voter(&mut self, request: &RemoveRaftVoterRequest, done: ControllerDone) {
        let change = VoterChange { is_removal: true, done };
        if is_other_cluster(request.cluster_id.as_ref(), &self.cluster_id) {
            return change.answer(ErrorCode::INCONSISTENT_CLUSTER_ID, self.other_cluster(request.cluster_id.as_ref()));
        }
        let ticket = self.ticket(change);
        self.quorum.handle_remove_voter(remove_voter_key(request), ticket, self.clock.steady(), &mut self.fx);
    }

    /// Why the leader could not ask a new voter (`KafkaRaftClient.handleAddVoterRequest`), after what is checked before that.
    fn unreachable(&self, ask: &AddVoterAsk) -> Option<String> {
        let is_named = ask.endpoints.iter().any(|endpoint| endpoint.listener == self.listener_name);
        let is_voter = ask.voter.id.is_some() && !ask.voter.directory_id.is_zero();
        if is_named || !is_voter || !self.quorum.is_leader() {
            return None;
        }
        let told = ask
            .endpoints
            .iter()
            .map(|Endpoint { listener, host, port }| format!("ListenerName({listener})={host}/<unresolved>:{port}"));
        let told: Vec<String> = told.collect();
        Some(format!(
            "Add voter request didn't include the endpoint (Endpoints(endpoints={{{}}})) for the default listener ListenerName({})",
            told.join(", "),
            self.listener_name
        ))
    }

    fn other_cluster(&self, named: Option<&Text>) -> Option<String> {
        let named = named.map(|named| &**named).unwrap_or_default();
        Some(format!("The given id \"{named}\" doesn't match the cluster id \"{}\"", self.cluster_id))
    }

    fn ticket(&mut self, change: VoterChange) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.voter_changes.insert(ticket, change);
        ticket
    }

    pub(super) fn answer_voter_change(&mut self, ticket: Ticket, error: ErrorCode, message: Option<String>) {
        if let Some(change) = self.voter_changes.remove(&ticket) {
            change.answer(error, message);
        }
    }

    pub(super) fn update_voter(&mut self, request: &UpdateRaftVoterRequest, listener: &str) -> UpdateRaftVoterResponse {
        let outcome = if is_other_cluster(request.cluster_id.as_ref(), &self.cluster_id) {
            Err(ErrorCode::INCONSISTENT_CLUSTER_ID)
        } else {
            self.quorum.handle_update_voter(update_voter_ask(request), self.clock.steady(), &mut self.fx)
        };
        update_voter_response(outcome.err().unwrap_or_default(), &self.view(listener))
    }
}
