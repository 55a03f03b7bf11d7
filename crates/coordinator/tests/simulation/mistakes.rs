//! Mistakes that are planted to see that they are found: the real machine, with one thing wrong. What is planted is a
//! setting of the thread, since states are made by `Default`.

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use milena_coordinator::group::{
    After, GroupConfig, GroupDecision, GroupEvent, GroupMachine, GroupRecord, GroupReply, GroupRequest, Groups,
};
use milena_coordinator::runtime::{Decision, Machine, RecordPlace, Replicated, Ticket};
use milena_metadata::Image;
use milena_protocol::DecodeError;
use milena_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use milena_protocol::messages::{OffsetCommitKey, OffsetCommitRequest, OffsetCommitResponse, OffsetCommitValue};
use milena_types::{ErrorCode, ProducerId, Timestamp};

/// What can be wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mistake {
    /// Answers do not wait for their records.
    AnswersBeforeCommitted,
    /// The classic assignment is handed out before it is committed.
    SyncsBeforeCommitted,
    /// What could not be appended stays decided.
    KeepsWhatFailed,
    /// Anybody may commit offsets.
    FencesNobody,
    /// Partitions count as revoked before the member says so.
    RevokesByItself,
    /// Nobody is expected after loading.
    ForgetsTimersOnLoad,
    /// Whoever could not be put out because nothing could be written is forgotten.
    ForgetsTimersOnFailure,
    /// Sessions do not end.
    SessionsNeverEnd,
    /// Tombstones are not read.
    IgnoresTombstones,
    /// Offsets are told that are not committed.
    ReadsUncommitted,
    /// The high watermark is taken to be the end of the log.
    CommitsOnAppend,
    /// A leader that has lost the partition takes its own log for the partition's.
    DeposedCommits,
    /// Every heartbeat of a member is answered twice.
    AnswersTwice,
}

impl Mistake {
    pub(crate) const ALL: [Mistake; 13] = [
        Mistake::AnswersBeforeCommitted,
        Mistake::SyncsBeforeCommitted,
        Mistake::KeepsWhatFailed,
        Mistake::FencesNobody,
        Mistake::RevokesByItself,
        Mistake::ForgetsTimersOnLoad,
        Mistake::ForgetsTimersOnFailure,
        Mistake::SessionsNeverEnd,
        Mistake::IgnoresTombstones,
        Mistake::ReadsUncommitted,
        Mistake::CommitsOnAppend,
        Mistake::DeposedCommits,
        Mistake::AnswersTwice,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Mistake>> = const { Cell::new(None) };
}

/// From now on this is wrong on this thread.
pub(crate) fn plant(mistake: Option<Mistake>) {
    PLANTED.set(mistake);
}

pub(crate) fn is_planted(mistake: Mistake) -> bool {
    PLANTED.get() == Some(mistake)
}

/// `Groups`, perhaps with a mistake.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlantedGroups(pub(crate) Groups);

impl Replicated for PlantedGroups {
    type Record = GroupRecord;

    fn replay(&mut self, place: RecordPlace, record: &GroupRecord) {
        self.0.replay(place, record);
    }

    fn replay_end_of_transaction(&mut self, producer_id: ProducerId, is_committed: bool) {
        self.0.replay_end_of_transaction(producer_id, is_committed);
    }

    fn begin(&mut self, round: u64) {
        self.0.begin(round);
    }

    fn commit(&mut self, round: u64) {
        self.0.commit(round);
    }

    fn revert(&mut self, round: u64) {
        if is_planted(Mistake::KeepsWhatFailed) {
            return self.0.commit(u64::MAX);
        }
        self.0.revert(round);
    }
}

/// `GroupMachine`, perhaps with a mistake.
#[derive(Debug)]
pub(crate) struct Planted(GroupMachine);

impl Planted {
    pub(crate) fn new(config: Arc<GroupConfig>, image: Arc<Image>, seed: u64) -> Planted {
        Planted(GroupMachine::new(config, image, seed))
    }

    fn spoil(&mut self, state: &PlantedGroups, mut decision: GroupDecision, now: Timestamp) -> GroupDecision {
        if is_planted(Mistake::AnswersBeforeCommitted) {
            decision.at_once.append(&mut decision.replies);
        }
        if is_planted(Mistake::SyncsBeforeCommitted) {
            for after in std::mem::take(&mut decision.after) {
                let more = self.0.after(&state.0, after, Ok(()), now);
                decision.extend(more);
            }
        }
        decision
    }
}

impl Machine for Planted {
    type State = PlantedGroups;
    type Event = GroupEvent;
    type Reply = GroupReply;
    type After = After;

