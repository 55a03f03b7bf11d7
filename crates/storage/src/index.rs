//! The offset index and the time index of a segment: sorted fixed-size entries, big-endian, nothing else in the file
//! (`OffsetIndex`, `TimeIndex`). New entries gather in memory and reach the file in groups, on a roll and on close;
//! what a crash loses of them is rebuilt from the log, which is the truth. Files are never preallocated.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{At, Error, Result};
use crate::file_cache::Slot;
use crate::files::Files;

/// One kind of entry.
pub(crate) trait IndexEntry: Copy + std::fmt::Debug {
    /// Bytes in the file.
    const SIZE: usize;
    /// File name suffix.
    const SUFFIX: &'static str;
    /// What the file is sorted by.
    fn key(&self) -> i64;
    /// Offset minus the segment's base offset.
    fn relative_offset(&self) -> u32;
    fn encode(&self, into: &mut Vec<u8>);
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// The batch whose last offset is this begins at `position`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OffsetEntry {
    pub(crate) relative_offset: u32,
    pub(crate) position: u32,
}

/// Up to the batch that ends with this offset no timestamp is greater.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: i64,
    pub(crate) relative_offset: u32,
}

impl IndexEntry for OffsetEntry {
    const SIZE: usize = 8;
    const SUFFIX: &'static str = "index";

    fn key(&self) -> i64 {
        i64::from(self.relative_offset)
    }

    fn relative_offset(&self) -> u32 {
        self.relative_offset
    }

    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.relative_offset.to_be_bytes());
        into.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (offset, rest) = bytes.split_first_chunk()?;
        let position = rest.first_chunk()?;
        Some(Self { relative_offset: u32::from_be_bytes(*offset), position: u32::from_be_bytes(*position) })
    }
}

impl IndexEntry for TimeEntry {
    const SIZE: usize = 12;
    const SUFFIX: &'static str = "timeindex";

    fn key(&self) -> i64 {
        self.timestamp
    }

    fn relative_offset(&self) -> u32 {
        self.relative_offset
    }

    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.timestamp.to_be_bytes());
        into.extend_from_slice(&self.relative_offset.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (timestamp, rest) = bytes.split_first_chunk()?;
        let offset = rest.first_chunk()?;
        Some(Self { timestamp: i64::from_be_bytes(*timestamp), relative_offset: u32::from_be_bytes(*offset) })
    }
}

/// Entries that wait in memory before they are written in one call.
const TAIL_ENTRIES_MAX: usize = 128;
/// Entries read at once at the end of a search.
const BLOCK_ENTRIES: u32 = 512;

/// An index of one segment.
#[derive(Debug)]
pub(crate) struct Index<E, D: Disk> {
    base_offset: i64,
    slot: Arc<Slot<D::File>>,
    /// Entries in the file; -1 until asked.
    persisted: AtomicI64,
    /// The file was made.
    is_made: bool,
    /// All entries are in memory because there was no room for the file.
    is_held: bool,
    tail: Vec<E>,
}

impl<E: IndexEntry, D: Disk> Index<E, D> {
    /// The index of a segment that is new: there is no file and none is made until there are entries.
    pub(crate) fn empty(base_offset: i64) -> Self {
        let persisted = AtomicI64::new(0);
        Index { base_offset, slot: Arc::default(), persisted, is_made: false, is_held: false, tail: Vec::new() }
    }

    /// The index of a segment that exists; its file, if there is one, is looked at when first needed.
    pub(crate) fn existing(base_offset: i64, is_made: bool) -> Self {
        let persisted = AtomicI64::new(if is_made { -1 } else { 0 });
        Index { base_offset, slot: Arc::default(), persisted, is_made, is_held: false, tail: Vec::new() }
    }

    /// Where the file is.
    pub(crate) fn path(&self, files: &Files<D>) -> PathBuf {
        files.path(self.base_offset, E::SUFFIX)
    }

    /// Entries in file and memory.
    pub(crate) fn count(&self, files: &Files<D>) -> Result<u32> {
        Ok(self.persisted(files)? + self.tail.len() as u32)
    }

    /// The greatest entry with a key of at most `key`.
    pub(crate) fn lookup(&self, files: &Files<D>, key: i64) -> Result<Option<E>> {
        if self.tail.first().is_some_and(|first| first.key() <= key) {
            let at = self.tail.partition_point(|entry| entry.key() <= key);
            return Ok(at.checked_sub(1).and_then(|at| self.tail.get(at)).copied());
        }
        let at = self.persisted_partition(files, |entry| entry.key() <= key)?;
        match at.checked_sub(1) {
            Some(at) => self.entry(files, at),
            None => Ok(None),
        }
    }

