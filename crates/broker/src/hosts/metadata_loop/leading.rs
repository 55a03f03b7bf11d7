//! Who leads: what changes when it is another, or this node, or nobody any more.

use milena_raft::{Destination, LeaderAndEpoch, Outbound};
use milena_storage::disk::Disk;
use milena_types::{Offset, Timestamp};

use super::MetadataLoop;
use super::parts::PeerAnswer;

/// How long a node that stops waits until the other voters know that it no longer leads.
const FAREWELL_MS: i64 = 500;

/// A node that gave leadership up in order to stop.
pub(super) struct Leaving {
    deadline: Timestamp,
    done: Box<dyn FnOnce() + Send>,
}

impl<D: Disk> MetadataLoop<D> {
    pub(super) fn on_leader_changed(&mut self, leader: LeaderAndEpoch, start_offset: Option<Offset>) {
        let (epoch, id, role) = (leader.epoch.0, leader.leader.map_or(-1, |id| id.0), self.quorum.role());
        // Members that wait for a majority try again and again.
        if self.told_role.replace((leader, role)) != Some((leader, role)) {
            tracing::info!(epoch, leader = id, ?role, "quorum");
        }
        // An answer of the leader of before says nothing that is needed now, and may never come.
        self.in_flight = None;
        self.retry_fetch_at = self.clock.steady();
        self.deactivate();
        self.activating = start_offset;
        if leader.leader.is_some_and(|leader| leader != self.quorum.config().local.id) {
            // The broker of this process may be registered there.
            self.own_broker = None;
        }
        // This node can be asked once it is active.
        let known = self.quorum.leader_endpoints().filter(|_| start_offset.is_none());
        let known = known.map(|(id, endpoints)| (id, endpoints.to_vec()));
        self.sender.leader_changed(known);
    }

    /// Gives leadership up; `done` is called when the other voters have been told.
    pub(super) fn resign(&mut self, done: Box<dyn FnOnce() + Send>) {
        let now = self.clock.steady();
        if self.quorum.kraft().voters.voters().len() > 1 {
            self.quorum.resign(now, &mut self.fx);
        }
        self.leaving = Some(Leaving { deadline: Timestamp(now.0 + FAREWELL_MS), done });
    }

    pub(super) fn leave_if_told(&mut self, now: Timestamp) {
        let told = self.farewells == 0;
        if let Some(leaving) = self.leaving.take_if(|leaving| told || leaving.deadline <= now) {
            (leaving.done)();
        }
    }

    pub(super) fn leaving_deadline(&self) -> Option<Timestamp> {
        self.leaving.as_ref().map(|leaving| leaving.deadline)
    }

    /// Another member's answer.
    pub(super) fn on_answer(&mut self, to: &Destination, request: &Outbound, answer: PeerAnswer) {
        let now = self.clock.steady();
        self.count_farewell(request);
        match answer {
            PeerAnswer::Vote(answer) => self.quorum.on_vote_answer(&answer, now, &mut self.fx),
            PeerAnswer::Plain(kind, answer) => self.quorum.on_plain_answer(kind, &answer, now, &mut self.fx),
            PeerAnswer::KRaftVersions(from, range) => {
                self.quorum.on_api_versions_answer(from, range, now, &mut self.fx);
            }
            PeerAnswer::VoterChange(error, message) if !error.is_none() => {
                tracing::info!(?to, %error, message, "the leader did not change the voters for this node; it asks again");
            }
            PeerAnswer::VoterChange(..) => tracing::info!(?request, "the leader changes the voters for this node"),
        }
    }

    pub(super) fn on_send_failed(&mut self, to: &Destination, request: &Outbound) {
        let now = self.clock.steady();
        self.count_farewell(request);
        if let (Outbound::ApiVersions { .. }, Destination::Node { id, .. }) = (request, to) {
            let error = Err(milena_types::ErrorCode::NETWORK_EXCEPTION);
            return self.quorum.on_api_versions_answer(*id, error, now, &mut self.fx);
        }
        self.quorum.on_send_failed(to, request, now);
    }

    fn count_farewell(&mut self, request: &Outbound) {
        if matches!(request, Outbound::EndQuorumEpoch { .. }) {
            self.farewells = self.farewells.saturating_sub(1);
        }
    }
}
