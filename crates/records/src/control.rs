//! Control batches: the records brokers and controllers write for each other (`ControlRecordType`, `EndTransactionMarker`,
//! `ControlRecordUtils`). Values other than those of transaction markers are messages of the protocol and come as bytes.

use bytes::Bytes;
use milena_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use crate::builder::{BatchBuilder, BuilderConfig};
use crate::error::Error;

/// What a control record says; the number is the second field of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum ControlType {
    /// A transaction was aborted.
    Abort = 0,
    /// A transaction was committed.
    Commit = 1,
    /// The first record of a leader of the quorum (`LeaderChangeMessage`).
    LeaderChange = 2,
    /// The first record of a snapshot (`SnapshotHeaderRecord`).
    SnapshotHeader = 3,
    /// The last record of a snapshot (`SnapshotFooterRecord`).
    SnapshotFooter = 4,
    /// `KRaftVersionRecord` (KIP-853).
    KRaftVersion = 5,
    /// `VotersRecord` (KIP-853).
    KRaftVoters = 6,
}

impl ControlType {
    /// The key of a control record of this type: version 0 and the type.
    #[must_use]
    pub const fn key(self) -> [u8; 4] {
        let [high, low] = (self as i16).to_be_bytes();
        [0, 0, high, low]
    }
}

/// The type in the key of a control record; `None` for types this version does not know, which are to be passed over.
///
/// # Errors
/// `Record` if the key is too short or its version is negative.
pub fn control_type(key: &[u8]) -> Result<Option<ControlType>, Error> {
    let key: &[u8; 4] = key.first_chunk().ok_or(Error::Record("the key of a control record is too short"))?;
    let [version_high, version_low, high, low] = *key;
    if i16::from_be_bytes([version_high, version_low]) < 0 {
        return Err(Error::Record("the version of a control record is negative"));
    }
    Ok(match i16::from_be_bytes([high, low]) {
        0 => Some(ControlType::Abort),
        1 => Some(ControlType::Commit),
        2 => Some(ControlType::LeaderChange),
        3 => Some(ControlType::SnapshotHeader),
        4 => Some(ControlType::SnapshotFooter),
        5 => Some(ControlType::KRaftVersion),
        6 => Some(ControlType::KRaftVoters),
        _ => None,
    })
}

/// One control batch of the quorum: each record a type and its encoded value.
///
/// # Errors
/// `Build` if it would not fit.
pub fn control_batch(
    records: &[(ControlType, Bytes)],
    timestamp_ms: i64,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
) -> Result<Bytes, Error> {
    let mut builder = BatchBuilder::new(BuilderConfig { control: true, ..BuilderConfig::default() });
    for (kind, value) in records {
        builder.append(timestamp_ms, Some(&kind.key()), Some(value), &[])?;
    }
    builder.build(base_offset, leader_epoch)
}

/// The batch that ends a producer's transaction in one partition; offset 0 and no leader epoch, both are stamped later.
///
/// # Errors
/// `Build` if the timestamp is negative.
pub fn end_transaction_marker(
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    committed: bool,
    coordinator_epoch: i32,
    timestamp_ms: i64,
) -> Result<Bytes, Error> {
    let kind = if committed { ControlType::Commit } else { ControlType::Abort };
    let config =
        BuilderConfig { producer_id, producer_epoch, transactional: true, control: true, ..BuilderConfig::default() };
    // The value: version 0, then the epoch.
    let [a, b, c, d] = coordinator_epoch.to_be_bytes();
    let mut builder = BatchBuilder::new(config);
    builder.append(timestamp_ms, Some(&kind.key()), Some(&[0, 0, a, b, c, d]), &[])?;
    builder.build(Offset(0), LeaderEpoch::NONE)
}
