//! The 61 bytes in front of a batch's records, and the checksum over what follows the checksum field.
//!
//! Base offset (bytes 0 to 8) and leader epoch (12 to 16) lie outside of the CRC, so the leader stamps them without
//! touching the rest. Kafka's counterpart is `DefaultRecordBatch`.

use milena_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use crate::compression::Compression;
use crate::error::Error;

/// Bytes of a batch with no records.
pub const BATCH_OVERHEAD_BYTES: usize = 61;
/// Bytes in front of what `batch_length` counts.
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// The only message format written or read.
pub const MAGIC: i8 = 2;
/// The bytes a leader stamps: base offset, length (unchanged) and leader epoch.
pub const STAMP_BYTES: usize = 16;

/// Bytes of the smallest message of any format, behind the log overhead (`LegacyRecord.RECORD_OVERHEAD_V0`).
pub(crate) const LEGACY_OVERHEAD_V0_BYTES: i32 = 14;
/// Where the bytes begin that the CRC covers.
const CRC_COVERS_FROM: usize = 21;

const TIMESTAMP_TYPE_BIT: i16 = 0x08;
const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;
const DELETE_HORIZON_BIT: i16 = 0x40;

/// Who set the timestamps of a batch (`message.timestamp.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer.
    #[default]
    CreateTime,
    /// The broker: every record's timestamp is the batch's max timestamp.
    LogAppendTime,
}

