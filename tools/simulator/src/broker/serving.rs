//! The leader's side of fetches, of followers and of consumers (`partitions/fetch.rs` and `parked_fetch.rs` of
//! `milena-broker`).

use milena_replication::{
    EpochEnd, FetchContext, Isolation, PartitionKey, PartitionOutcome, ReadRequest, ReplicaFetch, RequestedPartition,
    SessionRequest, TopicKey,
};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, Timestamp};

use super::broker_host::{BrokerHost, ParkedFetch};
use super::outbox::Outbox;
use super::replica::Replica;
use crate::message::{Answer, FetchCall, FetchReply, FetchedData};
use crate::planted::Planted;

/// `replica.fetch.response.max.bytes`, small so that catching up takes several fetches.
const MAX_BYTES: u32 = 2000;

/// What a pass over all partitions of a fetch gave.
struct Pass {
    read: Vec<(PartitionKey, FetchedData)>,
    is_enough: bool,
}

impl BrokerHost {
    /// Begins to serve a fetch.
    pub(crate) fn fetch(&mut self, call: u64, fetch: FetchCall, now: Timestamp, out: &mut Outbox) {
        let request = SessionRequest {
            session_id: fetch.session_id,
            epoch: fetch.session_epoch,
            uses_topic_ids: true,
            from_follower: fetch.replica.is_some(),
        };
        let partitions = fetch.partitions.into_iter().map(|(_, asked)| asked).collect();
        let forgotten: Vec<(TopicKey, i32)> =
            fetch.forgotten.iter().map(|(topic, index)| (TopicKey::Id(*topic), index.0)).collect();
        let context = self.sessions.begin(request, partitions, &forgotten, now);
        let first = self.read_all(&context, fetch.replica, true, now);
        let deadline = Timestamp(now.0 + fetch.max_wait_ms);
        let parked = ParkedFetch { call, context, replica: fetch.replica, deadline };
        if first.is_enough || fetch.max_wait_ms == 0 {
            self.respond(&parked, first, now, out);
        } else {
            self.parked.push(parked);
        }
        self.dirty = true;
    }

    /// Parked fetches look again if something changed, and end at their deadlines.
    pub(super) fn finish_parked(&mut self, now: Timestamp, out: &mut Outbox) {
        let dirty = std::mem::take(&mut self.dirty);
        if !dirty && self.parked.iter().all(|parked| parked.deadline > now) {
            return;
        }
        for parked in std::mem::take(&mut self.parked) {
            let pass = self.read_all(&parked.context, parked.replica, false, now);
            if pass.is_enough || parked.deadline <= now {
                self.respond(&parked, pass, now, out);
            } else {
                self.parked.push(parked);
            }
        }
    }

    fn read_all(
        &mut self,
        context: &FetchContext,
        from: Option<(BrokerId, i64)>,
        acknowledging: bool,
        now: Timestamp,
    ) -> Pass {
        let mut left = MAX_BYTES;
        let (mut bytes, mut failed) = (0, matches!(context, FetchContext::Error(_)));
        let mut read = Vec::new();
        for asked in context.partitions() {
            let TopicKey::Id(topic) = asked.topic else { continue };
            let key = (topic, PartitionIndex(asked.partition));
            let mut data = self.read_one(key, asked, from, acknowledging.then_some(now));
            if left == 0 {
                data.records.clear();
            }
            let size = u32::try_from(data.records.len()).unwrap_or(u32::MAX);
            left = left.saturating_sub(size);
            bytes += data.records.len();
            failed |= !data.error.is_none() || data.diverging.is_some();
            read.push((key, data));
        }
        Pass { read, is_enough: failed || bytes > 0 }
    }

    fn read_one(
        &mut self,
        key: PartitionKey,
        asked: &RequestedPartition,
        from: Option<(BrokerId, i64)>,
        acknowledging: Option<Timestamp>,
    ) -> FetchedData {
        let refused = |error| FetchedData {
            error,
            high_watermark: Offset::NONE,
            log_start: Offset::NONE,
            diverging: None,
            records: bytes::Bytes::new(),
        };
        if !self.replicas.contains_key(&key) {
            let known = self.image.topics.partition(key.0, key.1).is_some();
            let error = if known { ErrorCode::NOT_LEADER_OR_FOLLOWER } else { ErrorCode::UNKNOWN_TOPIC_ID };
            return refused(error);
        }
        let outcome = self.read_here(key, asked, from, acknowledging);
        outcome.unwrap_or_else(refused)
    }

