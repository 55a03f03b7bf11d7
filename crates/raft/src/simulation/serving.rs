//! The host's answers: requests of other members go to the core, and leave once their effects are performed.

use milena_types::{ErrorCode, Offset, Timestamp};

use super::disk::Disk;
use super::message::{Body, Message, endpoint};
use super::world::{Bug, Parked, World};
use crate::effect::{Effect, Outbound};
use crate::identity::LeaderAndEpoch;
use crate::quorum::Quorum;
use crate::replies::{
    AddVoterAsk, BeginEpochAsk, EndEpochAsk, FetchAnswer, FetchAsk, FetchVerdict, LeaderNews, PlainRequest,
    SnapshotAsk, Ticket, UpdateVoterAsk, VoteAsk,
};

/// How many records one fetch brings at most.
const FETCH_RECORDS: i64 = 7;

impl World {
    pub(super) fn serve(&mut self, at: usize, from: i32, correlation: u64, request: Outbound) {
        match request {
            Outbound::Fetch(fetch) => {
                let (replica, epoch, from_place) = (fetch.replica, fetch.epoch, fetch.from);
                let ask = FetchAsk { replica, epoch, from: from_place, high_watermark: fetch.high_watermark };
                let until = self.now + i64::from(fetch.max_wait_ms);
                let mut fx = Vec::new();
                self.answer_fetch(at, Parked { from, correlation, fetch, ask, until }, true, &mut fx);
                self.settle(at, fx);
            }
            Outbound::FetchSnapshot(asked) => {
                let now = self.now;
                let heard = self.nodes.get_mut(at).and_then(|node| node.heard.get_mut(&asked.replica.id.0));
                heard.into_iter().for_each(|at| *at = now);
                let ask = SnapshotAsk { replica: asked.replica, epoch: asked.epoch, snapshot: asked.snapshot };
                self.respond(at, from, move |quorum, disk, now, _| {
                    let outcome = quorum.handle_fetch_snapshot(&ask, now);
                    let found = disk.snapshots.iter().find(|snapshot| snapshot.id == ask.snapshot).cloned();
                    let snapshot = found.filter(|_| outcome.is_ok());
                    let error = outcome.err().unwrap_or_default();
                    Some(Body::Snapshot { asked, error, news: news(quorum), snapshot })
                });
            }
            Outbound::Vote(vote) => self.respond(at, from, move |quorum, _, now, fx| {
                let (candidate, epoch, last, pre_vote) = (vote.candidate, vote.epoch, vote.last, vote.pre_vote);
                let ask = VoteAsk { voter: Some(vote.voter), candidate, epoch, last, pre_vote };
                let reply = quorum.handle_vote(&ask, now, fx);
                Some(Body::Vote { pre_vote, reply, endpoints: news(quorum).endpoints })
            }),
            Outbound::BeginQuorumEpoch { voter, leader, epoch, endpoints } => {
                self.respond(at, from, move |quorum, _, now, fx| {
                    let ask = BeginEpochAsk { voter: Some(voter), leader, epoch, endpoints };
                    let outcome = quorum.handle_begin_epoch(&ask, now, fx);
                    Some(plain(PlainRequest::BeginQuorumEpoch, outcome, quorum))
                });
            }
            Outbound::EndQuorumEpoch { leader, epoch, preferred, endpoints } => {
                self.respond(at, from, move |quorum, _, now, fx| {
                    let outcome =
                        quorum.handle_end_epoch(&EndEpochAsk { leader, epoch, preferred, endpoints }, now, fx);
                    Some(plain(PlainRequest::EndQuorumEpoch, outcome, quorum))
                });
            }
            Outbound::ApiVersions { .. } => self.respond(at, from, |_, _, _, _| Some(Body::ApiVersions)),
            Outbound::UpdateRaftVoter { voter, epoch } => self.respond(at, from, move |quorum, _, now, fx| {
                let outcome = quorum.handle_update_voter(UpdateVoterAsk { voter, epoch }, now, fx);
                Some(plain(PlainRequest::UpdateRaftVoter, outcome, quorum))
            }),
            Outbound::AddRaftVoter { voter } => self.respond(at, from, move |quorum, _, now, fx| {
                let ask = AddVoterAsk { voter: voter.key, endpoints: voter.endpoints, ack_when_committed: false };
                quorum.handle_add_voter(ask, Ticket(correlation), now, fx);
                None
            }),
            Outbound::RemoveRaftVoter { voter } => self.respond(at, from, move |quorum, _, now, fx| {
                quorum.handle_remove_voter(voter, Ticket(correlation), now, fx);
                None
            }),
        }
    }

