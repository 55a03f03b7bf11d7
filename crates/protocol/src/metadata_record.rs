//! Records of the metadata log with their frame: frame version 1, type, version, body. Kafka's counterparts:
//! `MetadataRecordSerde`, `AbstractApiMessageSerde`.

use bytes::Bytes;

use crate::messages::*;
use crate::{DecodeError, EncodeError, Message, Reader, Writer};

include!(concat!(env!("OUT_DIR"), "/metadata_record.rs"));

/// The only version of the frame (`AbstractApiMessageSerde.DEFAULT_FRAME_VERSION`).
const FRAME_VERSION: u32 = 1;

impl MetadataRecord {
    /// Reads the value of a metadata log record.
    ///
    /// # Errors
    /// Unknown frame version, type or version, a body that does not decode, or bytes after it.
    pub fn decode(value: Bytes) -> Result<MetadataRecord, DecodeError> {
        let mut reader = Reader::new(value);
        let frame_version = reader.read_uvarint()?;
        if frame_version != FRAME_VERSION {
            return Err(DecodeError::UnknownFrameVersion { frame_version });
        }
        let record_type = reader.read_uvarint()?;
        let version = reader.read_uvarint()?;
        let version = i16::try_from(version)
            .map_err(|_| DecodeError::UnsupportedVersion { message: "MetadataRecord", version: i16::MAX })?;
        let record = MetadataRecord::decode_body(&mut reader, record_type, version)?;
        if !reader.is_empty() {
            return Err(DecodeError::TrailingBytes { count: reader.remaining() });
        }
        Ok(record)
    }

    /// The value of a metadata log record.
    ///
    /// # Panics
    /// When `version` is not one of the record's or cannot carry what is set: the caller chose it.
    #[must_use]
    pub fn encode(&self, version: i16) -> Bytes {
        match self.try_encode(version) {
            Ok(bytes) => bytes,
            Err(why) => panic!("metadata record of type {} in version {version}: {why}", self.record_type()),
        }
    }

    /// The value of a metadata log record.
    ///
    /// # Errors
    /// `version` is not one of the record's or cannot carry what is set.
    pub fn try_encode(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut writer = Writer::new();
        writer.write_uvarint(FRAME_VERSION);
        writer.write_uvarint(u32::from(self.record_type().unsigned_abs()));
        writer.write_uvarint(u32::from(version.unsigned_abs()));
        self.encode_body(&mut writer, version)?;
        writer.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_framed_record_reads_back_and_starts_with_its_type() {
        let record = MetadataRecord::Topic(TopicRecord { name: "orders".into(), ..TopicRecord::default() });
        let bytes = record.encode(0);
        assert_eq!(bytes.get(..3), Some([1u8, 2, 0].as_slice()));
        assert_eq!(MetadataRecord::decode(bytes.clone()), Ok(record));
        assert_eq!(
            MetadataRecord::decode([bytes.as_ref(), b"x"].concat().into()),
            Err(DecodeError::TrailingBytes { count: 1 })
        );
    }

    #[test]
    fn unknown_frames_and_types_are_typed_errors() {
        let unknown_frame = MetadataRecord::decode(Bytes::from_static(&[2, 2, 0]));
        assert_eq!(unknown_frame, Err(DecodeError::UnknownFrameVersion { frame_version: 2 }));
        let unknown_type = MetadataRecord::decode(Bytes::from_static(&[1, 99, 0]));
        assert_eq!(unknown_type, Err(DecodeError::UnknownRecordType { record_type: 99 }));
    }
}
