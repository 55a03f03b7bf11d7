//! The checks a leader makes on the records of a produce request, in Kafka's order: `ProduceRequest.validateRecords`, then
//! `UnifiedLog.analyzeAndValidateRecords`, then `LogValidator`. Every version still served carries exactly one batch of
//! magic 2 per partition, so one batch comes out.
//!
//! The common case reads the bytes once for the CRC and once more, varints only, for the shape; nothing is copied and
//! nothing allocated. A compressed batch is decompressed piece by piece into the scratch. Offsets and leader epoch are not
//! assigned here: they lie outside of the CRC and storage stamps them.
//!
//! Followed to the letter: the deltas of an uncompressed batch that is not recompressed are not compared with the count,
//! and the declared length of a record in a compressed one is not compared with its fields. Different from Kafka: the
//! bytes a batch may expand to are limited (MESSAGE_TOO_LARGE).

use bytes::Bytes;
use milena_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};

use crate::batch::{Batch, Batches};
use crate::builder::finish;
use crate::codec::Scratch;
use crate::compression::{Codec, Compression};
use crate::error::Error;
use crate::header::{BatchHeader, STAMP_BYTES, TimestampType, compute_crc, stamp};
use crate::rebuild::rebuild;
use crate::record_checks::{RecordChecks, walk_compressed, walk_plain};
use crate::reject::{Reject, RejectReason};

/// The first version of the request that may carry Zstandard (KIP-110).
const ZSTD_FROM_VERSION: i16 = 7;

/// Who appends (`AppendOrigin`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppendOrigin {
    /// A client: its batch must count from offset 0 and hold no control records.
    #[default]
    Client,
    /// A coordinator of this broker: markers and its own state.
    Coordinator,
}

/// `compression.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetCompression {
    /// Kept as the producer sent it.
    #[default]
    Producer,
    /// Always this codec.
    Codec(Codec),
}

/// What the topic's and the broker's configuration ask of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProduceRules {
    /// Version of the produce request, 3 or later.
    pub request_version: i16,
    /// Who appends.
    pub origin: AppendOrigin,
    /// `compression.type` with its level.
    pub compression: TargetCompression,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub after_max_ms: i64,
    /// `max.message.bytes`: the largest batch as it is stored.
    pub max_message_bytes: i32,
    /// `segment.bytes`: the largest append.
    pub segment_bytes: i32,
    /// `cleanup.policy` contains `compact`: records need keys.
    pub compacted: bool,
    /// Bytes a batch may expand to while it is checked; no setting of Kafka's. This bounds time and not memory: what is
    /// checked and kept as it came is expanded a piece at a time.
    pub max_decompressed_bytes: u64,
    /// Bytes a batch may expand to if it is written anew in another codec, which holds all of them; no setting of Kafka's.
    pub max_rebuilt_bytes: u64,
}

impl Default for ProduceRules {
    /// Kafka's defaults of a topic.
    fn default() -> Self {
        Self {
            request_version: ZSTD_FROM_VERSION,
            origin: AppendOrigin::Client,
            compression: TargetCompression::Producer,
            timestamp_type: TimestampType::CreateTime,
            before_max_ms: i64::MAX,
            after_max_ms: 3_600_000,
            max_message_bytes: 1_048_588,
            segment_bytes: 1 << 30,
            compacted: false,
            max_decompressed_bytes: 1 << 30,
            max_rebuilt_bytes: 128 << 20,
        }
    }
}

/// A batch that may be appended once base offset and leader epoch are stamped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidBatch {
    /// The header of `bytes`. `max_timestamp` is the largest of the records or the append time; the offset Kafka pairs
    /// with it in the time index is the batch's last.
    pub header: BatchHeader,
    /// The whole batch. A view of what was received unless something in it had to change.
    pub bytes: Bytes,
}

impl ValidBatch {
    /// A batch that needs no validation because this process built it.
    ///
    /// # Errors
    /// As `Batch::parse`.
    pub fn trusted(bytes: &Bytes) -> Result<Self, Error> {
        Batch::parse(bytes).map(|batch| Self { header: batch.header, bytes: batch.bytes })
    }

    /// The first 16 bytes with base offset and leader epoch stamped; `bytes` from 16 on follow them unchanged.
    #[must_use]
    pub fn stamped_prefix(&self, base_offset: Offset, leader_epoch: LeaderEpoch) -> [u8; STAMP_BYTES] {
        let mut prefix = self.bytes.first_chunk().copied().unwrap_or_default();
        stamp(&mut prefix, base_offset, leader_epoch);
        prefix
    }
}

/// Takes the one batch out of a request's records (`ProduceRequest.validateRecords`). Bytes behind it that are too few to
/// be a batch are passed over.
///
/// # Errors
/// INVALID_RECORD without a batch, with more than one, or with an old magic; UNSUPPORTED_COMPRESSION_TYPE for Zstandard
/// before version 7; CORRUPT_MESSAGE if the front is none of a batch.
pub fn check_request(bytes: Bytes, request_version: i16) -> Result<Batch, RejectReason> {
    let batch = match BatchHeader::parse(&bytes) {
        Ok(header) if header.size_bytes() == bytes.len() => Batch { header, bytes },
        _ => one_of_many(bytes, request_version)?,
    };
    if request_version < ZSTD_FROM_VERSION && batch.header.compression()? == Compression::Zstd {
        return Err(zstd_too_early(request_version));
    }
    Ok(batch)
}

