//! One cleaning of one log (`Cleaner.doClean`): the map, then group after group. Whoever runs it hands each group to the
//! log and asks for the next. A batch that is damaged ends it: nothing of the segment it is in is touched.

use milena_records::{BatchHeader, RecordViews, Scratch};
use milena_types::{Offset, Timestamp};

use super::filter::{Filter, control_kind, payload};
use super::offset_map::OffsetMap;
use super::plan::CleanPlan;
use super::target::{CleanedGroup, Target};
use super::transactions::WalkedTransactions;
use super::view::{CleanView, LastRecords, SegmentView};
use crate::disk::Disk;
use crate::error::{At, Error, corrupt};
use crate::scan::ValidBatches;

/// Memory of a cleaning.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CleanerLimits {
    /// This thread's part of `log.cleaner.dedupe.buffer.size`.
    pub map_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`: the share of the map that may be taken.
    pub load_factor: f64,
    /// This thread's part of `log.cleaner.io.buffer.size`: what is written at once, about.
    pub buffer_bytes: usize,
}

impl CleanerLimits {
    /// Whether at least one key fits: else no cleaning would ever come further.
    #[must_use]
    pub fn takes_a_key(&self) -> bool {
        (self.map_bytes / super::offset_map::ENTRY_BYTES) as f64 * self.load_factor > 1.0
    }
}

/// Why a cleaning ended early.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// It was asked to.
    #[error("the cleaning was stopped")]
    Stopped,
    /// The disk failed or a file is corrupt.
    #[error(transparent)]
    Storage(#[from] Error),
}

/// What a cleaning did.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct CleanStats {
    /// Bytes read for the map.
    pub map_bytes_read: u64,
    /// Records looked at for the map.
    pub map_records_read: u64,
    /// Bytes of the cleaned segments.
    pub bytes_read: u64,
    /// Bytes of the segments written for them.
    pub bytes_written: u64,
    /// Records of the cleaned segments.
    pub records_read: u64,
    /// Records of the segments written for them.
    pub records_written: u64,
    /// Records without a key.
    pub records_invalid: u64,
    /// Share of the map that was taken.
    pub map_utilization: f64,
}

/// Told of every some bytes that are read or written, so that it can slow a cleaning down; ends it with `false`.
pub type Pace<'pace> = dyn FnMut(u64) -> bool + 'pace;

/// Begins cleanings.
#[derive(Clone, Copy, Debug)]
pub struct Cleaner {
    limits: CleanerLimits,
    key: [u64; 2],
}

impl Cleaner {
    /// `key` should be random and secret: with it nobody can make two keys that the map takes for one.
    #[must_use]
    pub fn new(limits: CleanerLimits, key: [u64; 2]) -> Cleaner {
        Cleaner { limits, key }
    }

    /// Reads the dirty part of the log and plans the groups.
    ///
    /// # Errors
    /// `CleanError`; nothing was changed.
    pub fn begin<D: Disk>(
        &self,
        view: CleanView<D>,
        plan: CleanPlan,
        producers: LastRecords,
        now: Timestamp,
        pace: &mut Pace<'_>,
    ) -> Result<Cleaning<D>, CleanError> {
        let mut cleaning = Cleaning {
            map: OffsetMap::new(self.limits.map_bytes, self.limits.load_factor, self.key),
            groups: Vec::new(),
            buffer_bytes: self.limits.buffer_bytes.clamp(4 << 10, 8 << 20),
            transactions: WalkedTransactions::default(),
            scratch: Scratch::new(),
            stats: CleanStats::default(),
            view,
            plan,
            producers,
            now,
        };
        cleaning.fill_map(pace)?;
        let end = cleaning.end_offset().0;
        let mut groups = cleaning.view.groups(end, plan.first_uncleanable_offset.0)?;
        groups.reverse();
        cleaning.groups = groups;
        cleaning.stats.map_utilization = cleaning.map.utilization();
        Ok(cleaning)
    }
}

/// A cleaning under way.
#[derive(Debug)]
pub struct Cleaning<D: Disk> {
    view: CleanView<D>,
    plan: CleanPlan,
    producers: LastRecords,
    now: Timestamp,
    map: OffsetMap,
    /// The next is the last.
    groups: Vec<Vec<SegmentView<D>>>,
    buffer_bytes: usize,
    transactions: WalkedTransactions,
    scratch: Scratch,
    stats: CleanStats,
}

impl<D: Disk> Cleaning<D> {
    /// Up to where the log will be clean when all groups are exchanged.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        Offset(self.map.latest() + 1)
    }

    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> CleanStats {
        self.stats
    }

    /// The log it cleans.
    #[must_use]
    pub fn view(&self) -> &CleanView<D> {
        &self.view
    }

    /// Writes the next group, durably; `None` at the end.
    ///
    /// # Errors
    /// `CleanError`; what was written is removed.
    pub fn next_group(&mut self, pace: &mut Pace<'_>) -> Result<Option<CleanedGroup<D>>, CleanError> {
        let Some(group) = self.groups.pop() else { return Ok(None) };
        let Some(first) = group.first() else { return Ok(None) };
        let mut target = Target::create(&self.view, first.base_offset)?;
        let mut outcome = Ok(());
        for segment in &group {
            outcome = outcome.and_then(|()| self.clean_segment(segment, &mut target, pace));
        }
        if let Err(error) = outcome {
            target.discard();
            return Err(error);
        }
        self.stats.bytes_written += target.write(0)?;
        Ok(Some(target.finish(&self.view, &group)?))
    }

    fn clean_segment(
        &mut self,
        segment: &SegmentView<D>,
        target: &mut Target<D>,
        pace: &mut Pace<'_>,
    ) -> Result<(), CleanError> {
        let view = &self.view;
        let next = view.segments.partition_point(|other| other.base_offset <= segment.base_offset);
        let end = view.segments.get(next).map_or(view.log_end_offset, |next| next.base_offset);
        self.transactions.add(view.aborted_between(segment.base_offset, end)?);
        let filter = Filter {
            map: &self.map,
            producers: &self.producers.0,
            now_ms: self.now.0,
            delete_retention_ms: view.config.delete_retention_ms,
            upper_bound_offset: self.plan.first_uncleanable_offset.0,
        };
        let path = segment.path(&view.files);
        let file = segment.file(&view.files)?;
        let mut batches = ValidBatches::new(&*file, 0, segment.size);
        let mut unpaced = 0;
        while let Some((place, bytes)) = batches.next().at("read", &path)? {
            let filtered = filter
                .batch(&place.header, bytes, &mut self.transactions, &mut self.scratch, &mut target.buffer)
                .map_err(|error| corrupt(&path, place.position, error.to_string()))?;
            if let Some(aborted) = &filtered.aborted {
                target.keep_aborted(aborted)?;
            }
            if let Some(header) = &filtered.written {
                target.note(header)?;
            }
            self.stats.records_read += filtered.records_read;
            self.stats.records_written += filtered.records_written;
            self.stats.records_invalid += filtered.records_invalid;
            unpaced += place.size();
            let written = target.write(self.buffer_bytes)?;
            self.stats.bytes_written += written;
            unpaced += written;
            if unpaced >= self.buffer_bytes as u64 && !pace(std::mem::take(&mut unpaced)) {
                return Err(CleanError::Stopped);
            }
        }
        self.stats.bytes_read += segment.size;
        if !pace(unpaced) {
            return Err(CleanError::Stopped);
        }
        whole(batches.position(), segment, view)
    }

    /// Notes the newest offset of each key from the first dirty offset on (`Cleaner.buildOffsetMap`).
    fn fill_map(&mut self, pace: &mut Pace<'_>) -> Result<(), CleanError> {
        let (start, end) = (self.plan.first_dirty_offset.0, self.plan.first_uncleanable_offset.0);
        let mut transactions = WalkedTransactions::default();
        transactions.add(self.view.aborted_between(start, end)?);
        let segments = self.view.between(start, end).to_vec();
        for (at, segment) in segments.iter().enumerate() {
            let end = segments.get(at + 1).map_or(end, |next| next.base_offset);
            if self.fill_map_from(segment, start, &mut transactions, pace)? {
                return Ok(());
            }
            // Offsets that compaction left out were looked at, too.
            self.map.set_latest(end - 1);
        }
        Ok(())
    }

    /// Whether the map is full.
    fn fill_map_from(
        &mut self,
        segment: &SegmentView<D>,
        start: i64,
        transactions: &mut WalkedTransactions,
        pace: &mut Pace<'_>,
    ) -> Result<bool, CleanError> {
        let view = &self.view;
        let path = segment.path(&view.files);
        let file = segment.file(&view.files)?;
        let mut batches = ValidBatches::new(&*file, 0, segment.size);
        let mut unpaced = 0;
        while let Some((place, bytes)) = batches.next().at("read", &path)? {
            let header = &place.header;
            let damaged = |error: milena_records::Error| corrupt(&path, place.position, error.to_string());
            if header.is_control() {
                let kind = control_kind(header, bytes).map_err(damaged)?;
                transactions.on_control(header, kind);
            } else if !transactions.on_records(header) && header.last_offset().0 >= start {
                let records = payload(header, bytes, &mut self.scratch).map_err(damaged)?;
                if note_keys(&mut self.map, header, &records, start).map_err(damaged)? {
                    return Ok(true);
                }
            }
            if header.last_offset().0 >= start {
                self.map.set_latest(header.last_offset().0);
            }
            self.stats.map_records_read += header.record_count.max(0) as u64;
            self.stats.map_bytes_read += place.size();
            unpaced += place.size();
            if unpaced >= self.buffer_bytes as u64 && !pace(std::mem::take(&mut unpaced)) {
                return Err(CleanError::Stopped);
            }
        }
        if !pace(unpaced) {
            return Err(CleanError::Stopped);
        }
        whole(batches.position(), segment, view)?;
        Ok(false)
    }
}

/// Notes the keys of a batch from `start` on; whether the map is full.
fn note_keys(
    map: &mut OffsetMap,
    header: &BatchHeader,
    records: &[u8],
    start: i64,
) -> Result<bool, milena_records::Error> {
    for record in RecordViews::new(header, records)? {
        let record = record?;
        let offset = header.base_offset.0 + i64::from(record.offset_delta);
        if let Some(key) = record.key.filter(|_| offset >= start) {
            if map.is_full() {
                return Ok(true);
            }
            map.put(key, offset);
        }
    }
    Ok(false)
}

/// The walk must have ended at the segment's end.
fn whole<D: Disk>(position: u64, segment: &SegmentView<D>, view: &CleanView<D>) -> Result<(), CleanError> {
    if position == segment.size {
        return Ok(());
    }
    Err(corrupt(&segment.path(&view.files), position, "no undamaged batch begins here").into())
}
