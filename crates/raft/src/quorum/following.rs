//! Fetching from a leader: what a follower, an observer, or a member that looks for the leader asks for, and what it does
//! with the answers.

use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Timestamp};

use super::Quorum;
use crate::effect::{Destination, Effect, FetchOut, Outbound, SnapshotFetchOut};
use crate::fetched::Fetched;
use crate::identity::{Endpoint, OffsetAndEpoch};
use crate::planted::Plant;
use crate::replies::{FetchAnswer, LeaderNews};
use crate::role::{Following, Role};
use crate::voters::KRaftState;

/// How long a leader may hold a fetch (`KafkaRaftClient.MAX_FETCH_WAIT_MS`).
const FETCH_WAIT_MS: i32 = 500;

/// From a refused connection to the leader until the others are asked, at least; half of it again at random, so that not all
/// ask at once.
const REFUSED_MS: i64 = 40;

impl Quorum {
    /// The next fetch of a follower, or of a member that looks for the leader. The host sends it when the one before is
    /// answered and handled, or after `retry_backoff_ms` when it failed. `None` while a snapshot is being downloaded.
    #[must_use]
    pub fn next_fetch(&self) -> Option<Effect> {
        let to = match &self.role {
            Role::Follower(following) if following.fetching_snapshot.is_some() => return None,
            Role::Follower(following) if following.asks_others => Destination::AnyBootstrapServer,
            Role::Follower(following) => {
                Destination::Node { id: following.leader, endpoints: following.endpoints.clone() }
            }
            Role::Unattached { .. } => Destination::AnyBootstrapServer,
            _ => return None,
        };
        let fetch = FetchOut {
            replica: self.config.local,
            epoch: self.epoch,
            from: self.log.end(),
            high_watermark: self.high_watermark.unwrap_or(Offset::NONE),
            max_wait_ms: FETCH_WAIT_MS,
            sent: Timestamp::NONE,
        };
        Some(Effect::Send { to, request: Outbound::Fetch(fetch) })
    }

    /// A request could not be sent or was not answered in time.
    pub fn on_send_failed(&mut self, to: &Destination, request: &Outbound, now: Timestamp) {
        let again = Timestamp(now.0 + self.config.retry_backoff_ms.max(1));
        match (&mut self.role, request, to) {
            (
                Role::Prospective { election, .. } | Role::Candidate { election },
                Outbound::Vote(_),
                Destination::Node { id, .. },
            ) => {
                if let Some(ballot) = election.ballots.get_mut(id) {
                    ballot.ask_at = ballot.ask_at.min(again);
                }
            }
            (Role::Resigned(resigned), Outbound::EndQuorumEpoch { .. }, Destination::Node { id, .. }) => {
                if let Some(tell_at) = resigned.unacknowledged.get_mut(id) {
                    *tell_at = again.min(*tell_at);
                }
            }
            (Role::Follower(following), Outbound::Fetch(_), _) => following.asks_others = !following.asks_others,
            (Role::Follower(_), Outbound::FetchSnapshot(_), _) => self.on_download_failed(),
            _ => {}
        }
    }

    /// Nobody listens where `leader` did: its process is gone, or so it looks from here. A voter asks soon whether an election
    /// would be won; only a majority that sees the same makes one (KIP-996), so that this is no more than a hint.
    pub fn on_leader_refused(&mut self, leader: BrokerId, epoch: LeaderEpoch, now: Timestamp) {
        let soon = Timestamp(now.0 + REFUSED_MS + self.random_below(REFUSED_MS));
        let (may_stand, current) = (self.may_stand(), self.epoch);
        if let Role::Follower(following) = &mut self.role
            && (following.leader, current) == (leader, epoch)
        {
            following.has_fetched = false;
            if may_stand {
                following.fetch_deadline = following.fetch_deadline.min(soon);
            }
        }
    }

    /// The snapshot could not be downloaded whole: fetching goes on, with any other first.
    pub fn on_download_failed(&mut self) {
        if let Role::Follower(following) = &mut self.role {
            following.fetching_snapshot = None;
            following.asks_others = true;
        }
    }

