//! Time: when the quorum wants to be called again and what it does then.

use milena_types::{LeaderEpoch, Timestamp};

use super::Quorum;
use crate::effect::{Destination, Effect, Outbound};
use crate::planted::Plant;
use crate::role::{NEVER, Role};

impl Quorum {
    /// When `tick` must be called at the latest; `None` if only a message can change anything.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let earlier = |at: Timestamp, other: Option<Timestamp>| other.map_or(at, |other| other.min(at));
        let deadline = match &self.role {
            Role::Unattached { deadline, .. } if self.may_stand() => *deadline,
            Role::Unattached { .. } => NEVER,
            Role::Prospective { election, .. } | Role::Candidate { election } => {
                earlier(election.deadline, election.next_ask())
            }
            Role::Resigned(resigned) => earlier(resigned.deadline, resigned.unacknowledged.values().min().copied()),
            Role::Follower(following) => {
                following.fetch_deadline.min(if self.config.can_vote { following.update_voter_at } else { NEVER })
            }
            Role::Leader(state) => {
                let alone = state.voters.len() == 1 && state.voters.contains_key(&state.local.id);
                let quorum = if alone { NEVER } else { state.check_quorum_deadline.min(state.next_begin_epoch) };
                let adding = state.adding.as_ref().map(|adding| adding.deadline);
                earlier(earlier(quorum, adding), state.removing.as_ref().map(|removing| removing.deadline))
            }
        };
        Some(deadline).filter(|deadline| *deadline != NEVER)
    }

    /// Does what time demands.
    pub fn tick(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        let may_stand = self.may_stand();
        let fetch_timeout_ms = self.config.fetch_timeout_ms;
        if may_stand && matches!(&self.role, Role::Unattached { deadline, .. } if *deadline == NEVER) {
            // It was an observer until now.
            let patience = self.patience(now);
            if let Role::Unattached { deadline, .. } = &mut self.role {
                *deadline = patience;
            }
        }
        match &mut self.role {
            Role::Unattached { deadline, .. } if may_stand && now >= *deadline => self.become_prospective(now, fx),
            // Only in an epoch in which it did not lead may it vote again.
            Role::Resigned(resigned) if now >= resigned.deadline => {
                self.become_unattached(LeaderEpoch(self.epoch.0 + 1), None, now, fx);
            }
            Role::Resigned(_) => self.send_farewells(now, fx),
            Role::Prospective { election, .. } if now >= election.deadline => self.lose_pre_vote(now, fx),
            Role::Candidate { election } if now >= election.deadline => {
                if may_stand {
                    self.become_prospective(now, fx);
                } else {
                    self.become_unattached(self.epoch, None, now, fx);
                }
            }
            Role::Prospective { .. } | Role::Candidate { .. } => self.send_votes(now, fx),
            Role::Follower(following) if now >= following.fetch_deadline => {
                if may_stand {
                    self.become_prospective(now, fx);
                } else {
                    // An observer keeps what it knows and looks for the leader among all it can reach.
                    following.asks_others = true;
                    following.fetching_snapshot = None;
                    // It knows no more than others that the leader lives: one that wins over the others may have its
                    // pre-vote, which it needs if this member is a voter that does not know it yet. (Kafka's refuses.)
                    following.has_fetched = false;
                    following.fetch_deadline = Timestamp(now.0 + fetch_timeout_ms);
                }
            }
            Role::Follower(following) if now >= following.update_voter_at => {
                following.update_voter_at = Timestamp(now.0 + fetch_timeout_ms);
                self.tell_leader(fx);
            }
            Role::Leader(_) => self.tick_leader(now, fx),
            Role::Unattached { .. } | Role::Follower(_) => {}
        }
    }

    pub(super) fn tick_leader(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        self.expire_voter_changes(now, fx);
        let every = self.config.fetch_timeout_ms / 2;
        let (local, epoch) = (self.config.local.id, self.epoch);
        let Role::Leader(state) = &mut self.role else {
            return;
        };
        let alone = state.voters.len() == 1 && state.voters.contains_key(&local);
        if !alone && now >= state.check_quorum_deadline && !self.planted.is(Plant::NoCheckQuorum) {
            return self.resign(now, fx);
        }
        if now >= state.next_begin_epoch {
            state.next_begin_epoch = Timestamp(now.0 + every.max(1));
            for id in state.silent_voters(every, now) {
                let Some(voter) = self.kraft.current().voters.get(id) else {
                    continue;
                };
                let endpoints = self.own_endpoints().to_vec();
                fx.push(Effect::Send {
                    to: Destination::Node { id, endpoints: voter.endpoints.clone() },
                    request: Outbound::BeginQuorumEpoch { voter: voter.key, leader: local, epoch, endpoints },
                });
            }
        }
    }

    /// Tells voters that have not confirmed that this member no longer leads.
    pub(super) fn send_farewells(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        let again = Timestamp(now.0 + self.config.request_timeout_ms.max(1));
        let Role::Resigned(resigned) = &mut self.role else {
            return;
        };
        let voters = &self.kraft.current().voters;
        for (id, tell_at) in resigned.unacknowledged.iter_mut().filter(|(_, tell_at)| **tell_at <= now) {
            *tell_at = again;
            let endpoints = voters.get(*id).map(|voter| voter.endpoints.clone()).unwrap_or_default();
            let request = Outbound::EndQuorumEpoch {
                leader: self.config.local.id,
                epoch: self.epoch,
                preferred: resigned.preferred.clone(),
                endpoints: self.config.endpoints.clone(),
            };
            fx.push(Effect::Send { to: Destination::Node { id: *id, endpoints }, request });
        }
    }

    /// A random time between one and two election timeouts away.
    pub(super) fn election_deadline(&mut self, now: Timestamp) -> Timestamp {
        let timeout = self.config.election_timeout_ms.max(1);
        Timestamp(now.0 + timeout + self.random_below(timeout))
    }

    /// A number from a private xorshift sequence: the same seed gives the same run.
    pub(super) fn random_below(&mut self, bound: i64) -> i64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        i64::try_from(self.random % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}
