//! The codecs' ids, names and levels (`CompressionType`, `GzipCompression`, `ZstdCompression`, `Lz4Compression`).

use std::fmt;

use crate::error::Error;

/// How the records of a batch are compressed; the number is that of the attribute bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Raw blocks in snappy-java's (xerial) framing.
    Snappy = 2,
    /// LZ4 frames of independent blocks.
    Lz4 = 3,
    /// Zstandard (KIP-110).
    Zstd = 4,
}

impl Compression {
    /// All codecs, by id.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// From the lowest three bits of the attributes.
    ///
    /// # Errors
    /// `UnknownCompression` for 5, 6 and 7.
    pub const fn from_attributes(attributes: i16) -> Result<Self, Error> {
        match attributes & 7 {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(Error::UnknownCompression(other as u8)),
        }
    }

    /// Kafka's name, as in `compression.type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// By Kafka's name; `uncompressed` is the topic config's word for `none`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "none" | "uncompressed" => Some(Self::None),
            "gzip" => Some(Self::Gzip),
            "snappy" => Some(Self::Snappy),
            "lz4" => Some(Self::Lz4),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The level used when none is configured (`compression.gzip.level` and its kin).
    #[must_use]
    pub const fn default_level(self) -> i32 {
        match self {
            Self::None | Self::Snappy => 0,
            Self::Gzip => -1,
            Self::Lz4 => 9,
            Self::Zstd => 3,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A codec with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Codec {
    /// The codec.
    pub compression: Compression,
    /// gzip: -1 or 1 to 9; LZ4: 1 to 17, where 9 is the fast compressor and every other the high one, as in Kafka;
    /// zstd: -131072 to 22; the others ignore it.
    pub level: i32,
}

impl Codec {
    /// No compression.
    pub const NONE: Self = Self { compression: Compression::None, level: 0 };
}

impl Default for Codec {
    fn default() -> Self {
        Self::NONE
    }
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Self {
        Self { compression, level: compression.default_level() }
    }
}
