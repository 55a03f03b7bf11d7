//! Feature levels: the metadata versions and the other versioned features of a cluster (KIP-584, KIP-778, KIP-1022).
//!
//! The facts are those of Kafka's classes `MetadataVersion` and `Feature` at 4.3.1. What a metadata version allows decides
//! the version each metadata record is written with.

use std::fmt;

/// The feature that names the format of the metadata records.
pub const METADATA_VERSION: &str = "metadata.version";
/// The feature that names the format of the quorum's control records; kept by raft, not by `FeatureLevelRecord`.
pub const KRAFT_VERSION: &str = "kraft.version";
/// The feature that turns on eligible leader replicas (KIP-966).
pub const ELIGIBLE_LEADER_REPLICAS_VERSION: &str = "eligible.leader.replicas.version";
/// The feature of the transaction protocol (KIP-890).
pub const TRANSACTION_VERSION: &str = "transaction.version";
/// The feature of the consumer group protocol (KIP-848).
pub const GROUP_VERSION: &str = "group.version";
/// The feature of share groups (KIP-932).
pub const SHARE_VERSION: &str = "share.version";
/// The feature of streams groups (KIP-1071).
pub const STREAMS_VERSION: &str = "streams.version";

/// A level of the feature `metadata.version`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataVersion(i16);

/// One row: level, name, whether records changed in a way that makes a downgrade lose something.
type Row = (i16, &'static str, bool);

const TABLE: &[Row] = &[
    (7, "3.3-IV3", true),
    (8, "3.4-IV0", true),
    (9, "3.5-IV0", false),
    (10, "3.5-IV1", false),
    (11, "3.5-IV2", true),
    (12, "3.6-IV0", false),
    (13, "3.6-IV1", true),
    (14, "3.6-IV2", true),
    (15, "3.7-IV0", true),
    (16, "3.7-IV1", false),
    (17, "3.7-IV2", true),
    (18, "3.7-IV3", false),
    (19, "3.7-IV4", false),
    (20, "3.8-IV0", false),
    (21, "3.9-IV0", false),
    (22, "4.0-IV0", false),
    (23, "4.0-IV1", true),
    (24, "4.0-IV2", false),
    (25, "4.0-IV3", false),
    (26, "4.1-IV0", false),
    (27, "4.1-IV1", false),
    (28, "4.2-IV0", false),
    (29, "4.2-IV1", false),
    (30, "4.3-IV0", true),
];

impl MetadataVersion {
    /// The oldest version this node can read and write (3.3-IV3).
    pub const MINIMUM: MetadataVersion = MetadataVersion(7);
    /// The newest version, used by new clusters (4.3-IV0).
    pub const LATEST: MetadataVersion = MetadataVersion(30);

    /// The version of a level; `None` for levels this node does not know.
    #[must_use]
    pub fn from_level(level: i16) -> Option<MetadataVersion> {
        TABLE.iter().any(|row| row.0 == level).then_some(MetadataVersion(level))
    }

    /// The version of a name such as `4.3-IV0`, or of a release such as `4.0` or `4.0.1` (its newest version), as
    /// `MetadataVersion.fromVersionString` reads `--release-version`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<MetadataVersion> {
        if let Some(row) = TABLE.iter().find(|row| row.1 == name) {
            return Some(MetadataVersion(row.0));
        }
        let mut parts = name.split('.');
        let release = format!("{}.{}-", parts.next()?, parts.next()?);
        TABLE.iter().rev().find(|row| row.1.starts_with(&release)).map(|row| MetadataVersion(row.0))
    }

    /// Every version, oldest first.
    pub fn all() -> impl Iterator<Item = MetadataVersion> {
        TABLE.iter().map(|row| MetadataVersion(row.0))
    }

    /// The level written in a `FeatureLevelRecord`.
    #[must_use]
    pub const fn level(self) -> i16 {
        self.0
    }

    /// Kafka's name, such as `4.3-IV0`.
    #[must_use]
    pub fn name(self) -> &'static str {
        TABLE.iter().find(|row| row.0 == self.0).map_or("unknown", |row| row.1)
    }

    /// Whether records written between the two versions could be lost by going from the higher to the lower one.
    #[must_use]
    pub fn metadata_changed(self, other: MetadataVersion) -> bool {
        let (low, high) = if self < other { (self, other) } else { (other, self) };
        TABLE.iter().any(|row| row.0 > low.0 && row.0 <= high.0 && row.2)
    }

    /// A smaller ISR must come with a new leader epoch (KAFKA-15021).
    #[must_use]
    pub fn is_leader_epoch_bump_required_on_isr_shrink(self) -> bool {
        self.0 < 12
    }

    /// SCRAM credentials can be kept in metadata (KIP-900).
    #[must_use]
    pub fn is_scram_supported(self) -> bool {
        self.0 >= 11
    }

    /// Records may be grouped by `BeginTransactionRecord` and `EndTransactionRecord` (KIP-868).
    #[must_use]
    pub fn is_metadata_transaction_supported(self) -> bool {
        self.0 >= 13
    }

    /// Delegation tokens can be kept in metadata (KIP-900).
    #[must_use]
    pub fn is_delegation_token_supported(self) -> bool {
        self.0 >= 14
    }

    /// Controllers register (KIP-919).
    #[must_use]
    pub fn is_controller_registration_supported(self) -> bool {
        self.0 >= 15
    }

    /// Replicas are assigned to log directories (KIP-858).
    #[must_use]
    pub fn is_directory_assignment_supported(self) -> bool {
        self.0 >= 17
    }

    /// Eligible leader replicas can be recorded (KIP-966).
    #[must_use]
    pub fn is_elr_supported(self) -> bool {
        self.0 >= 23
    }

    /// Log directories can be cordoned (KIP-1066).
    #[must_use]
    pub fn is_cordoned_log_dirs_supported(self) -> bool {
        self.0 >= 30
    }

    /// The version of `RegisterBrokerRecord`.
    #[must_use]
    pub fn register_broker_record_version(self) -> i16 {
        match self.0 {
            30.. => 4,
            17.. => 3,
            8.. => 2,
            _ => 1,
        }
    }

    /// The version of `PartitionRecord`.
    #[must_use]
    pub fn partition_record_version(self) -> i16 {
        match self.0 {
            23.. => 2,
            17.. => 1,
            _ => 0,
        }
    }

    /// The version of `PartitionChangeRecord`.
    #[must_use]
    pub fn partition_change_record_version(self) -> i16 {
        self.partition_record_version()
    }
}

