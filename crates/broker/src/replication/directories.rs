//! AssignReplicasToDirs: tells the controller in which log directory each replica of this broker is, where that is not
//! what the metadata say, one request at a time (`AssignmentsManager`, KIP-858).

use crate::broker::Broker;
use crate::controller_handle::ControllerHandle;
use crate::hosts::ask;
use crate::partitions::can_give_up;
use milena_metadata::{DIRECTORY_LOST, DIRECTORY_UNASSIGNED, Delta, Image, Topic};
use milena_protocol::messages::AssignReplicasToDirsRequest;
use milena_protocol::messages::assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData};
use milena_replication::PartitionKey;
use milena_types::{ErrorCode, PartitionIndex, TopicId, Uuid};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Between two tries: the first one, and what it grows to (`AssignmentsManager.STANDARD_BACKOFF`).
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Most replicas of one request (`AssignReplicasToDirsRequest.MAX_ASSIGNMENTS_PER_REQUEST`).
const REPLICAS_MAX: usize = 2250;

type Pending = BTreeMap<PartitionKey, Uuid>;

/// What the controller is still to be told.
#[derive(Debug, Default)]
pub(crate) struct ReplicaDirectories {
    pending: Mutex<Pending>,
    added: Notify,
}

impl ReplicaDirectories {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A replica is in `directory`.
    pub(crate) fn tell(&self, partition: PartitionKey, directory: Uuid) {
        self.pending().insert(partition, directory);
        self.added.notify_one();
    }

    /// What is to be sent next; waits for it.
    async fn take(&self) -> Pending {
        loop {
            {
                let mut pending = self.pending();
                let rest = pending.keys().nth(REPLICAS_MAX).copied();
                let rest = rest.map(|from| pending.split_off(&from)).unwrap_or_default();
                let taken = std::mem::replace(&mut *pending, rest);
                if !taken.is_empty() {
                    return taken;
                }
            }
            self.added.notified().await;
        }
    }
}

impl Broker {
    /// Notes for the controller every replica that is not where `image` says it is. One that cannot be opened is lost:
    /// others are to lead it.
    pub(crate) fn tell_directories(&self, image: &Image, delta: Option<&Delta>) {
        if !image.features.metadata_version.is_directory_assignment_supported() {
            return;
        }
        let topics: Vec<&Arc<Topic>> = match delta {
            Some(delta) => delta.changed_partitions.keys().filter_map(|id| image.topics.get(*id)).collect(),
            None => image.topics.iter_by_id().collect(),
        };
        let node_id = self.settings.node_id;
        for topic in topics {
            let local = self.partitions.by_id(topic.id);
            for (index, assigned) in topic.iter() {
                let Some(told) = assigned.directory(self.settings.node_id) else { continue };
                let actual = match local.as_ref().and_then(|local| local.get(index)) {
                    Some(partition) if partition.moves_to(told) => None,
                    // Others shall lead it, and do without it, until its log was fetched anew.
                    Some(_) if self.quarantine().is_damaged((topic.id, index)) && can_give_up(assigned, node_id) => {
                        Some(DIRECTORY_LOST)
                    }
                    // One that failed meanwhile is told as well: the controller may know of the failure, not of the replica.
                    Some(partition) => Some(partition.log_dir().id()),
                    // In a directory that is offline, of which the controller hears by the heartbeat.
                    None if self.log_dirs().has_offline() && told != DIRECTORY_UNASSIGNED => None,
                    None => Some(DIRECTORY_LOST),
                };
                if let Some(actual) = actual.filter(|actual| *actual != told) {
                    self.replica_directories().tell((topic.id, index), actual);
                }
            }
        }
    }
}

/// Tells the controller for ever; its future is dropped at the end.
pub(super) async fn run(broker: Arc<Broker>, controller: Arc<dyn ControllerHandle>) {
    let mut retry = RETRY_FIRST;
    loop {
        let mut sent = broker.replica_directories().take().await;
        sent.retain(|key, directory| is_news(&broker, *key, *directory));
        if sent.is_empty() {
            continue;
        }
        match ask(&*controller, request(&broker, &sent))
            .await
            .map(|response| (ErrorCode(response.error_code), response))
        {
            Ok((ErrorCode::NONE, response)) => {
                let answers = response.directories.into_iter().flat_map(|directory| directory.topics);
                for (id, partition) in
                    answers.flat_map(|topic| topic.partitions.into_iter().map(move |it| (topic.topic_id, it)))
                {
                    if partition.error_code == ErrorCode::NONE.0 {
                        sent.remove(&(id, PartitionIndex(partition.partition_index)));
                    }
                }
            }
            Ok((error, _)) | Err(error) => {
                tracing::warn!(%error, count = sent.len(), "no controller took the directories of replicas");
            }
        }
        if sent.is_empty() {
            retry = RETRY_FIRST;
            continue;
        }
        for (key, directory) in sent {
            // What was said since is newer.
            broker.replica_directories().pending().entry(key).or_insert(directory);
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(RETRY_MAX);
    }
}

/// Whether the replica is still this broker's and the metadata say something else.
fn is_news(broker: &Broker, (topic, index): PartitionKey, directory: Uuid) -> bool {
    let image = broker.image();
    let assigned = image.topics.partition(topic, index);
    assigned.and_then(|assigned| assigned.directory(broker.settings.node_id)).is_some_and(|told| told != directory)
}

fn request(broker: &Broker, replicas: &Pending) -> AssignReplicasToDirsRequest {
    let mut by_directory: BTreeMap<Uuid, BTreeMap<TopicId, Vec<PartitionData>>> = BTreeMap::new();
    for ((topic, index), directory) in replicas {
        let partitions = by_directory.entry(*directory).or_default().entry(*topic).or_default();
        partitions.push(PartitionData { partition_index: index.0, ..PartitionData::default() });
    }
    let topic = |(topic_id, partitions)| TopicData { topic_id, partitions, ..TopicData::default() };
    let directory = |(id, topics): (Uuid, BTreeMap<TopicId, Vec<PartitionData>>)| DirectoryData {
        id,
        topics: topics.into_iter().map(topic).collect(),
        ..DirectoryData::default()
    };
    AssignReplicasToDirsRequest {
        broker_id: broker.settings.node_id.0,
        broker_epoch: broker.epoch(),
        directories: by_directory.into_iter().map(directory).collect(),
        ..AssignReplicasToDirsRequest::default()
    }
}
