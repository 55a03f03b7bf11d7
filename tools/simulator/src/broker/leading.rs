//! The leader's side of produce: append, wait for the high watermark, answer (`partitions/append.rs` and `waiting.rs` of
//! `milena-broker`).

use bytes::Bytes;
use milena_records::{Batch, ProduceRules, Scratch, ValidBatch, validate_produce};
use milena_replication::{AckState, Durability, PartitionKey};
use milena_storage::AppendError;
use milena_types::{ErrorCode, Offset, Timestamp};

use super::broker_host::BrokerHost;
use super::outbox::{Note, Outbox};
use super::replica::{Entry, WaitingAck, values_of};
use crate::message::Answer;
use crate::planted::Planted;

impl BrokerHost {
    /// One batch with acks=all.
    pub(crate) fn produce(
        &mut self,
        call: u64,
        key: PartitionKey,
        batch: Bytes,
        timeout_ms: i64,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        match self.append(key, batch, now, out) {
            Ok((first, required, values)) => {
                let deadline = Timestamp(now.0 + timeout_ms);
                if let Some(replica) = self.replicas.get_mut(&key) {
                    replica.waiting.push(WaitingAck { call, required, first, values, deadline });
                }
                self.dirty = true;
            }
            Err(error) => out.answer(call, Answer::Produce(Err(error))),
        }
    }

    fn append(
        &mut self,
        key: PartitionKey,
        batch: Bytes,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(Offset, Offset, Vec<u64>), ErrorCode> {
        let known = self.image.topics.partition(key.0, key.1);
        let unknown =
            if known.is_some() { ErrorCode::NOT_LEADER_OR_FOLLOWER } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
        let forgets = self.settings.has(Planted::ForgetsProducers);
        let is_synced = self.settings.durability == Durability::Fsync;
        let replica = self.replicas.get_mut(&key).ok_or(unknown)?;
        replica.state.check_append(-1)?;
        let valid = validate_produce(batch, &ProduceRules::default(), now, &mut Scratch::new());
        let mut valid = valid.map_err(|reason| reason.error)?;
        let values = Batch::parse(&valid.bytes).map(|batch| values_of(&batch)).unwrap_or_default();
        if forgets {
            valid = anonymous(&values, now).unwrap_or(valid);
        }
        let epoch = replica.state.leader_epoch();
        let appended = match replica.log.append_as_leader(std::slice::from_ref(&valid), epoch, now) {
            Ok(appended) => appended,
            Err(AppendError::Rejected(rejected)) => return Err(rejected.error),
            Err(AppendError::Storage(_)) => {
                out.notes.push(Note::LogFailed);
                return Err(ErrorCode::KAFKA_STORAGE_ERROR);
            }
        };
        if !appended.duplicate {
            let base = i64::try_from(replica.entries.len()).unwrap_or(i64::MAX);
            let entries: Vec<Entry> = values.iter().map(|value| Entry { epoch: epoch.0, value: *value }).collect();
            replica.note_appended(&entries);
            out.notes.push(Note::Appended { key, base, entries });
        }
        if let Some(high_watermark) = replica.state.on_local_append(replica.log.log_end_offset(), now) {
            replica.log.on_high_watermark(high_watermark);
        }
        replica.wants_flush |= is_synced;
        Ok((appended.first_offset, appended.last_offset + 1, values))
    }

    /// Answers what is replicated, refused or too late.
    pub(super) fn finish_waiting(&mut self, now: Timestamp, out: &mut Outbox) {
        let at_once = self.settings.has(Planted::AcknowledgesAtOnce);
        let success = self.settings.has(Planted::TimeoutIsSuccess);
        for replica in self.replicas.values_mut().filter(|replica| !replica.waiting.is_empty()) {
            for waiting in std::mem::take(&mut replica.waiting) {
                let late = waiting.deadline <= now;
                let mut outcome = match replica.state.ack_state(waiting.required) {
                    _ if at_once => Ok(()),
                    AckState::Done(outcome) => outcome,
                    AckState::Pending if late => Err(ErrorCode::REQUEST_TIMED_OUT),
                    AckState::Pending => {
                        replica.waiting.push(waiting);
                        continue;
                    }
                };
                if success && outcome == Err(ErrorCode::REQUEST_TIMED_OUT) {
                    outcome = Ok(());
                }
                if outcome.is_ok() {
                    let note = Note::Acknowledged { key: replica.key, first: waiting.first, values: waiting.values };
                    out.notes.push(note);
                }
                out.answer(waiting.call, Answer::Produce(outcome.map(|()| waiting.first)));
            }
        }
    }
}

/// The same records from nobody in particular.
fn anonymous(values: &[u64], now: Timestamp) -> Option<ValidBatch> {
    let mut builder = milena_records::BatchBuilder::new(milena_records::BuilderConfig::default());
    for value in values {
        let bytes = Bytes::copy_from_slice(&value.to_be_bytes());
        builder.append(now.0, None, Some(&bytes), &[]).ok()?;
    }
    let bytes = builder.build(Offset(0), milena_types::LeaderEpoch(0)).ok()?;
    ValidBatch::trusted(&bytes).ok()
}
