//! Changes of the voters at run time (KIP-853): the leader adds, removes and updates one voter at a time, each change
//! as a record that is in force once it is in the log and final once it is committed; members join by themselves.

use milena_types::{BrokerId, ErrorCode, Offset, Timestamp};

use super::Quorum;
use crate::accumulator::ControlRecord;
use crate::effect::{Destination, Effect, Outbound};
use crate::identity::ReplicaKey;
use crate::leader::{Adding, Removing};
use crate::planted::Plant;
use crate::replies::{AddVoterAsk, Ticket, UpdateVoterAsk};
use crate::role::Role;
use crate::voters::{Voter, VoterSet};

/// Why a change is refused: the code and what to say.
type Refusal = (ErrorCode, String);

impl Quorum {
    /// AddRaftVoter. The new voter is asked what it can do before its record is written.
    pub fn handle_add_voter(&mut self, ask: AddVoterAsk, ticket: Ticket, now: Timestamp, fx: &mut Vec<Effect>) {
        let AddVoterAsk { voter, endpoints, ack_when_committed } = ask;
        let checked = self.check_leader_request(self.epoch).map_err(|error| (error, String::new())).and_then(|()| {
            if !voter.id.is_some() || voter.directory_id.is_zero() || endpoints.is_empty() {
                let message = "Add voter request didn't include a valid voter";
                return Err((ErrorCode::INVALID_REQUEST, message.to_owned()));
            }
            self.may_change_voters("adding", now, fx)?;
            match self.voters().get(voter.id) {
                Some(_) => {
                    let message =
                        format!("The voter id for {voter} is already part of the set of voters {}.", self.voters());
                    Err((ErrorCode::DUPLICATE_VOTER, message))
                }
                None => Ok(()),
            }
        });
        if let Err((error, message)) = checked {
            return answer(ticket, error, &message, fx);
        }
        let deadline = Timestamp(now.0 + self.config.request_timeout_ms);
        if let Role::Leader(state) = &mut self.role {
            let to = Destination::Node { id: voter.id, endpoints: endpoints.clone() };
            let (offset, answered) = (None, false);
            state.adding = Some(Adding { ticket, voter, endpoints, ack_when_committed, deadline, offset, answered });
            fx.push(Effect::Send { to, request: Outbound::ApiVersions { voter } });
        }
    }

    /// What the voter to be added can do: its range of kraft.version, if it names one.
    pub fn on_api_versions_answer(
        &mut self,
        from: BrokerId,
        range: Result<Option<(i16, i16)>, ErrorCode>,
        now: Timestamp,
        fx: &mut Vec<Effect>,
    ) {
        let kraft = self.kraft.current().clone();
        let Role::Leader(state) = &mut self.role else {
            return;
        };
        let Some(adding) = state.adding.take_if(|adding| adding.voter.id == from && adding.offset.is_none()) else {
            return;
        };
        let level = kraft.kraft_version;
        let outcome = match range {
            Err(error) => {
                let name = error.name().unwrap_or_default();
                let message = format!("Aborted add voter operation for since API_VERSIONS returned an error {name}");
                Err((ErrorCode::REQUEST_TIMED_OUT, message))
            }
            Ok(Some((min, max))) if min <= level && max >= level => Ok((min, max)),
            Ok(range) => {
                let (min, max) = range.unwrap_or((0, 0));
                let message = format!(
                    "Aborted add voter operation for {} since the kraft.version range (min: {min}, max: {max} doesn't \
                     support the finalized version {level}",
                    adding.voter
                );
                Err((ErrorCode::INVALID_REQUEST, message))
            }
        };
        let outcome = outcome.and_then(|(kraft_version_min, kraft_version_max)| {
            if !state.is_caught_up(&adding.voter, now) {
                let message = format!("Aborted add voter operation for {} since it is lagging behind", adding.voter);
                return Err((ErrorCode::REQUEST_TIMED_OUT, message));
            }
            let (key, endpoints) = (adding.voter, adding.endpoints.clone());
            let voter = Voter { key, endpoints, kraft_version_min, kraft_version_max };
            kraft.voters.with(voter).ok_or((ErrorCode::DUPLICATE_VOTER, String::new()))
        });
        match outcome {
            Err((error, message)) => answer(adding.ticket, error, &message, fx),
            Ok(voters) => {
                let offset = Some(state.queue.push_control(vec![ControlRecord::KRaftVoters(voters)], now));
                let answered = !adding.ack_when_committed;
                if answered {
                    answer(adding.ticket, ErrorCode::NONE, "", fx);
                }
                state.adding = Some(Adding { offset, answered, ..adding });
                self.drain(fx);
            }
        }
    }

