//! Answers for other members of the quorum: observers' and voters' fetches, snapshots, votes.

use milena_protocol::Records;
use milena_protocol::messages::{
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, EndQuorumEpochRequest, EndQuorumEpochResponse, FetchRequest,
    FetchResponse, FetchSnapshotRequest, FetchSnapshotResponse, VoteRequest, VoteResponse,
};
use milena_raft::{FetchAsk, FetchVerdict, OffsetAndEpoch};
use milena_storage::disk::Disk;
use milena_types::{ErrorCode, Offset, Timestamp};

use super::MetadataLoop;
use crate::hosts::description;
use crate::hosts::raft_requests::{RaftDone, RaftRequest, RaftResponse};
use crate::hosts::raft_wire::{
    LeaderView, begin_epoch_ask, begin_epoch_response, end_epoch_ask, end_epoch_response, fetch_ask, fetch_response,
    is_other_cluster, snapshot_ask, snapshot_response, vote_ask, vote_response,
};

/// The largest piece of the log in one answer, but for a batch that is larger (`KafkaRaftClient.MAX_BATCH_SIZE_BYTES`).
const READ_MAX_BYTES: u32 = 8 * 1024 * 1024;

/// A fetch that waits for news.
pub(super) struct ParkedFetch {
    ask: FetchAsk,
    max_bytes: u32,
    listener: String,
    pub(super) deadline: Timestamp,
    done: RaftDone,
}

impl<D: Disk> MetadataLoop<D> {
    pub(super) fn handle_raft(&mut self, request: RaftRequest, listener: String, done: RaftDone) {
        match request {
            RaftRequest::Fetch(request) => self.handle_fetch(&request, listener, done),
            RaftRequest::FetchSnapshot(request) => {
                done(RaftResponse::FetchSnapshot(self.handle_fetch_snapshot(&request, &listener)));
            }
            RaftRequest::Vote(request) => {
                let response = self.handle_vote(&request, &listener);
                self.answers_when_settled.push((done, RaftResponse::Vote(response)));
            }
            RaftRequest::BeginQuorumEpoch(request) => {
                let response = self.handle_begin_epoch(&request, &listener);
                self.answers_when_settled.push((done, RaftResponse::BeginQuorumEpoch(response)));
            }
            RaftRequest::EndQuorumEpoch(request) => {
                let response = self.handle_end_epoch(&request, &listener);
                self.answers_when_settled.push((done, RaftResponse::EndQuorumEpoch(response)));
            }
            RaftRequest::UpdateRaftVoter(request) => {
                let response = self.update_voter(&request, &listener);
                self.answers_when_settled.push((done, RaftResponse::UpdateRaftVoter(response)));
            }
            RaftRequest::DescribeCluster(request) => {
                let leader = self.quorum.leader_and_epoch().leader;
                let response = description::controllers(&request, &self.published, &self.cluster_id, leader, &listener);
                done(RaftResponse::DescribeCluster(response));
            }
        }
    }

    /// Sends the answers of which `quorum-state` had to be on disk first: INV-15.
    pub(super) fn send_answers(&mut self) {
        for (done, response) in std::mem::take(&mut self.answers_when_settled) {
            done(response);
        }
    }

    fn handle_vote(&mut self, request: &VoteRequest, listener: &str) -> VoteResponse {
        let refuse = |error: ErrorCode| VoteResponse { error_code: error.0, ..VoteResponse::default() };
        if is_other_cluster(request.cluster_id.as_ref(), &self.cluster_id) {
            return refuse(ErrorCode::INCONSISTENT_CLUSTER_ID);
        }
        let Some(ask) = vote_ask(request) else {
            return refuse(ErrorCode::INVALID_REQUEST);
        };
        let reply = self.quorum.handle_vote(&ask, self.clock.steady(), &mut self.fx);
        vote_response(&reply, &self.view(listener))
    }

    fn handle_begin_epoch(&mut self, request: &BeginQuorumEpochRequest, listener: &str) -> BeginQuorumEpochResponse {
        let refuse =
            |error: ErrorCode| BeginQuorumEpochResponse { error_code: error.0, ..BeginQuorumEpochResponse::default() };
        if is_other_cluster(request.cluster_id.as_ref(), &self.cluster_id) {
            return refuse(ErrorCode::INCONSISTENT_CLUSTER_ID);
        }
        let Some(ask) = begin_epoch_ask(request) else {
            return refuse(ErrorCode::INVALID_REQUEST);
        };
        let outcome = self.quorum.handle_begin_epoch(&ask, self.clock.steady(), &mut self.fx);
        begin_epoch_response(outcome.err().unwrap_or_default(), &self.view(listener))
    }

    fn handle_end_epoch(&mut self, request: &EndQuorumEpochRequest, listener: &str) -> EndQuorumEpochResponse {
        let refuse =
            |error: ErrorCode| EndQuorumEpochResponse { error_code: error.0, ..EndQuorumEpochResponse::default() };
        if is_other_cluster(request.cluster_id.as_ref(), &self.cluster_id) {
            return refuse(ErrorCode::INCONSISTENT_CLUSTER_ID);
        }
        let Some(ask) = end_epoch_ask(request) else {
            return refuse(ErrorCode::INVALID_REQUEST);
        };
        let outcome = self.quorum.handle_end_epoch(&ask, self.clock.steady(), &mut self.fx);
        end_epoch_response(outcome.err().unwrap_or_default(), &self.view(listener))
    }

