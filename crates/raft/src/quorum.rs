//! `Quorum`: one member of the KRaft quorum (class `KafkaRaftClient`): what it knows, how its role changes, how records
//! get into the log and become committed.
//!
//! Changes of role are in `transitions`, votes in `elections`, fetching in `fetches` (as the leader) and `following`,
//! changes of the voters in `reconfiguration`, time in `timers`. A sole voter elects itself when it is opened, in a new
//! epoch, and commits what its own disk holds.

mod elections;
mod fetches;
mod following;
mod reconfiguration;
mod timers;
mod transitions;

use bytes::Bytes;
use milena_types::{BrokerId, LeaderEpoch, Offset, Timestamp};

use crate::accumulator::BatchContent;
use crate::effect::Effect;
use crate::election_state::ElectionState;
use crate::epochs::EpochCache;
use crate::identity::{Endpoint, LeaderAndEpoch, OffsetAndEpoch, ReplicaKey};
use crate::kraft_history::KRaftHistory;
use crate::planted::{Plant, Planted};
use crate::role::{Role, RoleName};
use crate::voters::{KRaftState, Voter};

/// Settings; the defaults are those of `controller.quorum.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumConfig {
    pub local: ReplicaKey,
    /// Whether this node may vote at all: it has the controller role.
    pub can_vote: bool,
    pub election_timeout_ms: i64,
    pub fetch_timeout_ms: i64,
    pub election_backoff_max_ms: i64,
    pub retry_backoff_ms: i64,
    pub request_timeout_ms: i64,
    /// Where this node's controller listens; empty if it has none, or leaves what the voters say of it alone.
    pub endpoints: Vec<Endpoint>,
    /// The newest kraft.version this node can do.
    pub kraft_version_max: i16,
    /// `controller.quorum.auto.join.enable`.
    pub auto_join: bool,
    /// Spreads election timeouts; any number, different for each node.
    pub seed: u64,
}

impl QuorumConfig {
    /// Kafka's defaults.
    #[must_use]
    pub fn new(local: ReplicaKey, can_vote: bool, seed: u64) -> QuorumConfig {
        QuorumConfig {
            local,
            can_vote,
            election_timeout_ms: 1000,
            fetch_timeout_ms: 2000,
            election_backoff_max_ms: 1000,
            retry_backoff_ms: 20,
            request_timeout_ms: 2000,
            endpoints: Vec::new(),
            kraft_version_max: 1,
            auto_join: false,
            seed: seed | 1,
        }
    }
}

/// What was found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The content of `quorum-state`, if there is one.
    pub election: Option<ElectionState>,
    pub log: EpochCache,
    pub kraft: KRaftHistory,
}

/// Why records were not accepted. In both cases they are certainly not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    NotLeader,
    TooLarge,
}

/// A member of the quorum.
#[derive(Clone, Debug)]
pub struct Quorum {
    config: QuorumConfig,
    kraft: KRaftHistory,
    log: EpochCache,
    epoch: LeaderEpoch,
    voted: Option<ReplicaKey>,
    role: Role,
    /// While not leading: what is known as committed, at most the local end.
    high_watermark: Option<Offset>,
    random: u64,
    planted: Planted,
}

impl Quorum {
    /// Continues from what is on disk. A sole voter leads at once: the effects then hold the new epoch and its first
    /// records.
    pub fn open(config: QuorumConfig, boot: Boot, now: Timestamp, fx: &mut Vec<Effect>) -> Quorum {
        Self::open_planted(config, boot, Planted::default(), now, fx)
    }

    pub(crate) fn open_planted(
        config: QuorumConfig,
        boot: Boot,
        planted: Planted,
        now: Timestamp,
        fx: &mut Vec<Effect>,
    ) -> Quorum {
        let mut election = boot.election.unwrap_or(ElectionState::INITIAL);
        if planted.is(Plant::ForgetVoteOnRestart) {
            election.voted = None;
        }
        let mut quorum = Quorum {
            random: config.seed,
            config,
            kraft: boot.kraft,
            voted: None,
            log: boot.log,
            epoch: election.epoch,
            role: Role::Unattached { leader: None, deadline: now },
            high_watermark: None,
            planted,
        };
        quorum.enter_first_role(&election, now, fx);
        quorum
    }

