//! What can be wrong with the bytes of a batch, each with the error code Kafka answers for it.

use milena_types::ErrorCode;

use crate::compression::Compression;

/// Why bytes are not a usable record batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer bytes than the batch says it has.
    #[error("a batch needs {needed_bytes} bytes but only {available_bytes} are there")]
    Truncated { needed_bytes: usize, available_bytes: usize },
    /// The length field is below the smallest batch or above what memory may hold.
    #[error("invalid batch length {0}")]
    BatchLength(i32),
    /// Magic is neither 0, 1 nor 2.
    #[error("invalid magic {0}")]
    Magic(i8),
    /// A message set of Kafka 0.10 or older; neither read nor written.
    #[error("message format v{0} is not supported")]
    OldMagic(i8),
    /// The stored CRC-32C is not that of the bytes.
    #[error("stored crc {stored}, computed crc {computed}")]
    Crc { stored: u32, computed: u32 },
    /// The codec bits name no codec.
    #[error("unknown compression type id {0}")]
    UnknownCompression(u8),
    /// The compressed bytes are not what their codec writes.
    #[error("cannot decompress {compression}: {reason}")]
    Decompression { compression: Compression, reason: &'static str },
    /// The codec could not compress.
    #[error("cannot compress with {0}")]
    Compression(Compression),
    /// Decompressing would pass the limit given by the caller.
    #[error("decompressed records pass the limit of {limit_bytes} bytes")]
    DecompressedTooLarge { limit_bytes: u64 },
    /// The records do not have the shape the header promises.
    #[error("invalid record: {0}")]
    Record(&'static str),
    /// A record's length is a varint of more than five bytes. Kafka lets the `IllegalArgumentException` of
    /// `ByteUtils` pass here, hence a code of its own.
    #[error("the length of a record is not a varint")]
    RecordLength,
    /// A batch that is built would not fit the format (more than 2 GiB, or offsets too far apart).
    #[error("the batch cannot be written: {0}")]
    Build(&'static str),
}

impl Error {
    /// The code Kafka 4.3 answers when it meets this in a produce request.
    #[must_use]
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::Truncated { .. } | Self::BatchLength(_) | Self::Magic(_) | Self::Crc { .. } => {
                ErrorCode::CORRUPT_MESSAGE
            }
            Self::OldMagic(_) => ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT,
            Self::DecompressedTooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
            Self::Record(_) => ErrorCode::INVALID_RECORD,
            Self::UnknownCompression(_)
            | Self::Decompression { .. }
            | Self::Compression(_)
            | Self::RecordLength
            | Self::Build(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
        }
    }
}
