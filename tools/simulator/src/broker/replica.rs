//! One partition with a replica here: replication core, log, what waits on it, and the log once more as the checkers see
//! it.

use bytes::Bytes;
use milena_records::{Batch, Batches};
use milena_replication::{PartitionKey, PartitionState, Role};
use milena_storage::disk::SimulatedDisk;
use milena_storage::{Log, ReadError, TopicPartition};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Timestamp};

/// How much of a log is read at once.
const READ_BYTES: u32 = 1 << 20;

/// One record as the checkers know it: the epoch it was written in, and its value, which no other record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) epoch: i32,
    pub(crate) value: u64,
}

/// A produce that waits for the high watermark.
#[derive(Clone, Debug)]
pub(crate) struct WaitingAck {
    pub(crate) call: u64,
    pub(crate) required: Offset,
    pub(crate) first: Offset,
    pub(crate) values: Vec<u64>,
    pub(crate) deadline: Timestamp,
}

pub(crate) struct Replica {
    pub(crate) key: PartitionKey,
    pub(crate) name: TopicPartition,
    pub(crate) state: PartitionState,
    pub(crate) log: Log<SimulatedDisk>,
    pub(crate) waiting: Vec<WaitingAck>,
    /// What the log holds, by offset.
    pub(crate) entries: Vec<Entry>,
    /// The high watermark the checkers have seen.
    pub(crate) seen_high_watermark: i64,
    pub(crate) is_flushing: bool,
    pub(crate) wants_flush: bool,
}

impl Replica {
    pub(crate) fn new(
        key: PartitionKey,
        name: TopicPartition,
        state: PartitionState,
        log: Log<SimulatedDisk>,
    ) -> Result<Replica, milena_storage::Error> {
        let mut replica = Replica {
            key,
            name,
            seen_high_watermark: 0,
            state,
            log,
            waiting: Vec::new(),
            entries: Vec::new(),
            is_flushing: false,
            wants_flush: false,
        };
        replica.entries = replica.entries_of_log()?;
        Ok(replica)
    }

    pub(crate) fn follows(&self, leader: BrokerId, epoch: LeaderEpoch) -> bool {
        self.state.role() == (Role::Follower { leader }) && self.state.leader_epoch() == epoch
    }

    pub(crate) fn last_epoch(&self) -> LeaderEpoch {
        self.log.latest_epoch().unwrap_or(LeaderEpoch::NONE)
    }

    /// Reads below `bound`; half a batch counts as none.
    pub(crate) fn read(&self, from: Offset, max_bytes: u32, bound: Offset) -> Result<Bytes, ErrorCode> {
        match self.log.read(from, max_bytes, bound, true) {
            Ok(read) => in_memory(&read.records).map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR),
            Err(ReadError::OutOfRange { .. }) => Err(ErrorCode::OFFSET_OUT_OF_RANGE),
            Err(ReadError::Storage(_)) => Err(ErrorCode::KAFKA_STORAGE_ERROR),
        }
    }

    /// What the files hold, read anew.
    pub(crate) fn entries_of_log(&self) -> Result<Vec<Entry>, milena_storage::Error> {
        let mut entries = Vec::new();
        let mut next = self.log.log_start_offset();
        let end = self.log.log_end_offset();
        while next < end {
            let read = match self.log.read(next, READ_BYTES, end, true) {
                Ok(read) => read,
                Err(ReadError::Storage(error)) => return Err(error),
                Err(ReadError::OutOfRange { .. }) => break,
            };
            let bytes = in_memory(&read.records).map_err(|source| milena_storage::Error::Io {
                operation: "read",
                path: self.log.directory().to_owned(),
                source,
            })?;
            let before = next;
            for batch in Batches::new(bytes).flatten() {
                entries.extend(entries_of(&batch));
                next = batch.header.next_offset();
            }
            if next == before {
                break;
            }
        }
        Ok(entries)
    }

    /// Notes what was appended at the end.
    pub(crate) fn note_appended(&mut self, entries: &[Entry]) {
        self.entries.extend_from_slice(entries);
    }

    /// Notes that the log ends earlier now.
    pub(crate) fn note_truncated(&mut self) {
        let end = usize::try_from(self.log.log_end_offset().0).unwrap_or(0);
        self.entries.truncate(end);
    }
}

/// The records of a batch.
pub(crate) fn entries_of(batch: &Batch) -> Vec<Entry> {
    let epoch = batch.header.partition_leader_epoch.0;
    values_of(batch).into_iter().map(|value| Entry { epoch, value }).collect()
}

/// The values of a batch's records.
pub(crate) fn values_of(batch: &Batch) -> Vec<u64> {
    let records = batch.records(1 << 20).into_iter().flatten().flatten();
    let value = |bytes: Option<Bytes>| bytes.and_then(|bytes| bytes.first_chunk::<8>().copied());
    records.map(|record| value(record.value).map_or(0, u64::from_be_bytes)).collect()
}

/// A piece of a file, read now: the file may change before the piece is sent.
pub(crate) fn in_memory(records: &milena_protocol::Records) -> std::io::Result<Bytes> {
    match records {
        milena_protocol::Records::Bytes(bytes) => Ok(bytes.clone()),
        milena_protocol::Records::File(slice) => {
            let mut bytes = vec![0; slice.len as usize];
            slice.source.read_exact_at(&mut bytes, slice.position)?;
            Ok(Bytes::from(bytes))
        }
    }
}