    /// RemoveRaftVoter. A leader may remove itself: it leads until that is committed.
    pub fn handle_remove_voter(&mut self, voter: ReplicaKey, ticket: Ticket, now: Timestamp, fx: &mut Vec<Effect>) {
        let checked = self.check_leader_request(self.epoch).map_err(|error| (error, String::new())).and_then(|()| {
            if !voter.id.is_some() || voter.directory_id.is_zero() {
                let message = "Remove voter request didn't include a valid voter";
                return Err((ErrorCode::INVALID_REQUEST, message.to_owned()));
            }
            self.may_change_voters("removing", now, fx)?;
            self.voters().without(&voter).ok_or_else(|| {
                let message = format!("Cannot remove voter {voter} from the set of voters {}", self.voters());
                (ErrorCode::VOTER_NOT_FOUND, message)
            })
        });
        match checked {
            Err((error, message)) => answer(ticket, error, &message, fx),
            Ok(voters) => {
                let deadline = Timestamp(now.0 + self.config.request_timeout_ms);
                if let Role::Leader(state) = &mut self.role {
                    let offset = state.queue.push_control(vec![ControlRecord::KRaftVoters(voters)], now);
                    state.removing = Some(Removing { ticket, offset, deadline });
                }
                self.drain(fx);
            }
        }
    }

