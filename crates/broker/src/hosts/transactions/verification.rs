//! Whether partitions are in a transaction, asked of its coordinator: here, or of the broker it is on. With version 2 of
//! the protocol the question adds them (KIP-890). Kafka: `AddPartitionsToTxnManager`.

use super::directory::{TRANSACTION_TOPIC, partition_of};
use super::errands::Errand;
use crate::broker::Broker;
use milena_coordinator::runtime::Producer;
use milena_coordinator::transaction::{PartitionKey, TransactionReply, TransactionRequest};
use milena_protocol::Text;
use milena_types::{ErrorCode, PartitionIndex};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The version of the protocol of whoever has partitions added by writing to them.
const ADDED_BY_WRITING: i16 = 2;

/// What the coordinator said of each partition.
pub(crate) type Verified = Vec<(PartitionKey, ErrorCode)>;

/// A question.
pub(crate) struct Query {
    pub(crate) id: Text,
    pub(crate) producer: Producer,
    pub(crate) partitions: BTreeSet<PartitionKey>,
    /// Whether partitions that are not in the transaction are added.
    pub(crate) adds: bool,
    /// Gets the answer once, from any thread.
    pub(crate) done: Box<dyn FnOnce(Verified) + Send>,
}

impl Query {
    /// Answers with one error for everything.
    pub(super) fn fail(self, error: ErrorCode) {
        (self.done)(self.partitions.into_iter().map(|key| (key, error)).collect());
    }
}

/// Asks the coordinator.
pub(crate) fn ask(broker: &Arc<Broker>, query: Query) {
    let index = PartitionIndex(partition_of(broker, &query.id));
    let leader = {
        let image = broker.image();
        let partition = image.topics.named(TRANSACTION_TOPIC).and_then(|topic| topic.partition(index));
        partition.map(|partition| partition.leader).filter(|leader| leader.is_some())
    };
    match leader {
        None => query.fail(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        Some(leader) if leader == broker.settings.node_id => ask_here(broker, query),
        Some(to) => broker.transactions().errands().send(Errand::Verify { to, query }),
    }
}

fn ask_here(broker: &Arc<Broker>, query: Query) {
    let Query { id, producer, partitions, adds, done } = query;
    let all = partitions.clone();
    let request = if adds {
        TransactionRequest::AddPartitions { id, producer, partitions, client_version: ADDED_BY_WRITING }
    } else {
        TransactionRequest::Verify { id, producer, partitions }
    };
    let done = move |reply| {
        done(match reply {
            TransactionReply::Verify(Ok(verified)) => verified,
            TransactionReply::Verify(Err(error)) | TransactionReply::AddPartitions(error) => {
                all.into_iter().map(|key| (key, error)).collect()
            }
            _ => all.into_iter().map(|key| (key, ErrorCode::UNKNOWN_SERVER_ERROR)).collect(),
        });
    };
    broker.transactions().submit(broker, request, Box::new(done));
}
