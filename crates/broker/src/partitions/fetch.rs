//! Fetch: reads the partitions of a request up to its limits, and if there is too little, waits for an append or the
//! deadline. Records are never read here: a read yields slices of files. Kafka's counterparts are
//! `ReplicaManager.fetchMessages`, `readFromLog` and `DelayedFetch`.

use super::parked_fetch::ParkedFetch;
use super::partition::{Inner, Partition};
use super::read_outcome::ReadOutcome;
use super::read_replica::nearer_replica;
use super::waiting::Wakes;
use crate::broker::Broker;
use crate::partitions::Lookup;
use milena_protocol::messages::FetchResponse;
use milena_protocol::messages::fetch_response::FetchableTopicResponse;
use milena_protocol::{Records, Text};
use milena_replication::{FetchContext, Isolation, ReadRequest, ReplicaFetch, RequestedPartition, TopicKey};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, Uuid};
use std::sync::Arc;
use std::time::Duration;

/// How a fetch reads.
#[derive(Clone, Debug)]
pub(crate) struct FetchParams {
    pub(crate) version: i16,
    /// The follower that fetches, if it is one.
    pub(crate) replica: Option<BrokerId>,
    /// The epoch of the follower's registration; -1 if it does not tell.
    pub(crate) replica_epoch: i64,
    pub(crate) isolation: Isolation,
    /// The rack of a consumer that may be sent to a replica there.
    pub(crate) rack: Option<Text>,
    pub(crate) leader_only: bool,
    pub(crate) min_bytes: u64,
    pub(crate) max_bytes: u32,
    pub(crate) max_wait: Duration,
}

/// One partition to read; its place is that in the context's list.
struct Wanted {
    place: usize,
    partition: Result<Arc<Partition>, ErrorCode>,
    /// Unknown topics and partitions: they are answered, but never waited for.
    is_unknown: bool,
}

/// A fetch with its session looked up and its partitions found.
pub(crate) struct FetchWork {
    pub(super) params: FetchParams,
    /// The client's listener: where it is told to find other brokers.
    listener: Arc<str>,
    context: FetchContext,
    wanted: Vec<Wanted>,
}

/// What a pass over all partitions gave.
pub(crate) struct Pass {
    /// Who may go on because followers came further.
    wakes: Vec<Wakes>,
    outcomes: Vec<ReadOutcome>,
    is_enough: bool,
}

