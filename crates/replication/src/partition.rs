//! `PartitionState`: the replication core of one partition (class `Partition`), told what happened and when.
//!
//! Invariants: the high watermark never exceeds what is counted of the local log (the log end, or with
//! [`Durability::Fsync`] the durable end), never falls while the log is not truncated, and does not move while the ISR
//! is smaller than `min.insync.replicas`. Records, files and waiting requests are not here.

use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Timestamp};

use crate::isr::IsrState;
use crate::replica::{Replica, ReplicaFetch};

/// What the local replica must have done with a record before it counts (`milena.durability`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// Written to the operating system, as Apache Kafka does.
    #[default]
    Os,
    /// Synced to the device.
    Fsync,
}

/// What this node is for the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leader,
    /// Not the leader; `leader` is `BrokerId::NONE` while there is none.
    Follower {
        leader: BrokerId,
    },
    /// The log directory failed or the partition is being removed.
    Offline,
}

/// Settings of one partition, changed by configs while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionConfig {
    pub local: BrokerId,
    pub durability: Durability,
    /// `min.insync.replicas`; more than the replica count means the replica count.
    pub min_insync_replicas: usize,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max_ms: i64,
}

/// The controller's word on a partition, from a PartitionRecord or PartitionChangeRecord.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// `BrokerId::NONE` while there is no leader.
    pub leader: BrokerId,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i32,
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
}

/// Whether an `acks=all` append is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckState {
    Pending,
    Done(Result<(), ErrorCode>),
}

/// One partition. All offsets are ends: the offset after the last record meant.
#[derive(Clone, Debug)]
pub struct PartitionState {
    pub(crate) config: PartitionConfig,
    pub(crate) role: Role,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) partition_epoch: i32,
    pub(crate) leader_epoch_start_offset: Option<Offset>,
    replicas: Vec<BrokerId>,
    pub(crate) isr: IsrState,
    pub(crate) remote: Vec<Replica>,
    pub(crate) log_end_offset: Offset,
    durable_end_offset: Offset,
    pub(crate) high_watermark: Offset,
}

impl PartitionState {
    /// A partition whose log was just opened: everything in it is on disk, `high_watermark` is the checkpointed one.
    #[must_use]
    pub fn new(config: PartitionConfig, log_end_offset: Offset, high_watermark: Offset) -> PartitionState {
        PartitionState {
            config,
            role: Role::Follower { leader: BrokerId::NONE },
            leader_epoch: LeaderEpoch::NONE,
            partition_epoch: -1,
            leader_epoch_start_offset: None,
            replicas: Vec::new(),
            isr: IsrState::default(),
            remote: Vec::new(),
            log_end_offset,
            durable_end_offset: log_end_offset,
            high_watermark: high_watermark.min(log_end_offset),
        }
    }

    /// Follows the controller. Returns whether this node began to lead a new leader epoch: the log must then note the
    /// epoch's start at its end (`leader_epoch_start_offset`). An assignment older than the known one is ignored.
    pub fn assign(&mut self, assignment: &Assignment, now: Timestamp) -> bool {
        if assignment.partition_epoch < self.partition_epoch || self.role == Role::Offline {
            return false;
        }
        let new_epoch = assignment.leader_epoch > self.leader_epoch;
        let same_state = !new_epoch && assignment.partition_epoch == self.partition_epoch;
        let led_before = self.role == Role::Leader;
        self.leader_epoch = assignment.leader_epoch;
        self.partition_epoch = assignment.partition_epoch;
        self.replicas.clone_from(&assignment.replicas);
        if assignment.leader != self.config.local {
            self.role = Role::Follower { leader: assignment.leader };
            self.leader_epoch_start_offset = None;
            self.isr.commit(&[]);
            self.remote.clear();
            return false;
        }
        self.role = Role::Leader;
        // The metadata may tell what an answer to AlterPartition told before; a change asked for since then still is.
        if !(led_before && same_state && self.isr.is_in_flight()) {
            self.isr.commit(&assignment.isr);
        }
        self.keep_remote_replicas();
        let began = new_epoch || !led_before;
        if began {
            self.leader_epoch_start_offset = Some(self.log_end_offset);
            for replica in &mut self.remote {
                let in_sync = assignment.isr.contains(&replica.id);
                replica.reset(in_sync, now);
            }
        }
        self.advance_high_watermark(now);
        began
    }

