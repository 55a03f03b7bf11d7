//! AlterPartition: collects the changes of in-sync replicas that partitions ask for and sends them, one request at a time
//! (`DefaultAlterPartitionManager`).

use super::alter_partition::{alter_partition_request, decided_assignment};
use crate::broker::Broker;
use crate::controller_handle::ControllerHandle;
use crate::hosts::ask;
use crate::partitions::Partition;
use milena_metrics::Counter;
use milena_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse, alter_partition_response};
use milena_replication::{IsrChange, IsrReply, PartitionKey};
use milena_types::{ErrorCode, PartitionIndex};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Between two tries (`DefaultAlterPartitionManager.sendRequest`).
const RETRY: Duration = Duration::from_millis(50);

type Pending = BTreeMap<PartitionKey, (Arc<Partition>, IsrChange)>;

/// The changes that wait to be sent.
#[derive(Debug, Default)]
pub(crate) struct IsrChanges {
    pending: Mutex<Pending>,
    added: Notify,
    /// Changes that made the set smaller, or larger, and those that were refused.
    pub(crate) shrinks: Counter,
    pub(crate) expands: Counter,
    pub(crate) failed: Counter,
}

impl IsrChanges {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a change that its partition counts as asked.
    pub(crate) fn add(&self, partition: &Arc<Partition>, change: IsrChange) {
        let key = (partition.topic_id, partition.index);
        self.pending().insert(key, (Arc::clone(partition), change));
        self.added.notify_one();
    }

    /// What is to be sent now; waits for it.
    async fn take(&self) -> Pending {
        loop {
            let taken = std::mem::take(&mut *self.pending());
            if !taken.is_empty() {
                return taken;
            }
            self.added.notified().await;
        }
    }
}

/// Sends changes for ever; its future is dropped at the end.
pub(super) async fn run(broker: Arc<Broker>, controller: Arc<dyn ControllerHandle>) {
    loop {
        let mut changes = broker.isr_changes().take().await;
        // Metadata may have overtaken a change while it waited.
        changes.retain(|_, (partition, change)| partition.lock().state.is_asking_for(change));
        if changes.is_empty() {
            continue;
        }
        let answer = ask(&*controller, request(&broker, &changes)).await;
        let unanswered = match answer {
            Ok(response) if response.error_code == ErrorCode::NONE.0 => apply(&broker, changes, response),
            Ok(response) => {
                let error = ErrorCode(response.error_code);
                tracing::warn!(%error, "the controller refused to change in-sync replicas");
                changes
            }
            Err(error) => {
                tracing::debug!(%error, "no controller changed in-sync replicas");
                changes
            }
        };
        if unanswered.is_empty() {
            continue;
        }
        for (key, again) in unanswered {
            // A newer change of the same partition is the one that counts.
            broker.isr_changes().pending().entry(key).or_insert(again);
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn request(broker: &Broker, changes: &Pending) -> AlterPartitionRequest {
    let changes = changes.iter().map(|(key, (_, change))| (key, change));
    alter_partition_request(broker.settings.node_id, broker.epoch(), changes)
}

/// Hands the answers to their partitions; what must be asked again is left.
fn apply(broker: &Broker, mut changes: Pending, response: AlterPartitionResponse) -> Pending {
    let mut again = Pending::new();
    for topic in response.topics {
        for answer in topic.partitions {
            let key = (topic.topic_id, PartitionIndex(answer.partition_index));
            let Some((partition, change)) = changes.remove(&key) else { continue };
            if apply_one(broker, &partition, &change, &answer) == IsrReply::Retry {
                again.insert(key, (partition, change));
            }
        }
    }
    // What the controller said nothing of is asked again.
    again.extend(changes);
    again
}

fn apply_one(
    broker: &Broker,
    partition: &Partition,
    change: &IsrChange,
    answer: &alter_partition_response::PartitionData,
) -> IsrReply {
    let mut inner = partition.lock();
    let size_before = inner.state.isr().committed().len();
    let decided = decided_assignment(answer, inner.state.replicas());
    let result = match ErrorCode(answer.error_code) {
        ErrorCode::NONE => Ok(&decided),
        error => {
            tracing::info!(%partition, %error, wanted = ?change.new_isr, "the in-sync replicas were not changed");
            broker.isr_changes().failed.add(1);
            Err(error)
        }
    };
    let before = inner.state.high_watermark();
    let reply = inner.state.on_isr_reply(change, result, broker.steady());
    if reply == IsrReply::Applied {
        tracing::info!(%partition, isr = ?answer.isr, epoch = answer.partition_epoch, "in-sync replicas");
        match answer.isr.len().cmp(&size_before) {
            std::cmp::Ordering::Less => broker.isr_changes().shrinks.add(1),
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => broker.isr_changes().expands.add(1),
        }
        let now = inner.state.high_watermark();
        let wakes = inner.wakes_after((now > before).then_some(now));
        drop(inner);
        wakes.run();
    }
    reply
}

/// Asks for the shrinking of every ISR with a member that lags (`ReplicaManager.maybeShrinkIsr`).
pub(super) fn look_for_changes(broker: &Broker) {
    let (epoch, now) = (broker.epoch(), broker.steady());
    for partition in broker.partitions.all() {
        let change = partition.lock().state.propose_isr_change(epoch, now);
        if let Some(change) = change {
            broker.isr_changes().add(&partition, change);
        }
    }
}
