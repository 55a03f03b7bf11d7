//! Changes of role (class `QuorumState`): what each role begins with, what is kept from the one before, what must be on
//! disk first. The vote given in an epoch is kept through every role in it.

use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Timestamp};

use super::Quorum;
use crate::accumulator::{Accumulator, ControlRecord};
use crate::effect::Effect;
use crate::election_state::ElectionState;
use crate::identity::{Endpoint, LeaderAndEpoch, ReplicaKey};
use crate::leader::Leadership;
use crate::planted::Plant;
use crate::replies::LeaderNews;
use crate::role::{Election, Following, NEVER, Resigned, Role};

impl Quorum {
    /// The role after a start, from what `quorum-state` and the log say (`QuorumState.initialize`).
    pub(super) fn enter_first_role(&mut self, found: &ElectionState, now: Timestamp, fx: &mut Vec<Effect>) {
        let local = self.config.local;
        if found.epoch < self.log.last_epoch() {
            self.epoch = self.log.last_epoch();
            self.role = Role::Unattached { leader: None, deadline: self.election_deadline(now) };
        } else if found.leader == Some(local.id) && !self.planted.is(Plant::LeaderForgetsItLed) {
            // It led this epoch before it stopped: it may not lead it again, nor vote in it, for records of it may be lost.
            self.role = self.resigned(Vec::new(), now);
        } else if found.leader.is_none() && found.voted.is_some_and(|voted| voted.covers(&local)) {
            self.voted = found.voted;
            let deadline = self.election_deadline(now);
            self.role = Role::Candidate { election: Election::new(self.voters(), local.id, now, deadline) };
        } else {
            self.voted = found.voted;
            let leader = found.leader.filter(|leader| *leader != local.id);
            self.role = match leader.map(|leader| (leader, self.endpoints_of(leader))) {
                Some((leader, endpoints)) if !endpoints.is_empty() => self.following(leader, endpoints, now),
                Some((leader, _)) => Role::Unattached { leader: Some(leader), deadline: self.patience(now) },
                None => Role::Unattached { leader: None, deadline: self.patience(now) },
            };
        }
        if self.election_state() != *found {
            fx.push(Effect::WriteQuorumState(self.election_state()));
        }
        match &self.role {
            Role::Candidate { election } if election.is_won() => self.become_leader(now, fx),
            _ if self.is_only_voter() => self.become_prospective(now, fx),
            Role::Follower(_) => {
                fx.push(Effect::LeaderChanged { leader: self.leader_and_epoch(), start_offset: None });
            }
            _ => {}
        }
    }

    /// Follows nobody in this epoch or a later one.
    pub(super) fn become_unattached(
        &mut self,
        epoch: LeaderEpoch,
        leader: Option<BrokerId>,
        now: Timestamp,
        fx: &mut Vec<Effect>,
    ) {
        let deadline = match &self.role {
            _ if !self.may_stand() => NEVER,
            // Who was waiting to stand goes on waiting: newer epochs alone must not put an election off for ever.
            Role::Candidate { election } => election.deadline,
            Role::Prospective { election, .. } if !election.is_lost() => election.deadline,
            Role::Unattached { deadline, .. } if *deadline != NEVER => *deadline,
            Role::Resigned(resigned) => resigned.deadline,
            _ => self.election_deadline(now),
        };
        self.enter_epoch(epoch, fx);
        self.enter_durably(Role::Unattached { leader, deadline }, fx);
    }

    /// Follows a leader of this epoch or a later one.
    pub(super) fn become_follower(&mut self, news: LeaderNews, now: Timestamp, fx: &mut Vec<Effect>) {
        let LeaderNews { leader: LeaderAndEpoch { leader, epoch }, endpoints } = news;
        let Some(leader) = leader.filter(|leader| *leader != self.config.local.id) else {
            return;
        };
        let endpoints = if endpoints.is_empty() { self.endpoints_of(leader) } else { endpoints };
        if endpoints.is_empty() {
            // Nobody says where the leader listens: it is found by asking the bootstrap servers.
            return self.become_unattached(epoch, Some(leader), now, fx);
        }
        self.enter_epoch(epoch, fx);
        let role = self.following(leader, endpoints, now);
        self.enter_durably(role, fx);
    }

    fn following(&self, leader: BrokerId, endpoints: Vec<Endpoint>, now: Timestamp) -> Role {
        let fetch_deadline = Timestamp(now.0 + self.config.fetch_timeout_ms);
        Role::Follower(Following {
            leader,
            endpoints,
            fetch_deadline,
            has_fetched: false,
            asks_others: false,
            fetching_snapshot: None,
            update_voter_at: fetch_deadline,
            has_updated_leader: false,
        })
    }

    /// Asks whether an election would be won. Nothing of it need be on disk.
    pub(super) fn become_prospective(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        let known = self.leader_and_epoch();
        let leader = match std::mem::replace(&mut self.role, Role::Unattached { leader: known.leader, deadline: NEVER })
        {
            Role::Follower(following) => Some((following.leader, following.endpoints)),
            _ => known.leader.map(|leader| (leader, Vec::new())),
        };
        let deadline = self.election_deadline(now);
        let election = Election::new(self.voters(), self.config.local.id, now, deadline);
        let won = election.is_won();
        self.role = Role::Prospective { leader, election };
        if won {
            self.become_candidate(now, fx);
        } else {
            self.send_votes(now, fx);
        }
    }