    fn keep_remote_replicas(&mut self) {
        let local = self.config.local;
        self.remote.retain(|replica| self.replicas.contains(&replica.id));
        for id in self.replicas.iter().copied().filter(|id| *id != local) {
            if !self.remote.iter().any(|replica| replica.id == id) {
                self.remote.push(Replica::new(id));
            }
        }
    }

    /// The log directory failed, or the partition goes away.
    pub fn go_offline(&mut self) {
        self.role = Role::Offline;
        self.leader_epoch_start_offset = None;
        self.isr.commit(&[]);
        self.remote.clear();
    }

    /// Takes over changed settings; an assignment of the same metadata follows, which may commit by them.
    pub fn configure(&mut self, config: PartitionConfig) {
        self.config = config;
    }

    /// Takes over changed settings.
    pub fn reconfigure(&mut self, config: PartitionConfig, now: Timestamp) -> Option<Offset> {
        self.config = config;
        self.advance_high_watermark(now)
    }

    /// Whether a produce with these acks may be appended now.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER`; `NOT_ENOUGH_REPLICAS` for acks=-1 with an ISR below `min.insync.replicas`.
    pub fn check_append(&self, acks: i16) -> Result<(), ErrorCode> {
        match self.role {
            Role::Leader => {}
            Role::Follower { .. } => return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            Role::Offline => return Err(ErrorCode::KAFKA_STORAGE_ERROR),
        }
        if acks == -1 && self.isr.committed().len() < self.effective_min_insync_replicas() {
            return Err(ErrorCode::NOT_ENOUGH_REPLICAS);
        }
        Ok(())
    }

    /// Whether another broker may be elected while this one leads, so that what only this one has could be lost: unclean
    /// elections aside, one of the ISR, or of those that left it while it was smaller than `min.insync.replicas`.
    #[must_use]
    pub fn may_be_succeeded(&self) -> bool {
        let local = self.config.local;
        self.isr.maximal().iter().any(|id| *id != local) || self.effective_min_insync_replicas() > 1
    }

    /// The local log now ends at `end`. Returns the new high watermark if it moved.
    pub fn on_local_append(&mut self, end: Offset, now: Timestamp) -> Option<Offset> {
        self.log_end_offset = self.log_end_offset.max(end);
        self.advance_high_watermark(now)
    }

    /// Everything below `end` is synced to the device. Returns the new high watermark if it moved.
    pub fn on_durable(&mut self, end: Offset, now: Timestamp) -> Option<Offset> {
        self.durable_end_offset = self.durable_end_offset.max(end.min(self.log_end_offset));
        self.advance_high_watermark(now)
    }

    /// The local log was cut back, or began anew at `end`.
    pub fn on_truncate(&mut self, end: Offset) {
        self.log_end_offset = end;
        self.durable_end_offset = self.durable_end_offset.min(end);
        self.high_watermark = self.high_watermark.min(end);
    }

