//! Incremental fetch sessions (KIP-227; classes `FetchManager`, `FetchContext`, `FetchSessionCache`): a client names its
//! partitions once, later requests carry only changes and later responses only partitions with news.
//!
//! Topics are known by id (Fetch 13 and later) or by name, never both in one session. One cache serves the node behind
//! one lock; Kafka's eight shards exist only to spread its lock and are not repeated here. Random session ids come from
//! the caller.

mod cache;
mod session;

use bytes::Bytes;
use milena_types::{ErrorCode, Offset, Timestamp, Uuid};

pub use cache::{CacheLimits, FetchSessionCache};

/// The session id of a client without a session.
pub(crate) const NO_SESSION: i32 = 0;
/// Asks for a new session.
const INITIAL_EPOCH: i32 = 0;
/// Asks to close the session, or to have none.
const FINAL_EPOCH: i32 = -1;

/// How a session knows its topics. The name is UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicKey {
    Id(Uuid),
    Name(Bytes),
}

impl TopicKey {
    /// A copy that does not keep the frame it came in alive.
    fn detached(&self) -> TopicKey {
        match self {
            TopicKey::Id(id) => TopicKey::Id(*id),
            TopicKey::Name(name) => TopicKey::Name(Bytes::copy_from_slice(name)),
        }
    }
}

/// One partition of a fetch request, with the parameters a session remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedPartition {
    pub topic: TopicKey,
    pub partition: i32,
    pub max_bytes: i32,
    pub fetch_offset: i64,
    /// -1 when not told.
    pub current_leader_epoch: i32,
    /// -1 when not told.
    pub last_fetched_epoch: i32,
    pub log_start_offset: i64,
}

/// The head of a fetch request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRequest {
    /// Before Fetch 7 there are no sessions: 0.
    pub session_id: i32,
    /// Before Fetch 7: -1.
    pub epoch: i32,
    /// Fetch 13 and later.
    pub uses_topic_ids: bool,
    /// Followers' sessions are privileged: they may push out consumers'.
    pub from_follower: bool,
}

/// What a response says about one partition, as far as a session cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionOutcome {
    pub records_size: usize,
    pub high_watermark: Offset,
    pub log_start_offset: Offset,
    pub error: ErrorCode,
    /// A preferred read replica or a diverging epoch is set: always worth telling.
    pub has_redirect: bool,
}

/// One partition to fetch: its place in the context's list ties the outcome to it.
pub type FetchedPartition<'a> = (&'a RequestedPartition, PartitionOutcome);

/// A fetch request after its session was looked up: these partitions are to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchContext {
    /// Answer with this error and nothing else, session id 0.
    Error(ErrorCode),
    /// No session before or after.
    Sessionless { partitions: Vec<RequestedPartition> },
    /// All partitions are named; a session is made of them if the cache has room.
    Full { partitions: Vec<RequestedPartition>, request: SessionRequest },
    /// All partitions of the session in its order, after the request's changes.
    Incremental { partitions: Vec<RequestedPartition>, session_id: i32, request_epoch: i32 },
}

impl FetchContext {
    /// The partitions to read, in the order in which bytes are to be spent.
    #[must_use]
    pub fn partitions(&self) -> &[RequestedPartition] {
        match self {
            FetchContext::Error(_) => &[],
            FetchContext::Sessionless { partitions }
            | FetchContext::Full { partitions, .. }
            | FetchContext::Incremental { partitions, .. } => partitions,
        }
    }
}

/// The head of the response, and which partitions to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionResult {
    pub error: ErrorCode,
    pub session_id: i32,
    /// One flag for each outcome given, in the same order: whether it goes into the response.
    pub included: Vec<bool>,
}

impl FetchSessionCache {
    /// Finds or closes the session of a request and applies the request's changes to it
    /// (class `FetchManager.newContext`). `forgotten` are topic and partition.
    pub fn begin(
        &mut self,
        request: SessionRequest,
        partitions: Vec<RequestedPartition>,
        forgotten: &[(TopicKey, i32)],
        now: Timestamp,
    ) -> FetchContext {
        if request.epoch == INITIAL_EPOCH || request.epoch == FINAL_EPOCH {
            if request.session_id != NO_SESSION {
                self.remove(request.session_id);
            }
            if request.epoch == FINAL_EPOCH {
                return FetchContext::Sessionless { partitions };
            }
            return FetchContext::Full { partitions, request };
        }
        let Some(session) = self.get_mut(request.session_id) else {
            return FetchContext::Error(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        };
        if session.epoch != request.epoch {
            return FetchContext::Error(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.uses_topic_ids != request.uses_topic_ids {
            return FetchContext::Error(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        session.update(&partitions, forgotten);
        if session.is_empty() {
            self.remove(request.session_id);
            return FetchContext::Sessionless { partitions };
        }
        session.epoch = next_epoch(session.epoch);
        let partitions = session.requested();
        self.touch(request.session_id, now);
        FetchContext::Incremental { partitions, session_id: request.session_id, request_epoch: request.epoch }
    }

    /// Makes or updates the session and says what the response holds (`updateAndGenerateResponseData`). `outcomes` are
    /// the partitions answered, a subset of the context's. `random` gives candidates for a session id.
    pub fn finish(
        &mut self,
        context: &FetchContext,
        outcomes: &[FetchedPartition<'_>],
        now: Timestamp,
        random: impl FnMut() -> i32,
    ) -> SessionResult {
        let all = |error, session_id| SessionResult { error, session_id, included: vec![true; outcomes.len()] };
        match context {
            FetchContext::Error(error) => {
                SessionResult { error: *error, session_id: NO_SESSION, included: vec![false; outcomes.len()] }
            }
            FetchContext::Sessionless { .. } => all(ErrorCode::NONE, NO_SESSION),
            FetchContext::Full { request, .. } => {
                all(ErrorCode::NONE, self.try_create(*request, outcomes, now, random).unwrap_or(NO_SESSION))
            }
            FetchContext::Incremental { session_id, request_epoch, .. } => {
                let refused = || SessionResult {
                    error: ErrorCode::INVALID_FETCH_SESSION_EPOCH,
                    session_id: *session_id,
                    included: vec![false; outcomes.len()],
                };
                // An evicted session still answers the request it began (Kafka keeps the object alive); everything
                // goes out then, since nothing remembers what the client has.
                let Some(session) = self.get_mut(*session_id) else {
                    return all(ErrorCode::NONE, *session_id);
                };
                if session.epoch != next_epoch(*request_epoch) {
                    return refused();
                }
                let included = outcomes.iter().map(|(asked, outcome)| session.note_outcome(asked, outcome)).collect();
                SessionResult { error: ErrorCode::NONE, session_id: *session_id, included }
            }
        }
    }

    /// Whether each outcome would go into the response, without changing the session: a long poll asks this to know
    /// whether a response would be empty.
    #[must_use]
    pub fn would_include(&self, context: &FetchContext, outcome: &FetchedPartition<'_>) -> bool {
        match context {
            FetchContext::Error(_) => false,
            FetchContext::Sessionless { .. } | FetchContext::Full { .. } => true,
            FetchContext::Incremental { session_id, .. } => {
                self.get(*session_id).is_none_or(|session| session.has_news(outcome.0, &outcome.1))
            }
        }
    }
}

/// Epochs go 1, 2, ... 2³¹−1, 1; the final epoch stays.
fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        i32::MIN..0 => FINAL_EPOCH,
        i32::MAX => 1,
        _ => epoch + 1,
    }
}

#[cfg(test)]
#[path = "fetch_session_tests.rs"]
mod tests;
