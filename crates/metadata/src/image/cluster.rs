//! Brokers and controllers as they registered (`ClusterImage`, `BrokerRegistration`, `ControllerRegistration`).

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::Text;
use milena_protocol::messages::register_broker_record::{BrokerEndpoint, BrokerFeature};
use milena_protocol::messages::register_controller_record::{ControllerEndpoint, ControllerFeature};
use milena_protocol::messages::{BrokerRegistrationChangeRecord, RegisterBrokerRecord, RegisterControllerRecord};
use milena_types::{BrokerId, Offset, Uuid};

use super::topics::{DIRECTORY_LOST, DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED};
use crate::MetadataVersion;

/// Where a node listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The listener's name, such as `PLAINTEXT`.
    pub listener: Text,
    pub host: Text,
    pub port: u16,
    /// `SecurityProtocol.id`: 0 plaintext, 1 SSL, 2 SASL over plaintext, 3 SASL over SSL.
    pub security_protocol: i16,
}

/// A feature's lowest and highest level a node supports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LevelRange {
    pub min: i16,
    pub max: i16,
}

/// A broker's registration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerRegistration {
    pub id: BrokerId,
    /// The offset of the registration's record; a restarted broker has a larger one.
    pub epoch: i64,
    pub incarnation_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub features: BTreeMap<Text, LevelRange>,
    pub rack: Option<Text>,
    /// A fenced broker leads nothing and is in no ISR.
    pub is_fenced: bool,
    pub is_in_controlled_shutdown: bool,
    /// The log directories that are online, sorted.
    pub directories: Vec<Uuid>,
    /// The directories that take no new replicas (KIP-1066); `None` before the broker told.
    pub cordoned_directories: Option<Vec<Uuid>>,
    /// Where the last registration record lies in the log; a broker is unfenced once it has replayed that far.
    pub registered_at: Offset,
}

/// A controller's registration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControllerRegistration {
    pub id: BrokerId,
    pub incarnation_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub features: BTreeMap<Text, LevelRange>,
}

/// All registered nodes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Cluster {
    pub brokers: BTreeMap<BrokerId, Arc<BrokerRegistration>>,
    pub controllers: BTreeMap<BrokerId, Arc<ControllerRegistration>>,
}

impl Cluster {
    /// A broker's registration.
    #[must_use]
    pub fn broker(&self, id: BrokerId) -> Option<&Arc<BrokerRegistration>> {
        self.brokers.get(&id)
    }

    /// Whether a broker may lead and be in sync: registered, not fenced, not shutting down.
    #[must_use]
    pub fn is_active(&self, id: BrokerId) -> bool {
        self.brokers.get(&id).is_some_and(|broker| broker.is_active())
    }

    /// Whether the registration a broker had under `epoch` was displaced by a later one, of whichever process.
    #[must_use]
    pub fn is_displaced(&self, id: BrokerId, epoch: i64) -> bool {
        self.broker(id).is_some_and(|known| known.epoch > epoch)
    }

    /// The brokers that are not fenced, in the order of their ids.
    pub fn alive(&self) -> impl Iterator<Item = &Arc<BrokerRegistration>> {
        self.brokers.values().filter(|broker| !broker.is_fenced)
    }
}

