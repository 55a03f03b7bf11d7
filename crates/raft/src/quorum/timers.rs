//! Time: when the quorum wants to be called again and what it does then.

use milena_types::Timestamp;

use super::Quorum;
use crate::effect::{Destination, Effect, Outbound};
use crate::role::Role;

impl Quorum {
    /// When `tick` must be called at the latest; `None` if only a message can change anything.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let elects = self.is_voter();
        match &self.role {
            Role::Unattached { deadline } | Role::Resigned { deadline } => elects.then_some(*deadline),
            Role::Prospective { election } | Role::Candidate { election } => Some(election.deadline),
            Role::Follower(following) => Some(following.fetch_deadline),
            Role::Leader(state) if state.voters.len() > 1 => {
                let begin = (!state.unacknowledged.is_empty()).then_some(state.next_begin_epoch);
                Some(begin.map_or(state.check_quorum_deadline, |begin| begin.min(state.check_quorum_deadline)))
            }
            Role::Leader(_) => None,
        }
    }

    /// Does what time demands.
    pub fn tick(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        let is_voter = self.is_voter();
        match &self.role {
            Role::Unattached { deadline } if is_voter && now >= *deadline => self.start_election(now, fx),
            Role::Resigned { deadline } if is_voter && now >= *deadline => {
                self.become_unattached(self.epoch, now, fx);
            }
            Role::Prospective { election } | Role::Candidate { election } if now >= election.deadline => {
                self.start_election(now, fx);
            }
            Role::Follower(following) if now >= following.fetch_deadline => {
                if is_voter {
                    self.start_election(now, fx);
                } else {
                    // An observer keeps what it knows and looks for the leader among all it can reach.
                    self.become_unattached(self.epoch, now, fx);
                }
            }
            Role::Leader(_) => self.tick_leader(now, fx),
            _ => {}
        }
    }

    fn tick_leader(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        let within = self.check_quorum_ms();
        let (retry, local, epoch) = (self.config.election_timeout_ms / 2, self.config.local.id, self.epoch);
        let Role::Leader(state) = &mut self.role else {
            return;
        };
        if state.voters.len() > 1 && now >= state.check_quorum_deadline {
            if !state.has_quorum(within, now) {
                return self.resign(now, fx);
            }
            state.check_quorum_deadline = Timestamp(now.0 + within);
        }
        if !state.unacknowledged.is_empty() && now >= state.next_begin_epoch {
            state.next_begin_epoch = Timestamp(now.0 + retry);
            for voter in self.kraft.voters.voters().iter().filter(|voter| state.unacknowledged.contains(&voter.key.id))
            {
                fx.push(Effect::Send {
                    to: Destination::Node { id: voter.key.id, endpoints: voter.endpoints.clone() },
                    request: Outbound::BeginQuorumEpoch { voter: voter.key, leader: local, epoch },
                });
            }
        }
    }

    /// Gives up leadership and tells the other voters, the most caught up first.
    pub fn resign(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        let Role::Leader(state) = &self.role else {
            return;
        };
        let mut others: Vec<_> = state.voters.values().filter(|voter| voter.key.id != self.config.local.id).collect();
        others.sort_by_key(|voter| std::cmp::Reverse(voter.end_offset));
        let preferred: Vec<_> = others.iter().map(|voter| voter.key).collect();
        for voter in self.kraft.voters.voters().iter().filter(|voter| voter.key.id != self.config.local.id) {
            let request = Outbound::EndQuorumEpoch {
                leader: self.config.local.id,
                epoch: self.epoch,
                preferred: preferred.clone(),
            };
            fx.push(Effect::Send {
                to: Destination::Node { id: voter.key.id, endpoints: voter.endpoints.clone() },
                request,
            });
        }
        let deadline = self.election_deadline(now);
        self.role = Role::Resigned { deadline };
        fx.push(Effect::LeaderChanged { leader: self.leader_and_epoch(), start_offset: None });
        fx.push(Effect::WakeFetches);
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
