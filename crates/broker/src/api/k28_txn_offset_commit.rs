//! TxnOffsetCommit, versions 0 to 5: offsets that count once their transaction is committed. The coordinator of the
//! transaction is asked first whether the group's offsets are part of it; from version 5 on that makes them so (KIP-890).
//! Kafka: `KafkaApis.handleTxnOffsetCommitRequest`, `CoordinatorRuntime.scheduleTransactionalWriteOperation`.

use super::{Api, Lane};
use crate::broker::Broker;
use crate::call::{Call, Later, Outcome};
use crate::hosts::{OFFSETS_TOPIC, Query, Verified, ask_coordinator, group_partition};
use crate::partitions::Lookup;
use milena_coordinator::group::{Caller, GroupReply, GroupRequest, operation_error};
use milena_coordinator::runtime::Producer;
use milena_coordinator::transaction::PartitionKey;
use milena_metadata::Image;
use milena_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use milena_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use milena_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use milena_protocol::{ApiKey, Text};
use milena_records::BatchHeader;
use milena_storage::VerificationGuard;
use milena_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::TXN_OFFSET_COMMIT, lane: Lane::Coordinator, handle };

/// The first version whose clients understand that a coordinator loads (KAFKA-7296).
const LOADING_FROM_VERSION: i16 = 2;
/// The first version whose clients know `TRANSACTION_ABORTABLE`.
const ABORTABLE_FROM_VERSION: i16 = 4;
/// From this version on the group's offsets are added to the transaction by this request.
const ADDS_FROM_VERSION: i16 = 5;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(mut request) = call.decode::<TxnOffsetCommitRequest>() else { return Outcome::Close };
    let mut refused = Vec::new();
    let image = call.broker.image();
    for mut topic in std::mem::take(&mut request.topics) {
        refuse_unknown(&image, &mut topic, &mut refused);
        if !topic.partitions.is_empty() {
            request.topics.push(topic);
        }
    }
    drop(image);
    if request.topics.is_empty() {
        return call.answer(&TxnOffsetCommitResponse { topics: refused, ..Default::default() });
    }
    let caller = call.caller();
    let broker = Arc::clone(call.broker);
    let Some(later) = call.park() else { return Outcome::Close };
    let commit = Commit { caller, request, refused, later };
    if commit.request.group_id.is_empty() {
        // The coordinator says so, and needs no transaction for that.
        commit.submit(&broker, None);
        return Outcome::Pending;
    }
    commit.verify(&broker);
    Outcome::Pending
}

/// A request on its way.
struct Commit {
    caller: Caller,
    request: TxnOffsetCommitRequest,
    refused: Vec<TxnOffsetCommitResponseTopic>,
    later: Later,
}

impl Commit {
    fn adds(&self) -> bool {
        self.caller.version >= ADDS_FROM_VERSION
    }

