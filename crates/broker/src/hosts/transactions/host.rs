//! `Host`: one transaction coordinator. Events are put into a box; whoever finds the coordinator free works through all of
//! them, so that what came in the meantime is written with one append and nobody waits for a lock. What is to be done
//! beside the log is done by one thread at a time, with nothing locked.

use super::marking;
use crate::broker::Broker;
use crate::partitions::{CommitListener, Deadline, Parked, Partition};
use milena_coordinator::runtime::{Coordinator, Effect, Phase, Ticket};
use milena_coordinator::transaction::{
    Action, TransactionEvent, TransactionMachine, TransactionReply, TransactionRequest,
};
use milena_types::{ErrorCode, LeaderEpoch, Offset};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

/// Gets the answer, from any thread.
pub(crate) type TransactionDone = Box<dyn FnOnce(TransactionReply) + Send>;

/// Something for the coordinator.
enum Input {
    Request(TransactionRequest, TransactionDone),
    Event(TransactionEvent),
    /// The high watermark moved, or the leadership is lost.
    Commit(Result<Offset, ErrorCode>),
    Tick,
    /// The deadline has come.
    Expired,
    /// Whoever waits is told why.
    End(ErrorCode),
}

/// The coordinator of one partition, for as long as this broker leads it in one epoch.
pub(super) struct Host {
    broker: Weak<Broker>,
    pub(super) partition: Arc<Partition>,
    pub(super) epoch: LeaderEpoch,
    inbox: Mutex<Vec<Input>>,
    core: Mutex<Core>,
    actions: Mutex<VecDeque<Action>>,
    /// Held by the thread that does the actions.
    acting: Mutex<()>,
    this: Weak<Host>,
}

pub(super) struct Core {
    pub(super) coordinator: Coordinator<TransactionMachine>,
    waiting: HashMap<Ticket, TransactionDone>,
    last_ticket: u64,
    /// When the coordinator wants to be ticked.
    deadline: Option<(Instant, Deadline)>,
}

impl Host {
    pub(super) fn new(
        broker: &Arc<Broker>,
        partition: Arc<Partition>,
        epoch: LeaderEpoch,
        coordinator: Coordinator<TransactionMachine>,
    ) -> Arc<Host> {
        let core = Core { coordinator, waiting: HashMap::new(), last_ticket: 0, deadline: None };
        Arc::new_cyclic(|this| Host {
            broker: Arc::downgrade(broker),
            partition,
            epoch,
            inbox: Mutex::default(),
            core: Mutex::new(core),
            actions: Mutex::default(),
            acting: Mutex::default(),
            this: this.clone(),
        })
    }

    /// A request; it is answered once.
    pub(super) fn request(&self, request: TransactionRequest, done: TransactionDone) {
        self.put(Input::Request(request, done));
    }

    /// Something happened.
    pub(super) fn event(&self, event: TransactionEvent) {
        self.put(Input::Event(event));
    }

    /// The coordinator goes away.
    pub(super) fn end(&self, error: ErrorCode) {
        self.put(Input::End(error));
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.lock().coordinator.phase() == Phase::Ended
    }

    /// The coordinator, to be loaded. Events wait in the box meanwhile only as long as the lock is held.
    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
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

    fn inbox(&self) -> MutexGuard<'_, Vec<Input>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn actions(&self) -> MutexGuard<'_, VecDeque<Action>> {
        self.actions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, input: Input) {
        self.inbox().push(input);
        loop {
            let mut core = match self.core.try_lock() {
                Ok(core) => core,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Whoever has it looks into the box again after giving it back.
                Err(TryLockError::WouldBlock) => break,
            };
            let answers = self.work(&mut core);
            drop(core);
            for (done, reply) in answers {
                done(reply);
            }
            self.act();
            if self.inbox().is_empty() {
                break;
            }
        }
    }

    /// Everything in the box, then one append.
    fn work(&self, core: &mut Core) -> Vec<(TransactionDone, TransactionReply)> {
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
            for input in inputs {
                core.take(input, now);
            }
            core.coordinator.flush();
            self.perform(&broker, core, &mut answers);
        }
        self.actions().extend(core.coordinator.machine_mut().take_actions());
        self.set_deadline(&broker, core);
        answers
    }

    fn perform(&self, broker: &Broker, core: &mut Core, answers: &mut Vec<(TransactionDone, TransactionReply)>) {
        while let Some(effect) = core.coordinator.next_effect() {
            match effect {
                Effect::Reply(ticket, reply) => {
                    // One whose records could not be written has been answered already.
                    if let Some(done) = core.waiting.remove(&ticket) {
                        answers.push((done, reply));
                    }
                }
                Effect::Append { round, batch, terms } => {
                    let now = broker.now();
                    let listener: Weak<dyn CommitListener> = self.this.clone();
                    match self.partition.append_coordinated(broker, self.epoch, (&batch, terms), listener) {
                        Ok(written) => {
                            core.coordinator.appended(round, Ok(written.first_offset), now);
                            core.coordinator.committed(written.high_watermark, now);
                        }
                        Err(error) => {
                            tracing::warn!(partition = %self.partition, %error, "transactions were not written");
                            core.coordinator.appended(round, Err(error), now);
                        }
                    }
                    core.coordinator.flush();
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
                    Some(Action::Mark(marking)) => marking::mark(&broker, &host, marking),
                    Some(Action::GetProducerId { id }) => {
                        let host = Arc::clone(&host);
                        let take = Box::new(move |result| {
                            // Without one the transaction is looked at again later.
                            if let Ok(producer_id) = result {
                                host.event(TransactionEvent::GotProducerId { id, producer_id });
                            }
                        });
                        broker.producer_ids().generate(&broker, take);
                    }
                    None => break,
                }
            }
        }
    }

    fn set_deadline(&self, broker: &Broker, core: &mut Core) {
        let Some(wait_ms) = core.coordinator.next_deadline().map(|at| at.0.saturating_sub(broker.now().0)) else {
            return;
        };
        let at = Instant::now() + Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0).max(1));
        // One that comes too early finds nothing due and asks again.
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

impl Core {
    fn take(&mut self, input: Input, now: milena_types::Timestamp) {
        match input {
            Input::Request(request, done) => {
                self.last_ticket += 1;
                let ticket = Ticket(self.last_ticket);
                self.waiting.insert(ticket, done);
                self.coordinator.handle(TransactionEvent::Request { ticket, request }, now);
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

impl CommitListener for Host {
    fn on_commit(self: Arc<Self>, high_watermark: Result<Offset, ErrorCode>) {
        self.put(Input::Commit(high_watermark));
    }
}

impl Parked for Host {
    fn expire(self: Arc<Self>) {
        self.put(Input::Expired);
    }
}
