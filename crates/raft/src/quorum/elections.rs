//! Elections: pre-votes (KIP-996), votes, and the announcements of leaders. A quorum of one asks nobody.

use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Timestamp};

use super::Quorum;
use crate::effect::{Destination, Effect, Outbound, VoteOut};
use crate::identity::{LeaderAndEpoch, OffsetAndEpoch, ReplicaKey};
use crate::replies::{BeginEpochAsk, EndEpochAsk, VoteAnswer, VoteAsk, VoteReply};
use crate::role::{Election, Role};

impl Quorum {
    /// Tries to become the leader: a sole voter at once, others by asking first whether they would win.
    pub(super) fn start_election(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        if self.is_only_voter() {
            return self.become_candidate(now, fx);
        }
        let election = self.new_election(now);
        self.role = Role::Prospective { election };
        self.ask_for_votes(true, fx);
    }

    fn become_candidate(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        self.enter_epoch(LeaderEpoch(self.epoch.0 + 1));
        self.voted = Some(self.config.local);
        let election = self.new_election(now);
        if election.granted() >= self.kraft.voters.majority() {
            // The state written on becoming leader says more than the vote would.
            return self.become_leader(election.granting(), now, fx);
        }
        self.role = Role::Candidate { election };
        self.retries += 1;
        fx.push(Effect::WriteQuorumState(self.election_state()));
        fx.push(Effect::LeaderChanged { leader: self.leader_and_epoch(), start_offset: None });
        self.ask_for_votes(false, fx);
    }

    fn new_election(&mut self, now: Timestamp) -> Election {
        let local = self.config.local.id;
        let deadline = self.election_deadline(now);
        let voters = self.kraft.voters.voters().iter().map(|voter| voter.key.id);
        Election { votes: voters.map(|id| (id, (id == local).then_some(true))).collect(), deadline }
    }

    fn ask_for_votes(&self, pre_vote: bool, fx: &mut Vec<Effect>) {
        for voter in self.kraft.voters.voters().iter().filter(|voter| voter.key.id != self.config.local.id) {
            let request = Outbound::Vote(VoteOut {
                voter: voter.key,
                candidate: self.config.local,
                epoch: self.epoch,
                last: self.log.end(),
                pre_vote,
            });
            fx.push(Effect::Send {
                to: Destination::Node { id: voter.key.id, endpoints: voter.endpoints.clone() },
                request,
            });
        }
    }

    /// A voter's answer to a Vote.
    pub fn on_vote_answer(&mut self, answer: &VoteAnswer, now: Timestamp, fx: &mut Vec<Effect>) {
        if answer.reply.leader.epoch > self.epoch || answer.reply.leader.leader.is_some() {
            self.follow_news(answer.reply.leader, now, fx);
        }
        if answer.reply.leader.epoch != self.epoch || !answer.reply.error.is_none() {
            return;
        }
        let majority = self.kraft.voters.majority();
        let (election, standing) = match &mut self.role {
            Role::Prospective { election } if answer.pre_vote => (election, false),
            Role::Candidate { election } if !answer.pre_vote => (election, true),
            _ => return,
        };
        if let Some(vote) = election.votes.get_mut(&answer.from) {
            *vote = Some(answer.reply.granted);
        }
        let (granted, open) = (election.granted(), election.open());
        if granted >= majority {
            if standing {
                let granting = election.granting();
                self.become_leader(granting, now, fx);
            } else {
                self.become_candidate(now, fx);
            }
        } else if granted + open < majority {
            // Lost: wait a while before the next try.
            let backoff =
                (self.config.retry_backoff_ms << self.retries.min(10)).min(self.config.election_backoff_max_ms);
            let wait = self.random_below(backoff.max(1)) + 1;
            if let Role::Prospective { election } | Role::Candidate { election } = &mut self.role {
                election.deadline = election.deadline.min(Timestamp(now.0 + wait));
            }
        }
    }

