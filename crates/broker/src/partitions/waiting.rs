//! What waits for something to happen to partitions: produce requests for replication, fetch requests for bytes. A
//! parked request is completed by whoever makes it true, or by its deadline. Kafka's counterpart is
//! `DelayedOperationPurgatory`.

use crate::call::Later;
use milena_protocol::messages::ProduceResponse;
use milena_types::{ErrorCode, Offset};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Something that has a deadline.
pub(crate) trait Parked: Send + Sync {
    /// The deadline passed: answer with what there is.
    fn expire(self: Arc<Self>);
}

/// Names a deadline, to take it back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    number: u64,
}

/// All deadlines of a broker.
#[derive(Default)]
pub(crate) struct Deadlines {
    queue: Mutex<BTreeMap<Deadline, Weak<dyn Parked>>>,
    numbers: AtomicU64,
    /// Told when the first deadline becomes earlier.
    earlier: Notify,
}

impl Deadlines {
    fn queue(&self) -> MutexGuard<'_, BTreeMap<Deadline, Weak<dyn Parked>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `parked` expires after `timeout` unless the deadline is taken back.
    pub(crate) fn add(&self, timeout: Duration, parked: Weak<dyn Parked>) -> Deadline {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let deadline = Deadline { at: Instant::now() + timeout, number };
        let mut queue = self.queue();
        let is_first = queue.first_key_value().is_none_or(|(first, _)| deadline < *first);
        queue.insert(deadline, parked);
        drop(queue);
        if is_first {
            self.earlier.notify_one();
        }
        deadline
    }

    /// Calls `call` after this time.
    pub(crate) fn call_after(&self, after: Duration, call: impl FnOnce() + Send + 'static) {
        let alarm = Arc::new(Alarm { call: Mutex::new(None) });
        *alarm.call.lock().unwrap_or_else(PoisonError::into_inner) = Some((Box::new(call), Arc::clone(&alarm)));
        let parked: Weak<Alarm> = Arc::downgrade(&alarm);
        self.add(after, parked);
    }

    /// The deadline is no longer wanted.
    pub(crate) fn remove(&self, deadline: Deadline) {
        self.queue().remove(&deadline);
    }

    /// Expires what is due, for ever.
    pub(crate) async fn run(&self) {
        loop {
            let next = self.queue().first_key_value().map(|(deadline, _)| deadline.at);
            match next {
                Some(at) if at <= Instant::now() => {
                    let due = self.queue().pop_first();
                    if let Some(parked) = due.and_then(|(_, parked)| parked.upgrade()) {
                        parked.expire();
                    }
                }
                Some(at) => {
                    let _ = tokio::time::timeout_at(at.into(), self.earlier.notified()).await;
                }
                None => self.earlier.notified().await,
            }
        }
    }
}

/// A call that waits for its time. It holds itself until then: nobody else does.
struct Alarm {
    call: Mutex<Option<AlarmCall>>,
}

type AlarmCall = (Box<dyn FnOnce() + Send>, Arc<Alarm>);

impl Parked for Alarm {
    fn expire(self: Arc<Self>) {
        let call = self.call.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((call, _itself)) = call {
            call();
        }
    }
}

/// One partition of a produce request that waits, in the partition's own list.
pub(crate) struct AckWaiter {
    /// The high watermark that is waited for.
    pub(crate) required: Offset,
    pub(crate) produce: Arc<ParkedProduce>,
    pub(crate) place: Place,
}

/// A coordinator that is told how far its log is committed, in the partition's own list.
pub(crate) struct CommitWaiter {
    /// The high watermark that is waited for.
    pub(crate) required: Offset,
    pub(crate) listener: Weak<dyn CommitListener>,
}

/// Is told once for each append, from any thread, while no partition is locked.
pub(crate) trait CommitListener: Send + Sync {
    /// The high watermark has reached what was waited for, or this broker leads the partition no more.
    fn on_commit(self: Arc<Self>, high_watermark: Result<Offset, ErrorCode>);
}

/// Where a partition stands in a produce response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) topic: usize,
    pub(crate) partition: usize,
}

/// A produce request with `acks=all`. Its partitions may complete before it is armed with its answer.
#[derive(Default)]
pub(crate) struct ParkedProduce {
    state: Mutex<ProduceState>,
}

#[derive(Default)]
struct ProduceState {
    waiting: usize,
    done: Vec<(Place, ErrorCode)>,
    armed: Option<(Later, ProduceResponse)>,
    deadline: Option<(Weak<Deadlines>, Deadline)>,
}

impl ParkedProduce {
    fn state(&self) -> MutexGuard<'_, ProduceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more partition is waited for.
    pub(crate) fn expect(&self) {
        self.state().waiting += 1;
    }

    /// A partition is replicated, or will not be.
    pub(crate) fn complete(&self, place: Place, error: ErrorCode) {
        let mut state = self.state();
        state.waiting = state.waiting.saturating_sub(1);
        state.done.push((place, error));
        self.finish(state);
    }

    /// Gives the answer to be sent once all partitions are done, which they may already be. Partitions that are waited
    /// for carry `REQUEST_TIMED_OUT` in `response` until then.
    pub(crate) fn arm(
        self: &Arc<Self>,
        later: Later,
        response: ProduceResponse,
        deadlines: &Arc<Deadlines>,
        timeout: Duration,
    ) {
        let mut state = self.state();
        state.armed = Some((later, response));
        if state.waiting > 0 {
            let parked: Weak<Self> = Arc::downgrade(self);
            state.deadline = Some((Arc::downgrade(deadlines), deadlines.add(timeout, parked)));
        }
        self.finish(state);
    }

    /// Sends the answer if nothing is missing.
    fn finish(&self, mut state: MutexGuard<'_, ProduceState>) {
        if state.waiting > 0 {
            return;
        }
        let Some((later, mut response)) = state.armed.take() else { return };
        let done = std::mem::take(&mut state.done);
        let deadline = state.deadline.take();
        drop(state);
        if let Some((deadlines, deadline)) = deadline
            && let Some(deadlines) = deadlines.upgrade()
        {
            deadlines.remove(deadline);
        }
        note(&mut response, done);
        later.answer(&response);
    }
}

fn note(response: &mut ProduceResponse, done: Vec<(Place, ErrorCode)>) {
    for (place, error) in done {
        let topic = response.responses.get_mut(place.topic);
        if let Some(partition) = topic.and_then(|topic| topic.partition_responses.get_mut(place.partition)) {
            partition.error_code = error.0;
        }
    }
}

impl Parked for ParkedProduce {
    fn expire(self: Arc<Self>) {
        let mut state = self.state();
        state.waiting = 0;
        state.deadline = None;
        self.finish(state);
    }
}

/// What to tell after a partition's lock is given back.
#[derive(Default)]
pub(crate) struct Wakes {
    pub(crate) acks: Vec<(Arc<ParkedProduce>, Place, ErrorCode)>,
    pub(crate) commits: Vec<(Weak<dyn CommitListener>, Result<Offset, ErrorCode>)>,
    pub(crate) fetches: Vec<Arc<super::parked_fetch::ParkedFetch>>,
}

impl Wakes {
    /// Completes what can be completed; no partition may be locked.
    pub(crate) fn run(self) {
        for (produce, place, error) in self.acks {
            produce.complete(place, error);
        }
        for (listener, high_watermark) in self.commits {
            if let Some(listener) = listener.upgrade() {
                listener.on_commit(high_watermark);
            }
        }
        for fetch in self.fetches {
            fetch.attempt();
        }
    }
}
