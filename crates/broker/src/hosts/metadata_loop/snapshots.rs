//! Snapshots of the committed metadata (class `SnapshotGenerator`) and removal of what they replace. A snapshot is written
//! beside: the image is shared and never changes, so that a large one holds up nobody.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};

use milena_raft::OffsetAndEpoch;
use milena_storage::Result;
use milena_storage::disk::Disk;
use milena_types::Timestamp;

use super::{Event, MetadataHandle, MetadataLoop};
use crate::hosts::metadata_log::SnapshotContent;

/// Between two looks for what is past retention (`RaftMetadataLogCleanerManager`).
const CLEAN_INTERVAL_MS: i64 = 60_000;

/// Work that takes long; its event goes back to the metadata thread.
pub type Job = Box<dyn FnOnce() -> Event + Send>;

/// Who does work beside the metadata thread.
pub trait Beside: Send {
    /// Begins to do it; must not block.
    fn begin(&mut self, job: Job);

    /// Waits for all that was begun.
    fn finish(&mut self) {}
}

/// A thread for each job; there is at most one job at a time.
pub(crate) struct BesideThread {
    /// Not an own handle: the metadata thread ends when all others are gone.
    events: Weak<Sender<Event>>,
    running: Option<std::thread::JoinHandle<()>>,
}

impl BesideThread {
    pub(crate) fn new(metadata: &MetadataHandle) -> BesideThread {
        BesideThread { events: Arc::downgrade(&metadata.events), running: None }
    }
}

impl Beside for BesideThread {
    fn begin(&mut self, job: Job) {
        self.finish();
        let events = Weak::clone(&self.events);
        let work = move || {
            let event = job();
            if let Some(events) = events.upgrade() {
                // A thread that has ended no longer needs to know.
                let _ = events.send(event);
            }
        };
        match std::thread::Builder::new().name("metadata-snapshot".to_owned()).spawn(work) {
            Ok(running) => self.running = Some(running),
            Err(error) => tracing::error!(%error, "no thread for the metadata snapshot"),
        }
    }

    fn finish(&mut self) {
        if let Some(running) = self.running.take()
            && running.join().is_err()
        {
            tracing::error!("the thread of a metadata snapshot failed");
        }
    }
}

impl<D: Disk> MetadataLoop<D> {
    pub(super) fn snapshot_if_due(&mut self, now: Timestamp) {
        let due = self.snapshots.is_due(self.replayer.bytes_since_snapshot, now.0 - self.last_snapshot.0);
        if !due || self.snapshot_in_flight || self.replayer.image.is_in_transaction() {
            return;
        }
        let content = SnapshotContent {
            id: OffsetAndEpoch { offset: self.replayer.next_offset, epoch: self.replayer.last_epoch },
            kraft: self.quorum.kraft_history().at(self.replayer.next_offset).clone(),
            last_contained: self.replayer.last_timestamp,
            now: self.clock.now(),
            image: self.replayer.image.clone(),
        };
        self.last_snapshot = now;
        self.replayer.bytes_since_snapshot = 0;
        self.snapshot_in_flight = true;
        let files = self.log.snapshot_files();
        self.beside.begin(Box::new(move || {
            let outcome = files.write(&content);
            Event::SnapshotWritten { id: content.id, outcome }
        }));
    }

    /// A snapshot that could not be written costs nothing but time at the next start: the log still has everything.
    pub(super) fn on_snapshot_written(&mut self, id: OffsetAndEpoch, outcome: Result<()>) {
        self.snapshot_in_flight = false;
        match outcome {
            Ok(()) => {
                tracing::info!(end_offset = id.offset.0, epoch = id.epoch.0, "metadata snapshot written");
                self.log.note_snapshot(id);
                self.quorum.on_snapshot_written(id);
                self.next_clean = self.clock.steady();
            }
            Err(error) => tracing::error!(%error, "a metadata snapshot could not be written"),
        }
    }

    pub(super) fn clean_if_due(&mut self, now: Timestamp) -> Result<()> {
        if now < self.next_clean {
            return Ok(());
        }
        self.next_clean = Timestamp(now.0 + CLEAN_INTERVAL_MS);
        let (start, oldest) = self.log.clean(self.clock.now())?;
        self.quorum.on_log_cleaned(start, oldest);
        Ok(())
    }
}
