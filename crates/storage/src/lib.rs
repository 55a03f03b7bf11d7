//! The log of a partition on Kafka's files, and the files of a log directory. `docs/formats` describes each file.

pub mod checkpoint;
pub mod disk;
mod epochs;
mod error;
mod file_cache;
mod files;
mod index;
mod names;

pub use epochs::{EpochCache, EpochEntry};
pub use error::{Error, Result};
pub use file_cache::FileCache;
pub use names::{DirectoryKind, TopicPartition};
