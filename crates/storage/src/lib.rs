//! The log of a partition on Kafka's files, and the files of a log directory. `docs/formats` describes each file.

pub mod checkpoint;
mod cleaner;
mod config;
pub mod disk;
mod epochs;
mod error;
mod file_cache;
mod files;
mod index;
mod log;
mod log_dir;
mod names;
mod producer_entry;
mod producer_map;
mod producer_rules;
mod producer_snapshot;
mod producers;
mod scan;
mod segment;
mod transactions;
mod verification;

pub use cleaner::{
    CleanError, CleanPlan, CleanStats, CleanView, CleanedGroup, Cleaner, CleanerLimits, Cleaning, LastRecords, Pace,
};
pub use config::LogConfig;
pub use epochs::{EpochCache, EpochEntry};
pub use error::{Error, Result};
pub use file_cache::FileCache;
pub use log::{
    AppendContext, AppendError, Appended, ClosedSegment, Damage, Exchange, FileWork, FlushHandle, Flushed, Log,
    LogOpen, ReadError, ReadResult, RecoveryReport, TimestampOffset,
};
pub use log_dir::{LoadedLog, LogDir, remove_deleted};
pub use names::{DirectoryKind, TopicPartition};
pub use producer_entry::{ProducerBatch, ProducerEntry};
pub use producers::{AppendOrigin, Rejected};
pub use transactions::AbortedTransaction;
pub use verification::VerificationGuard;
