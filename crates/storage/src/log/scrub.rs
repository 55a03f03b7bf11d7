//! Looking for damage in what was written long ago (a scrub): the segments that are closed, read whole without the log's lock. A
//! place that is damaged is remembered, and nothing is read from it any more. Kafka has nothing like it: it finds out when
//! somebody reads.

use std::path::PathBuf;
use std::sync::Arc;

use milena_records::BatchHeader;
use milena_types::Offset;

use super::Log;
use crate::disk::{Disk, OpenMode};
use crate::error::{At, Error, Result, corrupt, is_unreadable};
use crate::file_cache::Slot;
use crate::files::Files;
use crate::scan::ValidBatches;

/// Bytes between two looks at the pace.
const PACE_BYTES: u64 = 256 << 10;

/// Batches of a segment that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The segment.
    segment: i64,
    /// Byte in it at which the damaged batch begins, or where some are missing.
    pub position: u64,
    /// First offset that cannot be read, and the first after it that may be readable.
    pub from: Offset,
    /// See `from`.
    pub to: Offset,
}

impl Damage {
    pub(super) fn new(segment: i64, position: u64, offsets: (i64, i64)) -> Self {
        Self { segment, position, from: Offset(offsets.0), to: Offset(offsets.1.max(offsets.0 + 1)) }
    }
}

/// A closed segment, as it was when somebody asked.
#[derive(Debug)]
pub struct ClosedSegment<D: Disk> {
    files: Files<D>,
    log: Arc<Slot<D::File>>,
    base_offset: i64,
    /// Where the next one begins.
    end_offset: i64,
    size: u64,
}

impl<D: Disk> ClosedSegment<D> {
    /// Its file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.files.path(self.base_offset, "log")
    }

    /// Reads everything and checks it. `pace` is told of bytes that were read and says whether to go on. What the device
    /// cannot read is damaged, up to the end. Offsets that are missing between two whole batches are not: compaction
    /// took them out, perhaps on the broker that the log was copied from, and long ago.
    ///
    /// # Errors
    /// IO, among it that the segment was deleted meanwhile.
    pub fn check(&self, pace: &mut dyn FnMut(u64) -> bool) -> Result<Vec<Damage>> {
        let path = self.path();
        let file = self.files.cache.get(&self.log, &path, OpenMode::ReadWrite).at("open", &path)?;
        let mut batches = ValidBatches::new(&*file, 0, self.size);
        let (mut next, mut told) = (self.base_offset, 0);
        // Where offsets are missing, and the first of them.
        let mut gap = None;
        let mut found = Vec::new();
        loop {
            if batches.position() - told >= PACE_BYTES {
                if !pace(batches.position() - told) {
                    return Ok(Vec::new());
                }
                told = batches.position();
            }
            let position = batches.position();
            let header = match batches.next() {
                Ok(found) => found.map(|(place, _)| place.header),
                Err(error) if is_unreadable(&error) => {
                    found.push(Damage::new(self.base_offset, position, (next, self.end_offset)));
                    break;
                }
                Err(error) => return Err(error).at("read", &path),
            };
            let follows =
                |header: &BatchHeader| header.base_offset.0 >= next && header.next_offset().0 <= self.end_offset;
            if let Some(header) = header.filter(follows) {
                if header.base_offset.0 > next {
                    gap = Some((position, next));
                }
                next = header.next_offset().0;
                continue;
            }
            if header.is_none() && position >= self.size {
                break;
            }
            // Behind it the device may fail.
            let passed = if header.is_none() { batches.pass_damaged().ok().flatten() } else { None };
            let passed = passed.map(|place| place.header);
            let passed = passed.filter(follows);
            let to = passed.map_or(self.end_offset, |header| header.next_offset().0);
            // Whole batches that overlap: a base offset, which no checksum covers, may have become a greater one.
            let (position, from) = gap.filter(|_| header.is_some()).unwrap_or((position, next));
            found.push(Damage::new(self.base_offset, position, (from, to)));
            next = to;
            if passed.is_none() {
                break;
            }
        }
        pace(self.size - told.min(self.size));
        Ok(found)
    }
}

impl<D: Disk> Log<D> {
    /// The segments nothing is appended to any more.
    #[must_use]
    pub fn closed_segments(&self) -> Vec<ClosedSegment<D>> {
        let next = self.segments.iter().skip(1).map(|next| next.base_offset);
        let closed = self.segments.iter().zip(next).map(|(segment, end_offset)| ClosedSegment {
            files: self.files.clone(),
            log: Arc::clone(&segment.log),
            base_offset: segment.base_offset,
            end_offset,
            size: segment.size,
        });
        closed.collect()
    }

    /// Whether the log still has the segment, and not another one in its place.
    #[must_use]
    pub fn has_segment(&self, closed: &ClosedSegment<D>) -> bool {
        let at = self.segments.binary_search_by_key(&closed.base_offset, |segment| segment.base_offset);
        let found = at.ok().and_then(|at| self.segments.get(at));
        found.is_some_and(|segment| Arc::ptr_eq(&segment.log, &closed.log) && segment.size == closed.size)
    }

    /// Remembers damage; whether it was not known.
    pub fn note_damage(&mut self, damage: Damage) -> bool {
        let is_new = damage.to.0 > self.log_start_offset && !self.damaged.contains(&damage);
        if is_new {
            self.damaged.push(damage);
        }
        is_new
    }

    /// Whether something is known to be damaged.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damaged.iter().any(|damage| damage.to.0 > self.log_start_offset)
    }

    /// Forgets damage in what is cut off.
    pub(super) fn forget_damage_from(&mut self, offset: i64) {
        self.damaged.retain(|damage| damage.from.0 < offset);
    }

    /// Whether `offset` cannot be read.
    pub(super) fn check_undamaged(&self, offset: Offset) -> Result<()> {
        match self.damaged.iter().find(|damage| (damage.from..damage.to).contains(&offset)) {
            Some(damage) => Err(self.damage_error(damage)),
            None => Ok(()),
        }
    }

    fn damage_error(&self, damage: &Damage) -> Error {
        let path = self.files.path(damage.segment, "log");
        corrupt(&path, damage.position, format!("offsets {} to {} are damaged", damage.from, damage.to.0 - 1))
    }

    /// Where the first damage at or behind `position` of a segment begins.
    pub(super) fn damage_behind(&self, segment: i64, position: u64) -> u64 {
        let here = self.damaged.iter().filter(|damage| damage.segment == segment && damage.position >= position);
        here.map(|damage| damage.position).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
#[path = "scrub_tests.rs"]
mod tests;
