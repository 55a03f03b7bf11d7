//! Heartbeats: how a broker is unfenced, fenced and let go (`BrokerHeartbeatManager.calculateNextBrokerState`).

use std::time::Duration;

use milena_metadata::{BrokerRegistration, VersionedRecord};
use milena_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationChangeRecord, MetadataRecord,
};
use milena_types::{BrokerId, Offset, Uuid};

use crate::session::Session;
use crate::{ApiError, Controller, Decision};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutdownNow,
}

impl State {
    fn is_fenced(self) -> bool {
        matches!(self, State::Fenced | State::ShutdownNow)
    }
}

impl Controller {
    /// Takes a broker's heartbeat. `next_offset` is where the decision's first record will lie.
    #[must_use]
    pub fn decide_broker_heartbeat(
        &mut self,
        request: &BrokerHeartbeatRequest,
        next_offset: Offset,
        now: Duration,
    ) -> Decision<Result<BrokerHeartbeatResponse, ApiError>> {
        let broker = BrokerId(request.broker_id);
        let registration = match self.check_broker_epoch(broker, request.broker_epoch) {
            Ok(registration) => registration.clone(),
            Err(error) => return Decision::of(Vec::new(), Err(error)),
        };
        let session = self.sessions.get(broker).copied();
        let current = current_state(&registration, session);
        let next = self.next_state(request, &registration, current, session);
        let mut records = if next == current { Vec::new() } else { self.transition_records(next, &registration) };
        let metadata_offset = Offset(request.current_metadata_offset);
        self.sessions.touch(broker, next.is_fenced(), metadata_offset, now);
        self.suspicions.dispel(broker);
        records.extend(self.directory_records(request, &registration));
        if next == State::ControlledShutdown {
            let last = Offset(next_offset.0 + records.len() as i64 - 1);
            self.sessions.begin_controlled_shutdown(broker, last);
        }
        let response = BrokerHeartbeatResponse {
            is_caught_up: metadata_offset >= registration.registered_at,
            is_fenced: next.is_fenced(),
            should_shut_down: next == State::ShutdownNow,
            ..BrokerHeartbeatResponse::default()
        };
        Decision::of(records, Ok(response))
    }

    fn next_state(
        &self,
        request: &BrokerHeartbeatRequest,
        registration: &BrokerRegistration,
        current: State,
        session: Option<Session>,
    ) -> State {
        match current {
            State::Fenced if request.want_shut_down => State::ShutdownNow,
            State::Fenced if request.want_fence => State::Fenced,
            // A broker may serve once it knows at least its own registration.
            State::Fenced if request.current_metadata_offset >= registration.registered_at.0 => State::Unfenced,
            State::Fenced => State::Fenced,
            State::Unfenced if request.want_fence && request.want_shut_down => State::ShutdownNow,
            State::Unfenced if request.want_fence => State::Fenced,
            State::Unfenced if !request.want_shut_down => State::Unfenced,
            State::Unfenced if self.has_leaderships(registration.id) => State::ControlledShutdown,
            State::Unfenced => State::ShutdownNow,
            State::ControlledShutdown => {
                // The broker may stop when it leads nothing and all others know it.
                let moved = session.and_then(|session| session.controlled_shutdown_offset).unwrap_or(Offset::NONE);
                let known = self.sessions.lowest_active_offset().is_none_or(|lowest| moved <= lowest);
                if known && !self.has_leaderships(registration.id) {
                    State::ShutdownNow
                } else {
                    State::ControlledShutdown
                }
            }
            State::ShutdownNow => State::ShutdownNow,
        }
    }

    fn transition_records(&self, next: State, registration: &BrokerRegistration) -> Vec<VersionedRecord> {
        let (broker, epoch) = (registration.id, registration.epoch);
        match next {
            State::Fenced | State::ShutdownNow => self.fence_records(broker, epoch),
            State::Unfenced => self.unfence_records(broker, epoch),
            State::ControlledShutdown => self.shutdown_records(broker, epoch),
        }
    }

    fn directory_records(
        &self,
        request: &BrokerHeartbeatRequest,
        registration: &BrokerRegistration,
    ) -> Vec<VersionedRecord> {
        let version = self.image.features.metadata_version;
        let mut records = Vec::new();
        if version.is_directory_assignment_supported() {
            let (broker, epoch) = (registration.id, registration.epoch);
            records.extend(self.offline_directory_records(broker, epoch, &request.offline_log_dirs));
        }
        if version.is_cordoned_log_dirs_supported()
            && let Some(cordoned) = &request.cordoned_log_dirs
            && registration.cordoned_directories.as_deref().is_none_or(|known| !is_same_set(known, cordoned))
        {
            let record = BrokerRegistrationChangeRecord {
                broker_id: registration.id.0,
                broker_epoch: registration.epoch,
                cordoned_log_dirs: Some(cordoned.clone()),
                ..BrokerRegistrationChangeRecord::default()
            };
            records.push((MetadataRecord::BrokerRegistrationChange(record), 3));
        }
        records
    }
}

fn is_same_set(one: &[Uuid], other: &[Uuid]) -> bool {
    one.iter().all(|id| other.contains(id)) && other.iter().all(|id| one.contains(id))
}

fn current_state(registration: &BrokerRegistration, session: Option<Session>) -> State {
    match session {
        Some(session) if session.controlled_shutdown_offset.is_some() => State::ControlledShutdown,
        Some(session) if !session.is_fenced => State::Unfenced,
        Some(_) => State::Fenced,
        None if registration.is_fenced => State::Fenced,
        None => State::Unfenced,
    }
}
