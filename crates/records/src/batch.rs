//! Whole batches in received or read bytes, without a copy (`ByteBufferLogInputStream`, `MemoryRecords.batches`).

use bytes::Bytes;

use crate::codec::Scratch;
use crate::compression::Compression;
use crate::error::Error;
use crate::header::{BATCH_OVERHEAD_BYTES, BatchHeader, LOG_OVERHEAD_BYTES, STAMP_BYTES, check_front, verify_crc};
use crate::record::RecordIter;

/// One whole batch: header and all bytes, header included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The parsed first 61 bytes.
    pub header: BatchHeader,
    /// Exactly `header.size_bytes()` bytes.
    pub bytes: Bytes,
}

impl Batch {
    /// The batch at the front of `bytes`; what follows it is not looked at. The CRC is not checked.
    ///
    /// # Errors
    /// As `BatchHeader::parse`, and `Truncated` if the batch is not whole.
    pub fn parse(bytes: &Bytes) -> Result<Self, Error> {
        let header = BatchHeader::parse(bytes)?;
        let size = header.size_bytes();
        if size > bytes.len() {
            return Err(Error::Truncated { needed_bytes: size, available_bytes: bytes.len() });
        }
        Ok(Self { header, bytes: bytes.slice(..size) })
    }

    /// Checks the CRC.
    ///
    /// # Errors
    /// `Crc` if it does not fit.
    pub fn verify_crc(&self) -> Result<(), Error> {
        verify_crc(&self.bytes)
    }

    /// The records as they lie in the batch, compressed or not.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(BATCH_OVERHEAD_BYTES.min(self.bytes.len())..)
    }

    /// The records, decompressed if need be to at most `max_decompressed_bytes`.
    ///
    /// # Errors
    /// `UnknownCompression`, `Decompression`, `DecompressedTooLarge`, `Record` for a negative count.
    pub fn records(&self, max_decompressed_bytes: usize) -> Result<RecordIter, Error> {
        match self.header.compression()? {
            Compression::None => RecordIter::new(&self.header, self.payload()),
            _ => self.records_with(max_decompressed_bytes, &mut Scratch::default()),
        }
    }

    /// As `records`, with decompression contexts kept by the caller.
    ///
    /// # Errors
    /// As `records`.
    pub fn records_with(&self, max_decompressed_bytes: usize, scratch: &mut Scratch) -> Result<RecordIter, Error> {
        let payload = match self.header.compression()? {
            Compression::None => self.payload(),
            compression => {
                let payload = self.bytes.get(BATCH_OVERHEAD_BYTES..).unwrap_or_default();
                Bytes::from(scratch.decompress(compression, payload, max_decompressed_bytes as u64)?)
            }
        };
        RecordIter::new(&self.header, payload)
    }
}

/// Iterates over the whole batches at the front of some bytes. A batch that is cut off ends the iteration, it is the
/// normal end of a fetched or a torn range (`tail_len`); a batch whose front cannot be one is an error, after which
/// nothing more comes.
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
    failed: bool,
}

impl Batches {
    /// Over all of `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes, failed: false }
    }

    /// Bytes not yet given out; after the end of the iteration the length of the cut-off tail.
    #[must_use]
    pub fn tail_len(&self) -> usize {
        self.rest.len()
    }

    fn parse_next(&mut self) -> Result<Option<Batch>, Error> {
        if self.rest.len() < LOG_OVERHEAD_BYTES {
            return Ok(None);
        }
        let (length, _) = match check_front(&self.rest) {
            Err(Error::Truncated { .. }) if self.rest.len() <= STAMP_BYTES => return Ok(None),
            front => front?,
        };
        if self.rest.len() < LOG_OVERHEAD_BYTES + length as usize {
            return Ok(None);
        }
        let header = BatchHeader::parse(&self.rest)?;
        Ok(Some(Batch { header, bytes: self.rest.split_to(header.size_bytes()) }))
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.parse_next().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}
