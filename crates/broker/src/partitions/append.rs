//! Produce: everything one read brought is decoded and checked, grouped by partition, and appended with one lock and
//! one write for each partition; then all requests are answered in order. Kafka's counterparts are
//! `KafkaApis.handleProduceRequest` and `ReplicaManager.appendRecords`; error codes, offsets and messages of the answers
//! follow them.

use super::held::{self, HeldProduces};
use super::partition::{AppendTerms, Partition};
use super::pending_produce::PendingProduce;
use super::refusal;
use super::traffic::Tally;
use super::waiting::{Place, Wakes};
use crate::broker::Broker;
use crate::call::Later;
use crate::metrics::Waited;
use crate::partitions::Lookup;
use bytes::Bytes;
use milena_network::Replies;
use milena_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use milena_protocol::messages::{ProduceRequest, ProduceResponse, produce_request::PartitionProduceData};
use milena_protocol::{Message, Reader, Records, RequestHeader, Text, encode_response};
use milena_records::{RejectReason, TimestampType, ValidBatch};
use milena_replication::PartitionState;
use milena_storage::{AppendOrigin, VerificationGuard};
use milena_types::{ErrorCode, Offset, PartitionIndex, Timestamp};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first version with topic ids instead of names (KIP-516).
const TOPIC_IDS_FROM_VERSION: i16 = 13;
/// The first version that says where the leader is now (KIP-951).
const CURRENT_LEADER_FROM_VERSION: i16 = 10;
/// The client id that may write internal topics, as Kafka has it (`AdminUtils.ADMIN_CLIENT_ID`).
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// The produce requests of one read that are not answered yet.
pub(crate) struct AppendGroup<'a> {
    broker: &'a Arc<Broker>,
    requests: Vec<PendingProduce>,
    parts: Vec<Part>,
    now: Timestamp,
    /// When the first of them was taken, if somebody may ask.
    began: Option<Instant>,
    /// The client's listener: where it is told to find other brokers.
    listener: Arc<str>,
    /// What of the connection's earlier requests waits.
    held: Arc<HeldProduces>,
}

/// One partition of one request.
pub(super) struct Part {
    request: usize,
    pub(super) place: Place,
    pub(super) partition: Arc<Partition>,
    pub(super) batch: Result<ValidBatch, RejectReason>,
    /// What was sent, bytes.
    size_bytes: usize,
    /// What verifying its transaction gave.
    pub(super) guard: Option<VerificationGuard>,
}

/// Where an answer goes.
enum Out<'a, 'r> {
    Now(&'a mut Replies<'r>),
    Later(Later),
}

impl<'a> AppendGroup<'a> {
    pub(crate) fn new(broker: &'a Arc<Broker>, listener: &Arc<str>, held: &Arc<HeldProduces>) -> Self {
        let (listener, held) = (Arc::clone(listener), Arc::clone(held));
        Self { broker, requests: Vec::new(), parts: Vec::new(), now: Timestamp::NONE, began: None, listener, held }
    }

    /// Appends a request that was held and answers it.
    pub(super) fn append_held(
        broker: &Arc<Broker>,
        listener: &Arc<str>,
        (pending, parts): (PendingProduce, Vec<Part>),
        later: Later,
    ) {
        let mut group = AppendGroup::new(broker, listener, &Arc::default());
        group.now = broker.now();
        group.requests.push(pending);
        group.parts = parts;
        group.append();
        if let Some(pending) = group.requests.pop() {
            group.answer(pending, Out::Later(later));
        }
    }

