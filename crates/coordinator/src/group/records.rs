//! The records of `__consumer_offsets`: a key is its type and then the key message, a value its version and then the value
//! message. Values are written in the versions of Kafka 4.3.1 and read in all.
//!
//! Kafka: `GroupCoordinatorRecordSerde`, `GroupCoordinatorRecordHelpers`, `CoordinatorRecordType`. Records of share and
//! streams groups are passed over until their coordinators exist.

use bytes::Bytes;
use milena_protocol::messages::*;
use milena_protocol::{DecodeError, EncodeError, Message, Reader, Writer};

macro_rules! group_records {
    ($($(#[$doc:meta])* $name:ident: $key_type:literal $key:ident, $value:ident;)*) => {
        /// One record; without a value a tombstone.
        #[derive(Clone, PartialEq, Debug)]
        pub enum GroupRecord {
            $($(#[$doc])* $name($key, Option<$value>),)*
        }

        impl GroupRecord {
            /// Reads a record; `None` for a type that is not known here.
            ///
            /// # Errors
            /// A key or value that does not decode, or a version of the value that is not known.
            pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<GroupRecord>, DecodeError> {
                let mut reader = Reader::new(key);
                match reader.read_i16()? {
                    $($key_type => {
                        let key = $key::decode(&mut reader, $key::MAX_VERSION)?;
                        Ok(Some(GroupRecord::$name(key, decode_value(value)?)))
                    })*
                    _ => Ok(None),
                }
            }

            fn try_encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
                match self {
                    $(GroupRecord::$name(key, value) => Ok((
                        encode_with($key_type, key, $key::MAX_VERSION)?,
                        match value {
                            Some(value) => {
                                let version = value.version_to_write();
                                Some(encode_with(version, value, version)?)
                            }
                            None => None,
                        },
                    )),)*
                }
            }
        }
    };
}

group_records! {
    /// Offsets of before Kafka 0.9; never written.
    LegacyOffsetCommit: 0 LegacyOffsetCommitKey, LegacyOffsetCommitValue;
    /// One committed offset.
    OffsetCommit: 1 OffsetCommitKey, OffsetCommitValue;
    /// A classic group with its members and assignment.
    GroupMetadata: 2 GroupMetadataKey, GroupMetadataValue;
    /// A consumer group's epoch.
    ConsumerGroupMetadata: 3 ConsumerGroupMetadataKey, ConsumerGroupMetadataValue;
    /// Only tombstones are written since 4.1.
    ConsumerGroupPartitionMetadata: 4 ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue;
    ConsumerGroupMemberMetadata: 5 ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue;
    ConsumerGroupTargetAssignmentMetadata: 6
        ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue;
    ConsumerGroupTargetAssignmentMember: 7
        ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue;
    ConsumerGroupCurrentMemberAssignment: 8
        ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue;
    ConsumerGroupRegularExpression: 16 ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue;
}

impl GroupRecord {
    /// The key and the value.
    ///
    /// # Panics
    /// When the record cannot be written: everything in it was decoded from a request that had room for it.
    #[must_use]
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        match self.try_encode() {
            Ok(bytes) => bytes,
            Err(why) => panic!("a record of a group cannot be encoded: {why}"),
        }
    }
}

/// The version a value is written in.
trait VersionToWrite: Message {
    fn version_to_write(&self) -> i16 {
        Self::MAX_VERSION
    }
}

impl VersionToWrite for OffsetCommitValue {
    /// Only version 1 has a time of expiry of its own.
    fn version_to_write(&self) -> i16 {
        if self.expire_timestamp == -1 { Self::MAX_VERSION } else { 1 }
    }
}

impl VersionToWrite for GroupMetadataValue {
    /// The last version without tagged fields; Kafka 4.3.1 writes no later one.
    fn version_to_write(&self) -> i16 {
        3
    }
}

impl VersionToWrite for LegacyOffsetCommitValue {}
impl VersionToWrite for ConsumerGroupMetadataValue {}
impl VersionToWrite for ConsumerGroupPartitionMetadataValue {}
impl VersionToWrite for ConsumerGroupMemberMetadataValue {}
impl VersionToWrite for ConsumerGroupTargetAssignmentMetadataValue {}
impl VersionToWrite for ConsumerGroupTargetAssignmentMemberValue {}
impl VersionToWrite for ConsumerGroupCurrentMemberAssignmentValue {}
impl VersionToWrite for ConsumerGroupRegularExpressionValue {}

fn decode_value<M: Message>(value: Option<Bytes>) -> Result<Option<M>, DecodeError> {
    let Some(value) = value else { return Ok(None) };
    let mut reader = Reader::new(value);
    let version = reader.read_i16()?;
    M::decode(&mut reader, version).map(Some)
}

fn encode_with<M: Message>(prefix: i16, message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::with_capacity(64);
    writer.write_i16(prefix);
    message.encode(&mut writer, version)?;
    writer.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(expire_timestamp: i64) -> GroupRecord {
        let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 3 };
        let value = OffsetCommitValue { offset: 7, commit_timestamp: 1, expire_timestamp, ..Default::default() };
        GroupRecord::OffsetCommit(key, Some(value))
    }

    #[test]
    fn an_offset_has_kafkas_key_and_version_four_unless_it_has_its_own_expiry() {
        let (key, value) = offset(-1).encode();
        assert_eq!(&key[..], [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 3]);
        assert_eq!(value.unwrap()[..2], [0, 4]);
        assert_eq!(offset(5).encode().1.unwrap()[..2], [0, 1]);
    }

    #[test]
    fn records_read_back_and_tombstones_stay_tombstones() {
        for record in [
            offset(-1),
            offset(99),
            GroupRecord::OffsetCommit(OffsetCommitKey::default(), None),
            GroupRecord::GroupMetadata(
                GroupMetadataKey::default(),
                Some(GroupMetadataValue { generation: 4, current_state_timestamp: 9, ..Default::default() }),
            ),
            GroupRecord::ConsumerGroupMetadata(
                ConsumerGroupMetadataKey::default(),
                Some(ConsumerGroupMetadataValue { epoch: 2, metadata_hash: -5, ..Default::default() }),
            ),
        ] {
            let (key, value) = record.encode();
            assert_eq!(GroupRecord::decode(key, value), Ok(Some(record)));
        }
    }

    #[test]
    fn an_unknown_type_is_passed_over_and_an_unknown_version_is_an_error() {
        assert_eq!(GroupRecord::decode(Bytes::from_static(&[0, 99, 1]), None), Ok(None));
        let (key, _) = offset(-1).encode();
        assert!(GroupRecord::decode(key, Some(Bytes::from_static(&[0, 77]))).is_err());
        assert!(GroupRecord::decode(Bytes::from_static(&[0]), None).is_err());
    }
}
