//! Open files, bounded: each file is opened when first needed and closed again when others were needed more recently.
//! Who holds an `Arc` of a closed one (a fetch on its way out) keeps it open until done.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::disk::{Disk, OpenMode};

/// The place of one file that may be open or not.
#[derive(Debug)]
pub(crate) struct Slot<F> {
    file: Mutex<Option<Arc<F>>>,
    last_used: AtomicU64,
    /// It stays open: its name is changing.
    is_pinned: AtomicBool,
}

impl<F> Default for Slot<F> {
    fn default() -> Self {
        Slot { file: Mutex::new(None), last_used: AtomicU64::new(0), is_pinned: AtomicBool::new(false) }
    }
}

impl<F> Slot<F> {
    /// Closes the file for this slot; the next use opens it again.
    pub(crate) fn close(&self) -> bool {
        if self.is_pinned.load(Ordering::Acquire) {
            return false;
        }
        self.file.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    /// The file has its name, and may be closed.
    pub(crate) fn unpin(&self) {
        self.is_pinned.store(false, Ordering::Release);
    }

    fn is_open(&self) -> bool {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// The files of one or more log directories that are open now.
#[derive(Debug)]
pub struct FileCache<D: Disk> {
    disk: D,
    open_max: usize,
    /// Counts openings, not uses: only an opening closes others, and uses must not meet on one cache line.
    clock: AtomicU64,
    open: Mutex<Vec<Weak<Slot<D::File>>>>,
}

impl<D: Disk> FileCache<D> {
    /// Keeps at most about `open_max` files open (those in use by readers come on top).
    #[must_use]
    pub fn new(disk: D, open_max: usize) -> Arc<FileCache<D>> {
        let open_max = open_max.max(8);
        Arc::new(FileCache { disk, open_max, clock: AtomicU64::new(1), open: Mutex::new(Vec::new()) })
    }

    /// The disk beneath.
    #[must_use]
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Files open through this cache, for tests and metrics.
    #[must_use]
    pub fn open_count(&self) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().filter(|slot| slot.upgrade().is_some_and(|slot| slot.is_open())).count()
    }

    /// The open file of `slot`, opening `path` with `mode` if it is not open.
    pub(crate) fn get(&self, slot: &Arc<Slot<D::File>>, path: &Path, mode: OpenMode) -> io::Result<Arc<D::File>> {
        let file = {
            let mut place = slot.file.lock().unwrap_or_else(PoisonError::into_inner);
            slot.last_used.store(self.clock.load(Ordering::Relaxed), Ordering::Relaxed);
            if let Some(file) = &*place {
                return Ok(Arc::clone(file));
            }
            let file = self.disk.open(path, mode)?;
            *place = Some(Arc::clone(&file));
            file
        };
        self.register(slot);
        Ok(file)
    }

    /// Opens the file of `slot`, which is at `path` now, until it is unpinned.
    pub(crate) fn pin(&self, slot: &Arc<Slot<D::File>>, path: &Path) -> io::Result<()> {
        slot.is_pinned.store(true, Ordering::Release);
        let opened = self.get(slot, path, OpenMode::ReadWrite);
        if opened.is_err() {
            slot.unpin();
        }
        opened.map(drop)
    }

    /// The open file of `slot` without touching the disk, if it is open.
    pub(crate) fn get_open(&self, slot: &Slot<D::File>) -> Option<Arc<D::File>> {
        let place = slot.file.lock().unwrap_or_else(PoisonError::into_inner);
        slot.last_used.store(self.clock.load(Ordering::Relaxed), Ordering::Relaxed);
        place.as_ref().map(Arc::clone)
    }

    fn register(&self, slot: &Arc<Slot<D::File>>) {
        slot.last_used.store(self.clock.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push(Arc::downgrade(slot));
        if open.len() <= self.open_max {
            return;
        }
        let mut live: Vec<(u64, Arc<Slot<D::File>>)> = open
            .drain(..)
            .filter_map(|slot| slot.upgrade())
            .filter(|slot| slot.is_open())
            .map(|slot| (slot.last_used.load(Ordering::Relaxed), slot))
            .collect();
        live.sort_unstable_by_key(|(last_used, _)| *last_used);
        // A slot reopened since it was listed is there twice.
        live.dedup_by_key(|(_, slot)| Arc::as_ptr(slot));
        let closing = if live.len() > self.open_max * 3 / 4 { live.len() - self.open_max * 3 / 4 } else { 0 };
        let (used_least, used) = live.split_at(closing);
        // Those that are pinned stay open.
        let kept = used_least.iter().filter(|(_, slot)| !slot.close()).chain(used);
        open.extend(kept.map(|(_, slot)| Arc::downgrade(slot)));
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::disk::SimulatedDisk;

    #[test]
    fn the_least_recently_used_files_are_closed_first() {
        let cache = FileCache::new(SimulatedDisk::new(1), 16);
        let slots: Vec<_> = (0..100).map(|_| Arc::new(Slot::default())).collect();
        let path = |at: usize| PathBuf::from(format!("/{at}"));
        for (at, slot) in slots.iter().enumerate() {
            cache.get(slot, &path(at), OpenMode::Create).unwrap();
            cache.get(&slots[0], &path(0), OpenMode::Create).unwrap();
            assert!(cache.open_count() <= 17);
        }
        assert!(cache.get_open(&slots[0]).is_some(), "always in use");
        assert!(cache.get_open(&slots[1]).is_none());
        assert!(cache.get_open(&slots[99]).is_some());
    }

    #[test]
    fn a_pinned_file_is_not_closed_until_it_is_unpinned() {
        let cache = FileCache::new(SimulatedDisk::new(1), 16);
        let open = |at: usize| {
            let slot = Arc::new(Slot::default());
            cache.get(&slot, &PathBuf::from(format!("/{at}")), OpenMode::Create).unwrap();
            slot
        };
        let pinned = open(0);
        cache.pin(&pinned, Path::new("/0")).unwrap();
        let others: Vec<_> = (1..100).map(open).collect();
        assert!(!pinned.close() && cache.get_open(&pinned).is_some() && cache.get_open(&others[0]).is_none());
        pinned.unpin();
        let _more: Vec<_> = (100..200).map(open).collect();
        assert!(cache.get_open(&pinned).is_none());
    }
}
