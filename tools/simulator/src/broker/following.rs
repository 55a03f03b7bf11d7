//! The follower's side: what is fetched from whom, and taking the answers (`partitions/follower.rs` and
//! `replication/fetcher.rs` of `milena-broker`).

use std::collections::BTreeMap;

use bytes::Bytes;
use milena_records::Batches;
use milena_replication::{
    Durability, EpochEnd, OutOfRange, PartitionKey, RequestedPartition, TopicKey, after_out_of_range, truncation_offset,
};
use milena_storage::AppendError;
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Timestamp};

use super::broker_host::BrokerHost;
use super::outbox::{Note, Outbox, To};
use super::replica::{Replica, entries_of};
use crate::message::{FetchCall, FetchReply, FetchedData, Lane, Purpose, Request};
use crate::planted::Planted;

/// `replica.fetch.wait.max.ms`.
const FETCH_WAIT_MS: i64 = 500;
/// `replica.fetch.backoff.ms`.
const BACKOFF_MS: i64 = 300;
/// How long metadata may take from one broker to another, about.
const METADATA_LAG_MS: i64 = 50;

/// What became of one partition of an answer.
enum Taken {
    Done,
    Stale,
    Damaged,
    Lost,
}

impl BrokerHost {
    pub(super) fn fetch_what_is_due(&mut self, now: Timestamp, out: &mut Outbox) {
        let leaders: Vec<BrokerId> = self.fetchers.keys().copied().collect();
        for leader in leaders {
            self.fetch_from(leader, now, out);
        }
    }

    fn fetch_from(&mut self, leader: BrokerId, now: Timestamp, out: &mut Outbox) {
        let nothing = BTreeMap::new();
        let Some(fetcher) = self.fetchers.get_mut(&leader) else { return };
        if fetcher.in_flight {
            return;
        }
        fetcher.plan.follow(self.targets.get(&leader).unwrap_or(&nothing));
        if fetcher.retry_at > now {
            return;
        }
        let due = fetcher.plan.due(now);
        let mut wanted = BTreeMap::new();
        for (key, leader_epoch) in due {
            if let Some(asked) = self.follower_end(key, leader, leader_epoch, now, out) {
                wanted.insert(key, asked);
            }
        }
        let (id, epoch) = (self.id(), self.epoch);
        let Some(fetcher) = self.fetchers.get_mut(&leader) else { return };
        if wanted.is_empty() {
            return;
        }
        let changes = fetcher.session.prepare(wanted.clone());
        fetcher.in_flight = true;
        let call = FetchCall {
            session_id: changes.session_id,
            session_epoch: changes.session_epoch,
            partitions: changes.partitions,
            forgotten: changes.forgotten,
            replica: Some((id, epoch)),
            max_wait_ms: FETCH_WAIT_MS,
        };
        out.calls.push((
            To::Broker(leader),
            Lane::Replica,
            Request::Fetch(call),
            Purpose::ReplicaFetch { leader, wanted },
        ));
    }