impl FetchWork {
    /// Finds the partitions of `context`.
    pub(crate) fn new(broker: &Broker, params: FetchParams, context: FetchContext, listener: Arc<str>) -> Self {
        let mut wanted: Vec<Wanted> = context
            .partitions()
            .iter()
            .enumerate()
            .map(|(place, requested)| {
                let index = PartitionIndex(requested.partition);
                let lookup = match &requested.topic {
                    TopicKey::Id(id) => broker.lookup_by_id(*id, index),
                    TopicKey::Name(name) => broker.lookup(std::str::from_utf8(name).unwrap_or_default(), index),
                };
                let (partition, is_unknown) = match lookup {
                    Lookup::Here(partition) => (Ok(partition), false),
                    Lookup::Refused(error) => (
                        Err(error),
                        matches!(error, ErrorCode::UNKNOWN_TOPIC_ID | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                    ),
                };
                Wanted { place, partition, is_unknown }
            })
            .collect();
        // Kafka answers what it does not know after what it read: first ids without a topic, then topics without the
        // partition.
        wanted.sort_by_key(|wanted| match &wanted.partition {
            Err(error) if wanted.is_unknown => {
                if *error == ErrorCode::UNKNOWN_TOPIC_ID {
                    1
                } else {
                    2
                }
            }
            _ => 0,
        });
        Self { params, listener, context, wanted }
    }

    /// Whether waiting can change the answer.
    pub(crate) fn may_wait(&self) -> bool {
        !self.params.max_wait.is_zero() && self.wanted.iter().any(|wanted| !wanted.is_unknown)
    }

    /// Reads every partition for the first time: what a follower asks for is what it has.
    pub(crate) fn read_first(&self, broker: &Broker) -> Pass {
        let mut pass = self.read_with(broker, None, true);
        std::mem::take(&mut pass.wakes).into_iter().for_each(Wakes::run);
        pass
    }

    /// Reads every partition once. With `parked`, it is registered where there was nothing to read, under the lock that
    /// an append takes.
    pub(crate) fn read(&self, broker: &Broker, parked: Option<&Arc<ParkedFetch>>) -> Pass {
        self.read_with(broker, parked, false)
    }

    fn read_with(&self, broker: &Broker, parked: Option<&Arc<ParkedFetch>>, is_first_pass: bool) -> Pass {
        let is_throttled = self.params.replica.is_some() && broker.throttles().leader.is_exceeded(broker.steady());
        let mut wakes = Vec::new();
        let mut left_bytes = self.params.max_bytes;
        // Before version 3 the limit was per partition and hard.
        let mut is_first = self.params.version > 2;
        let mut total_bytes = 0u64;
        let mut failed = false;
        let mut outcomes = Vec::with_capacity(self.wanted.len());
        for wanted in &self.wanted {
            let requested = self.context.partitions().get(wanted.place);
            let outcome = match (&wanted.partition, requested) {
                (Ok(partition), Some(requested)) => {
                    let limits = (left_bytes, is_first);
                    self.read_partition(
                        partition,
                        requested,
                        limits,
                        parked,
                        is_first_pass.then_some((broker, &mut wakes)),
                        is_throttled,
                    )
                }
                // What is unknown is answered before the log is asked: with the empty list and not with null.
                (Err(error), _) => {
                    let aborted = wanted.is_unknown.then(Vec::new);
                    ReadOutcome { aborted, ..ReadOutcome::failed(*error) }
                }
                (Ok(_), None) => ReadOutcome::failed(ErrorCode::UNKNOWN_SERVER_ERROR),
            };
            let size = outcome.records.len();
            is_first &= size == 0;
            left_bytes = left_bytes.saturating_sub(u32::try_from(size).unwrap_or(u32::MAX));
            total_bytes += size as u64;
            failed |= !wanted.is_unknown && (!outcome.error.is_none() || outcome.is_redirect());
            outcomes.push(outcome);
        }
        Pass { wakes, outcomes, is_enough: failed || total_bytes >= self.params.min_bytes }
    }

    fn read_partition(
        &self,
        partition: &Arc<Partition>,
        requested: &RequestedPartition,
        (left_bytes, is_first): (u32, bool),
        parked: Option<&Arc<ParkedFetch>>,
        acknowledging: Option<(&Broker, &mut Vec<Wakes>)>,
        is_throttled: bool,
    ) -> ReadOutcome {
        let params = &self.params;
        let max_bytes = u32::try_from(requested.max_bytes).unwrap_or(0).min(left_bytes);
        let mut inner = partition.lock();
        let request = ReadRequest {
            current_leader_epoch: LeaderEpoch(requested.current_leader_epoch),
            replica: params.replica,
            leader_only: params.leader_only,
            isolation: params.isolation,
            first_unstable_offset: inner.first_unstable_offset(),
        };
        let mut bound = match inner.state.read_bound(&request) {
            Ok(bound) => bound,
            Err(error) => return ReadOutcome::failed(error),
        };
        let log_start = inner.log.log_start_offset();
        let from = Offset(requested.fetch_offset);
        if let (Some(rack), Some((broker, _))) = (&params.rack, &acknowledging)
            && let Some(preferred) = nearer_replica(broker, &inner, (&self.listener, rack), from)
        {
            let outcome = ReadOutcome::failed(ErrorCode::NONE);
            return ReadOutcome { bound: Some(bound), log_start, preferred: Some(preferred), ..outcome };
        }
        // Where the logs part is told before the end of the range is looked at: a follower's log may be the longer one.
        let diverging = match inner.divergence(LeaderEpoch(requested.last_fetched_epoch), from) {
            Ok(diverging) => diverging.filter(|_| from >= log_start),
            Err(error) => return ReadOutcome::failed(error),
        };
        if diverging.is_none() && (from < log_start || from > bound.log_end_offset) {
            return ReadOutcome::failed(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        if let Some((broker, wakes)) = acknowledging.filter(|_| diverging.is_none()) {
            match self.acknowledge(broker, partition, &mut inner, requested) {
                Ok(None) => {}
                Ok(Some(woken)) => {
                    bound.high_watermark = inner.state.high_watermark();
                    wakes.push(woken);
                }
                Err(error) => return ReadOutcome::failed(error),
            }
        }
        let mut outcome = ReadOutcome {
            error: ErrorCode::NONE,
            is_damaged: false,
            bound: Some(bound),
            log_start,
            records: Records::EMPTY,
            aborted: (params.isolation == Isolation::LastStable).then(Vec::new),
            diverging,
            preferred: None,
        };
        if diverging.is_some() {
            return outcome;
        }
        if from < bound.bound && !(is_throttled && self.has_to_wait(partition, &inner)) {
            match inner.read(from, max_bytes, bound.bound, is_first) {
                Ok(read) => {
                    if let Some(aborted) = &mut outcome.aborted {
                        *aborted = inner.aborted_transactions(from, &read);
                    }
                    outcome.records = read.records;
                }
                Err(ErrorCode::CORRUPT_MESSAGE) => return ReadOutcome::damaged(&inner),
                Err(error) => return ReadOutcome::failed(error),
            }
        }
        if let Some(parked) = parked {
            inner.wait_for_bytes(parked);
        }
        outcome
    }

    /// Whether the follower that fetches is throttled: one that is not in sync, of a replica that the topic names.
    fn has_to_wait(&self, partition: &Partition, inner: &Inner) -> bool {
        let in_sync = |replica| inner.state.isr().committed().contains(&replica);
        partition.settings().throttled_leaders.has(partition.index)
            && self.params.replica.is_some_and(|replica| !in_sync(replica))
    }

    /// What leaves is counted, and for a follower bounded where its replica is throttled.
    fn count(&self, broker: &Broker, pass: &Pass) {
        let is_follower = self.params.replica.is_some();
        let mut throttled_bytes = 0;
        for (wanted, outcome) in self.wanted.iter().zip(&pass.outcomes) {
            let Ok(partition) = &wanted.partition else { continue };
            partition.traffic.fetched(outcome.records.len(), outcome.error, is_follower);
            if outcome.is_damaged {
                broker.quarantine().suspect(partition);
            }
            if is_follower && partition.settings().throttled_leaders.has(partition.index) {
                throttled_bytes += outcome.records.len();
            }
        }
        if is_follower {
            broker.throttles().leader.record(throttled_bytes, broker.steady());
        }
    }

    /// A follower has everything below what it asks for (`Partition.updateFollowerFetchState`).
    fn acknowledge(
        &self,
        broker: &Broker,
        partition: &Arc<Partition>,
        inner: &mut Inner,
        requested: &RequestedPartition,
    ) -> Result<Option<Wakes>, ErrorCode> {
        let Some(replica) = self.params.replica else { return Ok(None) };
        let fetch = ReplicaFetch {
            replica,
            fetch_offset: Offset(requested.fetch_offset),
            log_start_offset: Offset(requested.log_start_offset),
            broker_epoch: self.params.replica_epoch,
        };
        let moved = inner.state.on_replica_fetch(&fetch, broker.steady())?;
        if let Some(change) = inner.state.propose_isr_expansion(broker.epoch()) {
            broker.isr_changes().add(partition, change);
        }
        Ok(moved.map(|_| inner.wakes_after(moved)))
    }

    /// Builds the answer and moves the session on.
    pub(crate) fn respond(&self, broker: &Broker, pass: Pass) -> FetchResponse {
        self.count(broker, &pass);
        let requested = self.context.partitions();
        let answered: Vec<_> = self
            .wanted
            .iter()
            .zip(&pass.outcomes)
            .filter_map(|(wanted, outcome)| Some((requested.get(wanted.place)?, outcome.for_session())))
            .collect();
        let result = broker.fetch_sessions().finish(&self.context, &answered, broker.now(), crate::random::session_id);
        let mut response =
            FetchResponse { error_code: result.error.0, session_id: result.session_id, ..Default::default() };
        for ((wanted, outcome), included) in self.wanted.iter().zip(pass.outcomes).zip(result.included) {
            let Some(requested) = requested.get(wanted.place).filter(|_| included) else { continue };
            self.add(broker, &mut response, requested, outcome);
        }
        response
    }

    /// Adds one partition, under its topic if that is the last one.
    fn add(&self, broker: &Broker, response: &mut FetchResponse, requested: &RequestedPartition, outcome: ReadOutcome) {
        let (name, id) = match &requested.topic {
            TopicKey::Id(id) => (Text::new(), *id),
            TopicKey::Name(name) => (Text::from_bytes(name.clone()).unwrap_or_default(), Uuid::ZERO),
        };
        let mut data = outcome.into_data(requested.partition);
        if self.params.version <= 5 && data.error_code == ErrorCode::KAFKA_STORAGE_ERROR.0 {
            data.error_code = ErrorCode::NOT_LEADER_OR_FOLLOWER.0;
        }
        if self.params.version >= 16 {
            broker.add_current_leader_to_fetch(
                &requested.topic,
                &mut data,
                &mut response.node_endpoints,
                &self.listener,
            );
        }
        match response.responses.last_mut() {
            Some(topic) if topic.topic == name && topic.topic_id == id => topic.partitions.push(data),
            _ => response.responses.push(FetchableTopicResponse {
                topic: name,
                topic_id: id,
                partitions: vec![data],
                ..Default::default()
            }),
        }
    }
}

impl Pass {
    /// Whether the answer need not wait.
    pub(crate) fn is_enough(&self) -> bool {
        self.is_enough
    }
}
