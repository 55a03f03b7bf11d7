//! Elections: pre-votes (KIP-996), votes, and the announcements of leaders.

use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Timestamp};

use super::Quorum;
use crate::effect::{Destination, Effect, Outbound, VoteOut};
use crate::identity::{LeaderAndEpoch, OffsetAndEpoch, ReplicaKey};
use crate::planted::Plant;
use crate::replies::{
    BeginEpochAsk, EndEpochAsk, LeaderNews, PlainAnswer, PlainRequest, VoteAnswer, VoteAsk, VoteReply,
};
use crate::role::Role;

impl Quorum {
    /// Asks every voter whose answer is open and due.
    pub(super) fn send_votes(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        let (epoch, candidate, last) = (self.epoch, self.config.local, self.log.end());
        let again = Timestamp(now.0 + self.config.request_timeout_ms.max(1));
        let (pre_vote, election) = match &mut self.role {
            Role::Prospective { election, .. } => (true, election),
            Role::Candidate { election } => (false, election),
            _ => return,
        };
        if election.is_lost() {
            return;
        }
        for (id, ballot) in &mut election.ballots {
            if ballot.granted.is_none() && ballot.ask_at <= now {
                ballot.ask_at = again;
                let endpoints = self.kraft.current().voters.get(*id).map(|voter| voter.endpoints.clone());
                let to = Destination::Node { id: *id, endpoints: endpoints.unwrap_or_default() };
                let request = Outbound::Vote(VoteOut { voter: ballot.voter, candidate, epoch, last, pre_vote });
                fx.push(Effect::Send { to, request });
            }
        }
    }

    /// A voter's answer to a Vote.
    pub fn on_vote_answer(&mut self, answer: &VoteAnswer, now: Timestamp, fx: &mut Vec<Effect>) {
        let reply = &answer.reply;
        if reply.error == ErrorCode::UNSUPPORTED_VERSION {
            // A voter that knows no pre-vote: KIP-996 is not in force until all do.
            if answer.pre_vote && matches!(self.role, Role::Prospective { .. }) {
                self.become_candidate(now, fx);
            }
            return;
        }
        let news = LeaderNews { leader: reply.leader, endpoints: answer.endpoints.clone() };
        if !self.accept(reply.error, news, now, fx) || !reply.error.is_none() {
            return;
        }
        let (election, standing) = match &mut self.role {
            Role::Prospective { election, .. } if answer.pre_vote => (election, false),
            Role::Candidate { election } if !answer.pre_vote => (election, true),
            _ => return,
        };
        if let Some(ballot) = election.ballots.get_mut(&answer.from) {
            // What was granted stays so, whatever a late answer says.
            ballot.granted = Some(reply.granted || ballot.granted == Some(true));
        }
        let (won, lost) = (election.is_won(), election.is_lost());
        match (standing, won, lost) {
            (true, true, _) => self.become_leader(now, fx),
            (false, true, _) => self.become_candidate(now, fx),
            // A candidate that lost waits until its time is over, a prospective one goes back at once.
            (false, false, true) => self.lose_pre_vote(now, fx),
            _ => {}
        }
    }

    /// A candidate's request.
    pub fn handle_vote(&mut self, ask: &VoteAsk, now: Timestamp, fx: &mut Vec<Effect>) -> VoteReply {
        let refused = |quorum: &Quorum, error| VoteReply { error, leader: quorum.leader_and_epoch(), granted: false };
        let possible = if ask.pre_vote { ask.last.epoch <= ask.epoch } else { ask.last.epoch < ask.epoch };
        if ask.last.offset.0 < 0 || ask.last.epoch.0 < 0 || !possible {
            return refused(self, ErrorCode::INVALID_REQUEST);
        }
        if let Err(error) = self.check_voter_request(ask.candidate.id, ask.epoch) {
            return refused(self, error);
        }
        if ask.epoch > self.epoch {
            self.become_unattached(ask.epoch, None, now, fx);
        }
        if ask.voter.is_some_and(|voter| !voter.covers(&self.config.local)) {
            return refused(self, ErrorCode::INVALID_VOTER_KEY);
        }
        let granted = self.would_grant(ask);
        if granted && !ask.pre_vote && (self.voted.is_none() || self.planted.is(Plant::VoteTwice)) {
            self.vote_for(ask.candidate, now, fx);
        }
        VoteReply { error: ErrorCode::NONE, leader: self.leader_and_epoch(), granted }
    }

