//! Requests to the active controller: each is decided by the core and proposed to the quorum (class `ControllerApis`).

use std::time::Duration;

use milena_controller::{ApiError, Controller, Decision, Probed};
use milena_protocol::messages::{AssignReplicasToDirsResponse, BrokerHeartbeatResponse, BrokerRegistrationResponse};
use milena_raft::QuorumDescription;
use milena_storage::disk::Disk;
use milena_types::{BrokerId, ErrorCode, Offset, Timestamp};

use super::MetadataLoop;
use crate::controller_handle::{ControllerDone, ControllerRequest, ControllerResponse};
use crate::hosts::description;

/// xorshift: the controller wants spread, not secrets.
fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

impl<D: Disk> MetadataLoop<D> {
    pub(super) fn handle_request(&mut self, request: ControllerRequest, done: ControllerDone) {
        if let ControllerRequest::DescribeQuorum(request) = &request {
            let response = description::refusal(request)
                .unwrap_or_else(|| description::response(self.describe_quorum(), &self.quorum.kraft().voters));
            return done(Ok(ControllerResponse::DescribeQuorum(response)));
        }
        let (request, done) = match request {
            ControllerRequest::AddRaftVoter(request) => return self.add_voter(&request, done),
            ControllerRequest::RemoveRaftVoter(request) => return self.remove_voter(&request, done),
            other => (other, done),
        };
        let now = self.uptime();
        let kraft_version = self.quorum.kraft().kraft_version;
        let (Some(controller), Some(next_offset)) = (&mut self.controller, self.quorum.next_append_offset()) else {
            return done(Err(ErrorCode::NOT_CONTROLLER));
        };
        let turn = Turn { next_offset, now, kraft_version };
        let decision = decide(controller, request, turn, &mut self.random);
        self.propose(decision, done);
    }

    /// What DescribeQuorum tells, in the time of day.
    fn describe_quorum(&self) -> Result<QuorumDescription, ErrorCode> {
        let mut description = self.quorum.describe(self.clock.steady())?;
        let ahead = self.clock.now().0 - self.clock.steady().0;
        for (_, _, fetched, caught_up) in description.voters.iter_mut().chain(&mut description.observers) {
            for time in [fetched, caught_up] {
                if *time != Timestamp::NONE {
                    *time = Timestamp(time.0 + ahead);
                }
            }
        }
        Ok(description)
    }

    /// When the next NoOp record is due, so that the high watermark moves where nothing happens.
    pub(super) fn next_no_op(&self) -> Option<Timestamp> {
        let interval = self.log.idle_interval_ms();
        (self.controller.is_some() && interval > 0).then(|| Timestamp(self.last_append.0.saturating_add(interval)))
    }

    /// Does what time demands of the controller: fences silent brokers, one after the other, and says that it is there.
    pub(super) fn tick_controller(&mut self) {
        // It may have given up leadership in this very turn: what it decides then is not taken, and stays due.
        if !self.quorum.is_leader() {
            return;
        }
        let now = self.uptime();
        if self.next_no_op().is_some_and(|due| due <= self.clock.steady())
            && let Some(controller) = &self.controller
        {
            let decision = controller.decide_no_op();
            self.propose(decision, |_| ());
        }
        while let Some(decision) = self.controller.as_mut().and_then(|controller| controller.decide_due_elections(now))
        {
            if decision.records.is_empty() {
                continue;
            }
            tracing::info!(count = decision.records.len(), "leaders are elected that were due");
            self.propose(decision, |_| ());
        }
        for probe in self.controller.as_mut().map(|controller| controller.due_probes(now)).unwrap_or_default() {
            self.sender.probe(probe);
        }
        while let Some(controller) = &self.controller {
            let decision = controller.decide_fence_stale_broker(now);
            let Some(broker) = decision.response else {
                return;
            };
            tracing::info!(broker = broker.0, "fenced: its session has expired");
            self.propose(decision, |_| ());
        }
    }

    pub(super) fn on_connection_lost(&mut self, broker: BrokerId, broker_epoch: i64) {
        let now = self.uptime();
        if let Some(controller) = &mut self.controller {
            controller.suspect(broker, broker_epoch, now);
        }
    }

    pub(super) fn on_probed(&mut self, broker: BrokerId, broker_epoch: i64, probed: Probed) {
        let now = self.uptime();
        if self.quorum.is_leader()
            && let Some(controller) = &mut self.controller
        {
            let decision = controller.decide_probed(broker, broker_epoch, probed, now);
            if decision.response {
                tracing::info!(broker = broker.0, "fenced: its connection was lost, and nobody listens where it did");
            }
            self.propose(decision, |_| ());
        }
    }

