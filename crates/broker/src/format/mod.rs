//! Formatting of log directories, as `kafka-storage.sh format` does it, and what the other commands of
//! that tool do. The files are Kafka's: either side starts on a directory that the other formatted.

mod bootstrap;
mod date;
mod directories;
mod ensure;
mod error;
mod features;
mod formatter;
mod info;
mod random;
mod scram;
mod voters;

pub use directories::LogDirIdentity;
pub use ensure::{Formatted, ensure_formatted};
pub use error::FormatError;
pub use features::{feature_dependencies, version_mapping};
pub use formatter::{FormatRequest, InitialVoters, format};
pub use info::{Info, describe_directories};
pub use random::random_uuid;

#[cfg(test)]
mod format_tests;