/// The fields of a batch header as they lie on the wire and on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchHeader {
    /// Offset of the first record the batch was written with; compaction keeps it.
    pub base_offset: Offset,
    /// Bytes after this field: the whole batch is 12 bytes more.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch; -1 before that.
    pub partition_leader_epoch: LeaderEpoch,
    /// Always 2.
    pub magic: i8,
    /// CRC-32C (Castagnoli) of everything from `attributes` on.
    pub crc: u32,
    /// Codec (bits 0 to 2), timestamp type (3), transactional (4), control (5), delete horizon (6).
    pub attributes: i16,
    /// Last offset minus base offset.
    pub last_offset_delta: i32,
    /// Milliseconds; what the records' deltas add to. The delete horizon if its bit is set.
    pub base_timestamp: i64,
    /// Milliseconds; the largest of the records, or the append time.
    pub max_timestamp: i64,
    /// -1 if the producer is not idempotent.
    pub producer_id: ProducerId,
    /// -1 if the producer is not idempotent.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record, -1 if the producer is not idempotent.
    pub base_sequence: i32,
    /// Records in the batch; 0 only in batches that compaction emptied.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header in front of `bytes`, which need not hold the records. The CRC is not looked at.
    ///
    /// # Errors
    /// `Truncated` under 61 bytes, `BatchLength` if the length leaves no room for the header, `Magic` or `OldMagic` if
    /// this is not a magic 2 batch.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (batch_length, magic) = check_front(bytes)?;
        if magic != MAGIC {
            return Err(Error::OldMagic(magic));
        }
        if batch_length < (BATCH_OVERHEAD_BYTES - LOG_OVERHEAD_BYTES) as i32 {
            return Err(Error::BatchLength(batch_length));
        }
        let header: &[u8; BATCH_OVERHEAD_BYTES] = bytes
            .first_chunk()
            .ok_or(Error::Truncated { needed_bytes: BATCH_OVERHEAD_BYTES, available_bytes: bytes.len() })?;
        Ok(Self::from_array(header))
    }

    /// The fields of 61 bytes, whatever they hold.
    #[must_use]
    pub fn from_array(header: &[u8; BATCH_OVERHEAD_BYTES]) -> Self {
        let mut fields = Fields(header);
        Self {
            base_offset: Offset(i64::from_be_bytes(fields.take())),
            batch_length: i32::from_be_bytes(fields.take()),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(fields.take())),
            magic: i8::from_be_bytes(fields.take()),
            crc: u32::from_be_bytes(fields.take()),
            attributes: i16::from_be_bytes(fields.take()),
            last_offset_delta: i32::from_be_bytes(fields.take()),
            base_timestamp: i64::from_be_bytes(fields.take()),
            max_timestamp: i64::from_be_bytes(fields.take()),
            producer_id: ProducerId(i64::from_be_bytes(fields.take())),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(fields.take())),
            base_sequence: i32::from_be_bytes(fields.take()),
            record_count: i32::from_be_bytes(fields.take()),
        }
    }

    /// The 61 bytes of these fields, the CRC as it stands here.
    #[must_use]
    pub fn to_array(&self) -> [u8; BATCH_OVERHEAD_BYTES] {
        let mut out = [0; BATCH_OVERHEAD_BYTES];
        let mut rest: &mut [u8] = &mut out;
        for field in [
            &self.base_offset.0.to_be_bytes() as &[u8],
            &self.batch_length.to_be_bytes(),
            &self.partition_leader_epoch.0.to_be_bytes(),
            &self.magic.to_be_bytes(),
            &self.crc.to_be_bytes(),
            &self.attributes.to_be_bytes(),
            &self.last_offset_delta.to_be_bytes(),
            &self.base_timestamp.to_be_bytes(),
            &self.max_timestamp.to_be_bytes(),
            &self.producer_id.0.to_be_bytes(),
            &self.producer_epoch.0.to_be_bytes(),
            &self.base_sequence.to_be_bytes(),
            &self.record_count.to_be_bytes(),
        ] {
            if let Some((here, behind)) = std::mem::take(&mut rest).split_at_mut_checked(field.len()) {
                here.copy_from_slice(field);
                rest = behind;
            }
        }
        out
    }

    /// Bytes of the whole batch, header included.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        LOG_OVERHEAD_BYTES + if self.batch_length > 0 { self.batch_length as usize } else { 0 }
    }

    /// Offset of the last record the batch was written with.
    #[must_use]
    pub const fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.wrapping_add(self.last_offset_delta as i64))
    }

    /// The offset after the last.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.wrapping_add(1))
    }

    /// The codec.
    ///
    /// # Errors
    /// `UnknownCompression` if the bits name none.
    pub const fn compression(&self) -> Result<Compression, Error> {
        Compression::from_attributes(self.attributes)
    }

    /// Who set the timestamps.
    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        if self.attributes & TIMESTAMP_TYPE_BIT == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    /// Part of a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Holds control records, which are for brokers and never shown to applications.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// `base_timestamp` is the time from which compaction may drop the batch's tombstones.
    #[must_use]
    pub const fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON_BIT != 0
    }

    /// Written by an idempotent or transactional producer.
    #[must_use]
    pub const fn has_producer_id(&self) -> bool {
        self.producer_id.0 > ProducerId::NONE.0
    }

    /// Sequence of the last record, -1 if there are no sequences; wraps to 0 after `i32::MAX`.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence == -1 { -1 } else { increment_sequence(self.base_sequence, self.last_offset_delta) }
    }

    /// Attributes from their parts.
    pub(crate) fn make_attributes(compression: Compression, timestamp_type: TimestampType, flags: Flags) -> i16 {
        let mut attributes = compression as i16;
        for (set, bit) in [
            (timestamp_type == TimestampType::LogAppendTime, TIMESTAMP_TYPE_BIT),
            (flags.transactional, TRANSACTIONAL_BIT),
            (flags.control, CONTROL_BIT),
            (flags.delete_horizon, DELETE_HORIZON_BIT),
        ] {
            if set {
                attributes |= bit;
            }
        }
        attributes
    }

    /// The flags among the attributes.
    pub(crate) const fn flags(&self) -> Flags {
        Flags {
            transactional: self.is_transactional(),
            control: self.is_control(),
            delete_horizon: self.has_delete_horizon(),
        }
    }
}

/// The yes-or-no attributes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    pub(crate) transactional: bool,
    pub(crate) control: bool,
    pub(crate) delete_horizon: bool,
}

/// Cuts fixed-size fields off 61 bytes; the sum of the fields is 61, so none is ever missing.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    #[inline]
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }
}

