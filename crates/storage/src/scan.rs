//! Walking the batches of a segment's file: headers only, to find an offset, or whole batches with their CRC, to
//! recover. Both stop at the first byte that cannot begin a batch that is wholly there.

use bytes::Bytes;
use milena_records::{BATCH_OVERHEAD_BYTES, BatchHeader, verify_crc};

use crate::disk::DiskFile;

/// Where a batch is in its segment's file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BatchPlace {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

impl BatchPlace {
    pub(crate) fn size(&self) -> u64 {
        self.header.size_bytes() as u64
    }

    /// Where the next batch begins.
    pub(crate) fn end(&self) -> u64 {
        self.position + self.size()
    }
}

/// Reads the headers of the batches in `position..end`, a kilobyte at a time.
pub(crate) struct Headers<'file, F> {
    file: &'file F,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_position: u64,
    window_bytes: usize,
}

impl<'file, F: DiskFile> Headers<'file, F> {
    pub(crate) fn new(file: &'file F, position: u64, end: u64) -> Self {
        Headers { file, position, end, window: Vec::new(), window_position: 0, window_bytes: 1024 }
    }

    /// As `new`, for a long way: reads 64 KiB at a time.
    pub(crate) fn sequential(file: &'file F, position: u64, end: u64) -> Self {
        Headers { window_bytes: 64 << 10, ..Self::new(file, position, end) }
    }

    /// The next batch; `None` at the end or where no whole batch follows.
    pub(crate) fn next(&mut self) -> std::io::Result<Option<BatchPlace>> {
        if self.end.saturating_sub(self.position) < BATCH_OVERHEAD_BYTES as u64 {
            return Ok(None);
        }
        if self.header_bytes().is_none() {
            let wanted = (self.window_bytes as u64).min(self.end - self.position);
            self.window.resize(wanted as usize, 0);
            let read = self.file.read_at(&mut self.window, self.position)?;
            self.window.truncate(read);
            self.window_position = self.position;
        }
        let Some(Ok(header)) = self.header_bytes().map(BatchHeader::parse) else { return Ok(None) };
        let place = BatchPlace { position: self.position, header };
        if place.end() > self.end {
            return Ok(None);
        }
        self.position = place.end();
        Ok(Some(place))
    }

    /// Where the next batch begins; after the last one, where they end.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    fn header_bytes(&self) -> Option<&[u8]> {
        let start = usize::try_from(self.position.checked_sub(self.window_position)?).ok()?;
        self.window.get(start..start.checked_add(BATCH_OVERHEAD_BYTES)?)
    }
}

/// Reads one batch whole.
pub(crate) fn read_batch<F: DiskFile>(file: &F, place: &BatchPlace) -> std::io::Result<Bytes> {
    let mut bytes = vec![0; place.header.size_bytes()];
    file.read_exact_at(&mut bytes, place.position)?;
    Ok(bytes.into())
}

/// Bytes read at once while recovering: what a processor's cache holds, so that they are checked where they were put.
const CHUNK_BYTES: usize = 256 << 10;

/// Reads whole batches in `position..end` and checks the CRC of each; ends before the first that is torn or damaged.
pub(crate) struct ValidBatches<'file, F> {
    file: &'file F,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    /// The bytes at `position` begin here in the buffer, and `filled` is where they end.
    start: usize,
    filled: usize,
}

impl<'file, F: DiskFile> ValidBatches<'file, F> {
    pub(crate) fn new(file: &'file F, position: u64, end: u64) -> Self {
        ValidBatches { file, position, end, buffer: Vec::new(), start: 0, filled: 0 }
    }

    /// Where the next batch begins; after the last one, where they end.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next whole, undamaged batch.
    pub(crate) fn next(&mut self) -> std::io::Result<Option<(BatchPlace, &[u8])>> {
        self.fill(BATCH_OVERHEAD_BYTES)?;
        let Ok(header) = BatchHeader::parse(self.ahead()) else { return Ok(None) };
        let place = BatchPlace { position: self.position, header };
        if place.end() > self.end {
            return Ok(None);
        }
        let size = header.size_bytes();
        self.fill(size)?;
        let Some(batch) = self.ahead().get(..size) else { return Ok(None) };
        if verify_crc(batch).is_err() {
            return Ok(None);
        }
        let start = self.start;
        self.position = place.end();
        self.start += size;
        Ok(self.buffer.get(start..start + size).map(|batch| (place, batch)))
    }

    /// Passes over a batch that is damaged but whose length holds: an undamaged one with greater offsets, or the end,
    /// follows where it says to end.
    pub(crate) fn pass_damaged(&mut self) -> std::io::Result<Option<BatchPlace>> {
        self.fill(BATCH_OVERHEAD_BYTES)?;
        let Ok(header) = BatchHeader::parse(self.ahead()) else { return Ok(None) };
        let place = BatchPlace { position: self.position, header };
        if place.end() > self.end {
            return Ok(None);
        }
        let mut after = ValidBatches::new(self.file, place.end(), self.end);
        let follows = after.next()?.is_some_and(|(next, _)| next.header.base_offset > header.last_offset());
        if !follows && place.end() < self.end {
            return Ok(None);
        }
        *self = ValidBatches::new(self.file, place.end(), self.end);
        Ok(Some(place))
    }

    fn ahead(&self) -> &[u8] {
        self.buffer.get(self.start..self.filled).unwrap_or_default()
    }

    /// Sees to it that `wanted` bytes are in memory, if the file has them.
    fn fill(&mut self, wanted: usize) -> std::io::Result<()> {
        let here = self.filled - self.start;
        let rest = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        if here >= wanted.min(rest) {
            return Ok(());
        }
        // What is here of a batch goes to the front; the buffer grows only for a batch the file has room for.
        self.buffer.copy_within(self.start..self.filled, 0);
        (self.start, self.filled) = (0, here);
        let len = wanted.max(CHUNK_BYTES).min(rest);
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        if let Some(room) = self.buffer.get_mut(here..len) {
            self.filled += self.file.read_at(room, self.position + here as u64)?;
        }
        Ok(())
    }
}