    fn verify(self, broker: &Arc<Broker>) {
        if !self.adds() && !broker.verifies_transactions() {
            return self.submit(broker, None);
        }
        let index = group_partition(broker, &self.request.group_id);
        let guard = match self.guard(broker, index) {
            Ok(Some(guard)) => guard,
            Ok(None) => return self.submit(broker, None),
            Err(error) => return self.fail(operation_error(error)),
        };
        let key = PartitionKey { topic: Text::from_static(OFFSETS_TOPIC), index };
        let (id, adds, ours) = (self.request.transactional_id.clone(), self.adds(), Arc::clone(broker));
        let producer = self.producer();
        let done = Box::new(move |verified: Verified| {
            let error = verified.first().map_or(ErrorCode::UNKNOWN_SERVER_ERROR, |(_, error)| *error);
            match error {
                ErrorCode::NONE if adds => match self.guard(&ours, index) {
                    // The marker of the transaction before may have taken the guard away.
                    Ok(guard) => self.submit(&ours, guard),
                    Err(error) => self.fail(operation_error(error)),
                },
                ErrorCode::NONE => self.submit(&ours, Some(guard)),
                ErrorCode::PRODUCER_FENCED => self.fail(ErrorCode::INVALID_PRODUCER_EPOCH),
                ErrorCode::TRANSACTION_ABORTABLE if self.caller.version < ABORTABLE_FROM_VERSION => {
                    self.fail(ErrorCode::INVALID_TXN_STATE);
                }
                // Older clients try again without looking for another coordinator.
                ErrorCode::NETWORK_EXCEPTION => self.fail(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
                error => self.fail(operation_error(error)),
            }
        });
        ask_coordinator(broker, Query { id, producer, partitions: BTreeSet::from([key]), adds, done });
    }

    fn producer(&self) -> Producer {
        Producer { id: ProducerId(self.request.producer_id), epoch: ProducerEpoch(self.request.producer_epoch) }
    }

    /// What the group's log wants to see of an offset of this transaction.
    fn guard(&self, broker: &Broker, index: i32) -> Result<Option<VerificationGuard>, ErrorCode> {
        let partition = match broker.lookup(OFFSETS_TOPIC, PartitionIndex(index)) {
            Lookup::Here(partition) => partition,
            Lookup::Refused(_) => return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        };
        let mut inner = partition.lock();
        inner.state.check_append(1)?;
        let batch = first_batch(self.producer());
        inner.log.start_verification(&batch, self.adds(), broker.now()).map_err(|rejected| rejected.error)
    }

    fn submit(self, broker: &Broker, guard: Option<VerificationGuard>) {
        let Commit { caller, request, refused, later } = self;
        let version = caller.version;
        let done = Box::new(move |reply| {
            let GroupReply::TxnOffsetCommit(response) = reply else { return };
            later.answer(&merged(refused, *response, version));
        });
        let request = GroupRequest::TxnOffsetCommit(Box::new(request), guard.map(|guard| guard.0));
        broker.groups().submit(broker, caller, request, done);
    }

    fn fail(self, error: ErrorCode) {
        let Commit { caller, request, refused, later } = self;
        let reply = GroupRequest::TxnOffsetCommit(Box::new(request), None).refused(error);
        if let GroupReply::TxnOffsetCommit(response) = reply {
            later.answer(&merged(refused, *response, caller.version));
        }
    }
}

/// As the batch of the offsets will begin: coordinators do not count their records.
fn first_batch(producer: Producer) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(0),
        batch_length: 0,
        partition_leader_epoch: LeaderEpoch::NONE,
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: 0,
        base_timestamp: -1,
        max_timestamp: -1,
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        base_sequence: -1,
        record_count: 0,
    }
}

/// Takes what does not exist out of the topic.
fn refuse_unknown(
    image: &Image,
    topic: &mut TxnOffsetCommitRequestTopic,
    refused: &mut Vec<TxnOffsetCommitResponseTopic>,
) {
    let known = image.topics.named(&topic.name);
    let exists = |index: i32| known.is_some_and(|known| known.partition(PartitionIndex(index)).is_some());
    let (kept, unknown): (Vec<_>, Vec<_>) =
        std::mem::take(&mut topic.partitions).into_iter().partition(|partition| exists(partition.partition_index));
    topic.partitions = kept;
    if unknown.is_empty() {
        return;
    }
    let partitions = unknown.iter().map(|partition| TxnOffsetCommitResponsePartition {
        partition_index: partition.partition_index,
        error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0,
        ..Default::default()
    });
    refused.push(TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        partitions: partitions.collect(),
        ..Default::default()
    });
}

/// The coordinator's answers and those given here; a topic is answered once.
fn merged(
    mut refused: Vec<TxnOffsetCommitResponseTopic>,
    answered: TxnOffsetCommitResponse,
    version: i16,
) -> TxnOffsetCommitResponse {
    for mut topic in answered.topics {
        for partition in &mut topic.partitions {
            let loads = partition.error_code == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS.0;
            if loads && version < LOADING_FROM_VERSION {
                partition.error_code = ErrorCode::COORDINATOR_NOT_AVAILABLE.0;
            }
        }
        match refused.iter_mut().find(|known| known.name == topic.name) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => refused.push(topic),
        }
    }
    TxnOffsetCommitResponse { topics: refused, ..Default::default() }
}
