//! Changes of the in-sync replicas: looked for, asked of the controller one request at a time, its answers taken
//! (`replication/isr_changes.rs` of `milena-broker`).

use std::collections::BTreeMap;

use milena_broker::{ControllerRequest, alter_partition_request, decided_assignment};
use milena_protocol::messages::AlterPartitionResponse;
use milena_replication::{IsrChange, IsrReply, PartitionKey};
use milena_types::{BrokerId, ErrorCode, PartitionIndex, Timestamp};

use super::broker_host::BrokerHost;
use super::outbox::{Outbox, To};
use crate::message::{Lane, Purpose, Request};
use crate::planted::Planted;

/// Between two looks at who lags: half of `replica.lag.time.max.ms`.
const LOOK_MS: i64 = 750;
/// Between two tries.
const RETRY_MS: i64 = 50;

impl BrokerHost {
    pub(super) fn ask_for(&mut self, key: PartitionKey, change: IsrChange) {
        if self.settings.has(Planted::ForgetsWhatItAskedFor)
            && let Some(replica) = self.replicas.get_mut(&key)
        {
            replica.state.on_isr_reply(&change, Err(ErrorCode::INELIGIBLE_REPLICA), Timestamp(0));
        }
        self.pending_isr.insert(key, change);
    }

    pub(super) fn look_for_isr_changes(&mut self, now: Timestamp) {
        if self.due.in_sync > now {
            return;
        }
        self.due.in_sync = Timestamp(now.0 + LOOK_MS);
        let epoch = self.epoch;
        let adds = self.settings.has(Planted::AddsLaggingReplicas);
        let mut changes = Vec::new();
        for (key, replica) in &mut self.replicas {
            let change = replica.state.propose_isr_change(epoch, now);
            changes.extend(change.or_else(|| lagging(replica, epoch).filter(|_| adds)).map(|change| (*key, change)));
        }
        for (key, change) in changes {
            self.ask_for(key, change);
        }
    }

    pub(super) fn send_isr_changes(&mut self, now: Timestamp, out: &mut Outbox) {
        if self.is_altering || self.pending_isr.is_empty() || self.due.alter > now {
            return;
        }
        let trusts_itself = self.settings.has(Planted::ForgetsWhatItAskedFor);
        let trusts_itself = trusts_itself || self.settings.has(Planted::AddsLaggingReplicas);
        let mut changes = std::mem::take(&mut self.pending_isr);
        // Metadata may have overtaken a change while it waited.
        let asks = |key: &PartitionKey, change: &IsrChange| {
            self.replicas.get(key).is_some_and(|replica| trusts_itself || replica.state.is_asking_for(change))
        };
        changes.retain(|key, change| asks(key, change));
        if changes.is_empty() {
            return;
        }
        self.is_altering = true;
        let request = Request::Controller(ControllerRequest::AlterPartition(alter_partition_request(
            self.id(),
            self.epoch,
            &changes,
        )));
        out.calls.push((To::Controller, Lane::Controller, request, Purpose::AlterPartition(changes)));
    }

    /// The controller answered, or nobody did.
    pub(crate) fn on_altered(
        &mut self,
        mut changes: BTreeMap<PartitionKey, IsrChange>,
        response: Option<AlterPartitionResponse>,
        now: Timestamp,
    ) {
        self.is_altering = false;
        let mut again = BTreeMap::new();
        if let Some(response) = response.filter(|response| response.error_code == 0) {
            for topic in response.topics {
                for answer in topic.partitions {
                    let key = (topic.topic_id, PartitionIndex(answer.partition_index));
                    let Some(change) = changes.remove(&key) else { continue };
                    let Some(replica) = self.replicas.get_mut(&key) else { continue };
                    let decided = decided_assignment(&answer, replica.state.replicas());
                    let error = ErrorCode(answer.error_code);
                    let result = if error.is_none() { Ok(&decided) } else { Err(error) };
                    let reply = replica.state.on_isr_reply(&change, result, now);
                    replica.log.on_high_watermark(replica.state.high_watermark());
                    if reply == IsrReply::Retry {
                        again.insert(key, change);
                    }
                }
            }
        }
        // What the controller said nothing of is asked again.
        again.extend(changes);
        if !again.is_empty() {
            self.due.alter = Timestamp(now.0 + RETRY_MS);
        }
        if self.settings.has(Planted::NeverAsksAgain) {
            again.clear();
        }
        for (key, change) in again {
            self.pending_isr.entry(key).or_insert(change);
        }
        self.dirty = true;
    }
}

/// An ISR with somebody in it who is not there yet.
fn lagging(replica: &super::replica::Replica, epoch: i64) -> Option<IsrChange> {
    let state = &replica.state;
    if !state.is_leader() || state.isr().is_in_flight() {
        return None;
    }
    let committed = state.isr().committed();
    let joins = state.remote_replicas().iter().find(|other| !committed.contains(&other.id))?;
    let local = state.config().local;
    let epoch_of = |id: BrokerId| {
        let known = state.replica(id).and_then(|replica| replica.registered_epoch);
        if id == local { epoch } else { known.unwrap_or(-1) }
    };
    let members = committed.iter().copied().chain([joins.id]);
    Some(IsrChange {
        new_isr: members.map(|id| (id, epoch_of(id))).collect(),
        leader_epoch: state.leader_epoch(),
        partition_epoch: state.partition_epoch(),
    })
}