    /// Answers once the effects of the request are performed.
    fn respond(
        &mut self,
        at: usize,
        to: i32,
        act: impl FnOnce(&mut Quorum, &Disk, Timestamp, &mut Vec<Effect>) -> Option<Body>,
    ) {
        let now = self.now;
        let mut fx = Vec::new();
        let Some(node) = self.nodes.get_mut(at) else { return };
        let (local, from) = (node.local(now), node.id);
        let body = node.quorum.as_mut().and_then(|quorum| act(quorum, &node.disk, local, &mut fx));
        let message = body.map(|body| Message { from, to, body });
        if self.has(Bug::AnswerBeforeEffects) {
            message.map(|message| self.transmit(message));
            self.settle(at, fx);
        } else if self.settle(at, fx) {
            message.map(|message| self.transmit(message));
        }
    }

    /// Answers a fetch or lets it wait for news.
    pub(super) fn answer_fetch(&mut self, at: usize, parked: Parked, may_wait: bool, fx: &mut Vec<Effect>) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(at) else { return };
        let local = node.local(now);
        let Some(quorum) = &mut node.quorum else { return };
        let verdict = quorum.handle_fetch(&parked.ask, local, fx);
        if quorum.is_leader() && quorum.kraft().voters.contains(&parked.ask.replica) {
            node.heard.insert(parked.ask.replica.id.0, now);
        }
        let mut answer = FetchAnswer {
            error: ErrorCode::NONE,
            leader: quorum.leader_and_epoch(),
            high_watermark: quorum.high_watermark().unwrap_or(Offset::NONE),
            diverging: None,
            snapshot: None,
            has_records: false,
        };
        let mut entries = Vec::new();
        match verdict {
            FetchVerdict::Error(error) => answer.error = error,
            FetchVerdict::Diverging(to) => answer.diverging = Some(to),
            FetchVerdict::Snapshot(id) => answer.snapshot = Some(id),
            FetchVerdict::Read { end, high_watermark } => {
                let first = parked.ask.from.offset.0;
                entries = node.disk.read(first, end.0.min(first + FETCH_RECORDS));
                answer.has_records = !entries.is_empty();
                let no_news = entries.is_empty() && high_watermark <= parked.ask.high_watermark;
                if no_news && may_wait && parked.until > now {
                    node.parked.push(parked);
                    return;
                }
            }
        }
        let endpoints = news(quorum).endpoints;
        let (correlation, asked, from) = (parked.correlation, parked.fetch, node.id);
        let body = Body::Fetch { correlation, asked, answer, endpoints, entries };
        self.transmit(Message { from, to: parked.from, body });
    }

    /// Fetches whose time is over are answered with what there is.
    pub(super) fn expire_parked(&mut self) {
        for at in 0..self.nodes.len() {
            let now = self.now;
            let Some(node) = self.nodes.get_mut(at).filter(|node| node.busy_until <= now) else { continue };
            let (expired, waiting): (Vec<_>, Vec<_>) =
                std::mem::take(&mut node.parked).into_iter().partition(|parked| parked.until <= now);
            node.parked = waiting;
            let mut fx = Vec::new();
            for parked in expired {
                self.answer_fetch(at, parked, false, &mut fx);
            }
            self.settle(at, fx);
        }
    }
}

fn news(quorum: &Quorum) -> LeaderNews {
    let leader: LeaderAndEpoch = quorum.leader_and_epoch();
    LeaderNews { leader, endpoints: leader.leader.map(|id| endpoint(id.0)).into_iter().collect() }
}

fn plain(kind: PlainRequest, outcome: Result<(), ErrorCode>, quorum: &Quorum) -> Body {
    Body::Plain { kind, error: outcome.err().unwrap_or_default(), news: news(quorum) }
}
