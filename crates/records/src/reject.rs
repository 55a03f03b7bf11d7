//! Why a produce request's records for one partition are refused, with Kafka's codes. Messages are made only when asked
//! for, because the name of the partition is known to the caller and few responses carry them.

use std::fmt::Display;

use milena_types::ErrorCode;

use crate::error::Error;

/// Records shown in the message of a refused batch, as Kafka shows them.
const ERRORS_SHOWN: usize = 3;

/// A refusal of the whole batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectReason {
    /// The partition's error code.
    pub error: ErrorCode,
    /// What is wrong.
    pub reject: Reject,
    /// The records that are wrong, by their place in the batch; empty unless `reject` is `Records`.
    pub record_errors: Vec<RecordError>,
}

/// What is wrong with a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reject {
    /// There is no batch.
    NoBatch { request_version: i16 },
    /// There is more than one batch.
    ManyBatches { request_version: i16 },
    /// Not magic 2.
    OldMagic { request_version: i16 },
    /// Zstandard before version 7 of the request.
    ZstdTooEarly { request_version: i16 },
    /// The base offset is not 0.
    BaseOffset(i64),
    /// Larger than `max.message.bytes`.
    TooLarge { size_bytes: usize, max_bytes: i32 },
    /// Larger than `segment.bytes`.
    LargerThanSegment { size_bytes: usize, segment_bytes: i32 },
    /// The last offset lies before the first.
    OffsetRange { base_offset: i64, last_offset: i64 },
    /// The count of records is not positive.
    Count(i32),
    /// The count of records is not that of the offsets.
    CountOfOffsets { base_offset: i64, last_offset: i64, count: i32 },
    /// Clients may not write control records.
    Control,
    /// A producer id without a sequence.
    Sequence { base_sequence: i32, producer_id: i64 },
    /// The offset deltas of a compressed batch do not count up from 0. Kafka fails with an exception of the JVM here.
    OffsetDeltas,
    /// Some records are wrong.
    Records,
    /// The bytes are not a batch.
    Malformed(Error),
}

/// One wrong record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// Its place in the batch, from 0.
    pub index: i32,
    /// What is wrong.
    pub fault: RecordFault,
}

/// What is wrong with a record. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordFault {
    /// A compacted topic needs keys.
    MissingKey,
    /// Outside of `message.timestamp.before.max.ms` and `after.max.ms`.
    Timestamp { timestamp: i64, offset: i64, earliest: i64, latest: i64 },
    /// Producers may not claim append time. `partial` if the record was passed over inside a compressed batch, which Kafka
    /// names differently; lengths are -1 where there is nothing.
    LogAppendTime { timestamp: i64, offset: i64, key_len: i32, value_len: i32, partial: bool },
}

impl RejectReason {
    pub(crate) fn new(error: ErrorCode, reject: Reject) -> Self {
        Self { error, reject, record_errors: Vec::new() }
    }

    pub(crate) fn invalid(reject: Reject) -> Self {
        Self::new(ErrorCode::INVALID_RECORD, reject)
    }

    /// The refusal of records: INVALID_TIMESTAMP if any record's time is wrong, else INVALID_RECORD.
    pub(crate) fn records(record_errors: Vec<RecordError>) -> Self {
        let about_time = record_errors.iter().any(|error| error.fault != RecordFault::MissingKey);
        let error = if about_time { ErrorCode::INVALID_TIMESTAMP } else { ErrorCode::INVALID_RECORD };
        Self { error, reject: Reject::Records, record_errors }
    }

