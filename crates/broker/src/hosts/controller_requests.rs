//! Requests to the active controller: each is decided by the core and proposed to the quorum (class `ControllerApis`).

mod configs;
mod topics;

use std::time::Duration;

use milena_controller::{Controller, Decision};
use milena_storage::disk::Disk;
use milena_types::ErrorCode;

use super::metadata_loop::MetadataLoop;
use super::raft_wire::describe_response;
use crate::controller_handle::{ControllerDone, ControllerRequest, ControllerResponse};

/// xorshift: the controller wants spread, not secrets.
pub(crate) fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

impl<D: Disk> MetadataLoop<D> {
    pub(super) fn handle_request(&mut self, request: ControllerRequest, done: ControllerDone) {
        let now = self.uptime();
        let mut seed = self.random;
        let mut random = || next_random(&mut seed);
        let Some(controller) = &mut self.controller else {
            return done(Err(ErrorCode::NOT_CONTROLLER));
        };
        let decision = match request {
            ControllerRequest::CreateTopics(request) => {
                wrap(controller.decide_create_topics(&request, &|_| true, &mut random), ControllerResponse::CreateTopics)
            }
            ControllerRequest::DeleteTopics(request) => {
                wrap(topics::delete(controller, &request), ControllerResponse::DeleteTopics)
            }
            ControllerRequest::CreatePartitions(request) => wrap(
                controller.decide_create_partitions(&request, &mut random),
                ControllerResponse::CreatePartitions,
            ),
            ControllerRequest::AlterConfigs(request) => {
                wrap(configs::replace(controller, &request), ControllerResponse::AlterConfigs)
            }
            ControllerRequest::IncrementalAlterConfigs(request) => {
                wrap(configs::change(controller, &request), ControllerResponse::IncrementalAlterConfigs)
            }
            ControllerRequest::AllocateProducerIds(request) => {
                wrap(controller.decide_allocate_producer_ids(&request), ControllerResponse::AllocateProducerIds)
            }
            ControllerRequest::DescribeQuorum(_) => {
                let description = self.quorum.describe(self.clock.now());
                let response = describe_response(description, &self.quorum.kraft().voters);
                return done(Ok(ControllerResponse::DescribeQuorum(response)));
            }
            other => registrations(controller, other, now, &mut random),
        };
        self.random = seed;
        self.propose(decision, done);
    }

    /// Fences brokers that fell silent.
    pub(super) fn tick_controller(&mut self) {
        let now = self.uptime();
        while let Some(controller) = &mut self.controller {
            let Some(decision) = controller.decide_fence_stale_broker(now) else {
                return;
            };
            self.propose(decision, |_| ());
        }
    }

    /// Until the next broker's session expires.
    pub(super) fn until_controller_deadline(&self) -> Option<Duration> {
        let deadline = self.controller.as_ref()?.next_deadline()?;
        Some(deadline.saturating_sub(self.uptime()))
    }
}

fn registrations(
    controller: &mut Controller,
    request: ControllerRequest,
    now: Duration,
    random: &mut dyn milena_controller::Random,
) -> Decision<ControllerResponse> {
    match request {
        ControllerRequest::BrokerRegistration(request) => {
            wrap(controller.decide_register_broker(&request, now), ControllerResponse::BrokerRegistration)
        }
        _ => unreachable!("handled by the caller"),
    }
}

pub(super) fn wrap<R, W>(decision: Decision<R>, into: impl FnOnce(R) -> W) -> Decision<W> {
    Decision { records: decision.records, response: into(decision.response), atomic: decision.atomic }
}
