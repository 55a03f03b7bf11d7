//! The log of one partition (`UnifiedLog`, `LocalLog`): segments in order of their base offsets, the last of them
//! appended to. One writer at a time, behind the partition's lock; reading needs `&self` and yields pieces of files.
//! The high watermark is not known here.
//!
//! Invariants: there is at least one segment; every batch lies in the segment with the greatest base offset that is not
//! greater; `recovery_point <= log_end_offset`; what is below the recovery point was synced.

mod append;
mod close;
mod damage;
mod file_work;
mod flush;
mod load;
mod lookup;
mod plan;
mod read;
mod recover;
mod replace;
mod retention;
mod roll;
mod scrub;
mod small_files;
mod snapshots;
mod truncate;
mod write;

pub use append::{AppendContext, AppendError, Appended};
pub use file_work::FileWork;
use file_work::Turn;
use flush::Unsynced;
pub use flush::{FlushHandle, Flushed};
pub use load::{LogOpen, RecoveryReport};
pub use lookup::TimestampOffset;
pub use read::{ReadError, ReadResult};
pub use replace::Exchange;
pub use scrub::{ClosedSegment, Damage};
use small_files::SmallFiles;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_records::BatchHeader;
use milena_types::{LeaderEpoch, Offset, ProducerId, Timestamp};

use crate::config::LogConfig;
use crate::disk::Disk;
use crate::epochs::{EpochCache, EpochEntry};
use crate::error::{Error, Result};
use crate::files::Files;
use crate::producer_entry::ProducerEntry;
use crate::producers::{Producers, Rejected};
use crate::segment::Segment;
use crate::verification::VerificationGuard;

/// One partition's log.
#[derive(Debug)]
pub struct Log<D: Disk> {
    files: Files<D>,
    config: Arc<LogConfig>,
    segments: Vec<Segment<D>>,
    epochs: EpochCache,
    producers: Producers,
    /// Offsets of the producer snapshots on disk, ascending.
    snapshots: Vec<i64>,
    log_start_offset: i64,
    log_end_offset: i64,
    recovery_point: i64,
    /// Log bytes written since the log was opened, and those that recovery read.
    appended_bytes: u64,
    /// `appended_bytes` as of the recovery point.
    flushed_bytes: u64,
    /// `appended_bytes` as of the recovery point in the checkpoint file.
    saved_bytes: u64,
    /// `appended_bytes` when indexes and producers were last made durable.
    checkpointed_bytes: u64,
    unsynced: Unsynced,
    /// What flushes that did not report back yet are to sync.
    under_way: Unsynced,
    /// The snapshot one of them writes.
    snapshot_under_way: Option<i64>,
    small_files: SmallFiles,
    /// Flushes of this log that were prepared and did not report back yet.
    flushes_running: u32,
    /// Counts truncations, to see whether there was one while a sync ran.
    truncations: u64,
    /// The recovery point in the checkpoint file.
    saved_recovery_point: i64,
    /// The active segment knows its greatest timestamp.
    active_ready: bool,
    /// A write or sync failed in a way that leaves the file's end unknown.
    failed: bool,
    /// Renamed files and when they may go, in milliseconds since 1970.
    deleted: Vec<(i64, PathBuf)>,
    /// Whose turn it is to rename files of old segments.
    turn: Turn,
    /// What is known to be damaged.
    damaged: Vec<Damage>,
    /// There was no room for indexes that were made anew: they are in memory.
    holds_indexes: bool,
    /// Up to where compaction came, if it ever did.
    cleaned_to: Option<Offset>,
}