    fn follower_end(
        &mut self,
        key: PartitionKey,
        leader: BrokerId,
        leader_epoch: LeaderEpoch,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Option<RequestedPartition> {
        let more = if self.settings.has(Planted::FollowerClaimsMore) { 2 } else { 0 };
        let replica = self.replicas.get_mut(&key).filter(|replica| replica.follows(leader, leader_epoch))?;
        // A log that knows no epochs can only be trusted up to the high watermark.
        let high_watermark = replica.state.high_watermark();
        if replica.log.latest_epoch().is_none() && replica.log.log_end_offset() > high_watermark {
            self.cut(key, high_watermark, now, out)?;
        }
        let replica = self.replicas.get(&key)?;
        Some(RequestedPartition {
            topic: TopicKey::Id(key.0),
            partition: key.1.0,
            max_bytes: 1 << 20,
            fetch_offset: replica.log.log_end_offset().0 + more,
            current_leader_epoch: leader_epoch.0,
            last_fetched_epoch: replica.last_epoch().0,
            log_start_offset: replica.log.log_start_offset().0,
        })
    }

    /// The leader answered, or did not.
    pub(crate) fn on_fetched(
        &mut self,
        leader: BrokerId,
        wanted: &BTreeMap<PartitionKey, RequestedPartition>,
        reply: Option<FetchReply>,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let Some(fetcher) = self.fetchers.get_mut(&leader) else { return };
        fetcher.in_flight = false;
        let Some(reply) = reply else {
            fetcher.session.on_failure();
            fetcher.retry_at = Timestamp(now.0 + BACKOFF_MS);
            return;
        };
        fetcher.session.on_response(reply.error, reply.session_id);
        if !reply.error.is_none() {
            fetcher.retry_at = Timestamp(now.0 + BACKOFF_MS);
            return;
        }
        for (key, data) in reply.partitions {
            if let Some(asked) = wanted.get(&key) {
                self.take_one((leader, key), asked, data, now, out);
            }
        }
        self.dirty = true;
    }

    fn take_one(
        &mut self,
        (leader, key): (BrokerId, PartitionKey),
        asked: &RequestedPartition,
        data: FetchedData,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let fails = self.settings.has(Planted::FailsForGood);
        let until = match data.error {
            ErrorCode::NONE => {
                let taken = self.take(key, leader, asked, data, now, out);
                let Some(fetcher) = self.fetchers.get_mut(&leader) else { return };
                match taken {
                    Taken::Done => fetcher.plan.ready(key),
                    Taken::Stale => {}
                    Taken::Damaged => fetcher.plan.delay(key, Timestamp(now.0 + BACKOFF_MS)),
                    Taken::Lost => fetcher.plan.fail(key),
                }
                return;
            }
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                let request = Request::Range { key, leader_epoch: LeaderEpoch(asked.current_leader_epoch) };
                let purpose = Purpose::Range { leader, key, asked: asked.clone() };
                out.calls.push((To::Broker(leader), Lane::Replica, request, purpose));
                // The real fetcher waits for the answer before it goes on.
                Timestamp(now.0 + BACKOFF_MS)
            }
            ErrorCode::FENCED_LEADER_EPOCH => {
                if let Some(fetcher) = self.fetchers.get_mut(&leader) {
                    fetcher.plan.fail(key);
                }
                return;
            }
            ErrorCode::UNKNOWN_LEADER_EPOCH
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Timestamp(now.0 + METADATA_LAG_MS),
            _ => Timestamp(now.0 + BACKOFF_MS),
        };
        if let Some(fetcher) = self.fetchers.get_mut(&leader) {
            if fails { fetcher.plan.fail(key) } else { fetcher.plan.delay(key, until) }
        }
    }

