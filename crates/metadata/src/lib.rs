//! The cluster's metadata: the image replayed from the metadata log, feature levels, config definitions.
pub mod config;
mod feature;
mod image;

pub use feature::{
    ELIGIBLE_LEADER_REPLICAS_VERSION, FEATURES, Feature, FeatureLevel, GROUP_VERSION, KRAFT_VERSION, METADATA_VERSION,
    MetadataVersion, SHARE_VERSION, STREAMS_VERSION, TRANSACTION_VERSION, supported_features,
};
pub use image::{
    BrokerRegistration, Cluster, ConfigMap, ConfigResource, Configs, ControllerRegistration, DIRECTORY_LOST,
    DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, Delta, Endpoint, Features, Image, LevelRange, NO_LEADER_CHANGE, Ordered,
    Partition, QuotaEntity, ReplayError, Security, Topic, Topics, VersionedRecord,
};
