//! Brokers and controllers register and leave (`ClusterControlManager`).

use std::collections::BTreeSet;
use std::time::Duration;

use milena_metadata::{BrokerRegistration, METADATA_VERSION, VersionedRecord};
use milena_protocol::messages::register_broker_record::{BrokerEndpoint, BrokerFeature};
use milena_protocol::messages::register_controller_record::{ControllerEndpoint, ControllerFeature};
use milena_protocol::messages::{
    BrokerRegistrationRequest, BrokerRegistrationResponse, ControllerRegistrationRequest,
    ControllerRegistrationResponse, MetadataRecord, RegisterBrokerRecord, RegisterControllerRecord,
    UnregisterBrokerResponse,
};
use milena_types::{BrokerId, ErrorCode, Offset, Uuid};

use crate::{ApiError, Controller, Decision};

impl Controller {
    /// Registers a broker, fenced. `next_offset` is where the decision's first record will lie: it becomes the epoch of a
    /// new incarnation.
    #[must_use]
    pub fn decide_register_broker(
        &mut self,
        request: &BrokerRegistrationRequest,
        next_offset: Offset,
        now: Duration,
    ) -> Decision<Result<BrokerRegistrationResponse, ApiError>> {
        match self.registration_records(request, next_offset, now) {
            Ok((records, record)) => {
                let broker = BrokerId(request.broker_id);
                if record.broker_epoch == next_offset.0 {
                    self.sessions.remove(broker);
                }
                self.sessions.register(broker, record.fenced, now);
                self.suspicions.dispel(broker);
                let response = BrokerRegistrationResponse {
                    broker_epoch: record.broker_epoch,
                    ..BrokerRegistrationResponse::default()
                };
                Decision::of(records, Ok(response))
            }
            Err(error) => Decision::of(Vec::new(), Err(error)),
        }
    }

    fn registration_records(
        &self,
        request: &BrokerRegistrationRequest,
        next_offset: Offset,
        now: Duration,
    ) -> Result<(Vec<VersionedRecord>, RegisterBrokerRecord), ApiError> {
        let broker = BrokerId(request.broker_id);
        if request.cluster_id != self.settings.cluster_id {
            let why =
                format!("Expected cluster ID {}, but got cluster ID {}", self.settings.cluster_id, request.cluster_id);
            return Err(ApiError::new(ErrorCode::INCONSISTENT_CLUSTER_ID, why));
        }
        let existing = self.image.cluster.broker(broker);
        let same_incarnation = existing.filter(|existing| existing.incarnation_id == request.incarnation_id);
        if existing.is_some() && same_incarnation.is_none() && self.sessions.is_valid(broker, now) {
            let why = "Another broker is registered with that broker id. If the broker was recently restarted this should \
                       self-resolve once the heartbeat manager expires the broker's session.";
            return Err(ApiError::new(ErrorCode::DUPLICATE_BROKER_REGISTRATION, why));
        }
        if request.is_migrating_zk_broker {
            let why = "Controller does not support registering ZK brokers.";
            return Err(ApiError::new(ErrorCode::BROKER_ID_NOT_REGISTERED, why));
        }
        let version = self.image.features.metadata_version;
        if version.is_directory_assignment_supported() {
            self.check_directories(broker, &request.log_dirs)?;
        }
        self.check_features(request)?;
        let mut record = self.registration_record(request);
        let mut records = Vec::new();
        match same_incarnation {
            Some(existing) => {
                record.fenced = existing.is_fenced;
                record.in_controlled_shutdown = existing.is_in_controlled_shutdown;
                record.broker_epoch = existing.epoch;
                if version.is_cordoned_log_dirs_supported() {
                    record.cordoned_log_dirs.clone_from(&existing.cordoned_directories);
                }
            }
            None => {
                let clean = existing.is_some_and(|existing| existing.epoch == request.previous_broker_epoch);
                records.extend(self.restart_records(broker, clean));
                record.broker_epoch = next_offset.0;
            }
        }
        records.push((MetadataRecord::RegisterBroker(record.clone()), version.register_broker_record_version()));
        Ok((records, record))
    }

    fn registration_record(&self, request: &BrokerRegistrationRequest) -> RegisterBrokerRecord {
        let directories = self.image.features.metadata_version.is_directory_assignment_supported();
        RegisterBrokerRecord {
            broker_id: request.broker_id,
            incarnation_id: request.incarnation_id,
            rack: request.rack.clone(),
            end_points: request
                .listeners
                .iter()
                .map(|listener| BrokerEndpoint {
                    name: listener.name.clone(),
                    host: listener.host.clone(),
                    port: listener.port,
                    security_protocol: listener.security_protocol,
                    ..BrokerEndpoint::default()
                })
                .collect(),
            features: request
                .features
                .iter()
                .map(|feature| BrokerFeature {
                    name: feature.name.clone(),
                    min_supported_version: feature.min_supported_version,
                    max_supported_version: feature.max_supported_version,
                    ..BrokerFeature::default()
                })
                .collect(),
            fenced: true,
            log_dirs: if directories { request.log_dirs.clone() } else { Vec::new() },
            ..RegisterBrokerRecord::default()
        }
    }

