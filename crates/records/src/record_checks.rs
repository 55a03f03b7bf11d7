//! The checks of single records in a produce request (`LogValidator.validateRecord`, `validateKey`, `validateTimestamp`), and
//! the two ways of going over a batch that is kept as it came. Nothing is allocated unless a record is wrong.

use milena_types::{ErrorCode, Timestamp};

use crate::batch::Batch;
use crate::codec::Scratch;
use crate::compression::Compression;
use crate::error::Error;
use crate::header::{BATCH_OVERHEAD_BYTES, BatchHeader, TimestampType};
use crate::produce::ProduceRules;
use crate::reject::{RecordError, RecordFault, Reject, RejectReason};
use crate::varint::{Input, SliceInput};
use crate::walk::{RecordShape, check_record, quick_record, skip_record};

const NO_TIMESTAMP: i64 = -1;

/// `LogValidator.validateRecord` for one record after the other.
pub(crate) struct RecordChecks<'a> {
    rules: &'a ProduceRules,
    now: i64,
    base_offset: i64,
    base_timestamp: i64,
    record_count: i32,
    /// Records of a compressed batch are passed over and not read.
    partial: bool,
    /// The timestamp of every record if the batch claims append time.
    log_append_time: Option<i64>,
    /// No key shorter than this is right without a closer look.
    key_len_min: i32,
    /// The first of the timestamps that are right without a closer look.
    timestamp_min: i64,
    /// How many follow it.
    timestamp_span: u64,
    /// No record's own length was found to be wrong.
    quick: bool,
    index: i32,
    max_timestamp: i64,
    sequential: bool,
    errors: Vec<RecordError>,
}

impl<'a> RecordChecks<'a> {
    pub(crate) fn new(header: &BatchHeader, rules: &'a ProduceRules, now: Timestamp) -> Self {
        let log_append_time = (header.timestamp_type() == TimestampType::LogAppendTime).then_some(header.max_timestamp);
        let (timestamp_min, timestamp_max) = match rules.timestamp_type {
            TimestampType::CreateTime => {
                (now.0.saturating_sub(rules.before_max_ms).max(0), now.0.saturating_add(rules.after_max_ms))
            }
            TimestampType::LogAppendTime => (0, i64::MAX),
        };
        let looked_at_all = log_append_time.is_some() || now.0 < 0 || timestamp_max < timestamp_min;
        Self {
            rules,
            now: now.0,
            base_offset: header.base_offset.0,
            base_timestamp: header.base_timestamp,
            record_count: header.record_count,
            partial: false,
            log_append_time,
            key_len_min: match (looked_at_all, rules.compacted) {
                (true, _) => i32::MAX,
                (false, true) => 0,
                (false, false) => i32::MIN,
            },
            timestamp_min,
            timestamp_span: timestamp_max.wrapping_sub(timestamp_min) as u64,
            quick: true,
            index: 0,
            max_timestamp: NO_TIMESTAMP,
            sequential: true,
            errors: Vec::new(),
        }
    }

    /// Goes over the records in front of `bytes` that are nothing special and right; how many bytes they take. With
    /// `DECLARED` their own lengths must be right, too.
    fn quick_run<const DECLARED: bool>(&mut self, bytes: &[u8]) -> usize {
        let (mut at, mut index, mut max_timestamp, mut sequential) =
            (0, self.index, self.max_timestamp, self.sequential);
        let mut wrong = 0;
        while self.quick
            && index < self.record_count
            && let Some(quick) = bytes.get(at..).and_then(quick_record)
        {
            let timestamp = self.base_timestamp.wrapping_add(quick.shape.timestamp_delta);
            let is_in_range = timestamp.wrapping_sub(self.timestamp_min) as u64 <= self.timestamp_span;
            if !is_in_range || quick.shape.key_len < self.key_len_min {
                break;
            }
            // The declared length is known sooner, and the next record waits for it. That it is right is seen below.
            at = at.wrapping_add(if DECLARED { quick.declared_len } else { quick.len });
            wrong |= quick.declared_len ^ quick.len;
            max_timestamp = max_timestamp.max(timestamp);
            sequential &= quick.shape.offset_delta == index;
            index += 1;
        }
        if DECLARED && wrong != 0 {
            self.quick = false;
            return 0;
        }
        (self.index, self.max_timestamp, self.sequential) = (index, max_timestamp, sequential);
        at
    }