    /// The pre-votes of a majority will not come: goes back to what it was before.
    pub(super) fn lose_pre_vote(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        let Role::Prospective { leader, .. } = &self.role else {
            return;
        };
        match leader.clone() {
            Some((id, endpoints)) if !endpoints.is_empty() && id != self.config.local.id => {
                let leader = LeaderAndEpoch { leader: Some(id), epoch: self.epoch };
                self.become_follower(LeaderNews { leader, endpoints }, now, fx);
            }
            known => self.become_unattached(self.epoch, known.map(|(id, _)| id), now, fx),
        }
    }

    /// Stands for election in a new epoch.
    pub(super) fn become_candidate(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        self.enter_epoch(LeaderEpoch(self.epoch.0 + 1), fx);
        self.voted = Some(self.config.local);
        let deadline = self.election_deadline(now);
        let election = Election::new(self.voters(), self.config.local.id, now, deadline);
        if election.is_won() {
            self.role = Role::Candidate { election };
            // The state written on becoming leader says more than the vote would.
            return self.become_leader(now, fx);
        }
        self.enter_durably(Role::Candidate { election }, fx);
        self.send_votes(now, fx);
    }

    pub(super) fn become_leader(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        let Role::Candidate { election } = &self.role else {
            return;
        };
        let granting = election.granting();
        let kraft = self.kraft.current();
        let queue = Accumulator::new(self.epoch, self.log.end_offset);
        let mut state = Leadership::new(self.config.local, &kraft.voters, queue, self.planted);
        state.start_check_quorum(self.check_quorum_ms(), now);
        let voters = kraft.voters.voters().iter().map(|voter| voter.key.id).collect();
        let mut first = vec![ControlRecord::LeaderChange { leader: self.config.local.id, voters, granting }];
        let own = self.local_voter();
        let moved = !own.endpoints.is_empty() && kraft.voters.needs_update(&own);
        // A bootstrap snapshot, which nobody fetches, may be all that says who votes.
        if kraft.kraft_version > 0 && (kraft.voters_offset.is_none() || moved) {
            let voters = if moved { kraft.voters.updated(own) } else { None };
            first.push(ControlRecord::KRaftVersion(kraft.kraft_version));
            first.push(ControlRecord::KRaftVoters(voters.unwrap_or_else(|| kraft.voters.clone())));
        } else if kraft.kraft_version == 0 {
            state.told_voters = kraft.voters.updated_by_id(own);
        }
        state.queue.push_control(first, now);
        let start_offset = Some(state.epoch_start);
        if !self.planted.is(Plant::CountUnflushed) {
            state.on_local_durable(self.log.durable_end_offset, now);
        }
        self.role = Role::Leader(Box::new(state));
        fx.push(Effect::WriteQuorumState(self.election_state()));
        fx.push(Effect::LeaderChanged { leader: self.leader_and_epoch(), start_offset });
        self.drain(fx);
        self.tick_leader(now, fx);
    }

    /// Gives up leadership and tells the other voters, the most caught up first.
    pub fn resign(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        let Role::Leader(state) = &self.role else {
            return;
        };
        let mut others: Vec<_> = state.voters.values().filter(|voter| voter.key.id != self.config.local.id).collect();
        others.sort_by_key(|voter| std::cmp::Reverse(voter.end_offset));
        let preferred: Vec<_> = others.iter().map(|voter| voter.key).collect();
        let role = self.resigned(preferred, now);
        self.leave_leadership(fx);
        self.role = role;
        fx.push(Effect::LeaderChanged { leader: self.leader_and_epoch(), start_offset: None });
        self.send_farewells(now, fx);
    }

    fn resigned(&mut self, preferred: Vec<ReplicaKey>, now: Timestamp) -> Role {
        let deadline = self.election_deadline(now);
        let local = self.config.local.id;
        let others = self.voters().voters().iter().map(|voter| voter.key.id).filter(|id| *id != local);
        Role::Resigned(Resigned { deadline, preferred, unacknowledged: others.map(|id| (id, now)).collect() })
    }

    /// What a leader leaves behind: its high watermark stays known, callers that wait are told.
    fn leave_leadership(&mut self, fx: &mut Vec<Effect>) {
        let Role::Leader(state) = &mut self.role else {
            return;
        };
        self.high_watermark = self.high_watermark.max(state.high_watermark);
        let adding = state.adding.take().filter(|adding| !adding.answered).map(|adding| adding.ticket);
        let removing = state.removing.take().map(|removing| removing.ticket);
        for ticket in adding.into_iter().chain(removing) {
            let error = ErrorCode::NOT_LEADER_OR_FOLLOWER;
            fx.push(Effect::AnswerVoterChange { ticket, error, message: None });
        }
        fx.push(Effect::WakeFetches);
    }

    pub(super) fn enter_epoch(&mut self, epoch: LeaderEpoch, fx: &mut Vec<Effect>) {
        // INV: epochs never go back.
        assert!(epoch >= self.epoch, "the quorum's epoch went from {} back to {epoch}", self.epoch);
        self.leave_leadership(fx);
        if epoch > self.epoch {
            self.voted = None;
        }
        self.epoch = epoch;
    }

    fn enter_durably(&mut self, role: Role, fx: &mut Vec<Effect>) {
        self.role = role;
        fx.push(Effect::WriteQuorumState(self.election_state()));
        fx.push(Effect::LeaderChanged { leader: self.leader_and_epoch(), start_offset: None });
    }

    /// How long to wait for a leader before standing.
    pub(super) fn patience(&mut self, now: Timestamp) -> Timestamp {
        if self.may_stand() { self.election_deadline(now) } else { NEVER }
    }

    pub(super) fn endpoints_of(&self, id: BrokerId) -> Vec<Endpoint> {
        self.voters().get(id).map(|voter| voter.endpoints.clone()).unwrap_or_default()
    }
}