    /// Queues records that must be committed together; returns the offset after the last. [`Quorum::drain`] hands them
    /// to the log.
    ///
    /// # Errors
    /// `NotLeader`, or `TooLarge` when they do not fit in one batch.
    pub fn append(&mut self, records: Vec<Bytes>, now: Timestamp) -> Result<Offset, AppendError> {
        let Role::Leader(state) = &mut self.role else {
            return Err(AppendError::NotLeader);
        };
        state.queue.push(records, now).ok_or(AppendError::TooLarge)
    }

    /// Hands queued records to the log.
    pub fn drain(&mut self, fx: &mut Vec<Effect>) {
        let Role::Leader(state) = &mut self.role else {
            return;
        };
        if state.queue.is_empty() {
            return;
        }
        let batches = state.queue.drain();
        let mut voters_changed = false;
        for batch in &batches {
            self.log.on_append(batch.epoch, batch.end_offset());
            if let BatchContent::Control(records) = &batch.content {
                for (record, at) in records.iter().zip(batch.base_offset.0..) {
                    self.kraft.on_control(Offset(at), record);
                    voters_changed = true;
                }
            }
        }
        if voters_changed {
            state.on_voters(&self.kraft.current().voters);
        }
        let counts_at_once = self.planted.is(Plant::CountUnflushed);
        fx.push(Effect::Append(batches));
        fx.push(Effect::WakeFetches);
        if counts_at_once {
            self.on_durable(Offset(0), Timestamp(0), fx);
        }
    }

    /// The log is on disk up to `end`.
    pub fn on_durable(&mut self, end: Offset, now: Timestamp, fx: &mut Vec<Effect>) {
        self.log.durable_end_offset = self.log.durable_end_offset.max(end.min(self.log.end_offset));
        let unsynced = self.planted.is(Plant::CountUnflushed);
        let counted = if unsynced { self.log.end_offset } else { self.log.durable_end_offset };
        if let Role::Leader(state) = &mut self.role
            && state.on_local_durable(counted, now)
        {
            self.on_leader_commit(now, fx);
        }
    }

    /// The leader's high watermark has moved.
    fn on_leader_commit(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        if let Some(end) = self.high_watermark() {
            fx.push(Effect::Commit(end));
            fx.push(Effect::WakeFetches);
            self.finish_voter_changes(end, now, fx);
        }
    }

    /// A snapshot of the local state machine was written.
    pub fn on_snapshot_written(&mut self, id: OffsetAndEpoch) {
        self.log.on_snapshot_written(id);
    }

    /// Old segments or snapshots were removed.
    pub fn on_log_cleaned(&mut self, start: Offset, oldest_snapshot: Option<OffsetAndEpoch>) {
        self.log.on_start_offset(start);
        self.log.snapshots.retain(|id| oldest_snapshot.is_none_or(|oldest| *id >= oldest));
        self.kraft.forget_below(self.log.start_offset);
    }

    /// The leader and its controller listeners, as it or the voters told them.
    #[must_use]
    pub fn leader_endpoints(&self) -> Option<(BrokerId, &[Endpoint])> {
        match &self.role {
            Role::Follower(following) => Some((following.leader, &following.endpoints)),
            Role::Leader(_) => Some((self.config.local.id, self.own_endpoints())),
            Role::Prospective { leader, .. } => leader.as_ref().map(|(id, endpoints)| (*id, endpoints.as_slice())),
            _ => None,
        }
    }

    /// Who leads until its removal is committed is not among the voters any more.
    fn own_endpoints(&self) -> &[Endpoint] {
        self.voters().get(self.config.local.id).map_or(&self.config.endpoints, |own| &own.endpoints)
    }

    /// What `quorum-state` must hold now.
    #[must_use]
    pub fn election_state(&self) -> ElectionState {
        // That it led says more than that it voted for itself.
        let voted = self.voted.filter(|_| !matches!(self.role, Role::Leader(_) | Role::Resigned(_)));
        ElectionState { epoch: self.epoch, leader: self.leader_and_epoch().leader, voted }
    }

