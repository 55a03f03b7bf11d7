//! `Quorum`: one member of the KRaft quorum (class `KafkaRaftClient`): what it knows, how its role changes, how records
//! get into the log and become committed.
//!
//! A quorum of one elects itself when it is opened, in a new epoch, and commits what its own disk holds. Votes are in
//! `elections`, fetching on both sides in `fetches`, time in `timers`. Changing voters at run time (KIP-853's AddRaftVoter
//! and its kin) is not here yet.

mod elections;
mod fetches;
mod timers;

use bytes::Bytes;
use milena_types::{BrokerId, LeaderEpoch, Offset, Timestamp};

use crate::accumulator::{Accumulator, ControlRecord};
use crate::effect::Effect;
use crate::election_state::ElectionState;
use crate::epochs::EpochCache;
use crate::identity::{Endpoint, LeaderAndEpoch, ReplicaKey};
use crate::leader::Leadership;
use crate::role::{Following, Role, RoleName};
use crate::voters::KRaftState;

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
    pub kraft: KRaftState,
}

/// Why records were not accepted. In both cases they are certainly not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    NotLeader,
    TooLarge,
}

/// A member of the quorum.
#[derive(Debug)]
pub struct Quorum {
    config: QuorumConfig,
    kraft: KRaftState,
    log: EpochCache,
    epoch: LeaderEpoch,
    voted: Option<ReplicaKey>,
    role: Role,
    /// As a follower or observer: the leader's word, at most the local end.
    follower_high_watermark: Option<Offset>,
    random: u64,
    /// Elections lost in a row.
    retries: u32,
}

impl Quorum {
    /// Continues from what is on disk. A sole voter leads at once: the effects then hold the new epoch and its first
    /// records.
    pub fn open(config: QuorumConfig, boot: Boot, now: Timestamp, fx: &mut Vec<Effect>) -> Quorum {
        let election = boot.election.unwrap_or(ElectionState::INITIAL);
        let epoch = election.epoch.max(boot.log.last_epoch());
        let mut quorum = Quorum {
            random: config.seed,
            config,
            kraft: boot.kraft,
            voted: election.voted.filter(|_| epoch == election.epoch),
            log: boot.log,
            epoch,
            role: Role::Unattached { deadline: now },
            follower_high_watermark: None,
            retries: 0,
        };
        quorum.role = quorum.first_role(&election, now);
        if quorum.is_only_voter() {
            quorum.start_election(now, fx);
        } else if let Role::Follower(_) = &quorum.role {
            fx.push(Effect::LeaderChanged { leader: quorum.leader_and_epoch(), start_offset: None });
        }
        quorum
    }

    fn first_role(&mut self, election: &ElectionState, now: Timestamp) -> Role {
        let deadline = self.election_deadline(now);
        match election.leader.filter(|_| election.epoch == self.epoch) {
            // It led this epoch before it stopped: it may not lead it again, records may be lost in between.
            Some(leader) if leader == self.config.local.id => Role::Resigned { deadline },
            Some(leader) => match self.kraft.voters.get(leader) {
                Some(voter) => Role::Follower(Following {
                    leader,
                    endpoints: voter.endpoints.clone(),
                    fetch_deadline: Timestamp(now.0 + self.config.fetch_timeout_ms),
                    has_fetched: false,
                }),
                None => Role::Unattached { deadline },
            },
            None => Role::Unattached { deadline },
        }
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
        for batch in &batches {
            self.log.on_append(batch.epoch, batch.end_offset());
        }
        fx.push(Effect::Append(batches));
        fx.push(Effect::WakeFetches);
    }

    /// The log is on disk up to `end`.
    pub fn on_durable(&mut self, end: Offset, now: Timestamp, fx: &mut Vec<Effect>) {
        self.log.durable_end_offset = self.log.durable_end_offset.max(end.min(self.log.end_offset));
        let durable = self.log.durable_end_offset;
        if let Role::Leader(state) = &mut self.role
            && state.on_local_durable(durable, now)
        {
            fx.extend(state.high_watermark.map(Effect::Commit));
            fx.push(Effect::WakeFetches);
        }
    }

    /// A snapshot of the local state machine was written.
    pub fn on_snapshot_written(&mut self, id: crate::identity::OffsetAndEpoch) {
        self.log.on_snapshot_written(id);
    }

    /// Old segments or snapshots were removed.
    pub fn on_log_cleaned(&mut self, start: Offset, oldest_snapshot: Option<crate::identity::OffsetAndEpoch>) {
        self.log.start_offset = self.log.start_offset.max(start);
        self.log.snapshots.retain(|id| oldest_snapshot.is_none_or(|oldest| *id >= oldest));
    }

    /// Replicated control records changed the voters or the version.
    pub fn on_kraft_state(&mut self, kraft: KRaftState) {
        self.kraft = kraft;
    }