    fn vote_for(&mut self, candidate: ReplicaKey, now: Timestamp, fx: &mut Vec<Effect>) {
        self.voted = Some(candidate);
        // Who has voted gives the winner a whole election's time.
        let deadline = self.election_deadline(now);
        let local = self.config.local.id;
        match &mut self.role {
            Role::Unattached { deadline: waits, .. } => *waits = deadline,
            Role::Prospective { election, .. } => {
                *election = crate::role::Election::new(&self.kraft.current().voters, local, now, deadline);
            }
            _ => {}
        }
        fx.push(Effect::WriteQuorumState(self.election_state()));
    }

    fn would_grant(&self, ask: &VoteAsk) -> bool {
        let up_to_date = ask.last.is_at_least(&self.log.end()) || self.planted.is(Plant::VoteWithoutLogCheck);
        match &self.role {
            Role::Leader(_) => false,
            Role::Follower(following) => ask.pre_vote && up_to_date && !following.has_fetched,
            Role::Candidate { .. } | Role::Resigned(_) => ask.pre_vote && up_to_date,
            Role::Unattached { .. } | Role::Prospective { .. } if ask.pre_vote => up_to_date,
            Role::Unattached { .. } | Role::Prospective { .. } => match &self.voted {
                Some(voted) if !self.planted.is(Plant::VoteTwice) => voted.covers(&ask.candidate),
                _ => self.leader_and_epoch().leader.is_none() && up_to_date,
            },
        }
    }

    /// A leader presents itself.
    ///
    /// # Errors
    /// `FENCED_LEADER_EPOCH`, `INVALID_REQUEST`, `INVALID_VOTER_KEY`.
    pub fn handle_begin_epoch(
        &mut self,
        ask: &BeginEpochAsk,
        now: Timestamp,
        fx: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        self.check_voter_request(ask.leader, ask.epoch)?;
        let leader = LeaderAndEpoch { leader: Some(ask.leader), epoch: ask.epoch };
        self.follow_news(LeaderNews { leader, endpoints: ask.endpoints.clone() }, now, fx);
        // Who leads is true whomever the request was meant for.
        if ask.voter.is_some_and(|voter| !voter.covers(&self.config.local)) {
            return Err(ErrorCode::INVALID_VOTER_KEY);
        }
        Ok(())
    }

    /// A leader resigns: the first of its preferred successors stands at once, the others a little later.
    ///
    /// # Errors
    /// `FENCED_LEADER_EPOCH`, `INVALID_REQUEST`.
    pub fn handle_end_epoch(
        &mut self,
        ask: &EndEpochAsk,
        now: Timestamp,
        fx: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        self.check_voter_request(ask.leader, ask.epoch)?;
        let leader = LeaderAndEpoch { leader: Some(ask.leader), epoch: ask.epoch };
        self.follow_news(LeaderNews { leader, endpoints: ask.endpoints.clone() }, now, fx);
        let wait = self.succession_wait_ms(&ask.preferred);
        if let Role::Follower(following) = &mut self.role
            && following.leader == ask.leader
        {
            following.fetch_deadline = Timestamp(now.0 + wait);
        }
        Ok(())
    }

