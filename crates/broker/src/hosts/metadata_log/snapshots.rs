//! Snapshots of the metadata log as files: written, downloaded, loaded (classes `RecordsSnapshotWriter`,
//! `FileRawSnapshotReader`).

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use milena_metadata::Image;
use milena_protocol::FileSource;
use milena_raft::{CodecError, KRaftState, OffsetAndEpoch, SnapshotBuilder};
use milena_records::{Batch, Batches};
use milena_storage::checkpoint::{SnapshotWriter, open_snapshot};
use milena_storage::disk::Disk;
use milena_storage::{Error, Result};
use milena_types::Timestamp;

use super::{MetadataLog, io, to_file};
use crate::hosts::replayer::Replayer;

/// Where snapshots are written; usable from any thread while the log is appended to.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFiles<D: Disk> {
    disk: D,
    directory: PathBuf,
}

/// All a snapshot says. The image is shared, not copied.
#[derive(Debug)]
pub(crate) struct SnapshotContent {
    pub(crate) id: OffsetAndEpoch,
    pub(crate) kraft: KRaftState,
    pub(crate) last_contained: Timestamp,
    pub(crate) now: Timestamp,
    pub(crate) image: Image,
}

impl<D: Disk> SnapshotFiles<D> {
    /// Writes a whole snapshot, piece by piece; it is durable when this returns.
    ///
    /// # Errors
    /// IO, or a record that fits no batch; there is no such snapshot then.
    pub(crate) fn write(&self, content: &SnapshotContent) -> Result<()> {
        let failed = |error: CodecError| Error::Corrupt {
            path: self.directory.join(to_file(content.id).file_name()),
            position: 0,
            reason: error.to_string(),
        };
        let (mut builder, first) =
            SnapshotBuilder::new(content.id, &content.kraft, content.last_contained, content.now).map_err(failed)?;
        let mut writer = SnapshotWriter::create(&self.disk, &self.directory, to_file(content.id))?;
        writer.append(&first)?;
        for (record, version) in content.image.records() {
            if let Some(piece) = builder.push(record.encode(version)).map_err(failed)? {
                writer.append(&piece)?;
            }
        }
        for piece in builder.finish().map_err(failed)? {
            writer.append(&piece)?;
        }
        writer.seal()
    }
}

impl<D: Disk> MetadataLog<D> {
    /// A way to write snapshots beside.
    pub(crate) fn snapshot_files(&self) -> SnapshotFiles<D> {
        SnapshotFiles { disk: self.disk.clone(), directory: self.directory.clone() }
    }

    /// A snapshot was sealed.
    pub(crate) fn note_snapshot(&mut self, id: OffsetAndEpoch) {
        if let Err(at) = self.snapshots.binary_search(&id) {
            self.snapshots.insert(at, id);
        }
    }

    /// Loads the newest snapshot, if there is one with metadata in it.
    ///
    /// # Errors
    /// IO, or a snapshot that cannot be replayed.
    pub(crate) fn load_latest_snapshot(&self, replayer: &mut Replayer) -> Result<()> {
        let Some(id) = self.snapshots.last().copied().filter(|id| *id != OffsetAndEpoch::BOOTSTRAP) else {
            return Ok(());
        };
        let batches = self.snapshot_batches(id)?;
        replayer.load_snapshot(&batches, id, &self.directory)
    }

    pub(super) fn snapshot_batches(&self, id: OffsetAndEpoch) -> Result<Vec<Batch>> {
        let path = self.directory.join(to_file(id).file_name());
        let Some((file, len)) = self.open_snapshot(id)? else {
            return Err(io("open", &path, std::io::ErrorKind::NotFound.into()));
        };
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, 0).map_err(|source| io("read", &path, source))?;
        let corrupt = |reason: String| Error::Corrupt { path: path.clone(), position: 0, reason };
        let mut batches = Batches::new(Bytes::from(bytes));
        let mut parsed = Vec::new();
        for batch in batches.by_ref() {
            let batch = batch.map_err(|error| corrupt(error.to_string()))?;
            batch.verify_crc().map_err(|error| corrupt(error.to_string()))?;
            parsed.push(batch);
        }
        if batches.tail_len() > 0 {
            return Err(corrupt(format!("{} bytes at its end are no batch", batches.tail_len())));
        }
        Ok(parsed)
    }

    /// A snapshot's file and size in bytes.
    ///
    /// # Errors
    /// IO.
    pub(crate) fn open_snapshot(&self, id: OffsetAndEpoch) -> Result<Option<(Arc<dyn FileSource>, u64)>> {
        let opened = open_snapshot(&self.disk, &self.directory, to_file(id))?;
        Ok(opened.map(|(file, len)| (file as Arc<dyn FileSource>, len)))
    }

    /// Keeps a downloaded snapshot and begins the log anew behind it.
    ///
    /// # Errors
    /// IO.
    pub(crate) fn install_snapshot(&mut self, id: OffsetAndEpoch, bytes: &[u8], now: Timestamp) -> Result<()> {
        let mut writer = SnapshotWriter::create(&self.disk, &self.directory, to_file(id))?;
        writer.append(bytes)?;
        writer.seal()?;
        self.note_snapshot(id);
        self.log.truncate_fully_and_start_at(id.offset, now)?;
        self.sync().map(drop)
    }
}
