//! What opening a log does beyond listing its files. The truth is the log: batches are read from the last point that a
//! flush vouches for, the first torn or damaged one ends the log, indexes, epochs and producers follow from what is
//! left. That point is a producer snapshot in the midst of the segment if there is one (written after log and indexes
//! below it were synced), else the segment's beginning.

use std::collections::BTreeSet;

use bytes::Bytes;
use milena_records::{Batch, BatchHeader};
use milena_types::{Offset, Timestamp};

use super::damage::pass_damaged;
use super::plan::marker_of;
use super::{Log, LogOpen, RecoveryReport};
use crate::disk::{Disk, DiskFile, read_whole};
use crate::error::{At, Result, corrupt};
use crate::index::TimeEntry;
use crate::producer_snapshot::{self, SNAPSHOT_SUFFIX, Saved};
use crate::producers::{AppendOrigin, Marker};
use crate::scan::{BatchPlace, Headers, ValidBatches, read_batch};
use crate::segment::MaxTimestamp;

/// A batch with a producer id that recovery met.
struct Produced {
    header: BatchHeader,
    marker: Option<Marker>,
}

/// Batches that are looked at together when producers are rebuilt.
const HEADERS_MAX: usize = 4096;
/// A snapshot's offset and its producers.
type Snapshot = (i64, Saved);

impl<D: Disk> Log<D> {
    /// Completes opening: the segments are those found, their sizes those of the files.
    pub(super) fn recover(
        &mut self,
        open: LogOpen,
        unindexed: &BTreeSet<i64>,
        report: &mut RecoveryReport,
    ) -> Result<()> {
        let trusted_end = if open.clean_shutdown { i64::MAX } else { open.recovery_point.0 };
        let snapshot = self.load_snapshot(trusted_end)?;
        let snapshot_offset = snapshot.as_ref().map_or(-1, |(offset, _)| *offset);
        // Batches say it of what is not durable; the file may speak of some that were cut off.
        if !open.clean_shutdown && self.epochs.truncate_from_end(open.recovery_point) {
            self.unsynced.epochs_changed();
        }
        let mut produced = Vec::new();
        let mut scanned_from = i64::MAX;
        let first_doubtful =
            if open.clean_shutdown { self.segments.len() } else { self.segment_index(open.recovery_point.0) };
        let mut at = 0;
        while let Some(segment) = self.segments.get(at) {
            let base_offset = segment.base_offset;
            let doubtful = at >= first_doubtful;
            if doubtful || unindexed.contains(&base_offset) || self.index_is_damaged(at, open)? {
                let from = if unindexed.contains(&base_offset) { -1 } else { snapshot_offset };
                let cut = self.recover_segment(at, from, open, &mut produced, report)?;
                scanned_from = scanned_from.min(base_offset);
                if cut || doubtful && self.gap_follows(at)? {
                    self.drop_segments_after(at, report)?;
                }
            }
            at += 1;
        }
        self.settle_ends(open, report)?;
        self.rebuild_producers(open, snapshot, &produced, scanned_from)?;
        self.appended_bytes = report.bytes_scanned;
        Ok(())
    }

    /// Whether the next segment does not begin where this one ends: a tail is lost, or an old segment came back.
    fn gap_follows(&self, at: usize) -> Result<bool> {
        let (Some(segment), Some(next)) = (self.segments.get(at), self.segments.get(at + 1)) else { return Ok(false) };
        let end = segment.next_offset(&self.files)?;
        let is_compacted =
            self.config.cleanup_compact || self.cleaned_to.is_some_and(|cleaned_to| next.base_offset <= cleaned_to.0);
        Ok(end > next.base_offset || !is_compacted && end < next.base_offset)
    }