    /// A follower fetched. Returns the new high watermark if it moved.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER` when this node does not lead, the replica is unknown, or its broker epoch is stale.
    pub fn on_replica_fetch(&mut self, fetch: &ReplicaFetch, now: Timestamp) -> Result<Option<Offset>, ErrorCode> {
        if self.role != Role::Leader {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let leader_end = self.log_end_offset;
        let Some(replica) = self.remote.iter_mut().find(|replica| replica.id == fetch.replica) else {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        };
        if fetch.broker_epoch != -1 && replica.registered_epoch.is_some_and(|epoch| epoch > fetch.broker_epoch) {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        replica.on_fetch(fetch, leader_end, now);
        Ok(self.advance_high_watermark(now))
    }

    /// As a follower: what the leader's fetch response said.
    pub fn on_leader_high_watermark(&mut self, leader_high_watermark: Offset) -> Option<Offset> {
        let wanted = leader_high_watermark.min(self.log_end_offset);
        (wanted > self.high_watermark).then(|| {
            self.high_watermark = wanted;
            wanted
        })
    }

    /// Whether everything below `required` is replicated as `acks=all` demands
    /// (class `Partition.checkEnoughReplicasReachOffset`).
    ///
    /// A leader that lost its place does not know: what it appended may be in the next leader's log. Apache Kafka answers
    /// `NOT_LEADER_OR_FOLLOWER`, by which clients believe that nothing was written (KAFKA-13574).
    #[must_use]
    pub fn ack_state(&self, required: Offset) -> AckState {
        match self.role {
            Role::Leader => {}
            Role::Follower { .. } => return AckState::Done(Err(ErrorCode::REQUEST_TIMED_OUT)),
            Role::Offline => return AckState::Done(Err(ErrorCode::KAFKA_STORAGE_ERROR)),
        }
        if self.high_watermark < required {
            return AckState::Pending;
        }
        if self.isr.maximal().len() < self.effective_min_insync_replicas() {
            return AckState::Done(Err(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND));
        }
        AckState::Done(Ok(()))
    }

    pub(crate) fn advance_high_watermark(&mut self, now: Timestamp) -> Option<Offset> {
        if self.role != Role::Leader || self.isr.committed().len() < self.effective_min_insync_replicas() {
            return None;
        }
        let mut wanted = match self.config.durability {
            Durability::Os => self.log_end_offset,
            Durability::Fsync => self.durable_end_offset,
        };
        for replica in &self.remote {
            // A follower about to join is waited for, or it could never catch up with a busy leader.
            let about_to_join = || {
                replica.is_caught_up(self.log_end_offset, self.config.replica_lag_time_max_ms, now)
                    && replica.is_isr_eligible()
            };
            if replica.log_end_offset < wanted && (self.isr.maximal().contains(&replica.id) || about_to_join()) {
                wanted = replica.log_end_offset;
            }
        }
        if wanted <= self.high_watermark {
            return None;
        }
        self.high_watermark = wanted;
        debug_assert!(self.high_watermark <= self.log_end_offset);
        Some(wanted)
    }

    fn effective_min_insync_replicas(&self) -> usize {
        self.config.min_insync_replicas.min(self.remote.len() + 1)
    }

    /// KIP-207: after an election, until the high watermark reaches the start of the epoch, offsets could go back.
    pub(crate) fn is_high_watermark_behind_epoch(&self) -> bool {
        self.leader_epoch_start_offset.is_some_and(|start| start > self.high_watermark)
    }

    /// The smallest log start of the leader and the given live followers: what DeleteRecords waits for.
    #[must_use]
    pub fn low_watermark(&self, local_log_start: Offset, is_alive: impl Fn(BrokerId) -> bool) -> Offset {
        let followers = self.remote.iter().filter(|replica| is_alive(replica.id));
        followers.map(|replica| replica.log_start_offset).fold(local_log_start, Offset::min)
    }

    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }

    #[must_use]
    pub fn leader(&self) -> BrokerId {
        match self.role {
            Role::Leader => self.config.local,
            Role::Follower { leader } => leader,
            Role::Offline => BrokerId::NONE,
        }
    }

    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    #[must_use]
    pub fn partition_epoch(&self) -> i32 {
        self.partition_epoch
    }

    #[must_use]
    pub fn leader_epoch_start_offset(&self) -> Option<Offset> {
        self.leader_epoch_start_offset
    }

    #[must_use]
    pub fn replicas(&self) -> &[BrokerId] {
        &self.replicas
    }

    #[must_use]
    pub fn isr(&self) -> &IsrState {
        &self.isr
    }

    /// The followers, while this node leads.
    #[must_use]
    pub fn remote_replicas(&self) -> &[Replica] {
        &self.remote
    }

    #[must_use]
    pub fn replica(&self, id: BrokerId) -> Option<&Replica> {
        self.remote.iter().find(|replica| replica.id == id)
    }

    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    #[must_use]
    pub fn durable_end_offset(&self) -> Offset {
        self.durable_end_offset
    }

    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    #[must_use]
    pub fn config(&self) -> &PartitionConfig {
        &self.config
    }
}

#[cfg(test)]
#[path = "partition_tests.rs"]
mod tests;
