//! What one fetcher asks of one leader: which partitions are due, and the changes that an incremental session (KIP-227)
//! must be told (classes `AbstractFetcherThread`, `FetchSessionHandler`).

use std::collections::BTreeMap;

use milena_types::{ErrorCode, LeaderEpoch, PartitionIndex, Timestamp, TopicId};

use crate::fetch_session::RequestedPartition;

/// A partition by topic id and number.
pub type PartitionKey = (TopicId, PartitionIndex);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Ready,
    DelayedUntil(Timestamp),
    /// Not before another leader epoch.
    Failed,
}

#[derive(Clone, Copy, Debug)]
struct Followed {
    leader_epoch: LeaderEpoch,
    pace: Pace,
}

/// The partitions followed from one leader and when each may be fetched.
#[derive(Clone, Debug, Default)]
pub struct FetchPlan {
    followed: BTreeMap<PartitionKey, Followed>,
}

impl FetchPlan {
    /// Takes over which partitions are to be followed, in which leader epochs. A new epoch ends a delay or failure.
    pub fn follow(&mut self, wanted: &BTreeMap<PartitionKey, LeaderEpoch>) {
        self.followed.retain(|key, _| wanted.contains_key(key));
        for (key, leader_epoch) in wanted {
            let fresh = Followed { leader_epoch: *leader_epoch, pace: Pace::Ready };
            let followed = self.followed.entry(*key).or_insert(fresh);
            if followed.leader_epoch != *leader_epoch {
                *followed = fresh;
            }
        }
    }

    /// The partitions to fetch now, each with the leader epoch it is followed in.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<(PartitionKey, LeaderEpoch)> {
        let is_due = |followed: &Followed| match followed.pace {
            Pace::Ready => true,
            Pace::DelayedUntil(at) => at <= now,
            Pace::Failed => false,
        };
        let due = self.followed.iter().filter(|(_, followed)| is_due(followed));
        due.map(|(key, followed)| (*key, followed.leader_epoch)).collect()
    }

    /// When the next delay ends.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let ends = self.followed.values().filter_map(|followed| match followed.pace {
            Pace::DelayedUntil(at) => Some(at),
            Pace::Ready | Pace::Failed => None,
        });
        ends.min()
    }

    /// Something went wrong that may pass: `replica.fetch.backoff.ms`.
    pub fn delay(&mut self, key: PartitionKey, until: Timestamp) {
        self.set(key, Pace::DelayedUntil(until));
    }

    /// A fetch succeeded.
    pub fn ready(&mut self, key: PartitionKey) {
        self.set(key, Pace::Ready);
    }

    /// Fenced, or something that fetching again cannot heal: not before the controller says another epoch.
    pub fn fail(&mut self, key: PartitionKey) {
        self.set(key, Pace::Failed);
    }

    fn set(&mut self, key: PartitionKey, pace: Pace) {
        if let Some(followed) = self.followed.get_mut(&key) {
            followed.pace = pace;
        }
    }
}

/// The head and the changes of the next fetch request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionChanges {
    pub session_id: i32,
    pub session_epoch: i32,
    /// New partitions and those whose parameters changed; all where there is no session.
    pub partitions: Vec<(PartitionKey, RequestedPartition)>,
    pub forgotten: Vec<PartitionKey>,
}

/// The fetcher's half of an incremental session.
#[derive(Clone, Debug, Default)]
pub struct FetchSessionClient {
    session_id: i32,
    /// 0 asks for a new session.
    next_epoch: i32,
    known: BTreeMap<PartitionKey, RequestedPartition>,
}

impl FetchSessionClient {
    /// What to send so that exactly `wanted` is fetched.
    pub fn prepare(&mut self, wanted: BTreeMap<PartitionKey, RequestedPartition>) -> SessionChanges {
        let (session_id, session_epoch) = (self.session_id, self.next_epoch);
        let is_incremental = session_epoch != 0;
        let is_news = |key: &PartitionKey, asked: &RequestedPartition| {
            !is_incremental || self.known.get(key).is_none_or(|known| known != asked)
        };
        let changed = wanted.iter().filter(|(key, asked)| is_news(key, asked));
        let partitions = changed.map(|(key, asked)| (*key, asked.clone())).collect();
        let gone = self.known.keys().filter(|key| is_incremental && !wanted.contains_key(*key));
        let forgotten = gone.copied().collect();
        self.known = wanted;
        SessionChanges { session_id, session_epoch, partitions, forgotten }
    }

    /// The leader answered with this top-level error and session.
    pub fn on_response(&mut self, error: ErrorCode, session_id: i32) {
        match error {
            ErrorCode::NONE if session_id == 0 => self.begin_anew(0),
            ErrorCode::NONE => {
                self.session_id = session_id;
                self.next_epoch = if self.next_epoch == i32::MAX { 1 } else { self.next_epoch + 1 };
            }
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND => self.begin_anew(0),
            _ => self.begin_anew(self.session_id),
        }
    }

    /// No answer came: the session is closed with the next request, which asks for a new one.
    pub fn on_failure(&mut self) {
        self.begin_anew(self.session_id);
    }

    fn begin_anew(&mut self, closing: i32) {
        self.session_id = closing;
        self.next_epoch = 0;
    }
}

#[cfg(test)]
#[path = "fetch_plan_tests.rs"]
mod tests;