    /// Takes one more request. If it cannot be read, the ones before are answered and the connection is closed.
    pub(crate) fn add(&mut self, header: RequestHeader, mut body: Reader, replies: &mut Replies<'_>) {
        let request = match ProduceRequest::decode(&mut body, header.api_version) {
            Ok(request) => request,
            Err(error) => {
                tracing::debug!(%error, "closed: no produce request");
                self.flush(replies);
                replies.close();
                return;
            }
        };
        if self.requests.is_empty() {
            self.now = self.broker.now();
            self.began = self.broker.cells().map(|_| Instant::now());
        }
        if let Some(cells) = self.broker.cells() {
            cells.requests.came(header.api_key, header.api_version);
        }
        let mut pending = PendingProduce {
            acks: request.acks,
            timeout: Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)),
            response: ProduceResponse { responses: Vec::with_capacity(request.topic_data.len()), ..Default::default() },
            parked: None,
            failed: false,
            header,
        };
        let refusal = refusal::of(&request);
        pending.failed = refusal.is_some();
        let first_part = self.parts.len();
        for topic in request.topic_data {
            let by_id = pending.header.api_version >= TOPIC_IDS_FROM_VERSION;
            let found = if by_id {
                self.broker.partitions.by_id(topic.topic_id)
            } else {
                self.broker.partitions.named(&topic.name)
            };
            let name = found.as_ref().map_or(topic.name, |topic| topic.name.clone());
            let mut answers = TopicProduceResponse {
                name: if by_id { Text::new() } else { name.clone() },
                topic_id: topic.topic_id,
                partition_responses: Vec::with_capacity(topic.partition_data.len()),
                ..Default::default()
            };
            for data in topic.partition_data {
                let place =
                    Place { topic: pending.response.responses.len(), partition: answers.partition_responses.len() };
                if let Some(refusal) = &refusal {
                    answers.partition_responses.push(refusal.answer(data.index));
                    continue;
                }
                let index = PartitionIndex(data.index);
                let lookup = match found.as_ref().and_then(|found| found.get(index)) {
                    Some(partition) => Lookup::Here(Arc::clone(partition)),
                    None if by_id => self.broker.lookup_by_id(topic.topic_id, index),
                    None => self.broker.lookup(&name, index),
                };
                answers.partition_responses.push(self.take(&mut pending, place, lookup, data));
            }
            pending.response.responses.push(answers);
        }
        let transaction = held::transaction_of(
            self.broker,
            request.transactional_id.as_ref(),
            pending.header.api_version,
            self.parts.get(first_part..).unwrap_or_default(),
        );
        if matches!(transaction, Ok(None)) && self.is_free() {
            self.requests.push(pending);
        } else {
            let parts = self.parts.split_off(first_part);
            self.verify(pending, parts, transaction, replies);
        }
    }

    /// Whether a request of this connection has nobody to wait for.
    fn is_free(&self) -> bool {
        self.held.is_empty() && !self.broker.partitions.write_pause.is_on()
    }

    /// Takes a request of a transaction, or one that comes while such a request waits or all have to.
    fn verify(
        &mut self,
        mut pending: PendingProduce,
        mut parts: Vec<Part>,
        transaction: Result<Option<held::Transaction>, ErrorCode>,
        replies: &mut Replies<'_>,
    ) {
        let waits_for = match transaction {
            Ok(None) => None,
            Ok(Some(transaction)) => {
                let partitions = held::start(self.broker, &transaction, &mut pending, &mut parts);
                (!partitions.is_empty()).then_some((transaction, partitions))
            }
            Err(error) => {
                parts.drain(..).for_each(|part| pending.refuse(part.place, error, Offset(-1)));
                None
            }
        };
        if waits_for.is_none() && self.is_free() {
            self.parts.append(&mut parts);
            self.requests.push(pending);
            return;
        }
        self.flush(replies);
        let bytes = parts.iter().filter_map(|part| part.batch.as_ref().ok()).map(|batch| batch.bytes.len()).sum();
        let Some(reply) = replies.park_holding(bytes) else { return replies.close() };
        let waited = Waited::since(self.broker.cells(), self.began);
        let later = Later::new(&pending.header, reply).timed(waited);
        parts.iter_mut().for_each(|part| part.request = 0);
        self.held.hold(self.broker, (pending, parts, later), &self.listener, waits_for);
    }

    /// Checks one partition's records and keeps them for the append, or answers at once.
    fn take(
        &mut self,
        pending: &mut PendingProduce,
        place: Place,
        lookup: Lookup,
        data: PartitionProduceData,
    ) -> PartitionProduceResponse {
        let mut answer = PartitionProduceResponse {
            index: data.index,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            ..Default::default()
        };
        let refusal = match &lookup {
            Lookup::Refused(error) => Some(*error),
            _ if !matches!(pending.acks, -1..=1) => Some(ErrorCode::INVALID_REQUIRED_ACKS),
            Lookup::Here(partition) if partition.is_internal && !is_admin(&pending.header) => {
                Some(ErrorCode::INVALID_TOPIC_EXCEPTION)
            }
            Lookup::Here(_) => None,
        };
        if let Some(error) = refusal {
            answer.error_code = error.0;
            pending.failed = true;
            return answer;
        }
        if let Lookup::Here(partition) = lookup {
            let bytes = match data.records {
                Some(Records::Bytes(bytes)) => bytes,
                _ => Bytes::new(),
            };
            let size_bytes = bytes.len();
            let mut rules = partition.settings().produce;
            rules.request_version = pending.header.api_version;
            let batch = self.broker.rebuilding().validate(bytes, &rules, self.now);
            let part = Part { request: self.requests.len(), place, partition, batch, size_bytes, guard: None };
            self.parts.push(part);
        }
        answer
    }

    /// Appends everything taken and answers it.
    pub(crate) fn flush(&mut self, replies: &mut Replies<'_>) {
        if self.requests.is_empty() {
            return;
        }
        self.append();
        let took = self.began.map(|began| began.elapsed());
        for request in std::mem::take(&mut self.requests) {
            if let (Some(cells), Some(took), None) = (self.broker.cells(), took, &request.parked) {
                cells.requests.answered(request.header.api_key, took);
            }
            self.answer(request, Out::Now(replies));
        }
    }

    fn append(&mut self) {
        let mut parts = std::mem::take(&mut self.parts);
        // A stable sort: what one connection sent to a partition stays in its order.
        parts.sort_by_key(|part| Arc::as_ptr(&part.partition).addr());
        for group in parts.chunk_by_mut(|one, other| Arc::ptr_eq(&one.partition, &other.partition)) {
            self.append_to_partition(group);
        }
        parts.clear();
        self.parts = parts;
    }

    fn append_to_partition(&mut self, group: &mut [Part]) {
        let Some(partition) = group.first().map(|part| Arc::clone(&part.partition)) else { return };
        let mut inner = partition.lock();
        let mut tally = Tally::default();
        let mut ready = Vec::with_capacity(group.len());
        for (at, part) in group.iter().enumerate() {
            let Some(request) = self.requests.get_mut(part.request) else { continue };
            let may_append = match inner.state.check_append(request.acks) {
                Ok(()) if is_lease_over(self.broker, request.acks, &inner.state) => {
                    Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)
                }
                checked => checked,
            };
            match (may_append, &part.batch) {
                (Ok(()), Ok(_)) => ready.push(at),
                (Err(error), _) => {
                    tally.refused(error, part.size_bytes);
                    request.refuse(part.place, error, Offset(-1));
                }
                (Ok(()), Err(reason)) => {
                    tally.refused(reason.error, part.size_bytes);
                    request.reject(part.place, reason, &partition, &inner);
                }
            }
        }
        let batches: Vec<&[ValidBatch]> =
            ready.iter().filter_map(|at| group.get(*at)?.batch.as_ref().ok()).map(std::slice::from_ref).collect();
        let guards: Vec<_> = ready.iter().map(|at| group.get(*at).and_then(|part| part.guard)).collect();
        let verify = self.broker.verifies_transactions();
        let terms = AppendTerms { origin: AppendOrigin::Client, verify, now: self.now };
        let results = inner.append(&batches, &guards, terms);
        let log_start = inner.log.log_start_offset();
        let mut appended_any = false;
        for (at, result) in ready.iter().zip(results) {
            let Some(part) = group.get(*at) else { continue };
            let Some(request) = self.requests.get_mut(part.request) else { continue };
            match result {
                Ok(appended) => {
                    appended_any = true;
                    tally.appended(&appended, part.size_bytes);
                    // Kafka tells a repeated batch's newest timestamp as its append time.
                    let append_time = if appended.duplicate { appended.max_timestamp } else { part.append_time() };
                    request.appended(part.place, &appended, append_time, &mut inner);
                }
                Err(error) => {
                    tally.refused(error, part.size_bytes);
                    request.refuse(part.place, error, log_start);
                }
            }
        }
        partition.traffic.produced(&tally);
        let wakes = if appended_any { inner.wakes_after_append(&partition, self.broker) } else { Wakes::default() };
        drop(inner);
        wakes.run();
    }

    fn answer(&self, request: PendingProduce, out: Out<'_, '_>) {
        let PendingProduce { header, acks, timeout, mut response, parked, failed } = request;
        if acks == 0 {
            if failed {
                // The producer expects no answer: closing tells it to look where the leader is.
                tracing::debug!(client = header.client_id.as_deref(), "closed: a produce with acks=0 failed");
            }
            match out {
                Out::Now(replies) if failed => replies.close(),
                Out::Now(replies) => replies.nothing(),
                // Dropped, it closes the connection.
                Out::Later(_) if failed => {}
                Out::Later(later) => later.nothing(),
            }
            return;
        }
        if failed && header.api_version >= CURRENT_LEADER_FROM_VERSION {
            self.broker.add_current_leaders(&mut response, &self.listener);
        }
        if let Some(parked) = parked {
            let partitions: usize = response.responses.iter().map(|topic| topic.partition_responses.len()).sum();
            let later = match out {
                Out::Later(later) => later,
                Out::Now(replies) => {
                    let Some(reply) = replies.park_holding(partitions * size_of::<PartitionProduceResponse>()) else {
                        return replies.close();
                    };
                    Later::new(&header, reply).timed(Waited::since(self.broker.cells(), self.began))
                }
            };
            parked.arm(later, response, self.broker.deadlines(), timeout);
            return;
        }
        let replies = match out {
            Out::Later(later) => return later.answer(&response),
            Out::Now(replies) => replies,
        };
        match encode_response(header.api_key, header.api_version, header.correlation_id, &response) {
            Ok(segments) => replies.ready(segments),
            Err(error) => {
                tracing::error!(%error, "a produce response cannot be encoded; its connection is closed");
                replies.close();
            }
        }
    }
}

/// Whether to acknowledge would tell that something is written which a leader that was elected meanwhile does not have.
fn is_lease_over(broker: &Broker, acks: i16, state: &PartitionState) -> bool {
    acks == 1 && state.may_be_succeeded() && !broker.lease().is_held(broker.steady())
}

fn is_admin(header: &RequestHeader) -> bool {
    header.client_id.as_deref() == Some(ADMIN_CLIENT_ID)
}

impl Part {
    /// The append time where the topic uses it, else -1.
    fn append_time(&self) -> i64 {
        match &self.batch {
            Ok(batch) if batch.header.timestamp_type() == TimestampType::LogAppendTime => batch.header.max_timestamp,
            _ => -1,
        }
    }
}