impl<D: Disk> Log<D> {
    /// The partition's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.files.directory
    }

    /// The first offset clients may read.
    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        Offset(self.log_start_offset)
    }

    /// The log start, if it must be remembered because it is not where the first segment begins.
    #[must_use]
    pub fn log_start_to_checkpoint(&self) -> Option<Offset> {
        let first = self.segments.first().map_or(0, |first| first.base_offset);
        // As long as old segments are on their way out a crash brings them back.
        (self.log_start_offset > first || self.log_start_offset > 0 && self.turn.is_taken())
            .then_some(self.log_start_offset())
    }

    /// The offset the next record gets.
    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        Offset(self.log_end_offset)
    }

    /// Everything below it survives a power cut.
    #[must_use]
    pub fn recovery_point(&self) -> Offset {
        Offset(self.recovery_point)
    }

    /// Vouches for nothing from `offset` on, which is about to be cut off. Whether the recovery point on disk says more: the
    /// caller saves it before it cuts, for a log that ends below its own has lost records.
    pub fn lower_recovery_point(&mut self, offset: Offset) -> bool {
        if offset.0 >= self.log_end_offset {
            return false;
        }
        // A batch that holds the offset goes whole.
        let base_offset = self.segments.get(self.segment_index(offset.0)).map_or(0, |segment| segment.base_offset);
        let lowest = base_offset.min(offset.0);
        self.recovery_point = self.recovery_point.min(lowest);
        self.saved_recovery_point > lowest
    }

    /// The first segment whose files a flush has to look at: the one that ends at the recovery point may have been closed since,
    /// and its indexes written.
    fn first_to_flush(&mut self) -> usize {
        self.holds_indexes &= self.segments.iter().any(Segment::has_held);
        if self.holds_indexes { 0 } else { self.segment_index((self.recovery_point - 1).max(0)) }
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Number of segments.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> &Arc<LogConfig> {
        &self.config
    }

    /// Puts other settings into force, for what is appended from now on.
    pub fn update_config(&mut self, config: Arc<LogConfig>) {
        self.config = config;
    }

    /// Counts truncations: what was read before one may not be in the log any more.
    #[must_use]
    pub fn truncations(&self) -> u64 {
        self.truncations
    }

    /// Takes the place of `before`, a log with the same records elsewhere: the directory of this one was renamed to
    /// `directory`. What still runs on `before`, flushes and cleanings, has nothing to say here.
    pub fn succeed(&mut self, before: &Log<D>, directory: &Path) {
        self.truncations = self.truncations.max(before.truncations);
        self.count_truncation();
        self.files.directory = directory.into();
        self.config = Arc::clone(&before.config);
        self.unsynced.name = true;
        self.unsynced.directory_changed();
        for entry in before.epochs() {
            self.assign_epoch_start(entry.epoch, entry.start_offset);
        }
        self.close_files();
    }

    /// Whether an earlier failure stopped this log; it must be opened again.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.failed
    }

    /// Stops the log, after a failed sync.
    pub fn mark_failed(&mut self) {
        self.failed = true;
    }

    /// The newest leader epoch of a record or assignment.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest().map(|entry| entry.epoch)
    }

    /// All epochs.
    #[must_use]
    pub fn epochs(&self) -> &[EpochEntry] {
        self.epochs.entries()
    }

    /// Where `epoch` ends, with the epoch that answer is about (`LeaderEpochFileCache.endOffsetFor`).
    #[must_use]
    pub fn epoch_end_offset(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_offset_for(epoch, self.log_end_offset())
    }

    /// The epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.epoch_for(offset)
    }

    /// Notes that this node leads from `start_offset` on (`maybeAssignEpochStartOffset`). The file is written by
    /// the next flush; should that not come, an epoch without records is as good as none.
    pub fn assign_epoch_start(&mut self, epoch: LeaderEpoch, start_offset: Offset) {
        if self.epochs.assign(epoch, start_offset) {
            self.unsynced.epochs_changed();
        }
    }

    /// Producers that wrote here and are not expired, by id.
    pub fn active_producers(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.producers.entries().iter().map(|(id, entry)| (ProducerId(id), entry))
    }

    /// The state of one producer.
    #[must_use]
    pub fn producer(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.entries().get(producer_id.0)
    }

    /// A batch of a transaction is about to come: the guard its append needs, none if the transaction is open here
    /// already. `supports_epoch_bump` says that each of the producer's transactions has its own epoch (KIP-890).
    ///
    /// # Errors
    /// `INVALID_PRODUCER_EPOCH`.
    pub fn start_verification(
        &mut self,
        batch: &BatchHeader,
        supports_epoch_bump: bool,
        now: Timestamp,
    ) -> Result<Option<VerificationGuard>, Rejected> {
        self.producers.start_verification(batch, supports_epoch_bump, now.0)
    }

    /// Forgets producers that were silent for `producer.id.expiration.ms`.
    pub fn remove_expired_producers(&mut self, now: Timestamp) {
        self.producers.remove_expired(now.0, self.config.producer_id_expiration_ms);
    }

    /// The offset up to which `read_committed` consumers may read, given the high watermark.
    #[must_use]
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        match self.producers.first_unstable_offset() {
            Some(first) if first < high_watermark.0 => Offset(first),
            _ => high_watermark,
        }
    }

    /// Tells that records below `high_watermark` are replicated, which releases ended transactions.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.producers.remove_unreplicated_below(high_watermark.0);
    }

    /// Index of the segment that would hold `offset`.
    fn segment_index(&self, offset: i64) -> usize {
        self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
    }

    fn active(&self) -> Result<&Segment<D>> {
        self.segments.last().ok_or_else(|| self.failure())
    }

    fn active_mut(&mut self) -> Result<&mut Segment<D>> {
        let Log { files, segments, .. } = self;
        segments.last_mut().ok_or_else(|| Error::Failed { path: files.directory.to_path_buf() })
    }

    fn failure(&self) -> Error {
        Error::Failed { path: self.files.directory.to_path_buf() }
    }
}

#[cfg(test)]
#[path = "log/log_tests.rs"]
mod tests;