    /// The partition's error message, in Kafka's words; `topic_partition` is shown as given (`topic-0`).
    #[must_use]
    pub fn message(&self, topic_partition: &dyn Display) -> String {
        let tp = topic_partition;
        match &self.reject {
            Reject::NoBatch { request_version } => {
                format!(
                    "Produce requests with version {request_version} must have at least one record batch per partition"
                )
            }
            Reject::ManyBatches { request_version } => format!(
                "Produce requests with version {request_version} are only allowed to contain exactly one record batch \
                 per partition"
            ),
            Reject::OldMagic { request_version } => format!(
                "Produce requests with version {request_version} are only allowed to contain record batches with magic \
                 version 2"
            ),
            Reject::ZstdTooEarly { request_version } => {
                format!("Produce requests with version {request_version} are not allowed to use ZStandard compression")
            }
            Reject::BaseOffset(offset) => {
                format!("The baseOffset of the record batch in the append to {tp} should be 0, but it is {offset}")
            }
            Reject::TooLarge { size_bytes, max_bytes } => format!(
                "The record batch size in the append to {tp} is {size_bytes} bytes which exceeds the maximum configured \
                 value of {max_bytes})."
            ),
            Reject::LargerThanSegment { size_bytes, segment_bytes } => format!(
                "Message batch size is {size_bytes} bytes in append to partition {tp}, which exceeds the maximum \
                 configured segment size of {segment_bytes}."
            ),
            Reject::OffsetDeltas => "The offsets in the compressed batch do not count up from 0".to_owned(),
            Reject::Records => self.records_message(tp),
            Reject::Malformed(Error::Crc { stored, .. }) => {
                format!("Record is corrupt (stored crc = {stored}) in topic partition {tp}.")
            }
            Reject::Malformed(error) => error.to_string(),
            other => format!("{} in topic partition {tp}", header_message(other)),
        }
    }

    fn records_message(&self, topic_partition: &dyn Display) -> String {
        if self.error == ErrorCode::INVALID_TIMESTAMP {
            return "One or more records have been rejected due to invalid timestamp".to_owned();
        }
        let shown: Vec<String> = self
            .record_errors
            .iter()
            .take(ERRORS_SHOWN)
            .map(|error| {
                format!("RecordError(batchIndex={}, message='{}')", error.index, error.fault.message(topic_partition))
            })
            .collect();
        format!(
            "One or more records have been rejected due to {} record errors in total, and only showing the first three \
             errors at most: [{}]",
            self.record_errors.len(),
            shown.join(", ")
        )
    }
}

/// The part in front of the partition's name.
fn header_message(reject: &Reject) -> String {
    match reject {
        Reject::OffsetRange { base_offset, last_offset } => {
            format!("Batch has an invalid offset range: [{base_offset}, {last_offset}]")
        }
        Reject::Count(count) => format!("Invalid reported count for record batch: {count}"),
        Reject::CountOfOffsets { base_offset, last_offset, count } => {
            format!("Inconsistent batch offset range [{base_offset}, {last_offset}] and count of records {count}")
        }
        Reject::Sequence { base_sequence, producer_id } => {
            format!("Invalid sequence number {base_sequence} in record batch with producerId {producer_id}")
        }
        _ => "Clients are not allowed to write control records".to_owned(),
    }
}

impl RecordFault {
    /// The record's error message, in Kafka's words.
    #[must_use]
    pub fn message(&self, topic_partition: &dyn Display) -> String {
        match self {
            Self::MissingKey => {
                format!("Compacted topic cannot accept message without key in topic partition {topic_partition}")
            }
            Self::Timestamp { timestamp, offset, earliest, latest } => format!(
                "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be within \
                 [{earliest}, {latest}]"
            ),
            Self::LogAppendTime { timestamp, offset, key_len, value_len, partial } => {
                let (name, least) = if *partial { ("PartialDefaultRecord", -1) } else { ("DefaultRecord", 0) };
                format!(
                    "Invalid timestamp type in message {name}(offset={offset}, timestamp={timestamp}, key={} bytes, \
                     value={} bytes). Producer should not set timestamp type to LogAppendTime.",
                    key_len.max(&least),
                    value_len.max(&least)
                )
            }
        }
    }
}

impl From<Error> for RejectReason {
    fn from(error: Error) -> Self {
        Self::new(error.error_code(), Reject::Malformed(error))
    }
}
