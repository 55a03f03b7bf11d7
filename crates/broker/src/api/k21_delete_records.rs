//! DeleteRecords, versions 0 to 2 (KIP-107): raises the log start of partitions led here, and answers once all live
//! replicas have raised theirs. Segments go with the next retention check. Kafka: `KafkaApis.handleDeleteRecordsRequest`,
//! `ReplicaManager.deleteRecords`, `Partition.deleteRecordsOnLeader`, `DelayedDeleteRecords`.

use super::{Api, Lane};
use crate::broker::Broker;
use crate::call::{Call, Later, Outcome};
use crate::partitions::{Lookup, Parked, Partition, is_internal};
use milena_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use milena_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use milena_protocol::{ApiKey, Text};
use milena_replication::Role;
use milena_types::{ErrorCode, Offset, PartitionIndex};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::DELETE_RECORDS, lane: Lane::Partition, handle };

/// Stands for the high watermark in a request.
const HIGH_WATERMARK: i64 = -1;

/// How often waiting deletions look at the followers' log starts.
const LOOK_EVERY: Duration = Duration::from_millis(50);

type Key = (Text, i32);
type Results = BTreeMap<Key, Result<Deleted, ErrorCode>>;

/// A partition whose log start was raised here.
struct Deleted {
    partition: Arc<Partition>,
    /// What every live replica's log start is to reach.
    required: Offset,
    low_watermark: Offset,
}

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<DeleteRecordsRequest>() else { return Outcome::Close };
    let broker = Arc::clone(call.broker);
    // A partition named twice counts once, with its last offset.
    let mut wanted: BTreeMap<Key, i64> = BTreeMap::new();
    for topic in request.topics {
        let names = std::iter::repeat(topic.name);
        wanted.extend(names.zip(topic.partitions).map(|(name, asked)| ((name, asked.partition_index), asked.offset)));
    }
    let results: Results = wanted
        .into_iter()
        .map(|((topic, index), offset)| {
            let result = delete(&broker, &topic, PartitionIndex(index), offset);
            ((topic, index), result)
        })
        .collect();
    if results.values().flatten().all(Deleted::is_done) {
        return call.answer(&respond(&results));
    }
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let Some(later) = call.park() else { return Outcome::Close };
    Waiting::park(broker, results, later, timeout);
    Outcome::Pending
}

fn delete(broker: &Broker, topic: &str, index: PartitionIndex, offset: i64) -> Result<Deleted, ErrorCode> {
    if broker.image().topics.named(topic).is_none_or(|topic| topic.partition(index).is_none()) {
        return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
    if is_internal(topic) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let partition = match broker.lookup(topic, index) {
        Lookup::Here(partition) => partition,
        Lookup::Refused(error) => return Err(error),
    };
    let (required, low_watermark) = delete_on_leader(broker, &partition, offset)?;
    Ok(Deleted { partition, required, low_watermark })
}

/// The offset that was meant, and the low watermark reached.
fn delete_on_leader(broker: &Broker, partition: &Partition, offset: i64) -> Result<(Offset, Offset), ErrorCode> {
    let mut inner = partition.lock();
    check_leads(inner.state.role())?;
    let config = inner.log.config();
    if config.cleanup_compact && !config.cleanup_delete {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let high_watermark = inner.state.high_watermark();
    let required = if offset == HIGH_WATERMARK { high_watermark } else { Offset(offset) };
    if required.0 < 0 || required > high_watermark {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    if let Err(error) = inner.log.advance_log_start(required) {
        inner.storage_failed(&error, "the log start cannot be raised");
        return Err(ErrorCode::KAFKA_STORAGE_ERROR);
    }
    let image = broker.image();
    let is_alive = |id| image.cluster.broker(id).is_some_and(|broker| !broker.is_fenced);
    Ok((required, inner.state.low_watermark(inner.log.log_start_offset(), is_alive)))
}

fn check_leads(role: Role) -> Result<(), ErrorCode> {
    match role {
        Role::Leader => Ok(()),
        Role::Follower { .. } => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        Role::Offline => Err(ErrorCode::KAFKA_STORAGE_ERROR),
    }
}

impl Deleted {
    fn is_done(&self) -> bool {
        self.low_watermark >= self.required
    }

    /// The low watermark now.
    fn look(&mut self, broker: &Broker) -> Result<(), ErrorCode> {
        let inner = self.partition.lock();
        check_leads(inner.state.role())?;
        let image = broker.image();
        let is_alive = |id| image.cluster.broker(id).is_some_and(|broker| !broker.is_fenced);
        self.low_watermark = inner.state.low_watermark(inner.log.log_start_offset(), is_alive);
        Ok(())
    }
}

/// What is not done by now has timed out.
fn respond(results: &Results) -> DeleteRecordsResponse {
    let mut response = DeleteRecordsResponse::default();
    for ((topic, index), result) in results {
        let (low_watermark, error) = match result {
            Ok(deleted) if deleted.is_done() => (deleted.low_watermark.0, ErrorCode::NONE),
            Ok(deleted) => (deleted.low_watermark.0, ErrorCode::REQUEST_TIMED_OUT),
            Err(error) => (-1, *error),
        };
        let answer = DeleteRecordsPartitionResult {
            partition_index: *index,
            low_watermark,
            error_code: error.0,
            ..Default::default()
        };
        match response.topics.last_mut().filter(|last| last.name == *topic) {
            Some(last) => last.partitions.push(answer),
            None => response.topics.push(DeleteRecordsTopicResult {
                name: topic.clone(),
                partitions: vec![answer],
                ..Default::default()
            }),
        }
    }
    response
}

/// A request that waits for followers. It holds itself until it is answered: nobody else does.
struct Waiting {
    broker: Arc<Broker>,
    until: Instant,
    state: Mutex<Option<State>>,
}

struct State {
    results: Results,
    later: Later,
    /// Taken with the state, which ends the circle.
    _itself: Arc<Waiting>,
}

impl Waiting {
    fn park(broker: Arc<Broker>, results: Results, later: Later, timeout: Duration) {
        let until = Instant::now() + timeout;
        let waiting = Arc::new(Self { broker, until, state: Mutex::new(None) });
        let state = State { results, later, _itself: Arc::clone(&waiting) };
        *waiting.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
        waiting.look_again();
    }

    fn look_again(self: &Arc<Self>) {
        let left = self.until.saturating_duration_since(Instant::now());
        let parked: Weak<Self> = Arc::downgrade(self);
        self.broker.deadlines().add(LOOK_EVERY.min(left), parked);
    }
}

impl Parked for Waiting {
    fn expire(self: Arc<Self>) {
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut state) = guard.take() else { return };
        for result in state.results.values_mut() {
            if let Ok(deleted) = result
                && !deleted.is_done()
                && let Err(error) = deleted.look(&self.broker)
            {
                *result = Err(error);
            }
        }
        let is_done = state.results.values().flatten().all(Deleted::is_done);
        if is_done || Instant::now() >= self.until {
            drop(guard);
            state.later.answer(&respond(&state.results));
        } else {
            *guard = Some(state);
            drop(guard);
            self.look_again();
        }
    }
}
