//! Markers on their way: to the leaders of the partitions, again as long as one cannot take them, until the coordinator
//! knows of each or has ended. Kafka: `TransactionMarkerChannelManager.addTxnMarkersToBrokerQueue`,
//! `TransactionMarkerRequestCompletionHandler`.

use super::directory::TransactionHost;
use super::errands::Errand;
use crate::broker::Broker;
use crate::partitions::{MarkerToWrite, write_marker};
use milena_coordinator::runtime::EndOfTransaction;
use milena_coordinator::transaction::{Marking, PartitionKey, TransactionEvent};
use milena_types::{BrokerId, ErrorCode, PartitionIndex};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How soon a marker is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Where a marker goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Destination {
    /// The partition was deleted.
    Gone,
    Here,
    Broker(BrokerId),
    /// Nobody leads it now.
    Unknown,
}

/// Has markers written in every partition.
pub(super) fn mark(broker: &Arc<Broker>, host: &Arc<TransactionHost>, marking: Marking) {
    let mut by_destination: BTreeMap<Destination, BTreeSet<PartitionKey>> = BTreeMap::new();
    for key in &marking.partitions {
        by_destination.entry(destination(broker, key)).or_default().insert(key.clone());
    }
    for (destination, partitions) in by_destination {
        let part = Marking { partitions, ..marking.clone() };
        match destination {
            Destination::Gone => done(host, &part, part.partitions.iter().cloned().collect()),
            Destination::Here => mark_here(broker, host, part),
            Destination::Broker(to) => {
                broker.transactions().errands().send(Errand::Mark { to, host: Arc::clone(host), marking: part });
            }
            Destination::Unknown => again(broker, host, part),
        }
    }
}

fn destination(broker: &Broker, key: &PartitionKey) -> Destination {
    let image = broker.image();
    let partition = image.topics.named(&key.topic).and_then(|topic| topic.partition(PartitionIndex(key.index)));
    match partition.map(|partition| partition.leader) {
        None => Destination::Gone,
        Some(leader) if leader == broker.settings.node_id => Destination::Here,
        Some(leader) if leader.is_some() => Destination::Broker(leader),
        Some(_) => Destination::Unknown,
    }
}

fn mark_here(broker: &Arc<Broker>, host: &Arc<TransactionHost>, marking: Marking) {
    let marking = Arc::new(marking);
    for key in &marking.partitions {
        let marker = MarkerToWrite {
            topic: key.topic.clone(),
            index: PartitionIndex(key.index),
            end: EndOfTransaction {
                producer: marking.producer,
                coordinator_epoch: host.epoch.0,
                is_committed: marking.is_committed,
                transaction_version: marking.transaction_version,
            },
        };
        let (ours, host, marking, key) = (Arc::clone(broker), Arc::clone(host), Arc::clone(&marking), key.clone());
        write_marker(broker, marker, Box::new(move |error| answered(&ours, &host, &marking, vec![(key, error)])));
    }
}

/// Partitions have answered.
pub(super) fn answered(
    broker: &Arc<Broker>,
    host: &Arc<TransactionHost>,
    marking: &Marking,
    results: Vec<(PartitionKey, ErrorCode)>,
) {
    let (mut written, mut retried) = (Vec::new(), BTreeSet::new());
    for (key, error) in results {
        match error {
            ErrorCode::NONE | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT | ErrorCode::UNSUPPORTED_VERSION => {
                written.push(key);
            }
            ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::TRANSACTION_COORDINATOR_FENCED => {
                let (id, topic) = (&marking.id, &key.topic);
                tracing::warn!(%id, %topic, index = key.index, %error, "a marker is refused; nothing more is sent");
                let (id, producer) = (marking.id.clone(), marking.producer);
                return host.event(TransactionEvent::MarkerRefused { id, producer });
            }
            error => {
                tracing::debug!(id = %marking.id, topic = %key.topic, index = key.index, %error, "a marker is sent again");
                retried.insert(key);
            }
        }
    }
    done(host, marking, written);
    if !retried.is_empty() {
        again(broker, host, Marking { partitions: retried, ..marking.clone() });
    }
}

fn done(host: &TransactionHost, marking: &Marking, partitions: Vec<PartitionKey>) {
    if !partitions.is_empty() {
        host.event(TransactionEvent::Marked { id: marking.id.clone(), producer: marking.producer, partitions });
    }
}

/// Tries again when something may have changed.
pub(super) fn again(broker: &Arc<Broker>, host: &Arc<TransactionHost>, marking: Marking) {
    let (ours, host) = (Arc::downgrade(broker), Arc::clone(host));
    broker.deadlines().call_after(AGAIN_AFTER, move || {
        if let Some(broker) = ours.upgrade()
            && !host.has_ended()
        {
            mark(&broker, &host, marking);
        }
    });
}