    /// A candidate's request.
    pub fn handle_vote(&mut self, ask: &VoteAsk, now: Timestamp, fx: &mut Vec<Effect>) -> VoteReply {
        let refused = |quorum: &Quorum, error| VoteReply { error, leader: quorum.leader_and_epoch(), granted: false };
        if let Err(error) = self.check_voter_request(ask.voter, ask.epoch) {
            return refused(self, error);
        }
        if ask.last.offset.0 < 0 || ask.last.epoch.0 < 0 || ask.last.epoch > ask.epoch {
            return refused(self, ErrorCode::INVALID_REQUEST);
        }
        if ask.epoch > self.epoch {
            self.become_unattached(ask.epoch, now, fx);
        }
        let granted = self.would_grant(ask);
        if granted && !ask.pre_vote && self.voted.is_none() {
            self.voted = Some(ask.candidate);
            let deadline = self.election_deadline(now);
            self.role = Role::Unattached { deadline };
            fx.push(Effect::WriteQuorumState(self.election_state()));
        }
        VoteReply { error: ErrorCode::NONE, leader: self.leader_and_epoch(), granted }
    }

    fn would_grant(&self, ask: &VoteAsk) -> bool {
        let up_to_date = ask.last.is_at_least(&self.log.end());
        match &self.role {
            Role::Leader(_) => false,
            Role::Follower(following) => ask.pre_vote && up_to_date && !following.has_fetched,
            Role::Candidate { .. } | Role::Resigned { .. } => ask.pre_vote && up_to_date,
            Role::Unattached { .. } | Role::Prospective { .. } if ask.pre_vote => up_to_date,
            Role::Unattached { .. } | Role::Prospective { .. } => match &self.voted {
                Some(voted) => voted.is_same(&ask.candidate),
                None => up_to_date,
            },
        }
    }

    /// A leader presents itself.
    ///
    /// # Errors
    /// `FENCED_LEADER_EPOCH`, `INVALID_VOTER_KEY`.
    pub fn handle_begin_epoch(
        &mut self,
        ask: &BeginEpochAsk,
        now: Timestamp,
        fx: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        self.check_voter_request(ask.voter, ask.epoch)?;
        self.follow_news(LeaderAndEpoch { leader: Some(ask.leader), epoch: ask.epoch }, now, fx);
        Ok(())
    }

    /// A leader resigns: the first of its preferred successors stands at once, the others a little later.
    ///
    /// # Errors
    /// `FENCED_LEADER_EPOCH`.
    pub fn handle_end_epoch(
        &mut self,
        ask: &EndEpochAsk,
        now: Timestamp,
        fx: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        self.check_voter_request(None, ask.epoch)?;
        self.follow_news(LeaderAndEpoch { leader: Some(ask.leader), epoch: ask.epoch }, now, fx);
        let place = ask.preferred.iter().position(|key| key.is_same(&self.config.local));
        let wait = match place {
            Some(place) if place > 0 => {
                let step = self.config.election_backoff_max_ms / i64::try_from(ask.preferred.len().max(1)).unwrap_or(1);
                step * i64::try_from(place).unwrap_or(1)
            }
            Some(_) => 0,
            None => return Ok(()),
        };
        if let Role::Follower(following) = &mut self.role
            && following.leader == ask.leader
        {
            following.fetch_deadline = following.fetch_deadline.min(Timestamp(now.0 + wait));
        }
        Ok(())
    }

    fn check_voter_request(&self, voter: Option<ReplicaKey>, epoch: LeaderEpoch) -> Result<(), ErrorCode> {
        if epoch < self.epoch {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        if voter.is_some_and(|voter| !voter.is_same(&self.config.local)) {
            return Err(ErrorCode::INVALID_VOTER_KEY);
        }
        Ok(())
    }

    /// Somebody's word on who leads: a newer epoch is entered, an unknown leader of this epoch followed.
    pub(super) fn follow_news(&mut self, news: LeaderAndEpoch, now: Timestamp, fx: &mut Vec<Effect>) {
        if news.epoch < self.epoch {
            return;
        }
        match news.leader {
            Some(leader) if leader == self.config.local.id => {}
            Some(leader) => {
                let known = self.leader_and_epoch();
                if known.epoch == news.epoch && known.leader.is_some() {
                    return;
                }
                let endpoints = self.endpoints_of(leader);
                self.become_follower(news, endpoints, now, fx);
            }
            None if news.epoch > self.epoch => self.become_unattached(news.epoch, now, fx),
            None => {}
        }
    }

    fn endpoints_of(&self, id: BrokerId) -> Vec<crate::identity::Endpoint> {
        self.kraft.voters.get(id).map(|voter| voter.endpoints.clone()).unwrap_or_default()
    }

    /// The end of the local log as a vote request states it.
    #[must_use]
    pub fn last(&self) -> OffsetAndEpoch {
        self.log.end()
    }
}
