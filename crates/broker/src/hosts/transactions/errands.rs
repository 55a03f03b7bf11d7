//! What goes to other brokers: markers, and questions whether partitions are in a transaction. To each broker one request of
//! a kind is on its way at a time; what comes meanwhile goes with the next (`InterBrokerSendThread`).

use super::directory::TransactionHost;
use super::marking;
use super::verification::Query;
use crate::broker::Broker;
use crate::hosts::{Address, Link};
use milena_coordinator::transaction::{Marking, PartitionKey};
use milena_protocol::Text;
use milena_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use milena_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use milena_protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use milena_types::{BrokerId, ErrorCode};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Most errands in one request.
const BATCH_MAX: usize = 1000;

/// Something for another broker.
pub(crate) enum Errand {
    Mark { to: BrokerId, host: Arc<TransactionHost>, marking: Marking },
    Verify { to: BrokerId, query: Query },
}

/// The errands of a broker until somebody runs them.
pub(crate) struct Errands {
    sender: mpsc::UnboundedSender<Errand>,
    receiver: Mutex<Option<mpsc::UnboundedReceiver<Errand>>>,
}

impl Default for Errands {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Errands { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl Errands {
    pub(super) fn send(&self, errand: Errand) {
        // The broker is stopping if nobody takes it any more.
        let _ = self.sender.send(errand);
    }
}

/// Runs the errands for ever. There is one such task.
pub(crate) async fn run(broker: Arc<Broker>) {
    let receiver = broker.transactions().errands().receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut receiver) = receiver else { return };
    let broker = Arc::downgrade(&broker);
    let mut runners: BTreeMap<(BrokerId, bool), mpsc::UnboundedSender<Errand>> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    while let Some(errand) = receiver.recv().await {
        let key = match &errand {
            Errand::Mark { to, .. } => (*to, true),
            Errand::Verify { to, .. } => (*to, false),
        };
        let runner = runners.entry(key).or_insert_with(|| {
            let (sender, inbox) = mpsc::unbounded_channel();
            tasks.spawn(Runner { broker: broker.clone(), to: key.0, link: Link::default() }.run(inbox));
            sender
        });
        let _ = runner.send(errand);
    }
}

/// Runs errands of one kind to one broker.
struct Runner {
    broker: Weak<Broker>,
    to: BrokerId,
    link: Link,
}

impl Runner {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Errand>) {
        let mut batch = Vec::new();
        while inbox.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let Some(broker) = self.broker.upgrade() else { return };
            let (mut markings, mut queries) = (Vec::new(), Vec::new());
            for errand in batch.drain(..) {
                match errand {
                    Errand::Mark { host, marking, .. } => markings.push((host, marking)),
                    Errand::Verify { query, .. } => queries.push(query),
                }
            }
            if !markings.is_empty() {
                self.mark(&broker, markings).await;
            }
            while !queries.is_empty() {
                queries = self.verify(&broker, queries).await;
            }
        }
    }

    fn address(&self, broker: &Broker) -> Option<Address> {
        let listener = &broker.settings.replication.inter_broker_listener_name;
        let (endpoint, _) = broker.endpoint_of(self.to, listener)?;
        Some((endpoint.host.to_string(), endpoint.port))
    }

    async fn mark(&mut self, broker: &Arc<Broker>, markings: Vec<(Arc<TransactionHost>, Marking)>) {
        let markers = markings.iter().map(|(host, marking)| marker(host, marking)).collect();
        let request = WriteTxnMarkersRequest { markers, ..Default::default() };
        let answer = match self.address(broker) {
            Some(address) => {
                let client_id = format!("broker-{}-txn-marker-sender", broker.settings.node_id);
                self.link.ask(&address, &client_id, patience(broker), &request, Duration::ZERO).await.ok()
            }
            None => None,
        };
        for (host, marking) in markings {
            match &answer {
                Some(response) => {
                    let results = results_of(response, &marking);
                    marking::answered(broker, &host, &marking, results);
                }
                None => marking::again(broker, &host, marking),
            }
        }
    }

    /// Asks one question for each transactional id; those that are left come with the next request.
    async fn verify(&mut self, broker: &Arc<Broker>, queries: Vec<Query>) -> Vec<Query> {
        let mut seen = BTreeSet::new();
        let (now, left): (Vec<_>, Vec<_>) = queries.into_iter().partition(|query| seen.insert(query.id.clone()));
        let transactions = now.iter().map(transaction).collect();
        let request = AddPartitionsToTxnRequest { transactions, ..Default::default() };
        let answer = match self.address(broker) {
            Some(address) => {
                let client_id = format!("broker-{}-add-partitions-to-txn", broker.settings.node_id);
                self.link.ask(&address, &client_id, patience(broker), &request, Duration::ZERO).await.ok()
            }
            None => None,
        };
        for query in now {
            match &answer {
                Some(response) => verified(response, query),
                None => query.fail(ErrorCode::NETWORK_EXCEPTION),
            }
        }
        left
    }
}

