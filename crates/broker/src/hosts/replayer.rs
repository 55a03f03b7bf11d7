//! Committed records into state: metadata records into the image, control records into the quorum's voters
//! (classes `MetadataLoader` and `KRaftControlRecordStateMachine`).

use std::path::Path;

use milena_metadata::{Delta, Image};
use milena_protocol::messages::MetadataRecord;
use milena_raft::{ControlRecord, LogRecord, OffsetAndEpoch, decode_batch};
use milena_records::Batch;
use milena_storage::{Error, Result};
use milena_types::{LeaderEpoch, Offset, Timestamp};

/// An image that follows the log, and what changed since it was last published.
#[derive(Debug)]
pub(crate) struct Replayer {
    pub(crate) image: Image,
    pub(crate) delta: Delta,
    /// The offset after the last record seen, control records included.
    pub(crate) next_offset: Offset,
    /// The epoch of the last record seen, control records included.
    pub(crate) last_epoch: LeaderEpoch,
    /// Append time of the last record seen.
    pub(crate) last_timestamp: Timestamp,
    /// Bytes of records since the last snapshot.
    pub(crate) bytes_since_snapshot: u64,
    /// Whether a metadata record was ever seen.
    pub(crate) has_records: bool,
}

impl Replayer {
    pub(crate) fn new() -> Replayer {
        Replayer {
            image: Image::default(),
            delta: Delta::default(),
            next_offset: Offset(0),
            last_epoch: LeaderEpoch(0),
            last_timestamp: Timestamp(0),
            bytes_since_snapshot: 0,
            has_records: false,
        }
    }

    /// Replays the metadata records of one batch of the log.
    pub(crate) fn replay_batch(&mut self, batch: &Batch, path: &Path) -> Result<()> {
        let epoch = batch.header.partition_leader_epoch;
        for (offset, record) in decode_batch(batch).map_err(|error| corrupt(path, batch, &error))? {
            if offset >= self.next_offset
                && let LogRecord::Metadata(value) = record
            {
                let record = MetadataRecord::decode(value).map_err(|error| corrupt(path, batch, &error))?;
                self.replay(&record, offset, epoch).map_err(|error| corrupt(path, batch, &error))?;
            }
        }
        self.next_offset = self.next_offset.max(batch.header.next_offset());
        self.last_epoch = epoch;
        self.last_timestamp = Timestamp(batch.header.max_timestamp);
        self.bytes_since_snapshot += batch.bytes.len() as u64;
        Ok(())
    }

    fn replay(
        &mut self,
        record: &MetadataRecord,
        offset: Offset,
        epoch: LeaderEpoch,
    ) -> std::result::Result<(), milena_metadata::ReplayError> {
        self.has_records = true;
        self.image.replay(record, offset, epoch, &mut self.delta)
    }

    /// Begins anew with the records of a snapshot; every record in it stands at the snapshot's last offset.
    pub(crate) fn load_snapshot(&mut self, batches: &[Batch], id: OffsetAndEpoch, path: &Path) -> Result<()> {
        *self = Replayer::new();
        let (end, epoch) = (id.offset, id.epoch);
        let last = Offset(end.0 - 1);
        for batch in batches {
            for (_, record) in decode_batch(batch).map_err(|error| corrupt(path, batch, &error))? {
                match record {
                    LogRecord::Metadata(value) => {
                        let record = MetadataRecord::decode(value).map_err(|error| corrupt(path, batch, &error))?;
                        self.replay(&record, last, epoch).map_err(|error| corrupt(path, batch, &error))?;
                    }
                    LogRecord::SnapshotHeader { last_contained_log_timestamp } => {
                        self.last_timestamp = last_contained_log_timestamp;
                    }
                    LogRecord::Control(_) | LogRecord::SnapshotFooter => {}
                }
            }
        }
        self.next_offset = end;
        self.last_epoch = epoch;
        Ok(())
    }
}

/// The control records of the quorum in a batch, with their offsets.
pub(crate) fn control_records(batch: &Batch, path: &Path) -> Result<Vec<(Offset, ControlRecord)>> {
    if !batch.header.is_control() {
        return Ok(Vec::new());
    }
    let records = decode_batch(batch).map_err(|error| corrupt(path, batch, &error))?;
    let control = |(offset, record)| match record {
        LogRecord::Control(record) => Some((offset, record)),
        _ => None,
    };
    Ok(records.into_iter().filter_map(control).collect())
}

fn corrupt(path: &Path, batch: &Batch, reason: &dyn std::fmt::Display) -> Error {
    Error::Corrupt {
        path: path.to_owned(),
        position: 0,
        reason: format!("batch at offset {}: {reason}", batch.header.base_offset),
    }
}
