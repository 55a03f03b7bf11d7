//! The files of `__cluster_metadata-0`: the log, `quorum-state` and snapshots (class `KafkaMetadataLog`). What the quorum
//! asks for is done here; nothing is decided here.

mod cleaning;
mod snapshots;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::Records;
use milena_raft::{
    ControlRecord, ElectionState, EpochCache, Fetched, KRaftHistory, KRaftState, LeaderBatch, OffsetAndEpoch,
    ReplicaKey,
};
use milena_records::{Batch, Batches};
use milena_storage::checkpoint::{
    Committed, PARTITION_METADATA, QuorumState, SnapshotId, list_snapshots, read_topic_id,
};
use milena_storage::disk::{Disk, write_atomic};
use milena_storage::{AppendError, Error, FileCache, Log, LogConfig, LogOpen, ReadError, Result};
use milena_types::{BrokerId, Offset, Timestamp, Uuid};

use super::raft_wire::METADATA_TOPIC;
use super::replayer::{Replayer, control_records};
use crate::config::MetadataLogSettings;
pub(crate) use snapshots::SnapshotContent;

/// How much is read at once when the log is replayed.
const REPLAY_READ_BYTES: u32 = 1024 * 1024;

/// The metadata log of this node.
#[derive(Debug)]
pub struct MetadataLog<D: Disk> {
    disk: D,
    directory: PathBuf,
    log: Log<D>,
    /// What is committed, as far as this node knows, and what of that its file says.
    commit_end: Offset,
    committed: Committed<D>,
    /// Oldest first.
    snapshots: Vec<OffsetAndEpoch>,
    settings: MetadataLogSettings,
}

impl<D: Disk> MetadataLog<D> {
    /// Opens, or makes, the metadata log in a log directory that was formatted.
    ///
    /// # Errors
    /// IO, or files that are corrupt in a way a crash does not explain.
    pub fn open(
        cache: &Arc<FileCache<D>>,
        log_dir: &Path,
        settings: &MetadataLogSettings,
        now: Timestamp,
    ) -> Result<MetadataLog<D>> {
        let disk = cache.disk().clone();
        let directory = log_dir.join(format!("{METADATA_TOPIC}-0"));
        let found = disk.metadata(&directory).map_err(|source| io("look at", &directory, source))?;
        if found.is_none() {
            disk.create_directory(&directory).map_err(|source| io("create", &directory, source))?;
            disk.sync_directory(log_dir).map_err(|source| io("sync", log_dir, source))?;
        }
        if !matches!(read_topic_id(&disk, &directory), Ok(Some(Uuid::ONE))) {
            // A power cut may have torn it; what it says never changes.
            let path = directory.join(PARTITION_METADATA);
            let text = format!("version: 0\ntopic_id: {}", Uuid::ONE);
            write_atomic(&disk, &path, text.as_bytes()).map_err(|source| io("write", &path, source))?;
        }
        let snapshots: Vec<OffsetAndEpoch> = list_snapshots(&disk, &directory)?.into_iter().map(from_file).collect();
        let oldest = snapshots.first().map_or(Offset(0), |id| id.offset);
        let latest = snapshots.last().map_or(Offset(0), |id| id.offset);
        let committed = Committed::open(&disk, &directory)?;
        let commit_end = committed.offset().unwrap_or(Offset(0));
        // A snapshot holds only what was committed, and what was committed was synced.
        let open = LogOpen {
            recovery_point: latest.max(commit_end),
            log_start_offset: Offset(0),
            clean_shutdown: false,
            cleaned_to: None,
            now,
        };
        let config = Arc::new(log_config(settings));
        let (mut log, report) = match Log::open(cache, &directory, &config, open) {
            // What the snapshot says need not be in the log: it is cut before the damage and goes on behind the snapshot.
            Err(error @ Error::Corrupt { .. }) if latest > Offset(0) && latest >= commit_end => {
                tracing::error!(%error, "the metadata log is damaged");
                Log::open(cache, &directory, &config, LogOpen { recovery_point: Offset(0), ..open })?
            }
            opened => opened?,
        };
        if report.bytes_truncated > 0 {
            tracing::warn!(bytes = report.bytes_truncated, "cut a torn tail off the metadata log");
        }
        if latest > log.log_end_offset() {
            // The log was lost or never fetched past a downloaded snapshot: it goes on behind it.
            log.truncate_fully_and_start_at(latest, now)?;
        } else {
            log.advance_log_start(oldest.min(log.log_end_offset()))?;
        }
        let settings = settings.clone();
        let mut opened = MetadataLog { disk, directory, log, commit_end, committed, snapshots, settings };
        opened.keep_what_is_there()?;
        Ok(opened)
    }

