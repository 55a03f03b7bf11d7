//! A broker's life in the cluster: registration, heartbeats, leaving (`hosts/broker_lifecycle.rs` of `milena-broker`).

use milena_broker::{ControllerRequest, ControllerResponse};
use milena_metadata::supported_features;
use milena_protocol::Text;
use milena_protocol::messages::broker_registration_request::{Feature, Listener};
use milena_protocol::messages::{BrokerHeartbeatRequest, BrokerRegistrationRequest};
use milena_replication::Blessing;
use milena_types::{BrokerId, ErrorCode, Offset, Timestamp};

use super::broker_host::{BrokerHost, Phase};
use super::outbox::{Note, Outbox, To};
use crate::message::{Lane, Purpose, Request};
use crate::planted::Planted;

/// The name of the cluster.
pub(crate) const CLUSTER_ID: &str = "cluster";
/// `broker.heartbeat.interval.ms`.
const HEARTBEAT_MS: i64 = 700;
/// `broker.session.timeout.ms`.
pub(crate) const SESSION_MS: i64 = 2500;
/// `controller.quorum.fetch.timeout.ms`.
pub(super) const FETCH_TIMEOUT_MS: i64 = 2000;
/// Between two tries while the controller does not answer.
const RETRY_MS: i64 = 100;

impl BrokerHost {
    pub(super) fn live(&mut self, now: Timestamp, out: &mut Outbox) {
        if self.is_asking || self.due.heartbeat > now {
            return;
        }
        self.is_asking = true;
        let registers = self.phase == Phase::Joining || (self.is_displaced && self.phase != Phase::Leaving);
        let (request, purpose) = if registers {
            (ControllerRequest::BrokerRegistration(self.registration()), Purpose::Register)
        } else {
            (ControllerRequest::BrokerHeartbeat(self.heartbeat(now)), Purpose::Heartbeat)
        };
        out.calls.push((To::Controller, Lane::Controller, Request::Controller(request), purpose));
    }

    /// Asks to leave from now on, or once it serves: a signal during the start waits for its end.
    pub(crate) fn leave(&mut self, now: Timestamp) {
        if self.phase >= Phase::Serving {
            self.phase = Phase::Leaving;
            self.due.heartbeat = now;
        } else {
            self.is_told_to_leave = true;
        }
    }

    fn heartbeat(&mut self, now: Timestamp) -> BrokerHeartbeatRequest {
        let published = if self.is_first_image { Offset::NONE } else { self.image.offset };
        self.beat = now;
        BrokerHeartbeatRequest {
            broker_id: self.id().0,
            broker_epoch: self.epoch,
            current_metadata_offset: published.0,
            want_shut_down: self.phase == Phase::Leaving,
            ..BrokerHeartbeatRequest::default()
        }
    }

    fn registration(&self) -> BrokerRegistrationRequest {
        let feature = |(name, min, max): (&'static str, i16, i16)| Feature {
            name: Text::from_static(name),
            min_supported_version: min,
            max_supported_version: max,
            ..Feature::default()
        };
        let listener = Listener {
            name: Text::from_static("PLAINTEXT"),
            host: Text::from_static("localhost"),
            port: 9092,
            ..Listener::default()
        };
        let known = || self.image.cluster.broker(self.id()).map_or(-1, |broker| broker.epoch);
        let lies = self.settings.has(Planted::UncleanSaysClean);
        BrokerRegistrationRequest {
            broker_id: self.id().0,
            cluster_id: Text::from_static(CLUSTER_ID),
            incarnation_id: self.incarnation,
            listeners: vec![listener],
            features: supported_features().map(feature).collect(),
            log_dirs: vec![self.settings.log_dir_id],
            previous_broker_epoch: match (lies, self.is_displaced) {
                (true, _) => known(),
                (false, true) => -1,
                (false, false) => self.previous_epoch,
            },
            ..BrokerRegistrationRequest::default()
        }
    }

    /// The answer to a registration.
    pub(crate) fn on_registered(&mut self, response: Result<ControllerResponse, ErrorCode>, now: Timestamp) {
        self.is_asking = false;
        match response {
            Ok(ControllerResponse::BrokerRegistration(response)) if response.error_code == 0 => {
                self.epoch = response.broker_epoch;
                self.is_displaced = false;
                if self.phase == Phase::Joining {
                    self.phase = Phase::Fenced;
                }
                self.due.heartbeat = now;
            }
            _ => self.due.heartbeat = Timestamp(now.0 + RETRY_MS),
        }
    }

    /// The answer to a heartbeat.
    pub(crate) fn on_heartbeat(
        &mut self,
        response: Result<ControllerResponse, ErrorCode>,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        self.is_asking = false;
        let every = Timestamp(now.0 + HEARTBEAT_MS);
        self.due.heartbeat = every;
        self.look_whether_displaced(&response);
        self.renew_lease(&response, now);
        match (self.phase, response) {
            (Phase::Leaving, Ok(ControllerResponse::BrokerHeartbeat(response))) => {
                // The controller goes away together with this broker, or knows it no more.
                if response.error_code != 0 || response.should_shut_down {
                    out.notes.push(Note::MayLeave);
                }
                self.due.heartbeat = Timestamp(now.0 + RETRY_MS / 2);
            }
            (Phase::Leaving, _) => self.due.heartbeat = Timestamp(now.0 + RETRY_MS / 2),
            (Phase::Fenced, Ok(ControllerResponse::BrokerHeartbeat(response))) if response.error_code == 0 => {
                if response.is_fenced {
                    self.due.heartbeat = Timestamp(now.0 + 10);
                } else {
                    self.phase = Phase::Serving;
                    out.notes.push(Note::Unfenced);
                    if self.is_told_to_leave {
                        self.leave(now);
                    }
                }
            }
            (Phase::Fenced, _) => self.due.heartbeat = Timestamp(now.0 + RETRY_MS),
            (_, Ok(ControllerResponse::BrokerHeartbeat(response))) if response.error_code == 0 => {}
            _ if self.settings.has(Planted::StopsHeartbeats) => self.due.heartbeat = Timestamp(i64::MAX),
            _ => {}
        }
    }

    fn renew_lease(&mut self, response: &Result<ControllerResponse, ErrorCode>, now: Timestamp) {
        let Ok(ControllerResponse::BrokerHeartbeat(response)) = response else { return };
        if response.error_code != 0 || response.is_fenced {
            return;
        }
        let mut blessing = Blessing { sent: self.beat, answered: now };
        if self.settings.has(Planted::LeaseFromAnswer) {
            blessing.sent = now;
        }
        self.lease.renew(blessing);
        if self.settings.has(Planted::LeaseAtOnce) {
            self.lease.note_caught_up(now);
        }
    }

    /// What a dead process of this broker sent may have come after the registration of this one.
    fn look_whether_displaced(&mut self, response: &Result<ControllerResponse, ErrorCode>) {
        if let Ok(ControllerResponse::BrokerHeartbeat(response)) = response
            && response.error_code == ErrorCode::STALE_BROKER_EPOCH.0
        {
            self.is_displaced = self.image.cluster.is_displaced(self.id(), self.epoch);
        }
    }

    /// Whether the controller knows this process.
    pub(crate) fn is_registered_in(&self, image: &milena_metadata::Image) -> bool {
        image.cluster.broker(BrokerId(self.id().0)).is_some_and(|broker| broker.epoch == self.epoch)
    }
}
