//! Elections: those an administrator asks for (ElectLeaders, KIP-183, KIP-460) and those that time asks for: preferred
//! leaders (`auto.leader.rebalance.enable`) and unclean ones (`QuorumController.maybeBalancePartitionLeaders`,
//! `maybeElectUncleanLeaders`).

use std::time::Duration;

use milena_metadata::config::BROKER_CONFIGS;
use milena_metadata::{Topic, VersionedRecord};
use milena_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use milena_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use milena_types::{BrokerId, ErrorCode, PartitionIndex};

use crate::controller::ControllerSettings;
use crate::partition_change::Election;
use crate::{ApiError, Controller, Decision};

/// `ElectionType` on the wire.
const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

/// When the next rounds of elections are due. Soft state of the active controller.
#[derive(Clone, Debug)]
pub(crate) struct ElectionRounds {
    preferred: Round,
    unclean: Round,
}

#[derive(Clone, Debug)]
struct Round {
    /// `None` if there are none.
    every: Option<Duration>,
    next: Duration,
}

impl Round {
    fn is_due(&self, now: Duration) -> bool {
        self.every.is_some() && self.next <= now
    }

    fn done(&mut self, now: Duration, more: bool) {
        self.next = if more { now } else { now + self.every.unwrap_or_default() };
    }
}

impl ElectionRounds {
    /// Rounds that begin an interval after `now`.
    pub(crate) fn new(settings: &ControllerSettings, now: Duration) -> ElectionRounds {
        let value = |name: &str| {
            let key = BROKER_CONFIGS.find(name)?;
            let set = settings.static_configs.get(name).and_then(|text| key.parse(text).ok());
            set.or_else(|| key.parse_default().ok().flatten())
        };
        let number =
            |name: &str| value(name).and_then(|value| value.as_i64()).and_then(|value| u64::try_from(value).ok());
        let balances = value("auto.leader.rebalance.enable").and_then(|value| value.as_bool()).unwrap_or(true);
        let preferred = number("leader.imbalance.check.interval.seconds").map(Duration::from_secs);
        let unclean = number("unclean.leader.election.interval.ms").map(Duration::from_millis);
        let round = |every: Option<Duration>| Round { every, next: now + every.unwrap_or_default() };
        ElectionRounds { preferred: round(preferred.filter(|_| balances)), unclean: round(unclean) }
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        [&self.preferred, &self.unclean].into_iter().filter(|round| round.every.is_some()).map(|round| round.next).min()
    }
}

impl Controller {
    /// The elections that are due now. The host asks again, after it has appended the records, until nothing is due.
    #[must_use]
    pub fn decide_due_elections(&mut self, now: Duration) -> Option<Decision<()>> {
        let decision = if self.election_rounds.preferred.is_due(now) {
            let decision = self.decide_preferred_leaders();
            self.election_rounds.preferred.done(now, decision.response);
            decision
        } else if self.election_rounds.unclean.is_due(now) {
            let decision = self.decide_unclean_leaders();
            self.election_rounds.unclean.done(now, decision.response);
            decision
        } else {
            return None;
        };
        Some(Decision { records: decision.records, response: (), atomic: decision.atomic })
    }

    /// ElectLeaders as a broker forwards it.
    #[must_use]
    pub fn decide_elect_leaders(&self, request: &ElectLeadersRequest) -> Decision<ElectLeadersResponse> {
        let election = match request.election_type {
            PREFERRED => Election::Preferred,
            UNCLEAN => Election::Unclean,
            other => return refuse_type(request, other),
        };
        let mut records = Vec::new();
        let mut results = Vec::new();
        match &request.topic_partitions {
            None => {
                for topic in self.image.topics.iter() {
                    let each =
                        topic.iter().map(|(index, _)| (index, self.elect(Some(topic), &topic.name, index, election)));
                    // Partitions that have the wanted leader are left out where all were asked for.
                    let told = each.filter(|(_, outcome)| !is_not_needed(outcome));
                    results.push(result(&topic.name, told, &mut records));
                }
            }
            Some(asked) => {
                for asked in asked {
                    let topic = self.image.topics.named(&asked.topic).map(|topic| &**topic);
                    let each = asked.partitions.iter().map(|index| {
                        let index = PartitionIndex(*index);
                        (index, self.elect(topic, &asked.topic, index, election))
                    });
                    results.push(result(&asked.topic, each, &mut records));
                }
            }
        }
        let response = ElectLeadersResponse { replica_election_results: results, ..ElectLeadersResponse::default() };
        Decision::of(records, response)
    }

    fn elect(
        &self,
        topic: Option<&Topic>,
        name: &str,
        index: PartitionIndex,
        election: Election,
    ) -> Result<VersionedRecord, ApiError> {
        let unknown = |why: String| ApiError::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, why);
        let topic = topic.ok_or_else(|| unknown(format!("No such topic as {name}")))?;
        let partition =
            topic.partition(index).ok_or_else(|| unknown(format!("No such partition as {name}-{index}")))?;
        let is_preferred = election == Election::Preferred;
        let is_done = if is_preferred { partition.has_preferred_leader() } else { partition.leader != BrokerId::NONE };
        if is_done {
            let why = "Leader election not needed for topic partition.";
            return Err(ApiError::new(ErrorCode::ELECTION_NOT_NEEDED, why));
        }
        let change = self.change_of(topic, index, partition, |change| change.election = election);
        change.ok_or_else(|| {
            if is_preferred {
                ApiError::new(ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE, "The preferred leader was not available.")
            } else {
                let why = "Eligible topic partition leaders are not available.";
                ApiError::new(ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE, why)
            }
        })
    }
}

type Outcome = Result<VersionedRecord, ApiError>;

fn is_not_needed(outcome: &Outcome) -> bool {
    outcome.as_ref().is_err_and(|error| error.error == ErrorCode::ELECTION_NOT_NEEDED)
}

fn result(
    topic: &str,
    outcomes: impl Iterator<Item = (PartitionIndex, Outcome)>,
    records: &mut Vec<VersionedRecord>,
) -> ReplicaElectionResult {
    let one = |(index, outcome): (PartitionIndex, Outcome)| {
        let mut told = PartitionResult { partition_id: index.0, error_message: None, ..PartitionResult::default() };
        match outcome {
            Ok(record) => records.push(record),
            Err(error) => {
                told.error_code = error.error.0;
                told.error_message = error.text();
            }
        }
        told
    };
    let partition_result = outcomes.map(one).collect();
    ReplicaElectionResult { topic: topic.into(), partition_result, ..ReplicaElectionResult::default() }
}

fn refuse_type(request: &ElectLeadersRequest, election_type: i8) -> Decision<ElectLeadersResponse> {
    let error = ApiError::new(ErrorCode::INVALID_REQUEST, format!("Unknown election type {election_type}"));
    let mut results = Vec::new();
    for asked in request.topic_partitions.iter().flatten() {
        let each = asked.partitions.iter().map(|index| (PartitionIndex(*index), Err(error.clone())));
        results.push(result(&asked.topic, each, &mut Vec::new()));
    }
    let error_code = error.error.0;
    let response = ElectLeadersResponse { error_code, replica_election_results: results, ..Default::default() };
    Decision::of(Vec::new(), response)
}

#[cfg(test)]
#[path = "elect_leaders_tests.rs"]
mod tests;
