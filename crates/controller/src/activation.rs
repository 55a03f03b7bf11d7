//! What a controller writes when it begins to lead (`ActivationRecordsGenerator`), and the records a new cluster begins
//! with (`BootstrapMetadata`, as `kafka-storage format` writes them to `bootstrap.checkpoint`).

use std::collections::BTreeMap;

use milena_metadata::{
    ELIGIBLE_LEADER_REPLICAS_VERSION, FEATURES, KRAFT_VERSION, METADATA_VERSION, MetadataVersion, VersionedRecord,
};
use milena_protocol::Text;
use milena_protocol::messages::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, EndTransactionRecord, FeatureLevelRecord,
    MetadataRecord, NoOpRecord,
};

use milena_metadata::ConfigResource;

use crate::config_rules::MIN_INSYNC_REPLICAS;
use crate::{Controller, Decision};

/// The records of a new cluster: the metadata version, then each feature that is not at level 0, in order of name.
/// `levels` overrides the defaults of the metadata version; the caller validated it.
#[must_use]
pub fn bootstrap_records(version: MetadataVersion, levels: &BTreeMap<String, i16>) -> Vec<VersionedRecord> {
    let features = FEATURES.iter().filter(|feature| feature.name != KRAFT_VERSION).map(|feature| {
        let level = levels.get(feature.name).copied().unwrap_or_else(|| feature.default_level(version));
        (feature.name, level)
    });
    std::iter::once((METADATA_VERSION, version.level()))
        .chain(features.filter(|(_, level)| *level > 0))
        .map(|(name, feature_level)| {
            let name = Text::from(name);
            let record = FeatureLevelRecord { name, feature_level, ..FeatureLevelRecord::default() };
            (MetadataRecord::FeatureLevel(record), 0)
        })
        .collect()
}

impl Controller {
    /// The records a controller writes first when it begins to lead. `log_is_empty` says that no metadata record was ever
    /// written (control records do not count); then the bootstrap records are, in one metadata transaction.
    #[must_use]
    pub fn decide_activation(&self, log_is_empty: bool, bootstrap: &[VersionedRecord]) -> Decision<()> {
        let mut records = Vec::new();
        if self.is_in_transaction() {
            let reason = Some(Text::from("Controller failover"));
            let abort = AbortTransactionRecord { reason, ..AbortTransactionRecord::default() };
            records.push((MetadataRecord::AbortTransaction(abort), 0));
        }
        // A transaction can only be open without a metadata version when it holds the bootstrap records.
        if !log_is_empty {
            return Decision::atomic(records, ());
        }
        let level = |name: &str| {
            bootstrap.iter().find_map(|(record, _)| match record {
                MetadataRecord::FeatureLevel(record) if &*record.name == name => Some(record.feature_level),
                _ => None,
            })
        };
        let version = level(METADATA_VERSION).and_then(MetadataVersion::from_level).unwrap_or(MetadataVersion::MINIMUM);
        let in_transaction = version.is_metadata_transaction_supported();
        if in_transaction {
            let name = Some(Text::from("Bootstrap records"));
            let begin = BeginTransactionRecord { name, ..BeginTransactionRecord::default() };
            records.push((MetadataRecord::BeginTransaction(begin), 0));
        }
        records.extend_from_slice(bootstrap);
        if level(ELIGIBLE_LEADER_REPLICAS_VERSION).unwrap_or(0) > 0 {
            records.push(self.cluster_min_insync_replicas());
        }
        if in_transaction {
            records.push((MetadataRecord::EndTransaction(EndTransactionRecord::default()), 0));
        }
        Decision { records, response: (), atomic: !in_transaction }
    }

    /// With ELR the smallest ISR must be the same for all brokers, so it is written down
    /// (`ConfigurationControlManager.maybeGenerateElrSafetyRecords`).
    pub(crate) fn cluster_min_insync_replicas(&self) -> VersionedRecord {
        let value = self.settings.static_configs.get(MIN_INSYNC_REPLICAS).map_or("1", String::as_str);
        let record = ConfigRecord {
            resource_type: ConfigResource::BROKER,
            resource_name: Text::default(),
            name: Text::from(MIN_INSYNC_REPLICAS),
            value: Some(Text::from(value)),
            ..ConfigRecord::default()
        };
        (MetadataRecord::Config(record), 0)
    }

    /// The record that keeps the high watermark moving when nothing else is written
    /// (every `metadata.max.idle.interval.ms`).
    #[must_use]
    pub fn decide_no_op(&self) -> Decision<()> {
        Decision::of(vec![(MetadataRecord::NoOp(NoOpRecord::default()), 0)], ())
    }
}