    fn check_directories(&self, broker: BrokerId, directories: &[Uuid]) -> Result<(), ApiError> {
        let refuse = |why: String| Err(ApiError::new(ErrorCode::INVALID_REGISTRATION, why));
        if directories.is_empty() {
            return refuse("No directories specified in request".to_owned());
        }
        // The first hundred ids are markers (`DirectoryId.reserved`).
        let reserved = |directory: &Uuid| u128::from_be_bytes(directory.0) < 100;
        if directories.iter().any(reserved) {
            return refuse("Reserved directory ID in request".to_owned());
        }
        let unique: BTreeSet<&Uuid> = directories.iter().collect();
        if unique.len() != directories.len() {
            return refuse("Duplicate directory ID in request".to_owned());
        }
        for other in self.image.cluster.brokers.values().filter(|other| other.id != broker) {
            if let Some(taken) = directories.iter().find(|directory| other.directories.contains(directory)) {
                return refuse(format!("Broker {} is already registered with directory {taken}", other.id));
            }
        }
        Ok(())
    }

    /// A broker must support every finalized level.
    fn check_features(&self, request: &BrokerRegistrationRequest) -> Result<(), ApiError> {
        if !request.features.iter().any(|feature| &*feature.name == METADATA_VERSION) {
            let why = "Request features do not contain 'metadata.version'";
            return Err(ApiError::new(ErrorCode::INVALID_REGISTRATION, why));
        }
        let features = &self.image.features;
        let finalized = features
            .levels
            .iter()
            .map(|(name, level)| (&**name, *level))
            .chain(std::iter::once((METADATA_VERSION, features.metadata_version.level())));
        for (name, level) in finalized {
            let supported = request.features.iter().find(|feature| &*feature.name == name);
            let (min, max) =
                supported.map_or((0, 0), |feature| (feature.min_supported_version, feature.max_supported_version));
            if level < min || level > max {
                let why = format!(
                    "Unable to register because the broker does not support finalized version {level} of {name}. The \
                     broker wants a version between {min} and {max}, inclusive."
                );
                return Err(ApiError::new(ErrorCode::UNSUPPORTED_VERSION, why));
            }
        }
        Ok(())
    }

    /// Removes a broker's registration for good.
    #[must_use]
    pub fn decide_unregister_broker(&self, broker: BrokerId) -> Decision<UnregisterBrokerResponse> {
        match self.image.cluster.broker(broker) {
            Some(registration) => {
                let records = self.unregister_records(broker, registration.epoch);
                Decision::of(records, UnregisterBrokerResponse::default())
            }
            None => {
                let why = format!("Broker ID {broker} is not currently registered");
                let response = UnregisterBrokerResponse {
                    error_code: ErrorCode::BROKER_ID_NOT_REGISTERED.0,
                    error_message: Some(why.into()),
                    ..UnregisterBrokerResponse::default()
                };
                Decision::of(Vec::new(), response)
            }
        }
    }

    /// Registers a controller.
    #[must_use]
    pub fn decide_register_controller(
        &self,
        request: &ControllerRegistrationRequest,
    ) -> Decision<ControllerRegistrationResponse> {
        if !self.image.features.metadata_version.is_controller_registration_supported() {
            let why = "The current MetadataVersion is too old to support controller registrations.";
            let response = ControllerRegistrationResponse {
                error_code: ErrorCode::UNSUPPORTED_VERSION.0,
                error_message: Some(why.into()),
                ..ControllerRegistrationResponse::default()
            };
            return Decision::of(Vec::new(), response);
        }
        let endpoints = request.listeners.iter().map(|listener| ControllerEndpoint {
            name: listener.name.clone(),
            host: listener.host.clone(),
            port: listener.port,
            security_protocol: listener.security_protocol,
            ..ControllerEndpoint::default()
        });
        let features = request.features.iter().map(|feature| ControllerFeature {
            name: feature.name.clone(),
            min_supported_version: feature.min_supported_version,
            max_supported_version: feature.max_supported_version,
            ..ControllerFeature::default()
        });
        let record = RegisterControllerRecord {
            controller_id: request.controller_id,
            incarnation_id: request.incarnation_id,
            zk_migration_ready: false,
            end_points: endpoints.collect(),
            features: features.collect(),
            ..RegisterControllerRecord::default()
        };
        let records = vec![(MetadataRecord::RegisterController(record), 0)];
        Decision::atomic(records, ControllerRegistrationResponse::default())
    }

    /// Whether a request comes from the present incarnation of a broker.
    pub(crate) fn check_broker_epoch(&self, broker: BrokerId, epoch: i64) -> Result<&BrokerRegistration, ApiError> {
        let refuse = |why: String| Err(ApiError::new(ErrorCode::STALE_BROKER_EPOCH, why));
        match self.image.cluster.broker(broker) {
            None => refuse(format!("No broker registration found for broker id {broker}")),
            Some(registration) if registration.epoch != epoch => {
                refuse(format!("Expected broker epoch {}, but got broker epoch {epoch}", registration.epoch))
            }
            Some(registration) => Ok(registration),
        }
    }
}
