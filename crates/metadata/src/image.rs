//! `Image`: all cluster metadata at one offset of the metadata log (`MetadataImage`).
//!
//! Immutable to its readers and cheap to clone: every part is behind an `Arc` or in an `Ordered` map, so that a change
//! copies only what it touches, and two images share the rest. Records change it through `replay`; `records` writes it as
//! a snapshot. Nothing here decides anything: that is the controller's.

mod cluster;
mod configs;
mod delta;
mod ordered;
mod replay;
mod snapshot;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::Text;
use milena_protocol::messages::{AccessControlEntryRecord, DelegationTokenRecord, UserScramCredentialRecord};
use milena_types::{LeaderEpoch, Offset, Uuid};

pub use cluster::{BrokerRegistration, Cluster, ControllerRegistration, Endpoint, LevelRange};
pub use configs::{ConfigMap, ConfigResource, Configs};
pub use delta::Delta;
pub use ordered::Ordered;
pub use replay::ReplayError;
pub use snapshot::VersionedRecord;
pub use topics::{
    DIRECTORY_LOST, DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, NO_LEADER_CHANGE, Partition, Topic, Topics,
};

use crate::{ELIGIBLE_LEADER_REPLICAS_VERSION, MetadataVersion};

/// Finalized feature levels.
#[derive(Clone, PartialEq, Debug)]
pub struct Features {
    pub metadata_version: MetadataVersion,
    /// The levels of the other features; those at 0 are absent. `kraft.version` is raft's and not among them.
    pub levels: BTreeMap<Text, i16>,
}

impl Default for Features {
    fn default() -> Self {
        Features { metadata_version: MetadataVersion::MINIMUM, levels: BTreeMap::new() }
    }
}

impl Features {
    /// The level of a feature other than `metadata.version`; 0 when it is off.
    #[must_use]
    pub fn level(&self, name: &str) -> i16 {
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// Whether eligible leader replicas are kept (KIP-966).
    #[must_use]
    pub fn is_elr_enabled(&self) -> bool {
        self.metadata_version.is_elr_supported() && self.level(ELIGIBLE_LEADER_REPLICAS_VERSION) > 0
    }
}

/// Whom a quota is for: pairs of entity type and name (`None` for the default), sorted.
pub type QuotaEntity = Vec<(Text, Option<Text>)>;

/// Access control entries, credentials, tokens and quotas, kept as their records.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Security {
    pub acls: BTreeMap<Uuid, Arc<AccessControlEntryRecord>>,
    /// By mechanism (1 SCRAM-SHA-256, 2 SCRAM-SHA-512) and user.
    pub scram: BTreeMap<(i8, Text), Arc<UserScramCredentialRecord>>,
    pub delegation_tokens: BTreeMap<Text, Arc<DelegationTokenRecord>>,
    /// By entity and quota key.
    pub client_quotas: BTreeMap<(QuotaEntity, Text), f64>,
}

/// What an open metadata transaction would be aborted to.
#[derive(Clone, PartialEq, Debug)]
struct Transaction {
    image: Image,
    delta: Delta,
}

/// All cluster metadata.
#[derive(Clone, PartialEq, Debug)]
pub struct Image {
    /// The offset of the last record that is in this image; -1 when none is.
    pub offset: Offset,
    /// The epoch of the controller that wrote it.
    pub epoch: LeaderEpoch,
    pub features: Arc<Features>,
    pub cluster: Arc<Cluster>,
    pub topics: Topics,
    pub configs: Arc<Configs>,
    /// The first producer id that no block holds yet; -1 before the first block.
    pub next_producer_id: i64,
    pub security: Arc<Security>,
    transaction: Option<Arc<Transaction>>,
}

impl Default for Image {
    fn default() -> Self {
        Image {
            offset: Offset::NONE,
            epoch: LeaderEpoch::NONE,
            features: Arc::default(),
            cluster: Arc::default(),
            topics: Topics::default(),
            configs: Arc::default(),
            next_producer_id: -1,
            security: Arc::default(),
            transaction: None,
        }
    }
}

impl Image {
    /// Whether a metadata transaction is open, so that this image must not be published.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        self.transaction.is_some()
    }
}