impl BrokerRegistration {
    /// Neither fenced nor shutting down.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.is_fenced && !self.is_in_controlled_shutdown
    }

    /// Where the broker listens under a listener's name.
    #[must_use]
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| &*endpoint.listener == listener)
    }

    /// Whether a replica's directory is online (`DirectoryId.isOnline`).
    #[must_use]
    pub fn has_online_directory(&self, directory: Uuid) -> bool {
        match directory {
            DIRECTORY_UNASSIGNED | DIRECTORY_MIGRATING => true,
            DIRECTORY_LOST => false,
            _ => self.directories.is_empty() || self.directories.contains(&directory),
        }
    }

    /// The directory a new replica is recorded in (`ClusterControlManager.defaultDir`): decided only when there is no choice.
    #[must_use]
    pub fn default_directory(&self) -> Uuid {
        match self.directories.as_slice() {
            [] => DIRECTORY_MIGRATING,
            [only] => *only,
            _ => DIRECTORY_UNASSIGNED,
        }
    }

    /// Whether every directory is cordoned, so that the broker takes no new replicas.
    #[must_use]
    pub fn is_cordoned(&self) -> bool {
        self.cordoned_directories.as_ref().is_some_and(|cordoned| {
            !self.directories.is_empty() && self.directories.iter().all(|directory| cordoned.contains(directory))
        })
    }

    pub(super) fn from_record(record: &RegisterBrokerRecord, at: Offset) -> BrokerRegistration {
        let mut directories = record.log_dirs.clone();
        directories.sort_unstable();
        BrokerRegistration {
            id: BrokerId(record.broker_id),
            epoch: record.broker_epoch,
            incarnation_id: record.incarnation_id,
            endpoints: record.end_points.iter().map(Endpoint::from).collect(),
            features: record.features.iter().map(|feature| (feature.name.detached(), feature.into())).collect(),
            rack: record.rack.as_ref().map(Text::detached),
            is_fenced: record.fenced,
            is_in_controlled_shutdown: record.in_controlled_shutdown,
            directories,
            cordoned_directories: record.cordoned_log_dirs.clone(),
            registered_at: at,
        }
    }

    /// Applies a change; the signs are Kafka's `BrokerRegistrationFencingChange`: -1 unfences, 1 fences, 0 keeps.
    pub(super) fn apply(&mut self, change: &BrokerRegistrationChangeRecord) {
        match change.fenced {
            0 => {}
            sign => self.is_fenced = sign > 0,
        }
        if change.in_controlled_shutdown != 0 {
            self.is_in_controlled_shutdown = true;
        }
        if !change.log_dirs.is_empty() {
            self.directories.clone_from(&change.log_dirs);
            self.directories.sort_unstable();
        }
        if let Some(cordoned) = &change.cordoned_log_dirs {
            self.cordoned_directories = Some(cordoned.clone());
        }
    }

    /// The record that describes this registration at a metadata version.
    #[must_use]
    pub fn to_record(&self, version: MetadataVersion) -> RegisterBrokerRecord {
        RegisterBrokerRecord {
            broker_id: self.id.0,
            incarnation_id: self.incarnation_id,
            broker_epoch: self.epoch,
            end_points: self.endpoints.iter().map(BrokerEndpoint::from).collect(),
            features: self
                .features
                .iter()
                .map(|(name, range)| BrokerFeature {
                    name: name.clone(),
                    min_supported_version: range.min,
                    max_supported_version: range.max,
                    ..BrokerFeature::default()
                })
                .collect(),
            rack: self.rack.clone(),
            fenced: self.is_fenced,
            in_controlled_shutdown: self.is_in_controlled_shutdown,
            log_dirs: if version.is_directory_assignment_supported() { self.directories.clone() } else { Vec::new() },
            cordoned_log_dirs: version
                .is_cordoned_log_dirs_supported()
                .then(|| self.cordoned_directories.clone())
                .flatten(),
            ..RegisterBrokerRecord::default()
        }
    }
}

impl ControllerRegistration {
    pub(super) fn from_record(record: &RegisterControllerRecord) -> ControllerRegistration {
        ControllerRegistration {
            id: BrokerId(record.controller_id),
            incarnation_id: record.incarnation_id,
            endpoints: record.end_points.iter().map(Endpoint::from).collect(),
            features: record.features.iter().map(|feature| (feature.name.detached(), feature.into())).collect(),
        }
    }

    /// The record that describes this registration.
    #[must_use]
    pub fn to_record(&self) -> RegisterControllerRecord {
        RegisterControllerRecord {
            controller_id: self.id.0,
            incarnation_id: self.incarnation_id,
            end_points: self.endpoints.iter().map(ControllerEndpoint::from).collect(),
            features: self
                .features
                .iter()
                .map(|(name, range)| ControllerFeature {
                    name: name.clone(),
                    min_supported_version: range.min,
                    max_supported_version: range.max,
                    ..ControllerFeature::default()
                })
                .collect(),
            ..RegisterControllerRecord::default()
        }
    }
}

/// Records of brokers and of controllers say the same in types of their own.
macro_rules! in_records {
    ($endpoint:ident, $feature:ident) => {
        impl From<&$endpoint> for Endpoint {
            /// The texts are copied out of the frame they came in.
            fn from(endpoint: &$endpoint) -> Endpoint {
                Endpoint {
                    listener: endpoint.name.detached(),
                    host: endpoint.host.detached(),
                    port: endpoint.port,
                    security_protocol: endpoint.security_protocol,
                }
            }
        }

        impl From<&Endpoint> for $endpoint {
            fn from(endpoint: &Endpoint) -> $endpoint {
                $endpoint {
                    name: endpoint.listener.clone(),
                    host: endpoint.host.clone(),
                    port: endpoint.port,
                    security_protocol: endpoint.security_protocol,
                    ..$endpoint::default()
                }
            }
        }

        impl From<&$feature> for LevelRange {
            fn from(feature: &$feature) -> LevelRange {
                LevelRange { min: feature.min_supported_version, max: feature.max_supported_version }
            }
        }
    };
}

in_records!(BrokerEndpoint, BrokerFeature);
in_records!(ControllerEndpoint, ControllerFeature);