    fn take(
        &mut self,
        key: PartitionKey,
        leader: BrokerId,
        asked: &RequestedPartition,
        data: FetchedData,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Taken {
        let (stale, never) = (Planted::TakesStaleAnswers, Planted::NeverTruncates);
        let (takes_stale, never_truncates) = (self.settings.has(stale), self.settings.has(never));
        let syncs =
            self.settings.durability == Durability::Fsync && !self.settings.has(Planted::FollowerFetchesBeforeSync);
        let Some(replica) = self.replicas.get_mut(&key) else { return Taken::Stale };
        let at_same_end =
            replica.log.log_end_offset().0 == asked.fetch_offset && replica.last_epoch().0 == asked.last_fetched_epoch;
        let follows = replica.follows(leader, LeaderEpoch(asked.current_leader_epoch));
        let is_current = follows && at_same_end;
        let passes_over = takes_stale && !replica.state.is_leader();
        if !is_current && !passes_over {
            return Taken::Stale;
        }
        if let Some(theirs) = data.diverging.filter(|_| !never_truncates) {
            let own = replica.log.epoch_end_offset(theirs.epoch).map(|(epoch, end)| EpochEnd { epoch, end });
            let to = truncation_offset(theirs, own, replica.log.log_end_offset());
            return if self.cut(key, to, now, out).is_some() { Taken::Done } else { Taken::Lost };
        }
        let appended = !data.records.is_empty();
        if appended {
            match append_fetched(replica, data.records, now, out) {
                Taken::Done => {}
                failed => return failed,
            }
        }
        replica.state.on_local_append(replica.log.log_end_offset(), now);
        if let Some(high_watermark) = replica.state.on_leader_high_watermark(data.high_watermark) {
            replica.log.on_high_watermark(high_watermark);
        }
        if appended && syncs && flush_now(replica, now).is_err() {
            out.notes.push(Note::LogFailed);
            return Taken::Lost;
        }
        Taken::Done
    }

    /// Where the leader's log begins and ends, asked after an offset that is not in it.
    pub(crate) fn on_range(
        &mut self,
        leader: BrokerId,
        key: PartitionKey,
        asked: &RequestedPartition,
        range: Option<(Offset, Offset)>,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let Some((start, end)) = range else { return };
        let epoch = LeaderEpoch(asked.current_leader_epoch);
        let expected = Offset(asked.fetch_offset);
        let Some(replica) = self.replicas.get_mut(&key) else { return };
        if !replica.follows(leader, epoch) || replica.log.log_end_offset() != expected {
            return;
        }
        match after_out_of_range(expected, start, end) {
            OutOfRange::FetchAgain => {}
            OutOfRange::TruncateTo(to) => {
                if self.cut(key, to, now, out).is_none() {
                    return;
                }
            }
            OutOfRange::StartAt(start) => {
                if self.start_at(key, start, now).is_none() {
                    out.notes.push(Note::LogFailed);
                    return;
                }
            }
        }
        if let Some(fetcher) = self.fetchers.get_mut(&leader) {
            fetcher.plan.ready(key);
        }
    }

    /// Cuts a log as the product does (INV-8): the recovery point on disk is lowered before. `None` if that failed, or the log.
    fn cut(&mut self, key: PartitionKey, to: Offset, now: Timestamp, out: &mut Outbox) -> Option<()> {
        let done = self.lower_recovery_point(key, to).and_then(|()| {
            let replica = self.replicas.get_mut(&key)?;
            let (from, high_watermark) = (replica.log.log_end_offset(), replica.state.high_watermark());
            if replica.log.truncate_to(to, now).is_err() {
                replica.state.go_offline();
                return None;
            }
            replica.state.on_truncate(replica.log.log_end_offset());
            replica.note_truncated();
            let to = replica.log.log_end_offset().0;
            out.notes.push(Note::Truncated { key, from: from.0, to, high_watermark: high_watermark.0 });
            self.write_recovery_points().ok()
        });
        if done.is_none() {
            out.notes.push(Note::LogFailed);
        }
        done
    }

    /// Begins a log anew; `None` if that failed.
    fn start_at(&mut self, key: PartitionKey, start: Offset, now: Timestamp) -> Option<()> {
        self.lower_recovery_point(key, Offset(0))?;
        let replica = self.replicas.get_mut(&key)?;
        let started = replica.log.truncate_fully_and_start_at(start, now);
        replica.state.on_truncate(start);
        replica.note_truncated();
        started.ok()?;
        self.write_recovery_points().ok()
    }

    fn lower_recovery_point(&mut self, key: PartitionKey, to: Offset) -> Option<()> {
        let is_on_disk = self.replicas.get_mut(&key)?.log.lower_recovery_point(to);
        if is_on_disk { self.write_recovery_points().ok() } else { Some(()) }
    }
}

fn append_fetched(replica: &mut Replica, records: Bytes, now: Timestamp, out: &mut Outbox) -> Taken {
    match replica.log.append_as_follower(records.clone(), now) {
        Ok(_) => {}
        Err(AppendError::Rejected(_)) => return Taken::Damaged,
        Err(AppendError::Storage(_)) => {
            replica.state.go_offline();
            out.notes.push(Note::LogFailed);
            return Taken::Lost;
        }
    }
    let base = i64::try_from(replica.entries.len()).unwrap_or(i64::MAX);
    let batches =
        Batches::new(records).flatten().take_while(|batch| batch.header.last_offset() < replica.log.log_end_offset());
    let entries: Vec<_> = batches.flat_map(|batch| entries_of(&batch)).collect();
    replica.note_appended(&entries);
    out.notes.push(Note::Appended { key: replica.key, base, entries });
    Taken::Done
}

/// Makes everything appended durable before anything else is done.
pub(super) fn flush_now(replica: &mut Replica, now: Timestamp) -> Result<(), milena_storage::Error> {
    if let Some(handle) = replica.log.prepare_flush()? {
        match handle.run() {
            Ok(flushed) => {
                replica.log.flushed(flushed);
                replica.state.on_durable(flushed.end_offset, now);
            }
            Err(error) => {
                replica.log.mark_failed();
                replica.state.go_offline();
                return Err(error);
            }
        }
    }
    Ok(())
}
