//! When a leader asks the controller for another ISR, and what it makes of the answer (class `Partition`, `maybeExpandIsr`,
//! `maybeShrinkIsr` and `submitAlterPartition`). An answer counts only for the change it answers.

use milena_types::{BrokerId, ErrorCode, Timestamp};

use crate::isr::{IsrChange, IsrReply};
use crate::partition::{Assignment, PartitionState, Role};
use crate::replica::Replica;

impl PartitionState {
    /// The metadata's word on a follower's broker: its epoch while it is alive, unfenced and not shutting down.
    pub fn set_registered_epoch(&mut self, broker: BrokerId, epoch: Option<i64>) {
        if let Some(replica) = self.remote.iter_mut().find(|replica| replica.id == broker) {
            replica.registered_epoch = epoch;
        }
    }

    /// The change of the ISR that is due, if any; it counts as asked from here on.
    pub fn propose_isr_change(&mut self, local_broker_epoch: i64, now: Timestamp) -> Option<IsrChange> {
        self.propose_isr_expansion(local_broker_epoch).or_else(|| {
            let leaving = self.out_of_sync_replicas(now);
            if leaving.is_empty() || !self.may_propose() {
                return None;
            }
            let members = self.isr.shrink(&leaving);
            Some(self.change_to(members, local_broker_epoch))
        })
    }

    /// The expansion of the ISR that is due, if any; it counts as asked from here on.
    pub fn propose_isr_expansion(&mut self, local_broker_epoch: i64) -> Option<IsrChange> {
        if !self.may_propose() {
            return None;
        }
        let joining = self.replica_to_add()?;
        let members = self.isr.expand(joining);
        Some(self.change_to(members, local_broker_epoch))
    }

    fn may_propose(&self) -> bool {
        self.role == Role::Leader && !self.isr.is_in_flight()
    }

    fn change_to(&self, members: Vec<BrokerId>, local_broker_epoch: i64) -> IsrChange {
        let epoch_of = |id: BrokerId| {
            if id == self.config.local {
                local_broker_epoch
            } else {
                self.replica(id).and_then(|replica| replica.broker_epoch).unwrap_or(-1)
            }
        };
        IsrChange {
            new_isr: members.into_iter().map(|id| (id, epoch_of(id))).collect(),
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
        }
    }

    fn replica_to_add(&self) -> Option<BrokerId> {
        let start = self.leader_epoch_start_offset?;
        let joins = |replica: &&Replica| {
            !self.isr.committed().contains(&replica.id)
                && replica.is_isr_eligible()
                && replica.log_end_offset >= self.high_watermark
                && replica.log_end_offset >= start
        };
        self.remote.iter().find(joins).map(|replica| replica.id)
    }

    fn out_of_sync_replicas(&self, now: Timestamp) -> Vec<BrokerId> {
        let lags = |id: &BrokerId| {
            *id != self.config.local
                && self.replica(*id).is_none_or(|replica| {
                    !replica.is_caught_up(self.log_end_offset, self.config.replica_lag_time_max_ms, now)
                })
        };
        self.isr.committed().iter().copied().filter(lags).collect()
    }

    /// Whether `change` is the one that is under way.
    #[must_use]
    pub fn is_asking_for(&self, change: &IsrChange) -> bool {
        self.role == Role::Leader
            && self.isr.is_in_flight()
            && change.leader_epoch == self.leader_epoch
            && change.partition_epoch == self.partition_epoch
    }

    /// The controller's answer to `change` (`Partition.handleAlterPartitionUpdate` and `handleAlterPartitionError`).
    pub fn on_isr_reply(
        &mut self,
        change: &IsrChange,
        reply: Result<&Assignment, ErrorCode>,
        now: Timestamp,
    ) -> IsrReply {
        if !self.is_asking_for(change) {
            return IsrReply::Ignored;
        }
        match reply {
            Err(error) => self.isr.refused(error),
            Ok(answer) if answer.leader_epoch != self.leader_epoch || answer.partition_epoch < self.partition_epoch => {
                IsrReply::Ignored
            }
            // Who leaves may stay eligible for the leadership (KIP-966), by a `min.insync.replicas` that the metadata have not
            // told this leader yet: nothing is committed without it before they do. Kafka's leader does not wait.
            Ok(answer) if self.isr.committed().iter().any(|id| !answer.isr.contains(id)) => IsrReply::AwaitMetadata,
            Ok(answer) => {
                self.isr.commit(&answer.isr);
                self.partition_epoch = answer.partition_epoch;
                self.advance_high_watermark(now);
                IsrReply::Applied
            }
        }
    }
}
