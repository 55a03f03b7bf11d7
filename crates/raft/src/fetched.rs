//! What a follower must know of the records it has fetched and put on disk.

use bytes::Bytes;
use milena_records::Batches;
use milena_types::{LeaderEpoch, Offset};

use crate::accumulator::ControlRecord;
use crate::encode::{CodecError, LogRecord, decode_batch};

/// The epochs in fetched records, each with the end of its batch, and the control records among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    pub ends: Vec<(LeaderEpoch, Offset)>,
    pub controls: Vec<(Offset, ControlRecord)>,
}

impl Fetched {
    /// Looks through whole batches.
    ///
    /// # Errors
    /// Bytes that are not batches of a metadata log.
    pub fn read(records: Bytes) -> Result<Fetched, CodecError> {
        let mut fetched = Fetched::default();
        for batch in Batches::new(records) {
            let batch = batch.map_err(|error| CodecError(error.to_string()))?;
            fetched.ends.push((batch.header.partition_leader_epoch, batch.header.next_offset()));
            if batch.header.is_control() {
                for (offset, record) in decode_batch(&batch)? {
                    if let LogRecord::Control(record) = record {
                        fetched.controls.push((offset, record));
                    }
                }
            }
        }
        Ok(fetched)
    }
}