impl fmt::Display for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One level of a feature.
#[derive(Clone, Copy, Debug)]
pub struct FeatureLevel {
    pub level: i16,
    /// New clusters of this metadata version or later start with this level.
    pub bootstrap: MetadataVersion,
    /// The metadata version this level needs; none when 0.
    pub needs_metadata_version: i16,
}

/// A versioned feature other than `metadata.version`.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    pub name: &'static str,
    pub levels: &'static [FeatureLevel],
}

const fn level(level: i16, bootstrap: i16) -> FeatureLevel {
    FeatureLevel { level, bootstrap: MetadataVersion(bootstrap), needs_metadata_version: 0 }
}

/// Every feature but `metadata.version`, in order of name.
pub const FEATURES: &[Feature] = &[
    Feature {
        name: ELIGIBLE_LEADER_REPLICAS_VERSION,
        levels: &[level(0, 7), FeatureLevel { level: 1, bootstrap: MetadataVersion(26), needs_metadata_version: 23 }],
    },
    Feature { name: GROUP_VERSION, levels: &[level(0, 7), level(1, 22)] },
    Feature { name: KRAFT_VERSION, levels: &[level(0, 7), level(1, 21)] },
    Feature { name: SHARE_VERSION, levels: &[level(0, 7), level(1, 28)] },
    Feature { name: STREAMS_VERSION, levels: &[level(0, 7), level(1, 29)] },
    Feature { name: TRANSACTION_VERSION, levels: &[level(0, 7), level(1, 24), level(2, 24)] },
];

impl Feature {
    /// The feature of a name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Feature> {
        FEATURES.iter().find(|feature| feature.name == name)
    }

    /// The lowest level this node supports.
    #[must_use]
    pub fn min_level(&self) -> i16 {
        self.levels.first().map_or(0, |level| level.level)
    }

    /// The highest level this node supports.
    #[must_use]
    pub fn max_level(&self) -> i16 {
        self.levels.last().map_or(0, |level| level.level)
    }

    /// The level a new cluster of this metadata version starts with.
    #[must_use]
    pub fn default_level(&self, version: MetadataVersion) -> i16 {
        self.levels.iter().rev().find(|level| level.bootstrap <= version).map_or(0, |level| level.level)
    }

    /// The row of a level.
    #[must_use]
    pub fn level(&self, level: i16) -> Option<&FeatureLevel> {
        self.levels.iter().find(|row| row.level == level)
    }
}

/// What this node supports of each feature: name, lowest and highest level, in order of name. Registrations and
/// `ApiVersions` carry it; `metadata.version` is among them.
pub fn supported_features() -> impl Iterator<Item = (&'static str, i16, i16)> {
    let (before, after): (Vec<_>, Vec<_>) = FEATURES.iter().partition(|feature| feature.name < METADATA_VERSION);
    let metadata = (METADATA_VERSION, MetadataVersion::MINIMUM.level(), MetadataVersion::LATEST.level());
    let row = |feature: &Feature| (feature.name, feature.min_level(), feature.max_level());
    before
        .into_iter()
        .map(row)
        .chain(std::iter::once(metadata))
        .chain(after.into_iter().map(row))
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_releases_find_their_version() {
        assert_eq!(MetadataVersion::from_name("4.3-IV0"), Some(MetadataVersion::LATEST));
        assert_eq!(MetadataVersion::from_name("4.0").map(MetadataVersion::level), Some(25));
        assert_eq!(MetadataVersion::from_name("3.3.2").map(MetadataVersion::level), Some(7));
        assert_eq!(MetadataVersion::from_name("5.0"), None);
        assert_eq!(MetadataVersion::from_level(31), None);
        assert_eq!(MetadataVersion::LATEST.to_string(), "4.3-IV0");
    }

    #[test]
    fn a_downgrade_over_a_record_change_is_seen() {
        let version = |level| MetadataVersion::from_level(level).unwrap();
        assert!(version(30).metadata_changed(version(29)));
        assert!(!version(29).metadata_changed(version(24)));
        assert!(version(22).metadata_changed(version(23)));
    }

    #[test]
    fn new_clusters_start_with_the_levels_of_their_metadata_version() {
        let levels = |level| {
            let version = MetadataVersion::from_level(level).unwrap();
            FEATURES.iter().map(|feature| feature.default_level(version)).collect::<Vec<_>>()
        };
        assert_eq!(levels(30), [1, 1, 1, 1, 1, 2]);
        assert_eq!(levels(25), [0, 1, 1, 0, 0, 2]);
        assert_eq!(levels(7), [0, 0, 0, 0, 0, 0]);
    }
}