    fn encode(record: &GroupRecord) -> (Bytes, Option<Bytes>) {
        GroupMachine::encode(record)
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<GroupRecord>, DecodeError> {
        if value.is_none() && is_planted(Mistake::IgnoresTombstones) {
            return Ok(None);
        }
        GroupMachine::decode(key, value)
    }

    fn loaded(&mut self, state: &PlantedGroups, now: Timestamp) -> GroupDecision {
        if is_planted(Mistake::ForgetsTimersOnLoad) {
            return GroupDecision::default();
        }
        self.0.loaded(&state.0, now)
    }

    fn decide(&mut self, state: &PlantedGroups, mut event: GroupEvent, now: Timestamp) -> GroupDecision {
        let mut commit = None;
        if let GroupEvent::Request { ticket, request, .. } = &mut event {
            match request {
                GroupRequest::OffsetCommit(request) if is_planted(Mistake::FencesNobody) => {
                    commit = Some((*ticket, request.clone()));
                }
                GroupRequest::ConsumerGroupHeartbeat(request)
                    if is_planted(Mistake::RevokesByItself) && request.member_epoch > 0 =>
                {
                    request.topic_partitions = Some(Vec::new());
                }
                GroupRequest::OffsetFetch { group, .. } if is_planted(Mistake::ReadsUncommitted) => {
                    *request = GroupRequest::OffsetFetch { group: group.clone(), require_stable: true };
                }
                _ => {}
            }
        }
        let is_fetch = matches!(&event, GroupEvent::Request { request: GroupRequest::OffsetFetch { .. }, .. });
        let mut decision = self.0.decide(&state.0, event, now);
        if is_fetch && is_planted(Mistake::ReadsUncommitted) {
            decision.at_once.append(&mut decision.replies);
        }
        if is_planted(Mistake::AnswersTwice) {
            let beat = |(_, reply): &&(Ticket, GroupReply)| matches!(reply, GroupReply::Heartbeat(_));
            let again: Vec<(Ticket, GroupReply)> = decision.replies.iter().filter(beat).cloned().collect();
            decision.replies.extend(again);
        }
        match commit {
            Some((ticket, request)) => write_anyway(ticket, &request, now),
            None => self.spoil(state, decision, now),
        }
    }

    fn after(
        &mut self,
        state: &PlantedGroups,
        after: After,
        result: Result<(), ErrorCode>,
        now: Timestamp,
    ) -> GroupDecision {
        let decision = self.0.after(&state.0, after, result, now);
        self.spoil(state, decision, now)
    }

    fn reverted(&mut self, state: &PlantedGroups, now: Timestamp) {
        if !is_planted(Mistake::ForgetsTimersOnFailure) {
            self.0.reverted(&state.0, now);
        }
    }

    fn refused(event: GroupEvent, error: ErrorCode) -> Vec<(Ticket, GroupReply)> {
        GroupMachine::refused(event, error)
    }

    fn failed(reply: GroupReply, error: ErrorCode) -> GroupReply {
        GroupMachine::failed(reply, error)
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.0.next_deadline()
    }

    fn expire(&mut self, state: &PlantedGroups, now: Timestamp) -> Option<GroupDecision> {
        let decision = self.0.expire(&state.0, now)?;
        if is_planted(Mistake::SessionsNeverEnd) {
            return Some(GroupDecision::default());
        }
        Some(self.spoil(state, decision, now))
    }

    fn unloaded(&mut self, error: ErrorCode) -> Vec<(Ticket, GroupReply)> {
        self.0.unloaded(error)
    }
}

/// A commit that nobody looked at.
fn write_anyway(ticket: Ticket, request: &OffsetCommitRequest, now: Timestamp) -> GroupDecision {
    let mut records = Vec::new();
    let mut topics = Vec::new();
    for topic in &request.topics {
        let mut partitions = Vec::new();
        for partition in &topic.partitions {
            let key = OffsetCommitKey {
                group: request.group_id.clone(),
                topic: topic.name.clone(),
                partition: partition.partition_index,
            };
            let value = OffsetCommitValue {
                offset: partition.committed_offset,
                leader_epoch: -1,
                commit_timestamp: now.0,
                expire_timestamp: -1,
                topic_id: topic.topic_id,
                ..Default::default()
            };
            records.push(GroupRecord::OffsetCommit(key, Some(value)));
            partitions.push(OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                ..Default::default()
            });
        }
        topics.push(OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions,
            ..Default::default()
        });
    }
    let response = OffsetCommitResponse { topics, ..Default::default() };
    Decision::reply(ticket, GroupReply::OffsetCommit(Box::new(response)), records)
}
