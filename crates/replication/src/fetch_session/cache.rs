//! The cache of sessions and whom it evicts (class `FetchSessionCacheShard`): a newcomer may push out a session unused
//! for two minutes; a follower's may push out a consumer's; a larger one may push out a smaller one past its first two
//! minutes.

use std::collections::{BTreeSet, HashMap};

use milena_types::Timestamp;

use super::session::Session;
use super::{FetchedPartition, NO_SESSION, SessionRequest};

/// Bounds of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// `max.incremental.fetch.session.cache.slots`.
    pub sessions_max: usize,
    /// Unused for longer than this, a session may go. Kafka: 120,000.
    pub eviction_ms: i64,
}

impl Default for CacheLimits {
    fn default() -> Self {
        CacheLimits { sessions_max: 1000, eviction_ms: 120_000 }
    }
}

/// Sessions are worth more when privileged, then when larger; the id makes keys unique.
type Worth = (bool, usize, i32);

/// All sessions of a node.
#[derive(Debug, Default)]
pub struct FetchSessionCache {
    limits: CacheLimits,
    sessions: HashMap<i32, Session>,
    last_used: BTreeSet<(Timestamp, i32)>,
    evictable_by_all: BTreeSet<Worth>,
    evictable_by_privileged: BTreeSet<Worth>,
    partition_count: usize,
    eviction_count: u64,
}

impl FetchSessionCache {
    #[must_use]
    pub fn new(limits: CacheLimits) -> FetchSessionCache {
        FetchSessionCache { limits, ..FetchSessionCache::default() }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// How many partitions all sessions hold.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// How many sessions were pushed out so far.
    #[must_use]
    pub fn eviction_count(&self) -> u64 {
        self.eviction_count
    }

    pub(super) fn get(&self, id: i32) -> Option<&Session> {
        self.sessions.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: i32) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    /// Makes a session of a full fetch, if there is or can be made room for it.
    pub(super) fn try_create(
        &mut self,
        request: SessionRequest,
        outcomes: &[FetchedPartition<'_>],
        now: Timestamp,
        mut random: impl FnMut() -> i32,
    ) -> Option<i32> {
        if self.sessions.len() >= self.limits.sessions_max
            && !self.evict_for(request.from_follower, outcomes.len(), now)
        {
            return None;
        }
        let mut id = NO_SESSION;
        while id == NO_SESSION || self.sessions.contains_key(&id) {
            id = random() & i32::MAX;
        }
        let mut session = Session::new(request.from_follower, request.uses_topic_ids, now);
        for (asked, outcome) in outcomes {
            session.put(asked);
            session.note_told(asked, outcome);
        }
        self.sessions.insert(id, session);
        self.touch(id, now);
        Some(id)
    }

    fn evict_for(&mut self, privileged: bool, size: usize, now: Timestamp) -> bool {
        let Some((oldest_use, oldest)) = self.last_used.first().copied() else {
            return false;
        };
        let victim = if now.0 - oldest_use.0 > self.limits.eviction_ms {
            oldest
        } else {
            let evictable = if privileged { &self.evictable_by_privileged } else { &self.evictable_by_all };
            match evictable.first() {
                Some(least) if (privileged, size, 0) >= *least => least.2,
                _ => return false,
            }
        };
        self.remove(victim);
        self.eviction_count += 1;
        true
    }

    pub(super) fn remove(&mut self, id: i32) -> bool {
        let Some(session) = self.sessions.remove(&id) else {
            return false;
        };
        let worth = (session.privileged, session.filed_size, id);
        self.last_used.remove(&(session.last_used, id));
        self.evictable_by_all.remove(&worth);
        self.evictable_by_privileged.remove(&worth);
        self.partition_count -= session.filed_size;
        true
    }

    /// Files a session anew after it was made or used.
    pub(super) fn touch(&mut self, id: i32, now: Timestamp) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let old_worth = (session.privileged, session.filed_size, id);
        self.last_used.remove(&(session.last_used, id));
        self.evictable_by_all.remove(&old_worth);
        self.evictable_by_privileged.remove(&old_worth);
        self.partition_count -= session.filed_size;

        session.last_used = now;
        session.filed_size = session.len();
        self.partition_count += session.filed_size;
        self.last_used.insert((now, id));
        let worth = (session.privileged, session.filed_size, id);
        let past_youth = now.0 - session.created.0 > self.limits.eviction_ms;
        if past_youth || !session.privileged {
            self.evictable_by_privileged.insert(worth);
        }
        if past_youth {
            self.evictable_by_all.insert(worth);
        }
    }
}
