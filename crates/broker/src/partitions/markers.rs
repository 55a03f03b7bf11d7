//! Markers of transactions, written where this broker leads: into `__consumer_offsets` by the group coordinator, anywhere else
//! as a produce with `acks=all` is. Kafka: `KafkaApis.handleWriteTxnMarkersRequest`.

use super::partition::{AppendTerms, Partition};
use super::waiting::{CommitListener, CommitWaiter, Deadline, Deadlines, Parked};
use super::{Lookup, is_groups_topic};
use crate::broker::Broker;
use milena_coordinator::group::{Caller, GroupReply, GroupRequest};
use milena_coordinator::runtime::EndOfTransaction;
use milena_protocol::Text;
use milena_records::{ValidBatch, end_transaction_marker};
use milena_storage::AppendOrigin;
use milena_types::{ErrorCode, Offset, PartitionIndex};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// A marker for one partition.
pub(crate) struct MarkerToWrite {
    pub(crate) topic: Text,
    pub(crate) index: PartitionIndex,
    pub(crate) end: EndOfTransaction,
}

/// Gets the outcome once, from any thread.
pub(crate) type MarkerDone = Box<dyn FnOnce(ErrorCode) + Send>;

/// Writes a marker; `done` is told when it is replicated, or why it is not.
pub(crate) fn write_marker(broker: &Arc<Broker>, marker: MarkerToWrite, done: MarkerDone) {
    let partition = match broker.lookup(&marker.topic, marker.index) {
        Lookup::Here(partition) => partition,
        Lookup::Refused(ErrorCode::KAFKA_STORAGE_ERROR) => return done(ErrorCode::KAFKA_STORAGE_ERROR),
        Lookup::Refused(_) => return done(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    };
    if is_groups_topic(&marker.topic) {
        let answer = move |reply| {
            done(match reply {
                GroupReply::EndTransaction(error) => error,
                _ => ErrorCode::UNKNOWN_SERVER_ERROR,
            });
        };
        let request = GroupRequest::EndTransaction(marker.end);
        return broker.groups().submit_to(marker.index.0, Caller::default(), request, Box::new(answer));
    }
    let waiting = Waiting::new(done);
    match append(broker, &partition, &marker.end, &waiting) {
        Ok(true) => waiting.finish(ErrorCode::NONE),
        Ok(false) => waiting.limit(broker),
        Err(error) => waiting.finish(error),
    }
}

/// Appends the marker. Whether it is replicated already; if not, `waiting` is told when it is.
fn append(
    broker: &Arc<Broker>,
    partition: &Arc<Partition>,
    end: &EndOfTransaction,
    waiting: &Arc<Waiting>,
) -> Result<bool, ErrorCode> {
    let (producer, now) = (end.producer, broker.now());
    let bytes =
        end_transaction_marker(producer.id, producer.epoch, end.is_committed, end.coordinator_epoch, now.0.max(0));
    let batch = bytes.and_then(|bytes| ValidBatch::trusted(&bytes)).map_err(|_| ErrorCode::UNKNOWN_SERVER_ERROR)?;
    let origin = AppendOrigin::Coordinator { transaction_version: end.transaction_version };
    let mut inner = partition.lock();
    inner.state.check_append(-1)?;
    let terms = AppendTerms { origin, verify: false, now };
    let appended = inner.append(&[&[batch]], &[], terms).pop().ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)??;
    let wakes = inner.wakes_after_append(partition, broker);
    let required = appended.last_offset + 1;
    let is_replicated = inner.state.high_watermark() >= required;
    if !is_replicated {
        let weak: Weak<Waiting> = Arc::downgrade(waiting);
        inner.wait_for_commit(CommitWaiter { required, listener: weak });
    }
    drop(inner);
    wakes.run();
    Ok(is_replicated)
}

/// A marker that waits for replication. It holds itself until then: nobody else does.
struct Waiting {
    state: Mutex<Option<(MarkerDone, Arc<Waiting>)>>,
    deadline: Mutex<Option<(Weak<Deadlines>, Deadline)>>,
}

impl Waiting {
    fn new(done: MarkerDone) -> Arc<Waiting> {
        let waiting = Arc::new(Waiting { state: Mutex::new(None), deadline: Mutex::new(None) });
        *waiting.state.lock().unwrap_or_else(PoisonError::into_inner) = Some((done, Arc::clone(&waiting)));
        waiting
    }

    /// It does not wait for ever.
    fn limit(self: &Arc<Self>, broker: &Broker) {
        let timeout_ms = u64::try_from(broker.settings.transactions.request_timeout_ms).unwrap_or(0);
        let parked: Weak<Waiting> = Arc::downgrade(self);
        let deadline = broker.deadlines().add(Duration::from_millis(timeout_ms), parked);
        let deadline = (Arc::downgrade(broker.deadlines()), deadline);
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
        let is_done = self.state.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        if is_done {
            self.forget_deadline();
        }
    }

    fn forget_deadline(&self) {
        let deadline = self.deadline.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((deadlines, deadline)) = deadline
            && let Some(deadlines) = deadlines.upgrade()
        {
            deadlines.remove(deadline);
        }
    }

    fn finish(&self, error: ErrorCode) {
        let taken = self.state.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((done, _itself)) = taken {
            self.forget_deadline();
            done(error);
        }
    }
}

impl CommitListener for Waiting {
    fn on_commit(self: Arc<Self>, high_watermark: Result<Offset, ErrorCode>) {
        self.finish(high_watermark.err().unwrap_or(ErrorCode::NONE));
    }
}

impl Parked for Waiting {
    fn expire(self: Arc<Self>) {
        self.finish(ErrorCode::REQUEST_TIMED_OUT);
    }
}