    /// Whether the indexes of the segment that ends at the recovery point contradict the log: it may have been closed
    /// after the last flush. The end of each is held against the batches after it, which is where a lost write shows;
    /// of what lies before, that it is in order.
    fn index_is_damaged(&self, at: usize, open: LogOpen) -> Result<bool> {
        if open.clean_shutdown || at != self.segment_index((open.recovery_point.0 - 1).max(0)) {
            return Ok(false);
        }
        let Some(segment) = self.segments.get(at) else { return Ok(false) };
        if !segment.offset_index.is_ordered(&self.files)? || !segment.time_index.is_ordered(&self.files)? {
            return Ok(true);
        }
        let path = segment.path(&self.files);
        let file = segment.file(&self.files)?;
        let last = segment.offset_index.last(&self.files)?;
        let mut headers = Headers::new(&*file, last.map_or(0, |last| u64::from(last.position)), segment.size);
        let first = headers.next().at("read", &path)?;
        let found = first.map_or(-1, |place| place.header.last_offset().0 - segment.base_offset);
        if last.is_some_and(|last| found != i64::from(last.relative_offset)) {
            return Ok(true);
        }
        // Four times: the interval may have been changed.
        let unindexed = segment.size.saturating_sub(first.map_or(0, |place| place.end()));
        let largest = headers.next().at("read", &path)?.map_or(0, |place| place.size());
        if unindexed > u64::from(self.config.index_interval_bytes) * 4 + largest * 2 {
            return Ok(true);
        }
        segment.time_index_is_behind(&self.files)
    }

    /// Checks a segment's batches and rebuilds its indexes. Whether anything was cut off: only at or beyond the recovery
    /// point a bad batch is the torn end of what was written last.
    fn recover_segment(
        &mut self,
        at: usize,
        snapshot_offset: i64,
        open: LogOpen,
        produced: &mut Vec<Produced>,
        report: &mut RecoveryReport,
    ) -> Result<bool> {
        let files = self.files.clone();
        let config = self.config.clone();
        let start = self.trusted_start(at, snapshot_offset)?;
        let Some(segment) = self.segments.get_mut(at) else { return Ok(false) };
        let (path, file_size) = (segment.path(&files), segment.size);
        crate::transactions::truncate_to(&files, segment.base_offset, segment.base_offset.max(snapshot_offset))?;
        report.segments_scanned += 1;
        if file_size == 0 {
            return Ok(false);
        }
        let file = segment.file(&files)?;
        segment.restart_at(start, open.now.0);
        let durable_end = if open.clean_shutdown { i64::MAX } else { open.recovery_point.0 };
        let mut next = segment.base_offset;
        let mut batches = ValidBatches::new(&*file, start, file_size);
        loop {
            let Some((place, bytes)) = batches.next().at("read", &path)? else {
                if segment.size == file_size || next >= durable_end {
                    break;
                }
                self.damaged.push(pass_damaged(&mut batches, segment, (&files, &config), next)?);
                next = self.damaged.last().map_or(next, |damage| damage.to.0);
                report.batches_damaged += 1;
                continue;
            };
            let header = place.header;
            let follows = header.base_offset.0 >= next && segment.takes_offset(header.last_offset().0);
            let Some(found) = produced_batch(header, bytes).ok().filter(|_| follows) else {
                if next < durable_end {
                    return Err(corrupt(
                        &path,
                        place.position,
                        "a batch that was durable does not follow the one before",
                    ));
                }
                break;
            };
            produced.extend(found);
            if self.epochs.recover(header.partition_leader_epoch, header.base_offset) {
                self.unsynced.epochs_changed();
            }
            segment.note(&files, &config, &header)?;
            next = header.next_offset().0;
        }
        report.bytes_scanned += segment.size - start;
        let truncated = file_size - segment.size;
        if truncated > 0 {
            report.bytes_truncated += truncated;
            file.truncate(segment.size).at("truncate", &path)?;
            // It must not come back behind what will be written in its place.
            file.sync_data().at("sync", &path)?;
            tracing::warn!(path = %path.display(), bytes = truncated, "cut off a torn or damaged tail");
        }
        segment.seal_or_hold(&files)?;
        self.holds_indexes |= segment.has_held();
        Ok(truncated > 0)
    }

    /// Where checking begins in a segment; the indexes are cut to what lies before.
    fn trusted_start(&mut self, at: usize, snapshot_offset: i64) -> Result<u64> {
        let files = self.files.clone();
        let Some(segment) = self.segments.get_mut(at) else { return Ok(0) };
        let relative = snapshot_offset - segment.base_offset;
        if relative > 0 {
            // Apache Kafka leaves zeros at the end of an index it did not close.
            segment.offset_index.keep_while(&files, |entry| {
                entry.relative_offset != 0 && i64::from(entry.relative_offset) < relative
            })?;
            if let Some(entry) = segment.offset_index.last(&files)? {
                let within = |time: &TimeEntry| {
                    time.relative_offset <= entry.relative_offset && (time.timestamp > 0 || time.relative_offset > 0)
                };
                segment.time_index.keep_while(&files, within)?;
                let file = segment.file(&files)?;
                let mut headers = Headers::new(&*file, u64::from(entry.position), segment.size);
                let place = headers.next().at("read", &segment.path(&files))?;
                let last_offset = segment.base_offset + i64::from(entry.relative_offset);
                let time = segment.time_index.last(&files)?;
                if let (Some(time), true) =
                    (time, place.is_some_and(|place| place.header.last_offset().0 == last_offset))
                {
                    let offset = segment.base_offset + i64::from(time.relative_offset);
                    segment.set_max_timestamp(MaxTimestamp { timestamp: time.timestamp, offset });
                    return Ok(u64::from(entry.position));
                }
            }
        }
        segment.offset_index.reset(&files)?;
        segment.time_index.reset(&files)?;
        segment.set_max_timestamp(MaxTimestamp { timestamp: -1, offset: segment.base_offset });
        Ok(0)
    }