fn patience(broker: &Broker) -> Duration {
    Duration::from_millis(u64::try_from(broker.settings.transactions.request_timeout_ms).unwrap_or(0))
}

/// Partitions by topic; they are sorted.
fn by_topic(partitions: &BTreeSet<PartitionKey>) -> Vec<(Text, Vec<i32>)> {
    let mut topics: Vec<(Text, Vec<i32>)> = Vec::new();
    for key in partitions {
        match topics.last_mut() {
            Some((topic, indexes)) if *topic == key.topic => indexes.push(key.index),
            _ => topics.push((key.topic.clone(), vec![key.index])),
        }
    }
    topics
}

fn marker(host: &TransactionHost, marking: &Marking) -> WritableTxnMarker {
    let topic = |(name, partition_indexes)| WritableTxnMarkerTopic { name, partition_indexes, ..Default::default() };
    WritableTxnMarker {
        producer_id: marking.producer.id.0,
        producer_epoch: marking.producer.epoch.0,
        transaction_result: marking.is_committed,
        topics: by_topic(&marking.partitions).into_iter().map(topic).collect(),
        coordinator_epoch: host.epoch.0,
        transaction_version: i8::try_from(marking.transaction_version).unwrap_or(0),
        ..Default::default()
    }
}

/// A partition that is not answered is tried again.
fn results_of(response: &WriteTxnMarkersResponse, marking: &Marking) -> Vec<(PartitionKey, ErrorCode)> {
    let mut answers = BTreeMap::new();
    for marker in response.markers.iter().filter(|marker| marker.producer_id == marking.producer.id.0) {
        for topic in &marker.topics {
            for partition in &topic.partitions {
                answers.insert((&*topic.name, partition.partition_index), ErrorCode(partition.error_code));
            }
        }
    }
    let answer = |key: &PartitionKey| {
        let error = answers.get(&(&*key.topic, key.index)).copied().unwrap_or(ErrorCode::NETWORK_EXCEPTION);
        (key.clone(), error)
    };
    marking.partitions.iter().map(answer).collect()
}

fn transaction(query: &Query) -> AddPartitionsToTxnTransaction {
    let topic = |(name, partitions)| AddPartitionsToTxnTopic { name, partitions, ..Default::default() };
    AddPartitionsToTxnTransaction {
        transactional_id: query.id.clone(),
        producer_id: query.producer.id.0,
        producer_epoch: query.producer.epoch.0,
        verify_only: !query.adds,
        topics: by_topic(&query.partitions).into_iter().map(topic).collect(),
        ..Default::default()
    }
}

fn verified(response: &AddPartitionsToTxnResponse, query: Query) {
    let error = ErrorCode(response.error_code);
    if !error.is_none() {
        // Whatever keeps brokers apart, the producer cannot mend it.
        let is_denied = error == ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
        return query.fail(if is_denied { ErrorCode::INVALID_TXN_STATE } else { error });
    }
    let mut answers = BTreeMap::new();
    for result in response.results_by_transaction.iter().filter(|result| result.transactional_id == query.id) {
        for topic in &result.topic_results {
            for partition in &topic.results_by_partition {
                let error = ErrorCode(partition.partition_error_code);
                answers.insert((topic.name.clone(), partition.partition_index), error);
            }
        }
    }
    let answer = |key: PartitionKey| {
        let error = answers.get(&(key.topic.clone(), key.index)).copied().unwrap_or(ErrorCode::NETWORK_EXCEPTION);
        (key, error)
    };
    (query.done)(query.partitions.into_iter().map(answer).collect());
}