    fn read_here(
        &mut self,
        key: PartitionKey,
        asked: &RequestedPartition,
        from: Option<(BrokerId, i64)>,
        acknowledging: Option<Timestamp>,
    ) -> Result<FetchedData, ErrorCode> {
        let reads_all = self.settings.has(Planted::ConsumersReadToLogEnd);
        let ignores = self.settings.has(Planted::LeaderIgnoresEpochs);
        let epoch = self.epoch;
        let replica = self.replicas.get_mut(&key).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
        let isolation = if from.is_some() || reads_all { Isolation::LogEnd } else { Isolation::HighWatermark };
        let told = |epoch| if ignores { LeaderEpoch::NONE } else { LeaderEpoch(epoch) };
        let request = ReadRequest {
            current_leader_epoch: told(asked.current_leader_epoch),
            replica: from.map(|(id, _)| id),
            leader_only: true,
            isolation,
            first_unstable_offset: None,
        };
        let mut bound = replica.state.read_bound(&request)?;
        let (log_start, offset) = (replica.log.log_start_offset(), Offset(asked.fetch_offset));
        let diverging = divergence(replica, told(asked.last_fetched_epoch), offset)?.filter(|_| offset >= log_start);
        if diverging.is_none() && (offset < log_start || offset > bound.log_end_offset) {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        if let (Some(now), Some((id, broker_epoch)), None) = (acknowledging, from, diverging) {
            let fetch = ReplicaFetch {
                replica: id,
                fetch_offset: offset,
                log_start_offset: Offset(asked.log_start_offset),
                broker_epoch,
            };
            if let Some(high_watermark) = replica.state.on_replica_fetch(&fetch, now)? {
                replica.log.on_high_watermark(high_watermark);
                bound.high_watermark = high_watermark;
            }
            if let Some(change) = replica.state.propose_isr_expansion(epoch) {
                self.ask_for(key, change);
            }
        }
        let replica = self.replicas.get(&key).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
        let records = match diverging {
            None if offset < bound.bound => replica.read(offset, MAX_BYTES, bound.bound)?,
            _ => bytes::Bytes::new(),
        };
        Ok(FetchedData { error: ErrorCode::NONE, high_watermark: bound.high_watermark, log_start, diverging, records })
    }

    fn respond(&mut self, parked: &ParkedFetch, pass: Pass, now: Timestamp, out: &mut Outbox) {
        let outcomes: Vec<_> = parked
            .context
            .partitions()
            .iter()
            .zip(&pass.read)
            .map(|(asked, (_, data))| {
                let outcome = PartitionOutcome {
                    records_size: data.records.len(),
                    high_watermark: data.high_watermark,
                    log_start_offset: data.log_start,
                    error: data.error,
                    has_redirect: data.diverging.is_some(),
                };
                (asked, outcome)
            })
            .collect();
        let random = &mut self.random;
        let result = self
            .sessions
            .finish(&parked.context, &outcomes, now, || i32::try_from(random.below(i32::MAX as usize)).unwrap_or(1));
        let partitions = pass.read.into_iter().zip(result.included).filter_map(|(read, told)| told.then_some(read));
        let reply = FetchReply { error: result.error, session_id: result.session_id, partitions: partitions.collect() };
        out.answer(parked.call, Answer::Fetch(reply));
    }

    /// Where a log begins and ends, for a follower that is out of its range.
    pub(crate) fn range(&self, key: PartitionKey, leader_epoch: LeaderEpoch) -> Result<(Offset, Offset), ErrorCode> {
        let replica = self.replicas.get(&key).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let end = replica.state.latest_offset(leader_epoch, Isolation::LogEnd, None)?;
        Ok((replica.log.log_start_offset(), end))
    }
}

/// Where the reader's log parts from ours, if it does.
fn divergence(replica: &Replica, last: LeaderEpoch, from: Offset) -> Result<Option<EpochEnd>, ErrorCode> {
    if !last.is_some() {
        return Ok(None);
    }
    match replica.log.epoch_end_offset(last) {
        None => Err(ErrorCode::OFFSET_OUT_OF_RANGE),
        Some((epoch, end)) if epoch < last || end < from => Ok(Some(EpochEnd { epoch, end })),
        Some(_) => Ok(None),
    }
}
