//! The record batch (magic 2): view, iterate, validate, build, stamp and recompress. Pure: no files, sockets, clocks or
//! threads. Kafka's counterparts are `DefaultRecordBatch`, `DefaultRecord`, `MemoryRecords`, `MemoryRecordsBuilder` and
//! `LogValidator`.

mod batch;
mod builder;
mod codec;
mod compression;
mod control;
mod error;
mod header;
mod produce;
mod rebuild;
mod record;
mod record_checks;
mod reject;
mod retain;
mod varint;
mod walk;

pub use batch::{Batch, Batches};
pub use builder::{BatchBuilder, BuilderConfig};
pub use codec::Scratch;
pub use compression::{Codec, Compression};
pub use control::{ControlType, control_batch, control_type, end_transaction_marker};
pub use error::Error;
pub use header::{
    BATCH_OVERHEAD_BYTES, BatchHeader, LOG_OVERHEAD_BYTES, MAGIC, STAMP_BYTES, TimestampType, crc32c,
    increment_sequence, stamp, verify_crc,
};
pub use produce::{AppendOrigin, ProduceRules, TargetCompression, ValidBatch, check_request, validate_produce};
pub use record::{Header, Record, RecordIter};
pub use reject::{RecordError, RecordFault, Reject, RejectReason};
pub use retain::{RecordView, RecordViews, write_emptied, write_retained};
