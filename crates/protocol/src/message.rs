//! What every generated top-level struct can do. Kafka's counterparts: `Message`, `ApiMessage`, `RawTaggedField`.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::{ApiKey, DecodeError, EncodeError, Reader, Writer};

/// A top-level message of Kafka's schemas.
pub trait Message: Sized + Clone + Default + PartialEq + Debug {
    /// Kafka's name of the schema.
    const NAME: &'static str;
    /// The oldest version.
    const MIN_VERSION: i16;
    /// The newest version, an unstable one included.
    const MAX_VERSION: i16;
    /// Both as a range.
    const VERSIONS: RangeInclusive<i16> = Self::MIN_VERSION..=Self::MAX_VERSION;

    /// Reads one message; bytes after it stay in the reader.
    ///
    /// # Errors
    /// The bytes are not a message of this version, or the version is not one of `VERSIONS`.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Writes the message.
    ///
    /// # Errors
    /// The version is not one of `VERSIONS`, or cannot carry a field that is set and not ignorable, or a null.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

/// A request, tied to its key and its response.
pub trait Request: Message {
    /// The key in the header.
    const API_KEY: ApiKey;
    /// The message that answers it.
    type Response: Message;
}

/// A tagged field that the schema does not know.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RawTaggedField {
    /// The number of the tag.
    pub tag: u32,
    /// The undecoded value.
    pub data: Bytes,
}
