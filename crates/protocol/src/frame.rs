//! Frames: a size, a header, a body. Cutting them out of what a connection received, and building them. Kafka's
//! counterparts: `NetworkReceive`, `RequestHeader`, `ResponseHeader`, `ApiMessageType`.

use bytes::{Buf, Bytes, BytesMut};

use crate::messages::ResponseHeader;
use crate::{ApiKey, DecodeError, EncodeError, Message, RawTaggedField, Reader, Request, Segment, Text, Writer};

/// Bytes of the size in front of a frame.
pub const SIZE_PREFIX_BYTES: usize = 4;

/// Why a connection's bytes are no frame; the connection must close (`InvalidReceiveException`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The size is negative.
    #[error("Invalid receive (size = {size})")]
    Negative {
        /// The size on the wire.
        size: i32,
    },
    /// The size is over the limit (`socket.request.max.bytes`).
    #[error("Invalid receive (size = {size} larger than {max})")]
    TooLarge {
        /// The size on the wire.
        size: i32,
        /// The limit.
        max: i32,
    },
}

/// The size of the frame that `received` starts with, without its prefix; `None` while fewer than four bytes are there.
///
/// # Errors
/// The size is negative or over `max` bytes.
pub fn peek_size(received: &[u8], max: i32) -> Result<Option<usize>, FrameError> {
    let Some(prefix) = received.first_chunk::<SIZE_PREFIX_BYTES>() else {
        return Ok(None);
    };
    let size = i32::from_be_bytes(*prefix);
    if size > max {
        return Err(FrameError::TooLarge { size, max });
    }
    usize::try_from(size).map(Some).map_err(|_| FrameError::Negative { size })
}

/// Cuts the first complete frame off `received` and returns it without its size; `None` when it is not complete yet.
///
/// # Errors
/// The size is negative or over `max` bytes.
pub fn split(received: &mut BytesMut, max: i32) -> Result<Option<Bytes>, FrameError> {
    match peek_size(received, max)? {
        Some(size) if received.len() - SIZE_PREFIX_BYTES >= size => {
            received.advance(SIZE_PREFIX_BYTES);
            Ok(Some(received.split_to(size).freeze()))
        }
        _ => Ok(None),
    }
}

/// What precedes a request's body.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RequestHeader {
    /// The API.
    pub api_key: ApiKey,
    /// The version of request and response; not checked against the schema.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<Text>,
    /// Tagged fields of a flexible header; none is known.
    pub unknown_tagged_fields: Vec<RawTaggedField>,
}

/// Reads a request header; the body follows in the reader. The header's own version follows from key and version, also
/// when the version is not one of the API's.
///
/// # Errors
/// `UnknownApiKey`, or the bytes are no header.
pub fn decode_request_header(reader: &mut Reader) -> Result<RequestHeader, DecodeError> {
    let api_key = ApiKey(reader.read_i16()?);
    let api_version = reader.read_i16()?;
    let correlation_id = reader.read_i32()?;
    if api_key.info().is_none() {
        return Err(DecodeError::UnknownApiKey { api_key, api_version, correlation_id });
    }
    // The client id keeps its old form in the flexible header (KIP-482), so that any version can be read that far.
    let client_id = reader.read_nullable_string(false)?;
    let mut unknown_tagged_fields = Vec::new();
    if request_header_version(api_key, api_version) >= 2 {
        for _ in 0..reader.read_uvarint()? {
            let (tag, value) = reader.read_tagged_field()?;
            unknown_tagged_fields.push(RawTaggedField { tag, data: value.rest() });
        }
    }
    Ok(RequestHeader { api_key, api_version, correlation_id, client_id, unknown_tagged_fields })
}

/// The version of a request's header: 2 when the request is flexible, else 1.
#[must_use]
pub fn request_header_version(key: ApiKey, version: i16) -> i16 {
    let flexible_from = key.info().and_then(|info| info.flexible_from);
    if flexible_from.is_some_and(|first| version >= first) { 2 } else { 1 }
}

/// The version of a response's header: 1 when the response is flexible, else 0. ApiVersions is always 0, because a
/// client must read the answer to a version that the server does not know (KIP-511).
#[must_use]
pub fn response_header_version(key: ApiKey, version: i16) -> i16 {
    let flexible_from = key.info().and_then(|info| info.response_flexible_from);
    i16::from(key != ApiKey::API_VERSIONS && flexible_from.is_some_and(|first| version >= first))
}

/// A whole response frame: size, header, body.
///
/// # Errors
/// Those of `Message::encode`, or more than 2 GiB.
pub fn encode_response<M: Message>(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &M,
) -> Result<Vec<Segment>, EncodeError> {
    let mut writer = Writer::with_capacity(128);
    writer.write_i32(0);
    writer.write_i32(correlation_id);
    if response_header_version(key, version) >= 1 {
        writer.write_uvarint(0);
    }
    body.encode(&mut writer, version)?;
    writer.patch_size()?;
    Ok(writer.into_segments())
}

/// A whole request frame: size, header, body.
///
/// # Errors
/// Those of `Message::encode`, or more than 2 GiB.
pub fn encode_request<R: Request>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    body: &R,
) -> Result<Vec<Segment>, EncodeError> {
    let mut writer = Writer::with_capacity(128);
    writer.write_i32(0);
    writer.write_i16(R::API_KEY.0);
    writer.write_i16(version);
    writer.write_i32(correlation_id);
    match client_id {
        Some(client_id) => writer.write_string(client_id, false)?,
        None => writer.write_null_string(false),
    }
    if request_header_version(R::API_KEY, version) >= 2 {
        writer.write_uvarint(0);
    }
    body.encode(&mut writer, version)?;
    writer.patch_size()?;
    Ok(writer.into_segments())
}

/// Reads a response frame without its size: the correlation id and the body.
///
/// # Errors
/// The bytes are no such response.
pub fn decode_response<R: Request>(frame: Bytes, version: i16) -> Result<(i32, R::Response), DecodeError> {
    let mut reader = Reader::new(frame);
    let header = ResponseHeader::decode(&mut reader, response_header_version(R::API_KEY, version))?;
    Ok((header.correlation_id, R::Response::decode(&mut reader, version)?))
}