    fn become_leader(&mut self, granting: Vec<BrokerId>, now: Timestamp, fx: &mut Vec<Effect>) {
        let check_quorum = Timestamp(now.0 + self.check_quorum_ms());
        let queue = Accumulator::new(self.epoch, self.log.end_offset);
        let mut state = Leadership::new(self.config.local, &self.kraft.voters, queue, check_quorum);
        let voters = self.kraft.voters.voters().iter().map(|voter| voter.key.id).collect();
        let mut first = vec![ControlRecord::LeaderChange { leader: self.config.local.id, voters, granting }];
        if self.kraft.kraft_version > 0 && self.kraft.voters_offset.is_none() {
            // Until now only a bootstrap snapshot, which nobody fetches, says who votes.
            let version_offset = state.epoch_start + 1;
            first.push(ControlRecord::KRaftVersion(self.kraft.kraft_version));
            first.push(ControlRecord::KRaftVoters(self.kraft.voters.clone()));
            self.kraft.voters_offset = Some(version_offset + 1);
        }
        state.queue.push_control(first, now);
        let start_offset = Some(state.epoch_start);
        self.role = Role::Leader(Box::new(state));
        self.retries = 0;
        self.voted = None;
        fx.push(Effect::WriteQuorumState(self.election_state()));
        fx.push(Effect::LeaderChanged { leader: self.leader_and_epoch(), start_offset });
        self.drain(fx);
    }

    pub(crate) fn become_follower(
        &mut self,
        leader: LeaderAndEpoch,
        endpoints: Vec<Endpoint>,
        now: Timestamp,
        fx: &mut Vec<Effect>,
    ) {
        let Some(id) = leader.leader else {
            return self.become_unattached(leader.epoch, now, fx);
        };
        let was_leader = matches!(self.role, Role::Leader(_));
        self.enter_epoch(leader.epoch);
        let fetch_deadline = Timestamp(now.0 + self.config.fetch_timeout_ms);
        self.role = Role::Follower(Following { leader: id, endpoints, fetch_deadline, has_fetched: false });
        self.announce(was_leader, fx);
    }

    pub(crate) fn become_unattached(&mut self, epoch: LeaderEpoch, now: Timestamp, fx: &mut Vec<Effect>) {
        let was_leader = matches!(self.role, Role::Leader(_));
        self.enter_epoch(epoch);
        let deadline = self.election_deadline(now);
        self.role = Role::Unattached { deadline };
        self.announce(was_leader, fx);
    }

    fn enter_epoch(&mut self, epoch: LeaderEpoch) {
        // INV: epochs never go back.
        assert!(epoch >= self.epoch, "the quorum's epoch went from {} back to {epoch}", self.epoch);
        if epoch > self.epoch {
            self.voted = None;
        }
        self.epoch = epoch;
    }

    fn announce(&self, was_leader: bool, fx: &mut Vec<Effect>) {
        fx.push(Effect::WriteQuorumState(self.election_state()));
        fx.push(Effect::LeaderChanged { leader: self.leader_and_epoch(), start_offset: None });
        if was_leader {
            fx.push(Effect::WakeFetches);
        }
    }

    /// The leader and its controller listeners, as it or the voters told them.
    #[must_use]
    pub fn leader_endpoints(&self) -> Option<(BrokerId, Vec<Endpoint>)> {
        match &self.role {
            Role::Follower(following) => Some((following.leader, following.endpoints.clone())),
            Role::Leader(_) => {
                self.kraft.voters.get(self.config.local.id).map(|own| (own.key.id, own.endpoints.clone()))
            }
            _ => None,
        }
    }

    /// What `quorum-state` must hold now.
    #[must_use]
    pub fn election_state(&self) -> ElectionState {
        ElectionState { epoch: self.epoch, leader: self.leader_and_epoch().leader, voted: self.voted }
    }

    /// Who leads, as far as this member knows.
    #[must_use]
    pub fn leader_and_epoch(&self) -> LeaderAndEpoch {
        let leader = match &self.role {
            Role::Leader(_) | Role::Resigned { .. } => Some(self.config.local.id),
            Role::Follower(following) => Some(following.leader),
            Role::Unattached { .. } | Role::Prospective { .. } | Role::Candidate { .. } => None,
        };
        LeaderAndEpoch { leader, epoch: self.epoch }
    }

    #[must_use]
    pub fn role(&self) -> RoleName {
        match &self.role {
            Role::Leader(_) => RoleName::Leader,
            _ if !self.is_voter() => RoleName::Observer,
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
        self.config.can_vote && self.kraft.voters.contains(&self.config.local)
    }

    fn is_only_voter(&self) -> bool {
        self.config.can_vote && self.kraft.voters.is_only(&self.config.local)
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
            _ => self.follower_high_watermark,
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
        &self.kraft
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
#[path = "quorum_tests.rs"]
mod tests;
