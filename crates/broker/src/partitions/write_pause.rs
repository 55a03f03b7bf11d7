//! A broker that is about to give up its leaderships takes no more writes of clients for a moment: what it has taken is
//! replicated, so that nobody is left in doubt about it, and what comes meanwhile waits and is told who leads then. Kafka has
//! nothing like it: a write that waits for replicas when the leader changes ends with `NOT_LEADER_OR_FOLLOWER`.

use super::held::HeldProduces;
use super::{Inner, Partitions};
use crate::broker::Broker;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether produce requests wait.
#[derive(Debug, Default)]
pub(crate) struct WritePause {
    is_on: AtomicBool,
    /// The connections with requests that wait for its end; `None` while it is off.
    waiting: Mutex<Option<Vec<Arc<HeldProduces>>>>,
}

impl WritePause {
    fn waiting(&self) -> MutexGuard<'_, Option<Vec<Arc<HeldProduces>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    pub(crate) fn begin(&self) {
        self.waiting().get_or_insert_default();
        self.is_on.store(true, Ordering::Release);
    }

    /// Ends it; who waited.
    #[must_use]
    pub(super) fn end(&self) -> Vec<Arc<HeldProduces>> {
        let waited = self.waiting().take();
        self.is_on.store(false, Ordering::Release);
        waited.unwrap_or_default()
    }

    /// Whether a connection's requests have to wait; it is in what `end` gives then.
    pub(super) fn holds_back(&self, held: &Arc<HeldProduces>) -> bool {
        if !self.is_on() {
            return false;
        }
        let mut waiting = self.waiting();
        let Some(waiting) = waiting.as_mut() else { return false };
        if waiting.iter().all(|one| !Arc::ptr_eq(one, held)) {
            waiting.push(Arc::clone(held));
        }
        true
    }
}

impl Partitions {
    /// Whether anything is led here that may be led elsewhere, and of which this holds.
    fn any_succeedable(&self, is_so: impl Fn(&Inner) -> bool) -> bool {
        self.all().iter().any(|partition| {
            let inner = partition.lock();
            inner.state.is_leader() && inner.state.may_be_succeeded() && is_so(&inner)
        })
    }

    /// Whether anything led here may be led elsewhere.
    pub(crate) fn leads_what_others_may(&self) -> bool {
        self.any_succeedable(|_| true)
    }

    /// Whether all that was written to what is led here, and may be led elsewhere, is committed.
    pub(crate) fn is_all_committed(&self) -> bool {
        !self.any_succeedable(|inner| inner.state.high_watermark() < inner.log.log_end_offset())
    }
}

impl Broker {
    /// What waited is appended, or learns who leads now.
    pub(crate) fn end_write_pause(self: &Arc<Self>) {
        self.partitions.write_pause.end().iter().for_each(|held| held.run(self));
    }
}
