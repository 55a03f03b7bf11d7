//! The messages of the exploration: small, ordered, without anything that does not matter there.

use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Timestamp, Uuid};

use super::message::endpoint;
use crate::effect::{Effect, FetchOut, Outbound, VoteOut};
use crate::identity::{LeaderAndEpoch, OffsetAndEpoch, ReplicaKey};
use crate::quorum::Quorum;
use crate::replies::{
    BeginEpochAsk, EndEpochAsk, LeaderNews, PlainAnswer, PlainRequest, VoteAnswer, VoteAsk, VoteReply,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Wire {
    Vote { from: i32, to: i32, epoch: i32, last: OffsetAndEpoch, pre: bool },
    VoteReply { from: i32, to: i32, pre: bool, leader: Option<i32>, epoch: i32, granted: bool },
    Begin { from: i32, to: i32, epoch: i32 },
    End { from: i32, to: i32, epoch: i32 },
    EndReply { from: i32, to: i32, leader: Option<i32>, epoch: i32 },
    Fetch { from: i32, to: i32, epoch: i32, at: OffsetAndEpoch },
    FetchReply { to: i32, asked: (i32, OffsetAndEpoch), reply: FetchReply },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FetchReply {
    pub(super) error: i16,
    pub(super) leader: Option<i32>,
    pub(super) epoch: i32,
    pub(super) high_watermark: i64,
    pub(super) diverging: Option<OffsetAndEpoch>,
    /// By epoch and value; a leader change is value 0.
    pub(super) entries: Vec<(i32, u64)>,
}

pub(super) fn key(id: i32) -> ReplicaKey {
    ReplicaKey { id: BrokerId(id), directory_id: Uuid::ZERO }
}

pub(super) fn news(leader: LeaderAndEpoch) -> LeaderNews {
    LeaderNews { leader, endpoints: leader.leader.map(|id| endpoint(id.0)).into_iter().collect() }
}

pub(super) fn said(quorum: &Quorum) -> (Option<i32>, i32) {
    let known = quorum.leader_and_epoch();
    (known.leader.map(|id| id.0), known.epoch.0)
}

pub(super) fn to_wire(from: i32, to: i32, request: &Outbound) -> Option<Wire> {
    Some(match request {
        Outbound::Vote(VoteOut { epoch, last, pre_vote, .. }) => {
            Wire::Vote { from, to, epoch: epoch.0, last: *last, pre: *pre_vote }
        }
        Outbound::BeginQuorumEpoch { epoch, .. } => Wire::Begin { from, to, epoch: epoch.0 },
        Outbound::EndQuorumEpoch { epoch, .. } => Wire::End { from, to, epoch: epoch.0 },
        Outbound::Fetch(FetchOut { epoch, from: at, .. }) => Wire::Fetch { from, to, epoch: epoch.0, at: *at },
        _ => return None,
    })
}

pub(super) fn handle(quorum: &mut Quorum, wire: Wire, fx: &mut Vec<Effect>) -> Option<Wire> {
    let now = Timestamp(0);
    let told = |leader: Option<i32>, epoch| LeaderAndEpoch { leader: leader.map(BrokerId), epoch: LeaderEpoch(epoch) };
    match wire {
        Wire::Vote { from, to, epoch, last, pre } => {
            let (voter, candidate, epoch) = (Some(key(to)), key(from), LeaderEpoch(epoch));
            let reply = quorum.handle_vote(&VoteAsk { voter, candidate, epoch, last, pre_vote: pre }, now, fx);
            let (leader, epoch) = said(quorum);
            // A refusal for an old epoch changes nothing anywhere but by its news.
            Some(Wire::VoteReply { from: to, to: from, pre, leader, epoch, granted: reply.granted })
        }
        Wire::VoteReply { from, pre, leader, epoch, granted, .. } => {
            let leader = told(leader, epoch);
            let reply = VoteReply { error: ErrorCode::NONE, leader, granted };
            let endpoints = news(leader).endpoints;
            let answer = VoteAnswer { from: BrokerId(from), pre_vote: pre, reply, endpoints };
            quorum.on_vote_answer(&answer, now, fx);
            None
        }
        Wire::Begin { from, to, epoch } => {
            let (leader, endpoints) = (BrokerId(from), vec![endpoint(from)]);
            let ask = BeginEpochAsk { voter: Some(key(to)), leader, epoch: LeaderEpoch(epoch), endpoints };
            quorum.handle_begin_epoch(&ask, now, fx).ok();
            None
        }
        Wire::End { from, to, epoch } => {
            let (leader, endpoints) = (BrokerId(from), vec![endpoint(from)]);
            let ask = EndEpochAsk { leader, epoch: LeaderEpoch(epoch), preferred: vec![], endpoints };
            quorum.handle_end_epoch(&ask, now, fx).ok();
            let (leader, epoch) = said(quorum);
            Some(Wire::EndReply { from: to, to: from, leader, epoch })
        }
        Wire::EndReply { from, leader, epoch, .. } => {
            let answer = PlainAnswer { from: BrokerId(from), error: ErrorCode::NONE, news: news(told(leader, epoch)) };
            quorum.on_plain_answer(PlainRequest::EndQuorumEpoch, &answer, now, fx);
            None
        }
        Wire::Fetch { .. } | Wire::FetchReply { .. } => None,
    }
}
