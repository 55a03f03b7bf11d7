//! Compaction. Random logs (`logs.rs`) are cleaned here and by Apache Kafka's own cleaner (`oracle.rs`, with
//! `MILENA_KAFKA_JARS`): what is left must be the same.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "a test")]

mod cases;
mod cleanings;
mod crashes;
mod logs;
mod oracle;
