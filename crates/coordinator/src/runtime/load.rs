//! Loading: the batches of the log, from its start, replayed one by one. Only one batch is in memory at a time. Kafka:
//! `CoordinatorLoaderImpl`.

use super::coordinator::{Coordinator, Phase, Round};
use super::machine::{Machine, RecordPlace, Replicated};
use bytes::Bytes;
use milena_protocol::DecodeError;
use milena_records::{Batch, ControlType, Error, Scratch, control_type};
use milena_types::{Offset, Timestamp};

/// What a batch may expand to.
const MAX_DECOMPRESSED_BYTES: usize = 1 << 30;

/// Why a log cannot be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// A batch whose records cannot be read.
    Batch(Offset, Error),
    /// A record of a known kind that cannot be decoded.
    Record(Offset, DecodeError),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Batch(offset, error) => write!(f, "the batch at offset {offset} cannot be read: {error}"),
            LoadError::Record(offset, error) => write!(f, "the record at offset {offset} cannot be decoded: {error}"),
        }
    }
}

impl std::error::Error for LoadError {}

impl<M: Machine> Coordinator<M> {
    /// Replays one batch of the log; batches come in order. What the high watermark has not passed yet counts as decided
    /// and not as committed: it may still be lost. Returns how many records are of a kind that is not known.
    ///
    /// # Errors
    /// The log cannot be loaded.
    pub fn load(&mut self, batch: &Batch, high_watermark: Offset, scratch: &mut Scratch) -> Result<usize, LoadError> {
        assert_eq!(self.phase, Phase::Loading, "a coordinator is loaded once");
        let header = &batch.header;
        if header.next_offset() > high_watermark {
            self.begin_loaded_round(header.base_offset, header.next_offset());
        }
        let mut unknown = 0;
        let broken = |error| LoadError::Batch(header.base_offset, error);
        for record in batch.records_with(MAX_DECOMPRESSED_BYTES, scratch).map_err(broken)? {
            let record = record.map_err(broken)?;
            let Some(key) = record.key else { continue };
            if header.is_control() {
                match control_type(&key).map_err(broken)? {
                    Some(ControlType::Commit) => self.state.replay_end_of_transaction(header.producer_id, true),
                    Some(ControlType::Abort) => self.state.replay_end_of_transaction(header.producer_id, false),
                    _ => {}
                }
                continue;
            }
            // Copies: what is kept of a record must not keep its batch.
            let value = record.value.map(|value| Bytes::copy_from_slice(&value));
            match M::decode(Bytes::copy_from_slice(&key), value) {
                Ok(Some(decoded)) => {
                    let place = RecordPlace { offset: record.offset, producer_id: header.producer_id };
                    self.state.replay(place, &decoded);
                }
                Ok(None) => unknown += 1,
                Err(error) => return Err(LoadError::Record(record.offset, error)),
            }
        }
        self.next_offset = self.next_offset.max(header.next_offset());
        Ok(unknown)
    }

    fn begin_loaded_round(&mut self, first_offset: Offset, end_offset: Offset) {
        self.last_round += 1;
        self.state.begin(self.last_round);
        let (number, opened_at) = (self.last_round, Timestamp(0));
        self.pending.push_back(Round { number, first_offset, end_offset, opened_at, completions: Vec::new() });
    }

    /// The whole log was replayed, up to `end_offset`: the coordinator serves from now on. The host tells it of the high
    /// watermark with `committed`.
    pub fn activate(&mut self, end_offset: Offset, now: Timestamp) {
        assert_eq!(self.phase, Phase::Loading, "a coordinator is loaded once");
        self.next_offset = end_offset;
        self.phase = Phase::Active;
        self.pending.iter_mut().for_each(|round| round.opened_at = now);
        let decision = self.machine.loaded(&self.state, now);
        self.carry_out(decision, now);
    }
}