    pub(super) fn view<'a>(&'a self, listener: &'a str) -> LeaderView<'a> {
        LeaderView {
            leader: self.quorum.leader_and_epoch(),
            endpoints: self.quorum.leader_endpoints().map_or(&[], |(_, endpoints)| endpoints),
            voters: &self.quorum.kraft().voters,
            listener,
            log_start_offset: self.quorum.log().start_offset,
            high_watermark: self.quorum.high_watermark().unwrap_or(Offset::NONE),
        }
    }

    fn handle_fetch(&mut self, request: &FetchRequest, listener: String, done: RaftDone) {
        let refuse = |error: ErrorCode| FetchResponse { error_code: error.0, ..FetchResponse::default() };
        if is_other_cluster(request.cluster_id.as_ref(), &self.cluster_id) {
            return done(RaftResponse::Fetch(refuse(ErrorCode::INCONSISTENT_CLUSTER_ID)));
        }
        let Some((ask, max_wait_ms)) = fetch_ask(request) else {
            return done(RaftResponse::Fetch(refuse(ErrorCode::INVALID_REQUEST)));
        };
        let deadline = Timestamp(self.clock.steady().0 + i64::from(max_wait_ms.max(0)));
        let max_bytes = u32::try_from(request.max_bytes).unwrap_or(0).min(READ_MAX_BYTES);
        let fetch = ParkedFetch { ask, max_bytes, listener, deadline, done };
        self.answer_or_park(fetch, max_wait_ms > 0);
    }

    fn answer_or_park(&mut self, fetch: ParkedFetch, may_park: bool) {
        let now = self.clock.steady();
        let verdict = self.quorum.handle_fetch(&fetch.ask, now, &mut self.fx);
        let records = match verdict {
            FetchVerdict::Read { end, high_watermark } => {
                let records = self.log.read(fetch.ask.from.offset, end, fetch.max_bytes).unwrap_or_else(|error| {
                    tracing::error!(%error, "the metadata log cannot be read");
                    Records::EMPTY
                });
                // A fetcher that tells its high watermark waits for a newer one too (KIP-1166).
                let no_news = records.is_empty() && high_watermark <= fetch.ask.high_watermark;
                if no_news && may_park && fetch.deadline > now {
                    self.parked.push(fetch);
                    return;
                }
                records
            }
            _ => Records::EMPTY,
        };
        let response = fetch_response(&verdict, records, &self.view(&fetch.listener));
        (fetch.done)(RaftResponse::Fetch(response));
    }

    /// Parked fetches look again.
    pub(super) fn wake_fetches(&mut self) {
        for fetch in std::mem::take(&mut self.parked) {
            self.answer_or_park(fetch, true);
        }
    }

    /// Fetches whose time is over are answered with what there is.
    pub(super) fn expire_parked(&mut self, now: Timestamp) {
        let (expired, parked) = std::mem::take(&mut self.parked).into_iter().partition(|fetch| fetch.deadline <= now);
        self.parked = parked;
        let expired: Vec<ParkedFetch> = expired;
        for fetch in expired {
            self.answer_or_park(fetch, false);
        }
    }

    fn handle_fetch_snapshot(&mut self, request: &FetchSnapshotRequest, listener: &str) -> FetchSnapshotResponse {
        let refuse =
            |error: ErrorCode| FetchSnapshotResponse { error_code: error.0, ..FetchSnapshotResponse::default() };
        if is_other_cluster(request.cluster_id.as_ref(), &self.cluster_id) {
            return refuse(ErrorCode::INCONSISTENT_CLUSTER_ID);
        }
        let Some((ask, position)) = snapshot_ask(request) else {
            return refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        };
        let now = self.clock.steady();
        let piece = self.quorum.handle_fetch_snapshot(&ask, now).and_then(|()| {
            let max_bytes = u32::try_from(request.max_bytes).unwrap_or(0);
            self.snapshot_piece(ask.snapshot, position, max_bytes)
        });
        snapshot_response(ask.snapshot, piece, &self.view(listener))
    }

    fn snapshot_piece(
        &self,
        id: OffsetAndEpoch,
        position: i64,
        max_bytes: u32,
    ) -> Result<(Records, i64, i64), ErrorCode> {
        let file = self.log.open_snapshot(id).map_err(|error| {
            tracing::error!(%error, "a metadata snapshot cannot be read");
            ErrorCode::UNKNOWN_SERVER_ERROR
        })?;
        let (source, size) = file.ok_or(ErrorCode::SNAPSHOT_NOT_FOUND)?;
        let left =
            u64::try_from(position).ok().and_then(|position| size.checked_sub(position)).filter(|left| *left > 0);
        let (Some(left), Ok(at)) = (left, u64::try_from(position)) else {
            return Err(ErrorCode::POSITION_OUT_OF_RANGE);
        };
        let len = u32::try_from(left).unwrap_or(u32::MAX).min(max_bytes);
        let slice = milena_protocol::FileSlice { source, position: at, len };
        Ok((Records::File(slice), i64::try_from(size).unwrap_or(i64::MAX), position))
    }
}