    /// The entry after the greatest one with a key of at most `key`, the upper bound of a read.
    pub(crate) fn lookup_after(&self, files: &Files<D>, key: i64, accept: impl Fn(&E) -> bool) -> Result<Option<E>> {
        let mut at = self.persisted_partition(files, |entry| entry.key() <= key)?;
        while let Some(entry) = self.entry(files, at)? {
            if entry.key() > key && accept(&entry) {
                return Ok(Some(entry));
            }
            at += 1;
        }
        Ok(None)
    }

    /// The last entry.
    pub(crate) fn last(&self, files: &Files<D>) -> Result<Option<E>> {
        if let Some(last) = self.tail.last() {
            return Ok(Some(*last));
        }
        match self.persisted(files)?.checked_sub(1) {
            Some(at) => self.entry(files, at),
            None => Ok(None),
        }
    }

    /// Adds an entry; the caller keeps the order.
    pub(crate) fn push(&mut self, files: &Files<D>, entry: E) {
        self.tail.push(entry);
        if self.tail.len() >= TAIL_ENTRIES_MAX {
            // The entries stay in memory if the write fails; the next group, the roll or the close tries again.
            if let Err(error) = self.persist(files) {
                tracing::warn!(%error, "index entries stay in memory");
            }
        }
    }

    /// Makes the file if there is none: Kafka wants one, if empty, beside every segment.
    pub(crate) fn make(&mut self, files: &Files<D>) -> Result<()> {
        if !self.is_made {
            let path = self.path(files);
            files.disk().open(&path, OpenMode::Create).at("create", &path)?;
            self.is_made = true;
        }
        self.is_held &= !self.tail.is_empty();
        Ok(())
    }

    /// Writes what waits in memory, making the file if there is none.
    pub(crate) fn persist(&mut self, files: &Files<D>) -> Result<()> {
        if self.tail.is_empty() {
            return self.make(files);
        }
        let persisted = self.persisted(files)?;
        let path = self.path(files);
        let file = files.cache.get(&self.slot, &path, OpenMode::Create).at("open", &path)?;
        self.is_made = true;
        let mut bytes = Vec::with_capacity(self.tail.len() * E::SIZE);
        for entry in &self.tail {
            entry.encode(&mut bytes);
        }
        file.write_vectored_at(&[IoSlice::new(&bytes)], u64::from(persisted) * E::SIZE as u64).at("write", &path)?;
        self.persisted.store(i64::from(persisted) + self.tail.len() as i64, Ordering::Relaxed);
        self.tail = Vec::new();
        self.is_held = false;
        Ok(())
    }