    /// The quorum counts what is in the log as durable: what a killed process wrote and did not sync is synced now.
    fn keep_what_is_there(&mut self) -> Result<()> {
        let Some(flush) = self.log.prepare_flush()? else { return Ok(()) };
        match flush.run() {
            Ok(flushed) => self.log.flushed(flushed),
            // The batches are synced before anything that needs room, and epochs are found in them.
            Err(error) if error.is_out_of_space() => {
                self.log.put_back(&flush);
                self.disk.sync_directory(&self.directory).map_err(|source| io("sync", &self.directory, source))?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// `metadata.max.idle.interval.ms`; 0 for never.
    #[must_use]
    pub fn idle_interval_ms(&self) -> i64 {
        i64::from(self.settings.max_idle_interval_ms)
    }

    /// Ends and epochs, as the quorum wants them.
    #[must_use]
    pub fn epoch_cache(&self) -> EpochCache {
        let epochs = self.log.epochs().iter().map(|entry| (entry.epoch, entry.start_offset)).collect();
        EpochCache::new(self.log.log_start_offset(), self.log.log_end_offset(), epochs, self.snapshots.clone())
    }

    /// The content of `quorum-state`.
    ///
    /// # Errors
    /// IO, or a file that is not one: such a node must not vote.
    pub fn read_election(&self) -> Result<Option<ElectionState>> {
        let state = QuorumState::read(&self.disk, &self.directory)?;
        Ok(state.map(|state| {
            let voted = ReplicaKey { id: state.voted_id, directory_id: state.voted_directory_id };
            ElectionState {
                epoch: state.leader_epoch,
                leader: Some(state.leader_id).filter(|id| id.is_some()),
                voted: Some(voted).filter(|voted| voted.id.is_some()),
            }
        }))
    }

    /// Replaces `quorum-state` durably.
    ///
    /// # Errors
    /// IO.
    pub fn write_election(&self, state: &ElectionState, kraft: &KRaftState) -> Result<()> {
        let dynamic = kraft.kraft_version > 0;
        let voters = kraft.voters.voters().iter().map(|voter| voter.key.id);
        let state = QuorumState {
            leader_id: state.leader.unwrap_or(BrokerId::NONE),
            leader_epoch: state.epoch,
            voted_id: state.voted.map_or(BrokerId::NONE, |voted| voted.id),
            voted_directory_id: state.voted.map_or(Uuid::ZERO, |voted| voted.directory_id),
            current_voters: if dynamic { Vec::new() } else { voters.collect() },
            data_version: i16::from(dynamic),
        };
        state.write(&self.disk, &self.directory)
    }

    /// Appends one batch of this node's own.
    ///
    /// # Errors
    /// IO; the log then takes no more.
    pub(crate) fn append_batch(&mut self, batch: &LeaderBatch) -> Result<()> {
        let bytes = batch.encode().map_err(|error| self.corrupt(error.to_string()))?;
        self.append(bytes, batch.timestamp)
    }

    fn append(&mut self, bytes: Bytes, now: Timestamp) -> Result<()> {
        match self.log.append_as_follower(bytes, now) {
            Ok(_) => Ok(()),
            Err(AppendError::Storage(error)) => Err(error),
            Err(AppendError::Rejected(rejected)) => Err(self.corrupt(rejected.message)),
        }
    }

    /// Appends what the leader sent; returns what the quorum must know of it.
    ///
    /// # Errors
    /// IO, or bytes that do not follow the log.
    pub(crate) fn append_fetched(&mut self, bytes: Bytes, now: Timestamp) -> Result<Fetched> {
        let fetched = Fetched::read(bytes.clone()).map_err(|error| self.corrupt(error.to_string()))?;
        self.append(bytes, now)?;
        Ok(fetched)
    }

    /// Syncs the log; returns its end.
    ///
    /// # Errors
    /// IO; the log then takes no more.
    pub(crate) fn sync(&mut self) -> Result<Offset> {
        if let Some(flush) = self.log.prepare_flush()? {
            match flush.run() {
                Ok(flushed) => self.log.flushed(flushed),
                Err(error) => {
                    self.log.mark_failed();
                    return Err(error);
                }
            }
            self.on_commit(self.commit_end);
        }
        Ok(self.log.log_end_offset())
    }

    /// Everything below `end` is committed: what of it is on disk must be there at the next start.
    pub(crate) fn on_commit(&mut self, end: Offset) {
        self.commit_end = self.commit_end.max(end);
        self.committed.note(self.commit_end.min(self.log.recovery_point()));
    }

    /// Cuts the log.
    ///
    /// # Errors
    /// IO.
    pub(crate) fn truncate(&mut self, end: Offset, now: Timestamp) -> Result<()> {
        self.log.truncate_to(end, now)?;
        self.sync().map(drop)
    }

    /// Records from an offset up to `bound`, as whole batches; at least one if there is one.
    ///
    /// # Errors
    /// IO, or an offset outside of the log.
    pub(crate) fn read(&self, from: Offset, bound: Offset, max_bytes: u32) -> Result<Records> {
        match self.log.read(from, max_bytes, bound, true) {
            Ok(read) => Ok(read.records),
            Err(ReadError::Storage(error)) => Err(error),
            Err(error @ ReadError::OutOfRange { .. }) => Err(self.corrupt(error.to_string())),
        }
    }

    /// Calls `visit` with every batch from the one that holds `from` up to `end`.
    fn for_each_batch(&self, from: Offset, end: Offset, mut visit: impl FnMut(&Batch) -> Result<()>) -> Result<()> {
        let mut next = from;
        while next < end {
            let records = self.read(next, end, REPLAY_READ_BYTES)?;
            let before = next;
            for batch in Batches::new(in_memory(&records).map_err(|source| io("read", &self.directory, source))?) {
                let batch = batch.map_err(|error| self.corrupt(error.to_string()))?;
                batch.verify_crc().map_err(|error| self.corrupt(error.to_string()))?;
                if batch.header.base_offset >= end {
                    break;
                }
                visit(&batch)?;
                next = next.max(batch.header.next_offset());
            }
            if next == before {
                return Err(self.corrupt(format!("nothing can be read at offset {next}, the log ends at {end}")));
            }
        }
        Ok(())
    }

    /// Replays the log from where the replayer is up to `end`.
    ///
    /// # Errors
    /// IO, or records that cannot be replayed.
    pub(crate) fn replay_until(&self, end: Offset, replayer: &mut Replayer) -> Result<()> {
        self.for_each_batch(replayer.next_offset, end, |batch| replayer.replay_batch(batch, &self.directory))
    }

    /// The voters and version of every place of the log, committed or not: `configured`, unless a snapshot or the log
    /// says otherwise.
    ///
    /// # Errors
    /// IO, or records that cannot be read.
    pub(crate) fn kraft_history(&self, configured: KRaftState) -> Result<KRaftHistory> {
        let base = self.snapshots.iter().find(|id| id.offset == self.log.log_start_offset());
        let base = match base {
            Some(id) => self.snapshot_kraft(*id, configured)?,
            None => configured,
        };
        let mut history = KRaftHistory::from(base);
        self.for_each_batch(self.log.log_start_offset(), self.log.log_end_offset(), |batch| {
            for (offset, record) in control_records(batch, &self.directory)? {
                history.on_control(offset, &record);
            }
            Ok(())
        })?;
        Ok(history)
    }

    /// The voters and version that a snapshot holds; what it does not say is as configured.
    ///
    /// # Errors
    /// IO, or records that cannot be read.
    pub(crate) fn snapshot_kraft(&self, id: OffsetAndEpoch, configured: KRaftState) -> Result<KRaftState> {
        // Voters of the bootstrap snapshot are not in the log yet, those of others once were.
        let voters_offset = Some(id.offset).filter(|_| id != OffsetAndEpoch::BOOTSTRAP);
        let mut kraft = configured;
        for batch in self.snapshot_batches(id)? {
            for (_, record) in control_records(&batch, &self.directory)? {
                match record {
                    ControlRecord::KRaftVersion(version) => kraft.kraft_version = version,
                    ControlRecord::KRaftVoters(voters) => {
                        kraft.voters = voters;
                        kraft.voters_offset = voters_offset;
                    }
                    ControlRecord::LeaderChange { .. } => {}
                }
            }
        }
        Ok(kraft)
    }

    /// Closes the log; nothing is appended after.
    ///
    /// # Errors
    /// IO.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.log.close()
    }

    fn corrupt(&self, reason: String) -> Error {
        Error::Corrupt { path: self.directory.clone(), position: 0, reason }
    }
}

fn log_config(settings: &MetadataLogSettings) -> LogConfig {
    LogConfig {
        segment_bytes: u32::try_from(settings.segment_bytes).unwrap_or(u32::MAX),
        segment_ms: settings.segment_ms,
        // Segments go when a snapshot replaces them, never by age or size of the log alone.
        retention_ms: -1,
        retention_bytes: -1,
        cleanup_delete: false,
        ..LogConfig::default()
    }
}

fn in_memory(records: &Records) -> std::io::Result<Bytes> {
    match records {
        Records::Bytes(bytes) => Ok(bytes.clone()),
        Records::File(slice) => {
            let mut bytes = vec![0; slice.len as usize];
            slice.source.read_exact_at(&mut bytes, slice.position)?;
            Ok(Bytes::from(bytes))
        }
    }
}

fn from_file(id: SnapshotId) -> OffsetAndEpoch {
    OffsetAndEpoch { offset: id.end_offset, epoch: id.epoch }
}

fn to_file(id: OffsetAndEpoch) -> SnapshotId {
    SnapshotId { end_offset: id.offset, epoch: id.epoch }
}

fn io(operation: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { operation, path: path.to_owned(), source }
}