    /// UpdateRaftVoter: answered at once, without waiting for the commit.
    ///
    /// # Errors
    /// The leader checks, `INVALID_REQUEST`, `REQUEST_TIMED_OUT`, `VOTER_NOT_FOUND`.
    pub fn handle_update_voter(
        &mut self,
        ask: UpdateVoterAsk,
        now: Timestamp,
        fx: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        self.check_leader_request(ask.epoch)?;
        let voter = ask.voter;
        let (min, max) = (voter.kraft_version_min, voter.kraft_version_max);
        let named = voter.key.id.is_some() && !voter.key.directory_id.is_zero();
        if !named || voter.endpoints.is_empty() || min < 0 || max < min {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let level = self.kraft.current().kraft_version;
        if level == 0 {
            return self.note_static_voter(voter);
        }
        self.may_change_voters("updating", now, fx).map_err(|(error, _)| error)?;
        if min > level || max < level {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let voters = self.voters().updated(voter).ok_or(ErrorCode::VOTER_NOT_FOUND)?;
        if let Role::Leader(state) = &mut self.role {
            state.queue.push_control(vec![ControlRecord::KRaftVoters(voters)], now);
        }
        self.drain(fx);
        Ok(())
    }

    /// While voters are static, what they tell is kept for the day kraft.version is raised.
    fn note_static_voter(&mut self, voter: Voter) -> Result<(), ErrorCode> {
        let Role::Leader(state) = &mut self.role else {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        };
        let Some(told) = &state.told_voters else {
            return Err(ErrorCode::REQUEST_TIMED_OUT);
        };
        state.told_voters = Some(told.updated_by_id(voter).ok_or(ErrorCode::VOTER_NOT_FOUND)?);
        Ok(())
    }

    /// Raises kraft.version to 1: from then on the voters are in the log. With `validate_only` nothing is written.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER`; `INVALID_UPDATE_VERSION` for a downgrade, while another upgrade is under way, or when a
    /// voter has not told its directory or cannot do the version.
    pub fn upgrade_kraft_version(
        &mut self,
        level: i16,
        validate_only: bool,
        now: Timestamp,
        fx: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        let kraft = self.kraft.current();
        let Role::Leader(state) = &mut self.role else {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        };
        if state.upgrade_pending == Some(level) || kraft.kraft_version == level {
            return Ok(());
        }
        let told = state.told_voters.as_ref().filter(|_| state.upgrade_pending.is_none());
        let able = |voters: &&VoterSet| {
            let mut voters = voters.voters().iter();
            voters.all(|voter| {
                !voter.key.directory_id.is_zero()
                    && (voter.kraft_version_min..=voter.kraft_version_max).contains(&level)
            })
        };
        let told = told.filter(able).filter(|_| level > kraft.kraft_version && level == 1);
        let voters = told.cloned().ok_or(ErrorCode::INVALID_UPDATE_VERSION)?;
        if !validate_only {
            state.upgrade_pending = Some(level);
            state.queue.push_control(vec![ControlRecord::KRaftVersion(level), ControlRecord::KRaftVoters(voters)], now);
            self.drain(fx);
        }
        Ok(())
    }

    /// Whether a change may begin: none is under way, this epoch and the last change are committed, and the voters are
    /// in the log at all.
    fn may_change_voters(&mut self, what: &str, now: Timestamp, fx: &mut Vec<Effect>) -> Result<(), Refusal> {
        self.expire_voter_changes(now, fx);
        let Role::Leader(state) = &self.role else {
            return Err((ErrorCode::NOT_LEADER_OR_FOLLOWER, String::new()));
        };
        let unchecked = self.planted.is(Plant::ChangeVotersUncommitted);
        if (state.adding.is_some() || state.removing.is_some()) && !unchecked {
            let message = "Request timed out waiting for leader to handle previous voter change request";
            return Err((ErrorCode::REQUEST_TIMED_OUT, message.to_owned()));
        }
        let kraft = self.kraft.current();
        let high_watermark = match state.high_watermark {
            Some(high_watermark) => high_watermark,
            None if unchecked => Offset(0),
            None => {
                let message = "Request timed out waiting for leader to establish HWM and fence previous voter changes";
                return Err((ErrorCode::REQUEST_TIMED_OUT, message.to_owned()));
            }
        };
        if kraft.kraft_version < 1 {
            let level = kraft.kraft_version;
            let message = format!("Cluster doesn't support {what} voter because the kraft.version feature is {level}");
            return Err((ErrorCode::UNSUPPORTED_VERSION, message));
        }
        if let Some(offset) = kraft.voters_offset.filter(|offset| *offset >= high_watermark && !unchecked) {
            let message = format!(
                "Request timed out waiting for voters to commit the latest voter change at Optional[{offset}] with HWM \
                 {high_watermark}"
            );
            return Err((ErrorCode::REQUEST_TIMED_OUT, message));
        }
        Ok(())
    }

    /// Answers what is committed now; a leader that is no voter any more resigns.
    pub(super) fn finish_voter_changes(&mut self, committed: Offset, now: Timestamp, fx: &mut Vec<Effect>) {
        let Role::Leader(state) = &mut self.role else {
            return;
        };
        if let Some(added) = state.adding.take_if(|adding| adding.offset.is_some_and(|offset| offset < committed))
            && !added.answered
        {
            answer(added.ticket, ErrorCode::NONE, "", fx);
        }
        if let Some(removed) = state.removing.take_if(|removing| removing.offset < committed) {
            answer(removed.ticket, ErrorCode::NONE, "", fx);
        }
        let kraft = self.kraft.current();
        let settled = kraft.voters_offset.is_some_and(|offset| offset < committed);
        if settled && !kraft.voters.contains(&self.config.local) {
            self.resign(now, fx);
        }
    }

    pub(super) fn expire_voter_changes(&mut self, now: Timestamp, fx: &mut Vec<Effect>) {
        let Role::Leader(state) = &mut self.role else {
            return;
        };
        if let Some(adding) = state.adding.take_if(|adding| adding.deadline <= now)
            && !adding.answered
        {
            answer(adding.ticket, ErrorCode::REQUEST_TIMED_OUT, "", fx);
        }
        if let Some(removing) = state.removing.take_if(|removing| removing.deadline <= now) {
            answer(removing.ticket, ErrorCode::REQUEST_TIMED_OUT, "", fx);
        }
    }

    /// Tells the leader what it must know of this member: where it listens, or that it wants to be a voter.
    pub(super) fn tell_leader(&self, fx: &mut Vec<Effect>) {
        let (kraft, own) = (self.kraft.current(), self.local_voter());
        let Role::Follower(following) = &self.role else {
            return;
        };
        if own.endpoints.is_empty() || !self.config.can_vote {
            return;
        }
        let dynamic = kraft.kraft_version > 0;
        let request = if self.is_voter() {
            let news = if dynamic { kraft.voters.needs_update(&own) } else { !following.has_updated_leader };
            news.then_some(Outbound::UpdateRaftVoter { voter: own, epoch: self.epoch })
        } else if dynamic && self.config.auto_join {
            Some(match kraft.voters.get(own.key.id) {
                Some(former) => Outbound::RemoveRaftVoter { voter: former.key },
                None => Outbound::AddRaftVoter { voter: own },
            })
        } else {
            None
        };
        let to = Destination::Node { id: following.leader, endpoints: following.endpoints.clone() };
        fx.extend(request.map(|request| Effect::Send { to, request }));
    }
}

fn answer(ticket: Ticket, error: ErrorCode, message: &str, fx: &mut Vec<Effect>) {
    let message = (!message.is_empty()).then(|| message.to_owned());
    fx.push(Effect::AnswerVoterChange { ticket, error, message });
}