    /// Keeps all entries in memory, without a file: there was no room for all of them, and a part would be believed by the next
    /// start.
    pub(crate) fn hold(&mut self, files: &Files<D>) -> Result<()> {
        let persisted = self.persisted(files)?;
        let mut bytes = vec![0; persisted as usize * E::SIZE];
        let read = if persisted == 0 { 0 } else { self.read(files, &mut bytes, 0)? };
        let mut entries: Vec<E> =
            bytes.get(..read).unwrap_or_default().chunks_exact(E::SIZE).filter_map(E::decode).collect();
        entries.append(&mut self.tail);
        self.slot.close();
        let path = self.path(files);
        match files.disk().remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).at("remove", &path),
            _ => {}
        }
        self.tail = entries;
        self.persisted.store(0, Ordering::Relaxed);
        (self.is_made, self.is_held) = (false, true);
        Ok(())
    }

    /// Whether all entries are in memory for want of room.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held
    }

    /// The open file, if there is one on disk, to sync it.
    pub(crate) fn file(&self, files: &Files<D>) -> Result<Option<Arc<D::File>>> {
        if self.persisted(files)? == 0 {
            return Ok(None);
        }
        let path = self.path(files);
        match files.cache.get(&self.slot, &path, OpenMode::ReadWrite) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at("open", &path),
        }
    }

    /// Removes entries for `offset` and beyond (`truncateTo`).
    pub(crate) fn truncate_to(&mut self, files: &Files<D>, offset: i64) -> Result<()> {
        let relative = offset - self.base_offset;
        self.keep_while(files, |entry| i64::from(entry.relative_offset()) < relative)
    }

    /// Keeps the leading entries for which `keep` holds; it must hold for a prefix.
    pub(crate) fn keep_while(&mut self, files: &Files<D>, keep: impl Fn(&E) -> bool) -> Result<()> {
        let kept = self.persisted_partition(files, &keep)?;
        if kept < self.persisted(files)? {
            self.tail.clear();
            return self.truncate_file(files, kept);
        }
        self.tail.truncate(self.tail.partition_point(keep));
        Ok(())
    }

    /// Forgets everything, on disk too.
    pub(crate) fn reset(&mut self, files: &Files<D>) -> Result<()> {
        self.tail.clear();
        let path = self.path(files);
        if files.cache.disk().metadata(&path).at("look at", &path)?.is_some() {
            return self.truncate_file(files, 0);
        }
        self.persisted.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the entries in the file follow each other as they must.
    pub(crate) fn is_ordered(&self, files: &Files<D>) -> Result<bool> {
        let count = self.persisted(files)?;
        let (mut at, mut last) = (0, None::<E>);
        while at < count {
            let entries = (count - at).min(BLOCK_ENTRIES);
            let mut block = vec![0; entries as usize * E::SIZE];
            self.read(files, &mut block, at)?;
            for entry in block.chunks_exact(E::SIZE).filter_map(E::decode) {
                let follows = |last: E| entry.key() > last.key() && entry.relative_offset() >= last.relative_offset();
                if last.is_some_and(|last| !follows(last)) {
                    return Ok(false);
                }
                last = Some(entry);
            }
            at += entries;
        }
        Ok(true)
    }

    /// Opens the file, if there is one, and keeps it open whatever it is called.
    pub(crate) fn pin(&self, files: &Files<D>) -> Result<()> {
        let path = self.path(files);
        match files.cache.pin(&self.slot, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            pinned => pinned.at("open", &path),
        }
    }

    /// It has its name.
    pub(crate) fn unpin(&self) {
        self.slot.unpin();
    }

    /// Closes the descriptor.
    pub(crate) fn close(&self) {
        self.slot.close();
    }

    fn truncate_file(&mut self, files: &Files<D>, entries: u32) -> Result<()> {
        let path = self.path(files);
        let file = files.cache.get(&self.slot, &path, OpenMode::ReadWrite).at("open", &path)?;
        file.truncate(u64::from(entries) * E::SIZE as u64).at("truncate", &path)?;
        self.persisted.store(i64::from(entries), Ordering::Relaxed);
        Ok(())
    }

    fn persisted(&self, files: &Files<D>) -> Result<u32> {
        let known = self.persisted.load(Ordering::Relaxed);
        if known >= 0 {
            return Ok(known as u32);
        }
        let path = self.path(files);
        let len = files.cache.disk().metadata(&path).at("look at", &path)?.map_or(0, |metadata| metadata.len);
        // A torn last entry does not count.
        let count = u32::try_from(len / E::SIZE as u64).unwrap_or(u32::MAX);
        self.persisted.store(i64::from(count), Ordering::Relaxed);
        Ok(count)
    }

    /// The entry with 0-based number `at` in file or memory.
    fn entry(&self, files: &Files<D>, at: u32) -> Result<Option<E>> {
        let persisted = self.persisted(files)?;
        if let Some(at) = at.checked_sub(persisted) {
            return Ok(self.tail.get(at as usize).copied());
        }
        let mut bytes = [0; 16];
        let bytes = bytes.get_mut(..E::SIZE).unwrap_or_default();
        let read = self.read(files, bytes, at)?;
        Ok(if read == E::SIZE { E::decode(bytes) } else { None })
    }

    fn read(&self, files: &Files<D>, bytes: &mut [u8], at: u32) -> Result<usize> {
        let mut read = || {
            let file = match files.cache.get_open(&self.slot) {
                Some(file) => file,
                None => files.cache.get(&self.slot, &self.path(files), OpenMode::ReadWrite)?,
            };
            file.read_at(bytes, u64::from(at) * E::SIZE as u64)
        };
        read().map_err(|source| Error::Io { operation: "read", path: self.path(files), source })
    }

    /// How many entries of the file, from the beginning, satisfy `predicate`, which holds for a prefix.
    fn persisted_partition(&self, files: &Files<D>, predicate: impl Fn(&E) -> bool) -> Result<u32> {
        let (mut low, mut high) = (0, self.persisted(files)?);
        while high - low > BLOCK_ENTRIES {
            let middle = low + (high - low) / 2;
            match self.entry(files, middle)? {
                Some(entry) if predicate(&entry) => low = middle + 1,
                _ => high = middle,
            }
        }
        if low == high {
            return Ok(low);
        }
        let mut block = vec![0; (high - low) as usize * E::SIZE];
        let read = self.read(files, &mut block, low)?;
        let block = block.get(..read).unwrap_or_default();
        let holding = block.chunks_exact(E::SIZE).filter_map(E::decode).take_while(|entry| predicate(entry)).count();
        Ok(low + holding as u32)
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
