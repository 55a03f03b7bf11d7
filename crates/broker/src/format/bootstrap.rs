//! `bootstrap.checkpoint`, the first records of a cluster, and the first snapshot of a quorum whose
//! voters live in the log.
//!
//! Kafka: `BootstrapDirectory.writeBinaryFile`, `Formatter.writeDynamicQuorumSnapshot`. Both files are
//! snapshots of nothing: records between a header and a footer (KIP-630).

use bytes::Bytes;
use milena_metadata::{KRAFT_VERSION, METADATA_VERSION};
use milena_protocol::messages::MetadataRecord;
use milena_protocol::messages::{FeatureLevelRecord, UserScramCredentialRecord};
use milena_raft::{CodecError, KRaftState, OffsetAndEpoch, SnapshotBuilder, VoterSet};
use milena_types::Timestamp;

use super::FormatError;
use super::features::FeatureLevels;

/// The records every controller starts from: levels above 0, `metadata.version` first, then credentials.
pub(super) fn bootstrap_records(
    levels: &FeatureLevels,
    credentials: Vec<UserScramCredentialRecord>,
) -> Vec<MetadataRecord> {
    let feature = |name: &str, feature_level: i16| {
        MetadataRecord::FeatureLevel(FeatureLevelRecord {
            name: name.into(),
            feature_level,
            ..FeatureLevelRecord::default()
        })
    };
    let mut records = vec![feature(METADATA_VERSION, levels.metadata_version.level())];
    let others = levels.levels.iter().filter(|(name, level)| **name != KRAFT_VERSION && **level > 0);
    records.extend(others.map(|(name, level)| feature(name, *level)));
    records.extend(credentials.into_iter().map(MetadataRecord::UserScramCredential));
    records
}

/// The bytes of `bootstrap.checkpoint`.
pub(super) fn bootstrap_checkpoint(records: &[MetadataRecord], now: Timestamp) -> Result<Vec<u8>, FormatError> {
    snapshot(&KRaftState::default(), records, Timestamp(0), now).map_err(|error| FormatError::Encode(error.to_string()))
}

/// The bytes of the snapshot that holds nothing but the voters.
pub(super) fn voters_checkpoint(voters: VoterSet, now: Timestamp) -> Result<Vec<u8>, FormatError> {
    let state = KRaftState { kraft_version: 1, voters, voters_offset: None };
    snapshot(&state, &[], now, now).map_err(|error| FormatError::Encode(error.to_string()))
}

fn snapshot(
    state: &KRaftState,
    records: &[MetadataRecord],
    last_contained: Timestamp,
    now: Timestamp,
) -> Result<Vec<u8>, CodecError> {
    let (mut builder, head) = SnapshotBuilder::new(OffsetAndEpoch::BOOTSTRAP, state, last_contained, now)?;
    let mut pieces: Vec<Bytes> = vec![head];
    for record in records {
        // Every record of a bootstrap exists in version 0 only.
        pieces.extend(builder.push(record.encode(0))?);
    }
    pieces.extend(builder.finish()?);
    Ok(pieces.concat())
}

/// What the tool prints before it formats. Kafka: `BootstrapMetadata.toString`.
pub(super) fn describe(records: &[MetadataRecord], levels: &FeatureLevels) -> String {
    let shown: Vec<String> = records
        .iter()
        .map(|record| format!("ApiMessageAndVersion({} at version 0)", describe_record(record)))
        .collect();
    format!(
        "Bootstrap metadata: BootstrapMetadata(records=[{}], metadataVersionLevel={}, source=format command)",
        shown.join(", "),
        levels.metadata_version.level()
    )
}

fn describe_record(record: &MetadataRecord) -> String {
    match record {
        MetadataRecord::FeatureLevel(level) => {
            format!("FeatureLevelRecord(name='{}', featureLevel={})", level.name, level.feature_level)
        }
        // Keys and salts are secrets that need not be on a terminal.
        MetadataRecord::UserScramCredential(user) => format!(
            "UserScramCredentialRecord(name='{}', mechanism={}, salt=[hidden], storedKey=[hidden], serverKey=[hidden], iterations={})",
            user.name, user.mechanism, user.iterations
        ),
        other => format!("{other:?}"),
    }
}