/// Length and magic of whatever starts here, checked as `ByteBufferLogInputStream.nextBatchSize` does.
pub(crate) fn check_front(bytes: &[u8]) -> Result<(i32, i8), Error> {
    let short = |needed_bytes| Error::Truncated { needed_bytes, available_bytes: bytes.len() };
    let length = bytes.first_chunk::<LOG_OVERHEAD_BYTES>().ok_or_else(|| short(LOG_OVERHEAD_BYTES))?;
    let batch_length = length.last_chunk().map_or(0, |length| i32::from_be_bytes(*length));
    if batch_length < LEGACY_OVERHEAD_V0_BYTES {
        return Err(Error::BatchLength(batch_length));
    }
    let magic = bytes.get(STAMP_BYTES).map(|magic| *magic as i8).ok_or_else(|| short(STAMP_BYTES + 1))?;
    if !(0..=MAGIC).contains(&magic) {
        return Err(Error::Magic(magic));
    }
    Ok((batch_length, magic))
}

/// The checksum of record batches: CRC-32C (Castagnoli, iSCSI).
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The checksum a batch should carry; 0 for fewer than 21 bytes.
pub(crate) fn compute_crc(batch: &[u8]) -> u32 {
    batch.get(CRC_COVERS_FROM..).map_or(0, crc32c)
}

/// Checks the CRC of one whole batch: `batch` ends where the batch ends.
///
/// # Errors
/// As `BatchHeader::parse`; `Truncated` if `batch` is not exactly as long as its header says; `Crc`.
pub fn verify_crc(batch: &[u8]) -> Result<(), Error> {
    let header = BatchHeader::parse(batch)?;
    if header.size_bytes() != batch.len() {
        return Err(Error::Truncated { needed_bytes: header.size_bytes(), available_bytes: batch.len() });
    }
    let computed = compute_crc(batch);
    if computed == header.crc { Ok(()) } else { Err(Error::Crc { stored: header.crc, computed }) }
}

/// Writes base offset and leader epoch into the first 16 bytes of a batch. Neither is covered by the CRC.
pub fn stamp(prefix: &mut [u8; STAMP_BYTES], base_offset: Offset, leader_epoch: LeaderEpoch) {
    if let Some(field) = prefix.first_chunk_mut() {
        *field = base_offset.0.to_be_bytes();
    }
    if let Some(field) = prefix.last_chunk_mut() {
        *field = leader_epoch.0.to_be_bytes();
    }
}

/// Sequence numbers wrap from `i32::MAX` to 0 (`DefaultRecordBatch.incrementSequence`).
#[must_use]
pub const fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    if sequence > i32::MAX.wrapping_sub(increment) {
        increment.wrapping_sub(i32::MAX.wrapping_sub(sequence)).wrapping_sub(1)
    } else {
        sequence.wrapping_add(increment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> BatchHeader {
        BatchHeader {
            base_offset: Offset(0x0102_0304_0506_0708),
            batch_length: 49,
            partition_leader_epoch: LeaderEpoch(7),
            magic: 2,
            crc: 0xdead_beef,
            attributes: 0x1b,
            last_offset_delta: 9,
            base_timestamp: 1_700_000_000_000,
            max_timestamp: 1_700_000_000_123,
            producer_id: ProducerId(12),
            producer_epoch: ProducerEpoch(3),
            base_sequence: i32::MAX - 4,
            record_count: 10,
        }
    }

    #[test]
    fn a_header_comes_back_as_it_was_written() {
        let header = sample();
        assert_eq!(BatchHeader::parse(&header.to_array()), Ok(header));
        assert_eq!(header.compression(), Ok(Compression::Lz4));
        assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
        assert!(header.is_transactional() && !header.is_control());
        assert_eq!(header.last_sequence(), 4);
        assert_eq!(header.size_bytes(), 61);
    }

    #[test]
    fn a_header_cut_anywhere_is_an_error() {
        let bytes = sample().to_array();
        for len in 0..bytes.len() {
            assert!(BatchHeader::parse(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn castagnoli_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn stamping_changes_only_offset_and_epoch() {
        let bytes = sample().to_array();
        let mut prefix: [u8; STAMP_BYTES] = *bytes.first_chunk().unwrap();
        stamp(&mut prefix, Offset(42), LeaderEpoch(5));
        assert_eq!(prefix[8..12], bytes[8..12]);
        let mut stamped = bytes;
        stamped[..16].copy_from_slice(&prefix);
        let expected = BatchHeader { base_offset: Offset(42), partition_leader_epoch: LeaderEpoch(5), ..sample() };
        assert_eq!(BatchHeader::parse(&stamped), Ok(expected));
    }
}
