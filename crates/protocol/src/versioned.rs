//! Values with their version in front, as in coordinator logs, and keys with their record type in front. Kafka's
//! counterparts: `MessageUtil.toVersionPrefixedBytes`, `CoordinatorRecordSerde`.

use bytes::Bytes;

use crate::{DecodeError, EncodeError, Message, Reader, Writer};

/// Two bytes of version, then the message. For the values of `__consumer_offsets` and its like, and for the data
/// messages inside group protocols.
///
/// # Errors
/// Those of `Message::encode`.
pub fn encode_versioned<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.write_i16(version);
    message.encode(&mut writer, version)?;
    writer.into_bytes()
}

/// Reads what `encode_versioned` writes; returns the version too.
///
/// # Errors
/// Those of `Message::decode`.
pub fn decode_versioned<M: Message>(bytes: Bytes) -> Result<(i16, M), DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.read_i16()?;
    Ok((version, M::decode(&mut reader, version)?))
}

/// A coordinator key: two bytes of record type (`RECORD_API_KEY`), then the message in version 0.
///
/// # Errors
/// Those of `Message::encode`.
pub fn encode_key<M: Message>(record_type: i16, key: &M) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.write_i16(record_type);
    key.encode(&mut writer, 0)?;
    writer.into_bytes()
}

/// Reads what `encode_key` writes, after the caller looked at the type (`Reader::read_i16`).
///
/// # Errors
/// `UnknownRecordType` when the key is of another type; those of `Message::decode`.
pub fn decode_key<M: Message>(record_type: i16, bytes: Bytes) -> Result<M, DecodeError> {
    let mut reader = Reader::new(bytes);
    let found = reader.read_i16()?;
    if found != record_type {
        return Err(DecodeError::UnknownRecordType { record_type: u32::from(found as u16) });
    }
    M::decode(&mut reader, 0)
}
