//! Which producer snapshots a partition keeps: one at each segment's base, the newest at or below the recovery point that
//! is on disk, where recovery begins, and the newest of all, which is where it will begin next.

use std::collections::BTreeSet;

use super::Log;
use crate::disk::{Disk, write_atomic_unsynced};
use crate::error::{At, Result};
use crate::files::file_name;
use crate::producer_snapshot::SNAPSHOT_SUFFIX;
use crate::producers::Undo;

impl<D: Disk> Log<D> {
    /// Saves the producers at the base of the next segment, without what `unwritten` changed. Not synced: if it is lost,
    /// an older one and the batches after it say the same.
    pub(super) fn take_snapshot(&mut self, offset: i64, unwritten: &[Undo]) -> Result<()> {
        // A flush that writes it uses the same name for the file that becomes it.
        if self.snapshots.last().is_some_and(|last| *last >= offset) || self.snapshot_under_way == Some(offset) {
            return Ok(());
        }
        let bytes = self.producers.snapshot_without(unwritten);
        self.write_snapshot(offset, &bytes)?;
        self.note_snapshot(offset);
        Ok(())
    }

    pub(super) fn write_snapshot(&mut self, offset: i64, bytes: &[u8]) -> Result<()> {
        let path = self.files.path(offset, SNAPSHOT_SUFFIX);
        write_atomic_unsynced(self.files.disk(), &path, bytes).at("write", &path)?;
        self.unsynced.directory_changed();
        Ok(())
    }

    pub(super) fn remove_snapshot(&mut self, offset: i64) -> Result<()> {
        self.snapshots.retain(|known| *known != offset);
        self.remove_file(&file_name(offset, SNAPSHOT_SUFFIX))
    }

    /// A snapshot is there.
    pub(super) fn note_snapshot(&mut self, offset: i64) {
        if let Err(at) = self.snapshots.binary_search(&offset) {
            self.snapshots.insert(at, offset);
        }
        self.remove_superseded_snapshots();
    }

    pub(super) fn remove_superseded_snapshots(&mut self) {
        for offset in self.superseded_snapshots() {
            let path = self.files.path(offset, SNAPSHOT_SUFFIX);
            // One too many does no harm: the next start removes it.
            if let Err(error) = self.files.disk().remove(&path) {
                tracing::debug!(%error, path = %path.display(), "an old producer snapshot stays");
            }
        }
    }

    /// Forgets those that are not kept; the files are to be removed.
    pub(super) fn superseded_snapshots(&mut self) -> Vec<i64> {
        let begins = self.snapshots.iter().rev().find(|known| **known <= self.saved_recovery_point).copied();
        let newest = self.snapshots.last().copied();
        let Log { segments, snapshots, .. } = self;
        let is_kept = |known: &i64| {
            let at_base = segments.binary_search_by_key(known, |segment| segment.base_offset).is_ok();
            at_base || Some(*known) == begins || Some(*known) == newest
        };
        snapshots.extract_if(.., |known| !is_kept(known)).collect()
    }

    /// Keeps snapshots at segment bases and the newest of the others if it is after the last base.
    pub(super) fn remove_stray_snapshots(&mut self) -> Result<()> {
        let bases: BTreeSet<i64> = self.segments.iter().map(|segment| segment.base_offset).collect();
        let last_base = bases.last().copied().unwrap_or(0);
        let strays: Vec<i64> = self.snapshots.iter().copied().filter(|offset| !bases.contains(offset)).collect();
        let newest = strays.last().copied().filter(|offset| *offset > last_base);
        for stray in strays.into_iter().filter(|stray| Some(*stray) != newest) {
            self.remove_snapshot(stray)?;
        }
        Ok(())
    }
}