    /// How long to wait before standing for a leader that resigned: each place in its list waits twice as long as the
    /// one before, who is not in it longest (`strictExponentialElectionBackoffMs`).
    fn succession_wait_ms(&self, preferred: &[ReplicaKey]) -> i64 {
        let max = self.config.election_backoff_max_ms;
        let place = preferred.iter().position(|key| key.covers(&self.config.local)).unwrap_or(preferred.len());
        if place == 0 {
            return 0;
        }
        if place >= preferred.len() {
            return max;
        }
        let base = max >> (preferred.len() - 1).min(62);
        base.checked_shl(u32::try_from(place - 1).unwrap_or(u32::MAX)).map_or(max, |wait| wait.clamp(0, max))
    }

    fn check_voter_request(&self, from: BrokerId, epoch: LeaderEpoch) -> Result<(), ErrorCode> {
        if epoch < self.epoch {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        if from.0 < 0 {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        Ok(())
    }

    /// The answer to a request whose head is all there is to it.
    pub fn on_plain_answer(
        &mut self,
        request: PlainRequest,
        answer: &PlainAnswer,
        now: Timestamp,
        fx: &mut Vec<Effect>,
    ) {
        if !self.accept(answer.error, answer.news.clone(), now, fx) {
            return;
        }
        let taken = answer.error.is_none() || answer.error == ErrorCode::UNSUPPORTED_VERSION;
        match (request, &mut self.role) {
            (PlainRequest::EndQuorumEpoch, Role::Resigned(resigned)) if answer.error.is_none() => {
                resigned.unacknowledged.remove(&answer.from);
            }
            (PlainRequest::UpdateRaftVoter, Role::Follower(following)) if taken => {
                following.has_updated_leader = true;
                following.fetch_deadline = Timestamp(now.0 + self.config.fetch_timeout_ms);
                following.has_fetched = true;
            }
            _ => {}
        }
    }

    /// What every answer may say: a newer epoch, another leader. Returns whether the rest of the answer is about this
    /// epoch (`KafkaRaftClient.maybeHandleCommonResponse`).
    pub(super) fn accept(&mut self, error: ErrorCode, news: LeaderNews, now: Timestamp, fx: &mut Vec<Effect>) -> bool {
        let epoch = news.leader.epoch;
        if epoch < self.epoch || error == ErrorCode::UNKNOWN_LEADER_EPOCH {
            return false;
        }
        let told_off = error == ErrorCode::FENCED_LEADER_EPOCH || error == ErrorCode::NOT_LEADER_OR_FOLLOWER;
        if epoch > self.epoch || told_off {
            self.follow_news(news, now, fx);
            return false;
        }
        if news.leader.leader.is_some() && self.leader_and_epoch().leader.is_none() {
            self.follow_news(news, now, fx);
            return error.is_none();
        }
        error != ErrorCode::BROKER_NOT_AVAILABLE
            && error != ErrorCode::INVALID_VOTER_KEY
            && error != ErrorCode::INVALID_REQUEST
    }

    /// Somebody's word on who leads: a newer epoch is entered, an unknown leader of this epoch followed. A word that
    /// contradicts what is known of this epoch is not believed (Kafka ends its process there).
    pub(super) fn follow_news(&mut self, news: LeaderNews, now: Timestamp, fx: &mut Vec<Effect>) {
        let epoch = news.leader.epoch;
        let told = news.leader.leader.filter(|leader| *leader != self.config.local.id);
        if epoch > self.epoch {
            match told {
                Some(_) => self.become_follower(news, now, fx),
                None => self.become_unattached(epoch, None, now, fx),
            }
            return;
        }
        let known = self.leader_and_epoch().leader;
        let closer = match &self.role {
            Role::Follower(following) => news.endpoints.len() > following.endpoints.len(),
            Role::Prospective { leader: Some((_, endpoints)), .. } => news.endpoints.len() > endpoints.len(),
            Role::Unattached { .. } => !news.endpoints.is_empty(),
            _ => false,
        };
        if epoch == self.epoch && told.is_some() && (known.is_none() || (known == told && closer)) {
            self.become_follower(news, now, fx);
        }
    }

    /// The end of the local log as a vote request states it.
    #[must_use]
    pub fn last(&self) -> OffsetAndEpoch {
        self.log.end()
    }
}