    /// One record, whatever it is.
    pub(crate) fn record(&mut self, shape: &RecordShape) {
        let timestamp = self.log_append_time.unwrap_or(self.base_timestamp.wrapping_add(shape.timestamp_delta));
        if let Some(fault) = self.fault(shape, timestamp) {
            self.errors.push(RecordError { index: self.index, fault });
        } else {
            self.max_timestamp = self.max_timestamp.max(timestamp);
            self.sequential &= shape.offset_delta == self.index;
        }
        self.index += 1;
    }

    fn fault(&self, shape: &RecordShape, timestamp: i64) -> Option<RecordFault> {
        let rules = self.rules;
        if rules.compacted && !shape.has_key() {
            return Some(RecordFault::MissingKey);
        }
        let offset = self.base_offset.wrapping_add(i64::from(shape.offset_delta));
        if rules.timestamp_type == TimestampType::CreateTime && timestamp != NO_TIMESTAMP {
            let age = self.now.wrapping_sub(timestamp);
            if age > rules.before_max_ms || age.wrapping_neg() > rules.after_max_ms {
                let earliest = self.now.wrapping_sub(rules.before_max_ms);
                let latest = self.now.wrapping_add(rules.after_max_ms);
                return Some(RecordFault::Timestamp { timestamp, offset, earliest, latest });
            }
        } else if self.log_append_time.is_some() {
            let (key_len, value_len) = (shape.key_len, shape.value_len);
            return Some(RecordFault::LogAppendTime { timestamp, offset, key_len, value_len, partial: self.partial });
        }
        None
    }

    pub(crate) fn finish(&mut self) -> Result<(), RejectReason> {
        if self.errors.is_empty() { Ok(()) } else { Err(RejectReason::records(std::mem::take(&mut self.errors))) }
    }
}

/// Checks the records of an uncompressed batch; their largest timestamp.
pub(crate) fn walk_plain(batch: &Batch, mut checks: RecordChecks<'_>) -> Result<i64, RejectReason> {
    let mut input = SliceInput::new(batch.bytes.get(BATCH_OVERHEAD_BYTES..).unwrap_or_default());
    while checks.index < checks.record_count {
        input.skip(checks.quick_run::<true>(input.rest()))?;
        if checks.index < checks.record_count {
            checks.record(&check_record(&mut input)?);
        }
    }
    if checks.record_count > 0 && input.remaining() > 0 {
        return Err(Error::Record("there are bytes behind the last record").into());
    }
    checks.finish()?;
    Ok(checks.max_timestamp)
}

/// Checks the records of a compressed batch that is kept as it is; their largest timestamp.
pub(crate) fn walk_compressed(
    batch: &Batch,
    compression: Compression,
    mut checks: RecordChecks<'_>,
    scratch: &mut Scratch,
) -> Result<i64, RejectReason> {
    let payload = batch.bytes.get(BATCH_OVERHEAD_BYTES..).unwrap_or_default();
    checks.partial = true;
    if checks.record_count > 0 {
        let mut input = scratch.stream(compression, payload, checks.rules.max_decompressed_bytes)?;
        while checks.index < checks.record_count {
            let run = checks.quick_run::<false>(input.ahead());
            input.skip(run)?;
            if checks.index < checks.record_count {
                checks.record(&skip_record(&mut input)?);
            }
        }
        if !input.at_end()? {
            return Err(Error::Record("there are bytes behind the last record").into());
        }
    }
    checks.finish()?;
    if checks.sequential {
        Ok(checks.max_timestamp)
    } else {
        Err(RejectReason::new(ErrorCode::UNKNOWN_SERVER_ERROR, Reject::OffsetDeltas))
    }
}
