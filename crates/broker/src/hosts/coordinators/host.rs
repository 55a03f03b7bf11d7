//! `Host`: one coordinator. Events are put into a box; whoever finds the coordinator free works through all of them, so
//! that what came in the meantime is written with one append and nobody waits for a lock. What is to be done beside the
//! log is done by one thread at a time, with nothing locked.

use super::Hosted;
use super::cells::RuntimeCells;
use crate::broker::Broker;
use crate::partitions::{CommitListener, Deadline, Parked, Partition};
use milena_coordinator::runtime::{Coordinator, Effect, Machine, Phase, Ticket};
use milena_metrics::{Histogram, Stopwatch};
use milena_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

/// Gets the answer, from any thread.
pub(in crate::hosts) type Done<M> = Box<dyn FnOnce(<M as Machine>::Reply) + Send>;

/// Answers to be given.
type Answers<M> = Vec<(Done<M>, <M as Machine>::Reply)>;

/// Something for the coordinator.
enum Input<M: Hosted> {
    Request(M::Request, Done<M>),
    Event(M::Event),
    /// The high watermark moved, or the leadership is lost.
    Commit(Result<Offset, ErrorCode>),
    Tick,
    /// The deadline has come.
    Expired,
    /// Whoever waits is told why.
    End(ErrorCode),
}

/// The coordinator of one partition, for as long as this broker leads it in one epoch.
pub(in crate::hosts) struct Host<M: Hosted> {
    broker: Weak<Broker>,
    pub(in crate::hosts) partition: Arc<Partition>,
    pub(in crate::hosts) epoch: LeaderEpoch,
    /// With how long each has been in it.
    inbox: Mutex<Vec<(Stopwatch, Input<M>)>>,
    is_measured: bool,
    core: Mutex<Core<M>>,
    actions: Mutex<VecDeque<M::Action>>,
    /// Held by the thread that does the actions.
    acting: Mutex<()>,
    this: Weak<Host<M>>,
}

pub(super) struct Core<M: Hosted> {
    pub(super) coordinator: Coordinator<M>,
    /// With how long it has waited since it was worked on.
    waiting: HashMap<Ticket, (Done<M>, Stopwatch)>,
    is_measured: bool,
    last_ticket: u64,
    /// When the coordinator wants to be ticked.
    deadline: Option<(Instant, Deadline)>,
}

impl<M: Hosted> Host<M> {
    pub(super) fn new(
        broker: &Arc<Broker>,
        partition: Arc<Partition>,
        epoch: LeaderEpoch,
        coordinator: Coordinator<M>,
    ) -> Arc<Host<M>> {
        let is_measured = M::cells(broker).is_some();
        let core = Core { coordinator, waiting: HashMap::new(), is_measured, last_ticket: 0, deadline: None };
        Arc::new_cyclic(|this| Host {
            broker: Arc::downgrade(broker),
            partition,
            epoch,
            inbox: Mutex::default(),
            is_measured,
            core: Mutex::new(core),
            actions: Mutex::default(),
            acting: Mutex::default(),
            this: this.clone(),
        })
    }

    /// A request; it is answered once.
    pub(in crate::hosts) fn request(&self, request: M::Request, done: Done<M>) {
        self.put(Input::Request(request, done));
    }

    /// Something happened.
    pub(in crate::hosts) fn event(&self, event: M::Event) {
        self.put(Input::Event(event));
    }

    /// The coordinator goes away.
    pub(super) fn end(&self, error: ErrorCode) {
        self.put(Input::End(error));
    }

    /// Whether it has ended.
    pub(in crate::hosts) fn has_ended(&self) -> bool {
        self.lock().coordinator.phase() == Phase::Ended
    }

