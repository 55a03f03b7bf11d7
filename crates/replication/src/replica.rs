//! What a leader knows of one remote replica (class `Replica`): how far it has fetched, when it was last caught up,
//! and whether the metadata lets it into the ISR.

use milena_types::{BrokerId, Offset, Timestamp};

/// A follower's fetch as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaFetch {
    pub replica: BrokerId,
    /// The offset it asks for: everything below it is durable there.
    pub fetch_offset: Offset,
    /// The start of the follower's own log.
    pub log_start_offset: Offset,
    /// The epoch of the follower's broker registration; -1 for a replica that does not tell.
    pub broker_epoch: i64,
}

/// One remote replica of a partition led here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub id: BrokerId,
    /// Where its log ends; `Offset::NONE` before its first fetch in this leader epoch.
    pub log_end_offset: Offset,
    pub log_start_offset: Offset,
    /// The broker epoch of its last fetch; `None` before the first one.
    pub broker_epoch: Option<i64>,
    /// The epoch of the broker's registration as the metadata has it; `None` while it is not alive or not unfenced.
    pub registered_epoch: Option<i64>,
    last_fetch_leader_end: Offset,
    last_fetch_time: Timestamp,
    last_caught_up_time: Timestamp,
}

impl Replica {
    /// A replica that has not fetched yet.
    #[must_use]
    pub fn new(id: BrokerId) -> Replica {
        Replica {
            id,
            log_end_offset: Offset::NONE,
            log_start_offset: Offset::NONE,
            broker_epoch: None,
            registered_epoch: None,
            last_fetch_leader_end: Offset(0),
            last_fetch_time: Timestamp(0),
            last_caught_up_time: Timestamp(0),
        }
    }

    /// Starts a new leader epoch. A member of the ISR counts as caught up from now, another one as never caught up. What it
    /// fetched in an earlier epoch says nothing, whoever led then: it may have been removed and be back with an empty log, or
    /// another leader may have cut it. Kafka keeps it where the leader is the same (`Replica.resetReplicaState`).
    pub(crate) fn reset(&mut self, in_sync: bool, now: Timestamp) {
        self.last_caught_up_time = if in_sync { now } else { Timestamp(0) };
        self.log_end_offset = Offset::NONE;
        self.log_start_offset = Offset::NONE;
        self.broker_epoch = None;
        self.last_fetch_leader_end = Offset::NONE;
        self.last_fetch_time = Timestamp(0);
    }

    /// Takes note of a fetch that arrived `now` while the leader's log ended at `leader_end`.
    pub(crate) fn on_fetch(&mut self, fetch: &ReplicaFetch, leader_end: Offset, now: Timestamp) {
        if fetch.fetch_offset >= leader_end {
            self.last_caught_up_time = self.last_caught_up_time.max(now);
        } else if fetch.fetch_offset >= self.last_fetch_leader_end {
            // It has all the leader had at its previous fetch, so it was caught up then.
            self.last_caught_up_time = self.last_caught_up_time.max(self.last_fetch_time);
        }
        self.log_end_offset = fetch.fetch_offset;
        self.log_start_offset = fetch.log_start_offset;
        self.broker_epoch = Some(fetch.broker_epoch);
        self.last_fetch_leader_end = self.last_fetch_leader_end.max(leader_end);
        self.last_fetch_time = now;
    }

    /// Whether it has all of the leader's log, or had it within the last `lag_max_ms`.
    #[must_use]
    pub fn is_caught_up(&self, leader_end: Offset, lag_max_ms: i64, now: Timestamp) -> bool {
        self.log_end_offset == leader_end || now.0.saturating_sub(self.last_caught_up_time.0) <= lag_max_ms
    }

    /// How long ago it had all of the leader's log, milliseconds.
    #[must_use]
    pub(crate) fn since_caught_up_ms(&self, now: Timestamp) -> i64 {
        now.0.saturating_sub(self.last_caught_up_time.0)
    }

    /// Whether the ISR may take it in: alive, unfenced, not shutting down, and fetching from the incarnation that the
    /// controller knows (KIP-903).
    #[must_use]
    pub fn is_isr_eligible(&self) -> bool {
        match (self.broker_epoch, self.registered_epoch) {
            (Some(fetched), Some(registered)) => fetched == -1 || fetched == registered,
            _ => false,
        }
    }
}