    /// The answer to the fetch `asked`. `endpoints` are those the answer names for the leader. With records,
    /// `AppendFetched` is asked for and the high watermark moves in [`Quorum::on_follower_append`]. What answers a fetch
    /// of another epoch or from another place than the log's end now is not used, but for who leads.
    pub fn on_fetch_answer(
        &mut self,
        asked: &FetchOut,
        answer: &FetchAnswer,
        endpoints: Vec<Endpoint>,
        now: Timestamp,
        fx: &mut Vec<Effect>,
    ) {
        let current = asked.epoch == self.epoch && asked.from == self.log.end();
        let current = current || self.planted.is(Plant::TakeStaleFetchAnswer);
        let news = LeaderNews { leader: answer.leader, endpoints };
        if let Role::Follower(following) = &mut self.role {
            following.asks_others = false;
        }
        if !self.accept(answer.error, news, now, fx) || !answer.error.is_none() {
            return;
        }
        let deadline = Timestamp(now.0 + self.config.fetch_timeout_ms);
        let Role::Follower(following) = &mut self.role else {
            return;
        };
        if !current || following.fetching_snapshot.is_some() {
            return;
        }
        following.fetch_deadline = deadline;
        following.has_fetched = true;
        if let Some(diverging) = answer.diverging {
            self.cut_to(diverging, fx);
        } else if let Some(snapshot) = answer.snapshot {
            following.fetching_snapshot = Some(snapshot);
            let to = Destination::Node { id: following.leader, endpoints: following.endpoints.clone() };
            let request = SnapshotFetchOut { replica: self.config.local, epoch: self.epoch, snapshot };
            fx.push(Effect::Send { to, request: Outbound::FetchSnapshot(request) });
        } else if answer.has_records {
            fx.push(Effect::AppendFetched);
        } else {
            self.move_follower_high_watermark(answer.high_watermark, fx);
        }
    }

    fn cut_to(&mut self, diverging: OffsetAndEpoch, fx: &mut Vec<Effect>) {
        if self.planted.is(Plant::SkipTruncation) {
            return;
        }
        let end = self.log.end_offset_for_epoch(diverging.epoch).offset.min(diverging.offset);
        // INV: what is committed is never cut.
        assert!(self.high_watermark.is_none_or(|known| end >= known), "the leader lacks committed records");
        self.log.on_truncate(end);
        if !self.planted.is(Plant::KeepVotersAfterTruncation) {
            self.kraft.truncate(end);
        }
        fx.push(Effect::Truncate(end));
    }

    /// Fetched records are on disk, with the leader's high watermark of that answer.
    pub fn on_follower_append(
        &mut self,
        fetched: &Fetched,
        leader_high_watermark: Offset,
        now: Timestamp,
        fx: &mut Vec<Effect>,
    ) {
        for (epoch, end) in &fetched.ends {
            self.log.on_append(*epoch, *end);
        }
        for (offset, record) in &fetched.controls {
            self.kraft.on_control(*offset, record);
        }
        self.log.durable_end_offset = self.log.end_offset;
        if let Role::Follower(following) = &mut self.role {
            // A slow disk is not a silent leader.
            following.fetch_deadline = Timestamp(now.0 + self.config.fetch_timeout_ms);
        }
        self.move_follower_high_watermark(leader_high_watermark, fx);
    }

    /// The head of the answer to a piece of a snapshot. Returns whether its bytes are wanted; if not, the download ends.
    pub fn on_snapshot_answer(
        &mut self,
        asked: &SnapshotFetchOut,
        error: ErrorCode,
        news: LeaderNews,
        now: Timestamp,
        fx: &mut Vec<Effect>,
    ) -> bool {
        let accepted = self.accept(error, news, now, fx);
        let current = asked.epoch == self.epoch;
        let Role::Follower(following) = &mut self.role else {
            return false;
        };
        if !accepted || !current || following.fetching_snapshot != Some(asked.snapshot) {
            return false;
        }
        if !error.is_none() {
            // The leader no longer has it: its next answer to a fetch names another.
            following.fetching_snapshot = None;
        }
        following.fetch_deadline = Timestamp(now.0 + self.config.fetch_timeout_ms);
        following.has_fetched = true;
        error.is_none()
    }

    /// Whether a snapshot that was downloaded whole may replace the log: asked before it does.
    #[must_use]
    pub fn wants_snapshot(&self, id: OffsetAndEpoch) -> bool {
        matches!(&self.role, Role::Follower(Following { fetching_snapshot: Some(wanted), .. }) if *wanted == id)
    }

    /// A snapshot was downloaded whole and is on disk; the log begins behind it. `kraft` is what the snapshot says of the
    /// voters, with static voters what is in force already.
    pub fn on_snapshot_loaded(&mut self, id: OffsetAndEpoch, kraft: KRaftState, now: Timestamp, fx: &mut Vec<Effect>) {
        self.log.on_snapshot_loaded(id);
        self.kraft.load(kraft);
        if let Role::Follower(following) = &mut self.role {
            following.fetching_snapshot = None;
            following.fetch_deadline = Timestamp(now.0 + self.config.fetch_timeout_ms);
        }
        self.move_follower_high_watermark(id.offset, fx);
    }

    fn move_follower_high_watermark(&mut self, leader_high_watermark: Offset, fx: &mut Vec<Effect>) {
        let past_end = self.planted.is(Plant::HighWatermarkPastEnd);
        let wanted = if past_end { leader_high_watermark } else { leader_high_watermark.min(self.log.end_offset) };
        if wanted.is_some() && self.high_watermark.is_none_or(|known| wanted > known) {
            self.high_watermark = Some(wanted);
            fx.push(Effect::Commit(wanted));
        }
    }
}