    /// The coordinator, to be loaded. Events wait in the box meanwhile only as long as the lock is held.
    pub(super) fn lock(&self) -> MutexGuard<'_, Core<M>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was loaded is committed when the high watermark passes its end.
    pub(super) fn await_commit(&self, end_offset: Offset) {
        let listener: Weak<dyn CommitListener> = self.this.clone();
        let committed = self.partition.await_coordinated(self.epoch, end_offset, listener);
        self.put(Input::Commit(committed));
    }

    /// Works through what came while `lock` was held.
    pub(super) fn catch_up(&self) {
        self.put(Input::Tick);
    }

    /// How much waits in the box.
    pub(in crate::hosts) fn queued(&self) -> usize {
        self.inbox().len()
    }

    /// Looks at the coordinator. What comes meanwhile waits in the box, and is worked on before this returns.
    pub(in crate::hosts) fn look<T>(&self, look: impl FnOnce(&Coordinator<M>) -> T) -> T {
        let core = self.lock();
        let seen = look(&core.coordinator);
        drop(core);
        if self.queued() > 0 {
            self.catch_up();
        }
        seen
    }

    fn inbox(&self) -> MutexGuard<'_, Vec<(Stopwatch, Input<M>)>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn actions(&self) -> MutexGuard<'_, VecDeque<M::Action>> {
        self.actions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, input: Input<M>) {
        self.inbox().push((Stopwatch::start_if(self.is_measured), input));
        loop {
            let mut core = match self.core.try_lock() {
                Ok(core) => core,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Whoever has it looks into the box again after giving it back.
                Err(TryLockError::WouldBlock) => return,
            };
            let answers = self.work(&mut core);
            drop(core);
            for (done, reply) in answers {
                done(reply);
            }
            self.act();
            if self.inbox().is_empty() {
                return;
            }
        }
    }

    /// Everything in the box, then one append.
    fn work(&self, core: &mut Core<M>) -> Answers<M> {
        let Some(broker) = self.broker.upgrade() else { return Vec::new() };
        let now = broker.now();
        core.coordinator.set_steady_ahead(broker.steady_ahead_ms());
        core.coordinator.set_max_batch_bytes(self.partition.max_batch_bytes());
        let mut answers = Vec::new();
        loop {
            let inputs = std::mem::take(&mut *self.inbox());
            if inputs.is_empty() {
                break;
            }
            let cells = M::cells(&broker);
            for (queued, input) in inputs {
                let processing = Stopwatch::start_if(cells.is_some());
                core.take(input, now);
                if let (Some(cells), Some(queued), Some(processing)) = (cells, queued.elapsed(), processing.elapsed()) {
                    cells.event_queue.record(queued.saturating_sub(processing));
                    cells.event_processing.record(processing);
                }
            }
            core.coordinator.flush_unless_lingering();
            self.perform(&broker, core, &mut answers);
        }
        self.actions().extend(core.coordinator.machine_mut().take_actions());
        self.set_deadline(&broker, core);
        answers
    }

    fn perform(&self, broker: &Broker, core: &mut Core<M>, answers: &mut Answers<M>) {
        while let Some(effect) = core.coordinator.next_effect() {
            match effect {
                Effect::Reply(ticket, reply) => {
                    // One whose records could not be written has been answered already.
                    if let Some((done, waited)) = core.waiting.remove(&ticket) {
                        record::<M>(broker, waited, |cells| &cells.event_purgatory);
                        answers.push((done, reply));
                    }
                }
                Effect::Append { round, batch, terms } => {
                    let now = broker.now();
                    let listener: Weak<dyn CommitListener> = self.this.clone();
                    note_linger::<M>(broker, core, round, now);
                    let flush = Stopwatch::start_if(self.is_measured);
                    let appended = self.partition.append_coordinated(broker, self.epoch, (&batch, terms), listener);
                    record::<M>(broker, flush, |cells| &cells.batch_flush);
                    match appended {
                        Ok(written) => {
                            core.coordinator.appended(round, Ok(written.first_offset), now);
                            core.coordinator.committed(written.high_watermark, now);
                        }
                        Err(error) => {
                            tracing::warn!(partition = %self.partition, %error, "changes of {} were not written", M::SUBJECT);
                            core.coordinator.appended(round, Err(error), now);
                        }
                    }
                    core.coordinator.flush_unless_lingering();
                }
            }
        }
    }

