//! Formatting of log directories, as `kafka-storage.sh format` does it.