/// The batch among bytes that are not exactly one whole batch.
#[cold]
fn one_of_many(bytes: Bytes, request_version: i16) -> Result<Batch, RejectReason> {
    let mut batches = Batches::new(bytes);
    let batch = match batches.next() {
        None => return Err(RejectReason::invalid(Reject::NoBatch { request_version })),
        Some(Err(Error::OldMagic(_))) => return Err(RejectReason::invalid(Reject::OldMagic { request_version })),
        Some(batch) => batch?,
    };
    if request_version < ZSTD_FROM_VERSION && batch.header.compression()? == Compression::Zstd {
        return Err(zstd_too_early(request_version));
    }
    match batches.next() {
        None => Ok(batch),
        Some(Ok(_) | Err(Error::OldMagic(_))) => Err(RejectReason::invalid(Reject::ManyBatches { request_version })),
        Some(Err(error)) => Err(error.into()),
    }
}

fn zstd_too_early(request_version: i16) -> RejectReason {
    RejectReason::new(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, Reject::ZstdTooEarly { request_version })
}

/// Checks the records of one partition of a produce request and brings them into the form the topic asks for.
///
/// # Errors
/// Kafka's code for the first check that fails.
pub fn validate_produce(
    bytes: Bytes,
    rules: &ProduceRules,
    now: Timestamp,
    scratch: &mut Scratch,
) -> Result<ValidBatch, RejectReason> {
    let batch = check_request(bytes, rules.request_version)?;
    check_append(&batch, rules)?;
    let source = batch.header.compression()?;
    let target = match rules.compression {
        TargetCompression::Producer => source,
        TargetCompression::Codec(codec) => codec.compression,
    };
    if rules.origin == AppendOrigin::Client {
        check_client_header(&batch.header)?;
    }
    // Control records are not compressed unless they came compressed.
    let in_place = source == target || (source == Compression::None && batch.header.is_control());
    let checks = RecordChecks::new(&batch.header, rules, now);
    let valid = if in_place {
        let max_timestamp = match source {
            Compression::None => walk_plain(&batch, checks)?,
            compression => walk_compressed(&batch, compression, checks, scratch)?,
        };
        restamp_times(batch, rules, now, max_timestamp)?
    } else {
        rebuild(&batch, rules, now, scratch)?
    };
    if valid.bytes.len() > rules.segment_bytes.max(0) as usize {
        let reject = Reject::LargerThanSegment { size_bytes: valid.bytes.len(), segment_bytes: rules.segment_bytes };
        return Err(RejectReason::new(ErrorCode::RECORD_LIST_TOO_LARGE, reject));
    }
    Ok(valid)
}

/// `UnifiedLog.analyzeAndValidateRecords`.
fn check_append(batch: &Batch, rules: &ProduceRules) -> Result<(), RejectReason> {
    let header = &batch.header;
    if rules.origin == AppendOrigin::Client && header.base_offset != Offset(0) {
        return Err(RejectReason::invalid(Reject::BaseOffset(header.base_offset.0)));
    }
    check_size(batch.bytes.len(), rules)?;
    let computed = compute_crc(&batch.bytes);
    if computed != header.crc {
        return Err(Error::Crc { stored: header.crc, computed }.into());
    }
    Ok(())
}

pub(crate) fn check_size(size_bytes: usize, rules: &ProduceRules) -> Result<(), RejectReason> {
    if size_bytes > rules.max_message_bytes.max(0) as usize {
        let reject = Reject::TooLarge { size_bytes, max_bytes: rules.max_message_bytes };
        return Err(RejectReason::new(ErrorCode::MESSAGE_TOO_LARGE, reject));
    }
    Ok(())
}

/// `LogValidator.validateBatch`.
fn check_client_header(header: &BatchHeader) -> Result<(), RejectReason> {
    let (base_offset, last_offset, count) = (header.base_offset.0, header.last_offset().0, header.record_count);
    let count_of_offsets = last_offset.wrapping_sub(base_offset).wrapping_add(1);
    let reject = if count_of_offsets <= 0 {
        Reject::OffsetRange { base_offset, last_offset }
    } else if count <= 0 {
        Reject::Count(count)
    } else if count_of_offsets != i64::from(count) {
        Reject::CountOfOffsets { base_offset, last_offset, count }
    } else if header.is_control() {
        Reject::Control
    } else if header.has_producer_id() && header.base_sequence < 0 {
        Reject::Sequence { base_sequence: header.base_sequence, producer_id: header.producer_id.0 }
    } else {
        return Ok(());
    };
    Err(RejectReason::invalid(reject))
}

/// Sets max timestamp and timestamp type if they are not yet right; only then the batch is copied and its CRC made anew
/// (`DefaultRecordBatch.setMaxTimestamp`).
fn restamp_times(
    batch: Batch,
    rules: &ProduceRules,
    now: Timestamp,
    max_timestamp: i64,
) -> Result<ValidBatch, RejectReason> {
    let Batch { mut header, bytes } = batch;
    let max_timestamp = match rules.timestamp_type {
        TimestampType::CreateTime => max_timestamp,
        TimestampType::LogAppendTime => now.0,
    };
    if header.timestamp_type() == rules.timestamp_type && header.max_timestamp == max_timestamp {
        return Ok(ValidBatch { header, bytes });
    }
    header.attributes = BatchHeader::make_attributes(header.compression()?, rules.timestamp_type, header.flags());
    header.max_timestamp = max_timestamp;
    let bytes = finish(header, bytes.to_vec())?;
    Ok(ValidBatch { header: BatchHeader::parse(&bytes)?, bytes })
}

#[cfg(test)]
#[path = "produce_tests.rs"]
mod tests;
