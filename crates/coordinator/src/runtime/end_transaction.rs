//! The end of a transaction in a coordinator's log: a batch of its own, which is a round of its own. Kafka:
//! `CoordinatorRuntime.CoordinatorContext.completeTransaction`.

use super::coordinator::{AppendTerms, Completion, Coordinator, Effect, Round};
use super::machine::{EndOfTransaction, Machine, Replicated};
use bytes::Bytes;
use milena_records::{STAMP_BYTES, ValidBatch, end_transaction_marker};
use milena_types::{LeaderEpoch, Offset, Timestamp};

impl<M: Machine> Coordinator<M> {
    /// Appends the marker and takes what the transaction did into the state, or drops it.
    pub(super) fn end_transaction(&mut self, end: &EndOfTransaction, completion: Completion<M>, now: Timestamp) {
        self.flush();
        let mut round: Round<M> = self.begin_round(now);
        self.state.replay_end_of_transaction(end.producer.id, end.is_committed);
        self.next_offset = self.next_offset + 1;
        round.end_offset = self.next_offset;
        round.completions.push(completion);
        let batch = marker(end, round.first_offset, self.epoch, now);
        let terms = AppendTerms { transaction_version: end.transaction_version, ..AppendTerms::default() };
        self.effects.push_back(Effect::Append { round: round.number, batch, terms });
        self.pending.push_back(round);
    }
}

fn marker(end: &EndOfTransaction, offset: Offset, epoch: LeaderEpoch, now: Timestamp) -> Bytes {
    let (producer, time) = (end.producer, now.0.max(0));
    let batch = end_transaction_marker(producer.id, producer.epoch, end.is_committed, end.coordinator_epoch, time)
        .and_then(|batch| Ok((ValidBatch::trusted(&batch)?.stamped_prefix(offset, epoch), batch)));
    match batch {
        Ok((prefix, batch)) => {
            let mut stamped = prefix.to_vec();
            stamped.extend_from_slice(batch.get(STAMP_BYTES..).unwrap_or_default());
            Bytes::from(stamped)
        }
        // It is of one size, and the time is not negative.
        Err(error) => panic!("the marker of a transaction cannot be built: {error}"),
    }
}