    /// Who leads, as far as this member knows.
    #[must_use]
    pub fn leader_and_epoch(&self) -> LeaderAndEpoch {
        let leader = match &self.role {
            Role::Leader(_) | Role::Resigned(_) => Some(self.config.local.id),
            Role::Follower(following) => Some(following.leader),
            Role::Unattached { leader, .. } => *leader,
            Role::Prospective { leader, .. } => leader.as_ref().map(|(id, _)| *id),
            Role::Candidate { .. } => None,
        };
        LeaderAndEpoch { leader, epoch: self.epoch }
    }

    #[must_use]
    pub fn role(&self) -> RoleName {
        match &self.role {
            Role::Leader(_) => RoleName::Leader,
            Role::Unattached { .. } | Role::Follower(_) if !self.is_voter() => RoleName::Observer,
            Role::Unattached { .. } => RoleName::Unattached,
            Role::Prospective { .. } => RoleName::Prospective,
            Role::Candidate { .. } => RoleName::Candidate,
            Role::Follower(_) => RoleName::Follower,
            Role::Resigned { .. } => RoleName::Resigned,
        }
    }

    #[must_use]
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Whether this member has the controller role and is among the voters.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        self.config.can_vote && self.voters().contains(&self.config.local)
    }

    /// Whether this member may become the leader: it is a voter, or it was one until a record that is not known as
    /// committed. Only it may have that record, and then nobody else can be elected (the Raft dissertation, 4.2.2; Kafka's
    /// member waits for ever there). It counts no vote of its own.
    pub(crate) fn may_stand(&self) -> bool {
        if self.is_voter() {
            return true;
        }
        let removed_at = self.kraft.current().voters_offset.filter(|_| self.config.can_vote);
        removed_at.is_some_and(|offset| {
            self.high_watermark().is_none_or(|committed| committed <= offset)
                && self.kraft.at(offset).voters.contains(&self.config.local)
        })
    }

    fn is_only_voter(&self) -> bool {
        self.config.can_vote && self.voters().is_only(&self.config.local)
    }

    #[cfg(test)]
    pub(crate) fn role_for_test(&self) -> &Role {
        &self.role
    }

    /// The settings it was opened with.
    #[must_use]
    pub fn config(&self) -> &QuorumConfig {
        &self.config
    }

    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The end of what is committed, once known in this epoch.
    #[must_use]
    pub fn high_watermark(&self) -> Option<Offset> {
        match &self.role {
            Role::Leader(state) => state.high_watermark,
            _ => self.high_watermark,
        }
    }

    /// The local log as the quorum sees it.
    #[must_use]
    pub fn log(&self) -> &EpochCache {
        &self.log
    }

    /// The voters and version in force.
    #[must_use]
    pub fn kraft(&self) -> &KRaftState {
        self.kraft.current()
    }

    /// The voters and version of every place of the log.
    #[must_use]
    pub fn kraft_history(&self) -> &KRaftHistory {
        &self.kraft
    }

    fn voters(&self) -> &crate::voters::VoterSet {
        &self.kraft.current().voters
    }

    /// This node as the voters should know it.
    fn local_voter(&self) -> Voter {
        Voter {
            key: self.config.local,
            endpoints: self.config.endpoints.clone(),
            kraft_version_min: 0,
            kraft_version_max: self.config.kraft_version_max,
        }
    }

    /// The offset the next appended record would get, if this member leads.
    #[must_use]
    pub fn next_append_offset(&self) -> Option<Offset> {
        match &self.role {
            Role::Leader(state) => Some(state.queue.next_offset()),
            _ => None,
        }
    }

    fn check_quorum_ms(&self) -> i64 {
        self.config.fetch_timeout_ms + self.config.fetch_timeout_ms / 2
    }
}

#[cfg(test)]
#[path = "quorum/reconfiguration_tests.rs"]
mod reconfiguration_tests;
#[cfg(test)]
#[path = "quorum_tests.rs"]
mod tests;
