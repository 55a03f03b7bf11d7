//! Why bytes are not a message, and why a message cannot become bytes.

use crate::ApiKey;

/// Bytes from a peer or a disk that do not decode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("{needed} bytes needed, {remaining} left")]
    Truncated {
        /// Bytes of the field being read.
        needed: usize,
        /// Bytes that are there.
        remaining: usize,
    },
    /// A length or count says more than the rest of the frame can hold.
    #[error("a length of {length}, but only {remaining} bytes left")]
    LengthBeyondEnd {
        /// The length or count on the wire.
        length: u64,
        /// Bytes that are there.
        remaining: usize,
    },
    /// The message would take more memory than it may.
    #[error("it takes more than the {allowance} bytes of memory that are left for it")]
    TooLarge {
        /// What was left for it.
        allowance: usize,
    },
    /// A null where the version has none.
    #[error("null in a field that cannot be null")]
    UnexpectedNull,
    /// A string longer than 32,767 bytes.
    #[error("a string of {length} bytes")]
    StringTooLong {
        /// Bytes on the wire.
        length: u64,
    },
    /// A string that is not UTF-8.
    #[error("a string that is not UTF-8")]
    InvalidUtf8,
    /// A varint of more bytes than its type has.
    #[error("a varint that does not end")]
    VarintTooLong,
    /// The message has no such version.
    #[error("{message} has no version {version}")]
    UnsupportedVersion {
        /// Kafka's name of the schema.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A known tag in a version that does not have it.
    #[error("tag {tag} does not exist in version {version}")]
    TagNotInVersion {
        /// The tag.
        tag: u32,
        /// The version of the message.
        version: i16,
    },
    /// A tagged field whose value is shorter than its declared size.
    #[error("tagged field {tag} has {remaining} bytes too many")]
    TaggedFieldSize {
        /// The tag.
        tag: u32,
        /// Bytes of the field that its value did not use.
        remaining: usize,
    },
    /// A request header with a key that no live API has.
    #[error("unknown api key {}", api_key.0)]
    UnknownApiKey {
        /// The key.
        api_key: ApiKey,
        /// The version beside it.
        api_version: i16,
        /// The correlation id, to answer with.
        correlation_id: i32,
    },
    /// A metadata record in a frame this code does not know.
    #[error("unknown record frame version {frame_version}")]
    UnknownFrameVersion {
        /// The frame version.
        frame_version: u32,
    },
    /// A record of a type this code does not know.
    #[error("unknown record type {record_type}")]
    UnknownRecordType {
        /// The type.
        record_type: u32,
    },
    /// Bytes after the end of the message, where none may be.
    #[error("{count} bytes after the end")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
}

/// A message that its version cannot carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The message has no such version.
    #[error("{message} has no version {version}")]
    UnsupportedVersion {
        /// Kafka's name of the schema.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is set that the version lacks, and ignoring it would change the meaning.
    #[error("{message} version {version} cannot carry {field}")]
    FieldNotInVersion {
        /// Kafka's name of the schema.
        message: &'static str,
        /// Kafka's name of the field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is null that cannot be null in this version.
    #[error("{field} of {message} cannot be null in version {version}")]
    NullNotInVersion {
        /// Kafka's name of the schema.
        message: &'static str,
        /// Kafka's name of the field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A string of more than 32,767 bytes, or anything of more than 2 GiB.
    #[error("{length} bytes or elements are too many")]
    TooLong {
        /// The length.
        length: usize,
    },
    /// An unknown tagged field carries the tag of a known one.
    #[error("unknown tagged field {tag} collides with a known one")]
    TagCollision {
        /// The tag.
        tag: u32,
    },
    /// The message holds file slices, so that it cannot become one run of bytes in memory.
    #[error("the message holds file slices")]
    HoldsFiles,
}
