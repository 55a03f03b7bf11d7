//! Collecting records into the batch that is open, and what fits into one.

use super::coordinator::{Coordinator, OpenRound, Round};
use super::machine::{Machine, RecordPlace, Replicated, Scope};
use bytes::Bytes;
use milena_records::{BatchBuilder, BuilderConfig};
use milena_types::{ProducerId, Timestamp};

/// More than a record takes beside its key and value: length, attributes, deltas, field lengths, count of headers.
const RECORD_OVERHEAD_BYTES: usize = 32;

pub(super) fn record_size(key: &Bytes, value: Option<&Bytes>) -> usize {
    key.len() + value.map_or(0, Bytes::len) + RECORD_OVERHEAD_BYTES
}

impl<M: Machine> Coordinator<M> {
    /// Whether a batch of their own would hold these records.
    pub(super) fn fits(&self, records: &[(Bytes, Option<Bytes>)], is_separable: bool) -> bool {
        let sizes = records.iter().map(|(key, value)| record_size(key, value.as_ref()));
        if is_separable {
            return sizes.max().unwrap_or(0) <= self.room();
        }
        if sizes.sum::<usize>() <= self.room() {
            return true;
        }
        // The sizes are upper bounds: near the limit the batch itself tells.
        let mut batch = BatchBuilder::new(BuilderConfig::default());
        let all = records.iter().all(|(key, value)| batch.append(0, Some(key), value.as_deref(), &[]).is_ok());
        all && batch.size_bytes() <= self.config.max_batch_bytes
    }

    /// Bytes for records in an empty batch.
    fn room(&self) -> usize {
        self.config.max_batch_bytes.saturating_sub(milena_records::BATCH_OVERHEAD_BYTES)
    }

    /// Flushes if the open round cannot take this much more.
    pub(super) fn make_room(&mut self, size_bytes: usize) {
        let max = self.config.max_batch_bytes;
        if self.open.as_ref().is_some_and(|open| open.builder.size_bytes() + size_bytes > max) {
            self.flush();
        }
    }

    pub(super) fn collect(
        &mut self,
        record: &<M::State as Replicated>::Record,
        (key, value): (&Bytes, Option<&Bytes>),
        scope: Scope,
        now: Timestamp,
    ) {
        if self.open.is_none() {
            let round = self.begin_round(now);
            let base_sequence = M::BASE_SEQUENCE;
            let mut config = BuilderConfig { codec: self.config.codec, base_sequence, ..BuilderConfig::default() };
            if let Scope::Transaction { producer, .. } = scope {
                config.producer_id = producer.id;
                config.producer_epoch = producer.epoch;
                config.transactional = true;
            }
            let builder = BatchBuilder::new(config);
            self.open = Some(OpenRound { round, builder, scope });
        }
        let Some(open) = &mut self.open else { return };
        if let Err(error) = open.builder.append(now.0.max(0), Some(key), value.map(|value| &value[..]), &[]) {
            panic!("a record of a coordinator does not fit in a batch: {error}");
        }
        let producer_id = if let Scope::Transaction { producer, .. } = scope { producer.id } else { ProducerId::NONE };
        let place = RecordPlace { offset: self.next_offset, producer_id };
        self.state.replay(place, record);
        self.next_offset = self.next_offset + 1;
        open.round.end_offset = self.next_offset;
    }

    /// What is replayed from now on belongs to a new round.
    pub(super) fn begin_round(&mut self, now: Timestamp) -> Round<M> {
        self.last_round += 1;
        self.state.begin(self.last_round);
        Round {
            number: self.last_round,
            first_offset: self.next_offset,
            end_offset: self.next_offset,
            opened_at: now,
            completions: Vec::new(),
        }
    }
}