    /// Removes the segments after the one a damaged batch was found in: nothing may follow a gap.
    fn drop_segments_after(&mut self, at: usize, report: &mut RecoveryReport) -> Result<()> {
        let dropped: Vec<_> = self.segments.drain(at + 1..).rev().collect();
        if dropped.is_empty() {
            return Ok(());
        }
        for segment in dropped {
            report.bytes_truncated += segment.size;
            segment.close();
            self.remove_segment_files(segment.base_offset)?;
        }
        self.files.disk().sync_directory(&self.files.directory).at("sync", &self.files.directory)
    }

    /// Start and end of the log, the recovery point, and the epochs between.
    fn settle_ends(&mut self, open: LogOpen, report: &mut RecoveryReport) -> Result<()> {
        let checkpoint = open.log_start_offset.0;
        let mut end = match self.segments.last() {
            Some(last) => last.next_offset(&self.files)?,
            None => checkpoint,
        };
        self.notice_lost_end(end, open)?;
        if end < checkpoint {
            tracing::warn!(directory = %self.files.directory.display(), end, checkpoint, "the log ends before its start");
            for segment in std::mem::take(&mut self.segments) {
                report.bytes_truncated += segment.size;
                segment.close();
                self.remove_segment_files(segment.base_offset)?;
            }
            self.epochs.clear();
            self.unsynced.epochs_changed();
            end = checkpoint;
        }
        if self.segments.is_empty() {
            self.add_empty_segment(end, open.now)?;
        }
        self.log_end_offset = end;
        self.log_start_offset = checkpoint.max(self.segments.first().map_or(0, |first| first.base_offset));
        self.recovery_point = if open.clean_shutdown { end } else { open.recovery_point.0.min(end) };
        self.saved_recovery_point = self.recovery_point;
        let cut = self.epochs.truncate_from_end(Offset(end));
        if self.epochs.truncate_from_start(Offset(checkpoint)) || cut {
            self.unsynced.epochs_changed();
        }
        // What a killed process wrote is here, and need not be on disk: neither records nor the names of their files.
        if self.recovery_point < end || self.segments.last().is_some_and(|active| active.size == 0) {
            self.unsynced.all_changed();
        }
        Ok(())
    }

    /// The newest whole snapshot at or below `limit`; damaged ones are removed.
    pub(super) fn load_snapshot(&mut self, limit: i64) -> Result<Option<Snapshot>> {
        for at in (0..self.snapshots.len()).rev() {
            let Some(offset) = self.snapshots.get(at).copied().filter(|offset| *offset <= limit) else { continue };
            let path = self.files.path(offset, SNAPSHOT_SUFFIX);
            let contents = read_whole(self.files.disk(), &path).at("read", &path)?.unwrap_or_default();
            match producer_snapshot::decode(contents) {
                Ok(entries) => return Ok(Some((offset, entries))),
                Err(reason) => {
                    tracing::warn!(path = %path.display(), reason, "removed a damaged producer snapshot");
                    self.remove_snapshot(offset)?;
                }
            }
        }
        Ok(None)
    }