    /// Does what is to be done beside the log, in order. An event that comes of it may be worked on in between, but what
    /// that asks for waits its turn: nothing nests.
    fn act(&self) {
        while !self.actions().is_empty() {
            let _acting = match self.acting.try_lock() {
                Ok(acting) => acting,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Whoever has it looks again after giving it back.
                Err(TryLockError::WouldBlock) => return,
            };
            let (Some(broker), Some(host)) = (self.broker.upgrade(), self.this.upgrade()) else { return };
            loop {
                let next = self.actions().pop_front();
                match next {
                    Some(action) => M::act(&broker, &host, action),
                    None => break,
                }
            }
        }
    }

    fn set_deadline(&self, broker: &Broker, core: &mut Core<M>) {
        let Some(wait_ms) = core.coordinator.next_deadline().map(|at| at.0.saturating_sub(broker.now().0)) else {
            return;
        };
        let at = Instant::now() + Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0).max(1));
        // Timers move back all the time: one that comes too early finds nothing due and asks again.
        if core.deadline.as_ref().is_some_and(|(set, _)| *set <= at) {
            return;
        }
        if let Some((_, deadline)) = core.deadline.take() {
            broker.deadlines().remove(deadline);
        }
        let parked: Weak<dyn Parked> = self.this.clone();
        let deadline = broker.deadlines().add(at.saturating_duration_since(Instant::now()), parked);
        core.deadline = Some((at, deadline));
    }
}

impl<M: Hosted> Core<M> {
    fn take(&mut self, input: Input<M>, now: Timestamp) {
        match input {
            Input::Request(request, done) => {
                self.last_ticket += 1;
                let ticket = Ticket(self.last_ticket);
                self.waiting.insert(ticket, (done, Stopwatch::start_if(self.is_measured)));
                self.coordinator.handle(M::asked(ticket, request), now);
            }
            Input::Event(event) if self.coordinator.phase() == Phase::Active => self.coordinator.handle(event, now),
            Input::Event(_) => {}
            Input::Commit(Ok(high_watermark)) => self.coordinator.committed(high_watermark, now),
            Input::Commit(Err(_)) => self.coordinator.end(ErrorCode::NOT_COORDINATOR),
            Input::Tick => self.coordinator.tick(now),
            Input::Expired => {
                self.deadline = None;
                self.coordinator.tick(now);
            }
            Input::End(error) => self.coordinator.end(error),
        }
    }
}

/// Notes a time, if somebody may ask for it.
fn record<M: Hosted>(broker: &Broker, took: Stopwatch, cell: impl FnOnce(&RuntimeCells) -> &Histogram) {
    if let (Some(cells), Some(took)) = (M::cells(broker), took.elapsed()) {
        cell(cells).record(took);
    }
}

/// Notes how long a batch waited for more records.
fn note_linger<M: Hosted>(broker: &Broker, core: &Core<M>, round: u64, now: Timestamp) {
    if let (Some(cells), Some(opened)) = (M::cells(broker), core.coordinator.opened_at(round)) {
        let waited_ms = u64::try_from(now.0.saturating_sub(opened.0)).unwrap_or(0);
        cells.batch_linger.record(Duration::from_millis(waited_ms));
    }
}

impl<M: Hosted> CommitListener for Host<M> {
    fn on_commit(self: Arc<Self>, high_watermark: Result<Offset, ErrorCode>) {
        self.put(Input::Commit(high_watermark));
    }
}

impl<M: Hosted> Parked for Host<M> {
    fn expire(self: Arc<Self>) {
        self.put(Input::Expired);
    }
}
