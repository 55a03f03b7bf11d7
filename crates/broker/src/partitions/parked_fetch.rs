//! A fetch that waits: registered with its partitions, run again by whatever may complete it, answered at its deadline
//! with what there is (`DelayedFetch`).

use super::fetch::{FetchWork, Pass};
use super::waiting::{Deadline, Parked};
use crate::broker::Broker;
use crate::call::Later;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A fetch that waits for more bytes.
pub(crate) struct ParkedFetch {
    broker: Weak<Broker>,
    state: Mutex<Option<Waiting>>,
    /// Beside the lock, because partitions ask while they are locked themselves.
    answered: AtomicBool,
}

struct Waiting {
    work: FetchWork,
    later: Later,
    deadline: Option<Deadline>,
}

impl ParkedFetch {
    fn state(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Parks a fetch for as long as it wants to wait.
    pub(crate) fn park(broker: &Arc<Broker>, work: FetchWork, later: Later) {
        let max_wait = work.params.max_wait;
        let waiting = Waiting { work, later, deadline: None };
        let parked = Arc::new(Self {
            broker: Arc::downgrade(broker),
            state: Mutex::new(Some(waiting)),
            answered: AtomicBool::new(false),
        });
        // The timer first: its deadline must be there when an append completes the fetch.
        let weak: Weak<Self> = Arc::downgrade(&parked);
        if let Some(waiting) = parked.state().as_mut() {
            waiting.deadline = Some(broker.deadlines().add(max_wait, weak));
        }
        parked.attempt();
    }

    /// Whether it is not answered yet.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.answered.load(Ordering::Relaxed)
    }

    /// Reads again, and answers if there is enough; else it waits on.
    pub(crate) fn attempt(self: &Arc<Self>) {
        let Some(broker) = self.broker.upgrade() else { return };
        let mut state = self.state();
        let Some(waiting) = state.as_ref() else { return };
        let pass = waiting.work.read(&broker, Some(self));
        if pass.is_enough() {
            let waiting = state.take();
            self.answered.store(true, Ordering::Relaxed);
            drop(state);
            answer(&broker, waiting, pass);
        }
    }
}

impl Parked for ParkedFetch {
    fn expire(self: Arc<Self>) {
        let Some(broker) = self.broker.upgrade() else { return };
        let Some(waiting) = self.state().take() else { return };
        self.answered.store(true, Ordering::Relaxed);
        let pass = waiting.work.read(&broker, None);
        answer(&broker, Some(waiting), pass);
    }
}

fn answer(broker: &Arc<Broker>, waiting: Option<Waiting>, pass: Pass) {
    let Some(Waiting { work, later, deadline }) = waiting else { return };
    if let Some(deadline) = deadline {
        broker.deadlines().remove(deadline);
    }
    later.answer(&work.respond(broker, pass));
}