    /// Producers from the snapshot and the batches after it; without one after a kill, those of deleted records whose segment is there, too.
    fn rebuild_producers(
        &mut self,
        open: LogOpen,
        snapshot: Option<Snapshot>,
        produced: &[Produced],
        scanned_from: i64,
    ) -> Result<()> {
        let doubtful: Vec<i64> = self
            .snapshots
            .iter()
            .copied()
            .filter(|offset| *offset > self.log_end_offset || !open.clean_shutdown && *offset > open.recovery_point.0)
            .collect();
        for offset in doubtful {
            self.remove_snapshot(offset)?;
        }
        self.remove_stray_snapshots()?;
        // A directory of before there were snapshots is believed to have no producers (`rebuildProducerState`).
        if open.clean_shutdown && snapshot.is_none() && produced.is_empty() {
            return Ok(());
        }
        let snapshot = match snapshot {
            Some((offset, _)) if offset > self.log_end_offset => self.load_snapshot(self.log_end_offset)?,
            snapshot => snapshot,
        };
        let whole = self.segments.get(self.segment_index(self.log_start_offset)).map(|first| first.base_offset);
        let whole = whole.filter(|_| snapshot.is_none() && !open.clean_shutdown);
        let from = self.load_producers(snapshot, open.now).min(whole.unwrap_or(i64::MAX));
        self.replay_headers(from, scanned_from.min(self.log_end_offset))?;
        for batch in produced.iter().filter(|batch| batch.header.last_offset().0 >= from) {
            self.replay(&batch.header, batch.marker, true)?;
        }
        Ok(())
    }

    /// Loads a snapshot's producers; where the batches it does not know begin.
    pub(super) fn load_producers(&mut self, snapshot: Option<Snapshot>, now: Timestamp) -> i64 {
        let Some((offset, saved)) = snapshot else { return self.log_start_offset };
        for (producer_id, entry) in saved.entries() {
            self.producers.load(producer_id, entry);
        }
        self.producers.remove_expired(now.0, self.config.producer_id_expiration_ms);
        offset
    }

    /// Takes the batches in `from..to` into the producers, reading headers only.
    pub(super) fn replay_headers(&mut self, from: i64, to: i64) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        for at in self.segment_index(from)..self.segments.len() {
            let mut from = from;
            loop {
                let found = self.produced_in(at, from, to)?;
                found.iter().try_for_each(|(header, marker)| self.replay(header, *marker, false))?;
                let Some((last, _)) = found.last().filter(|_| found.len() == HEADERS_MAX) else { break };
                from = last.last_offset().0 + 1;
            }
        }
        Ok(())
    }

    /// The first of a segment's batches in `from..to` that have a producer.
    fn produced_in(&self, at: usize, from: i64, to: i64) -> Result<Vec<(BatchHeader, Option<Marker>)>> {
        let mut found = Vec::new();
        let Some(segment) = self.segments.get(at).filter(|segment| segment.size > 0 && segment.base_offset < to) else {
            return Ok(found);
        };
        let Some(first) = segment.find(&self.files, from)? else { return Ok(found) };
        let path = segment.path(&self.files);
        let file = segment.file(&self.files)?;
        let mut headers = Headers::sequential(&*file, first.position, segment.size);
        while let Some(place) = headers.next().at("read", &path)? {
            let header = place.header;
            if header.base_offset.0 >= to || found.len() == HEADERS_MAX {
                break;
            }
            // The log may begin in the midst of a batch.
            if header.last_offset().0 < from || !header.has_producer_id() {
                continue;
            }
            let marker = if header.is_control() { self.read_marker(&*file, &place).at("read", &path)? } else { None };
            found.push((header, marker));
        }
        Ok(found)
    }

    fn read_marker(&self, file: &D::File, place: &BatchPlace) -> std::io::Result<Option<Marker>> {
        let bytes = read_batch(file, place)?;
        Ok(marker_of(&Batch { header: place.header, bytes }).ok().flatten())
    }

    fn replay(&mut self, header: &BatchHeader, marker: Option<Marker>, index: bool) -> Result<()> {
        // What is in the log was accepted once; a batch the rules of today refuse changes nothing.
        match self.producers.apply(header, header.base_offset, AppendOrigin::Replication, marker) {
            Ok((_, Some(completed))) => self.finish_transaction(&completed, index),
            Ok((_, None)) => Ok(()),
            Err(refused) => {
                tracing::warn!(offset = %header.base_offset, reason = refused.message, "passed over a batch");
                Ok(())
            }
        }
    }
}

fn produced_batch(header: BatchHeader, bytes: &[u8]) -> Result<Option<Produced>, crate::Rejected> {
    if !header.has_producer_id() {
        return Ok(None);
    }
    let marker =
        if header.is_control() { marker_of(&Batch { header, bytes: Bytes::copy_from_slice(bytes) })? } else { None };
    Ok(Some(Produced { header, marker }))
}