    /// Until the next broker's session expires.
    pub(super) fn until_controller_deadline(&self) -> Option<Duration> {
        let deadline = self.controller.as_ref()?.next_deadline()?;
        Some(deadline.saturating_sub(self.uptime()))
    }
}

/// What decisions depend on besides the controller's state.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    /// Where the first record of the decision will lie.
    pub(super) next_offset: Offset,
    pub(super) now: Duration,
    pub(super) kraft_version: i16,
}

pub(super) fn decide(
    controller: &mut Controller,
    request: ControllerRequest,
    turn: Turn,
    random: &mut u64,
) -> Decision<ControllerResponse> {
    use ControllerRequest as Ask;
    use ControllerResponse as Answer;
    let mut random = || next_random(random);
    match request {
        Ask::CreateTopics(request) => {
            wrap(controller.decide_create_topics_request(&request, &mut random), Answer::CreateTopics)
        }
        Ask::DeleteTopics(request) => wrap(controller.decide_delete_topics_request(&request), Answer::DeleteTopics),
        Ask::CreatePartitions(request) => {
            wrap(controller.decide_create_partitions_request(&request, &mut random), Answer::CreatePartitions)
        }
        Ask::AlterConfigs(request) => wrap(controller.decide_alter_configs_request(&request), Answer::AlterConfigs),
        Ask::IncrementalAlterConfigs(request) => {
            wrap(controller.decide_incremental_alter_configs_request(&request), Answer::IncrementalAlterConfigs)
        }
        Ask::UpdateFeatures(request) => {
            wrap(controller.decide_update_features(&request, turn.kraft_version), Answer::UpdateFeatures)
        }
        Ask::UnregisterBroker(request) => {
            wrap(controller.decide_unregister_broker(BrokerId(request.broker_id)), Answer::UnregisterBroker)
        }
        Ask::AllocateProducerIds(request) => {
            wrap(controller.decide_allocate_producer_ids(&request), Answer::AllocateProducerIds)
        }
        Ask::AlterPartition(request) => wrap(controller.decide_alter_partition(&request), Answer::AlterPartition),
        Ask::AssignReplicasToDirs(request) => wrap(controller.decide_assign_replicas(&request), |outcome| {
            Answer::AssignReplicasToDirs(outcome.unwrap_or_else(|error| AssignReplicasToDirsResponse {
                error_code: logged(&error, "directories of replicas"),
                ..AssignReplicasToDirsResponse::default()
            }))
        }),
        Ask::ElectLeaders(request) => wrap(controller.decide_elect_leaders(&request), Answer::ElectLeaders),
        Ask::AlterPartitionReassignments(request) => {
            wrap(controller.decide_alter_reassignments(&request), Answer::AlterPartitionReassignments)
        }
        Ask::ListPartitionReassignments(request) => {
            let response = Answer::ListPartitionReassignments(controller.list_reassignments(&request));
            Decision { records: Vec::new(), response, atomic: false }
        }
        Ask::BrokerRegistration(request) => {
            wrap(controller.decide_register_broker(&request, turn.next_offset, turn.now), |outcome| {
                Answer::BrokerRegistration(outcome.unwrap_or_else(|error| BrokerRegistrationResponse {
                    error_code: logged(&error, "registration"),
                    ..BrokerRegistrationResponse::default()
                }))
            })
        }
        Ask::BrokerHeartbeat(request) => {
            wrap(controller.decide_broker_heartbeat(&request, turn.next_offset, turn.now), |outcome| {
                Answer::BrokerHeartbeat(outcome.unwrap_or_else(|error| BrokerHeartbeatResponse {
                    error_code: logged(&error, "heartbeat"),
                    ..BrokerHeartbeatResponse::default()
                }))
            })
        }
        Ask::ControllerRegistration(request) => {
            wrap(controller.decide_register_controller(&request), Answer::ControllerRegistration)
        }
        Ask::DescribeQuorum(_) | Ask::AddRaftVoter(_) | Ask::RemoveRaftVoter(_) => {
            unreachable!("answered before the controller is asked")
        }
    }
}

/// The code of a refusal whose response has no room for its text.
fn logged(error: &ApiError, what: &'static str) -> i16 {
    tracing::info!(error = %error.error, reason = error.message.as_deref(), "refused a broker's {what}");
    error.error.0
}

fn wrap<R, W>(decision: Decision<R>, into: impl FnOnce(R) -> W) -> Decision<W> {
    Decision { records: decision.records, response: into(decision.response), atomic: decision.atomic }
}
