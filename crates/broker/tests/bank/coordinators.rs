//! The coordinator of all transactional ids, with the log it answers from, and the one before it, which may not have heard that it
//! is none any more: it goes on taking requests, answers those for which nothing must be replicated, and sends markers of what
//! was committed in its time. What it appends is never committed.

use crate::random::Random;
use bytes::Bytes;
use milena_coordinator::runtime::{Coordinator, Effect, RuntimeConfig, Ticket};
use milena_coordinator::transaction::{
    Action, Marking, TransactionConfig, TransactionEvent, TransactionMachine, TransactionReply, TransactionRequest,
};
use milena_records::{Batches, Codec, Scratch};
use milena_types::{LeaderEpoch, Offset, ProducerId, Timestamp};
use std::collections::BTreeMap;

/// The version of the protocol in which a late message cannot end another transaction.
pub(crate) const VERSION: i16 = 2;

/// What a coordinator has to say.
pub(crate) enum Told<A> {
    Reply(A, TransactionReply),
    Mark(Marking, i32),
}

/// One of them; `A` is who asks.
struct Seat<A> {
    coordinator: Coordinator<TransactionMachine>,
    epoch: i32,
    log_end: Offset,
    askers: BTreeMap<Ticket, (A, TransactionRequest)>,
}

impl<A> Seat<A> {
    fn new(epoch: i32, log_end: Offset) -> Seat<A> {
        let config = RuntimeConfig {
            max_batch_bytes: 1 << 20,
            append_linger_ms: -1,
            write_timeout_ms: 30_000,
            codec: Codec::NONE,
        };
        let transactions = TransactionConfig { abort_timed_out_interval_ms: 1000, ..TransactionConfig::default() };
        let machine = TransactionMachine::new(transactions, VERSION);
        let coordinator = Coordinator::new(machine, config, LeaderEpoch(epoch));
        Seat { coordinator, epoch, log_end, askers: BTreeMap::new() }
    }
}

/// Both.
pub(crate) struct Coordinators<A> {
    active: Seat<A>,
    deposed: Option<Seat<A>>,
    log: Vec<Bytes>,
    committed_end: Offset,
    last_ticket: u64,
    last_producer_id: i64,
    told: Vec<Told<A>>,
    /// A mistake: who takes over does not send the markers it finds.
    forgets_markers: bool,
    /// A mistake: who is deposed believes that what it appends is replicated.
    deposed_commits: bool,
}

impl<A> Coordinators<A> {
    /// The first one; with one of two mistakes or without.
    pub(crate) fn new((forgets_markers, deposed_commits): (bool, bool), now: Timestamp) -> Coordinators<A> {
        let mut all = Coordinators {
            active: Seat::new(0, Offset(0)),
            deposed: None,
            log: Vec::new(),
            committed_end: Offset(0),
            last_ticket: 0,
            last_producer_id: 0,
            told: Vec::new(),
            forgets_markers,
            deposed_commits,
        };
        all.take_over(now);
        all
    }

    /// What was said since this was asked last.
    pub(crate) fn told(&mut self) -> Vec<Told<A>> {
        std::mem::take(&mut self.told)
    }

    /// Another one takes over; what was not committed may be gone with the one before, which may go on.
    pub(crate) fn crash(&mut self, random: &mut Random, now: Timestamp) {
        let mut log_end = self.active.log_end;
        if random.one_in(2) {
            while log_end > self.committed_end {
                let lost = self.log.pop().unwrap();
                log_end = Batches::new(lost).next().unwrap().unwrap().header.base_offset;
            }
        }
        let next = Seat::new(self.active.epoch + 1, log_end);
        let before = std::mem::replace(&mut self.active, next);
        self.deposed = random.one_in(2).then_some(before);
        self.take_over(now);
    }

    fn take_over(&mut self, now: Timestamp) {
        let mut scratch = Scratch::new();
        let Seat { coordinator, log_end, .. } = &mut self.active;
        for bytes in &self.log {
            for batch in Batches::new(bytes.clone()).map(Result::unwrap) {
                coordinator.load(&batch, *log_end, &mut scratch).unwrap();
            }
        }
        self.committed_end = *log_end;
        coordinator.activate(*log_end, now);
        if self.forgets_markers {
            coordinator.machine_mut().take_actions();
        }
        self.work(now);
    }

    /// The deposed one hears of it.
    pub(crate) fn retire(&mut self) {
        self.deposed = None;
    }

    pub(crate) fn has_deposed(&self) -> bool {
        self.deposed.is_some()
    }

    /// What was appended is replicated.
    pub(crate) fn commit(&mut self, now: Timestamp) {
        self.committed_end = self.active.log_end;
        self.active.coordinator.committed(self.committed_end, now);
        for seat in self.deposed.iter_mut().filter(|_| self.deposed_commits) {
            seat.coordinator.committed(seat.log_end, now);
        }
        self.work(now);
    }

    pub(crate) fn tick(&mut self, now: Timestamp) {
        self.active.coordinator.tick(now);
        self.deposed.iter_mut().for_each(|seat| seat.coordinator.tick(now));
        self.work(now);
    }

    /// Asks the active one, or the other one if it is there.
    pub(crate) fn ask(&mut self, asker: A, request: TransactionRequest, is_misled: bool, now: Timestamp)
    where
        A: Clone,
    {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let seat = self.deposed.as_mut().filter(|_| is_misled).unwrap_or(&mut self.active);
        seat.askers.insert(ticket, (asker, request.clone()));
        seat.coordinator.handle(TransactionEvent::Request { ticket, request }, now);
        self.work(now);
    }

    /// Who sent a marker in this epoch hears of it, if it is still there.
    pub(crate) fn hear(&mut self, epoch: i32, event: TransactionEvent, now: Timestamp) {
        let seats = self.deposed.iter_mut().chain([&mut self.active]);
        for seat in seats.filter(|seat| seat.epoch == epoch) {
            seat.coordinator.handle(event.clone(), now);
        }
        self.work(now);
    }

    fn work(&mut self, now: Timestamp) {
        let Coordinators { active, deposed, log, last_ticket, last_producer_id, told, .. } = self;
        let mut next_producer_id = || {
            *last_producer_id += 1;
            ProducerId(*last_producer_id)
        };
        for (seat, mut log) in [(Some(active), Some(log)), (deposed.as_mut(), None)] {
            let Some(Seat { coordinator, epoch, log_end, askers }) = seat else { continue };
            coordinator.flush();
            loop {
                while let Some(effect) = coordinator.next_effect() {
                    match effect {
                        Effect::Reply(ticket, reply) => {
                            let Some((asker, request)) = askers.remove(&ticket) else { continue };
                            if reply == TransactionReply::NeedsProducerId {
                                *last_ticket += 1;
                                let (ticket, request) =
                                    (Ticket(*last_ticket), request.with_producer_id(next_producer_id()));
                                askers.insert(ticket, (asker, request.clone()));
                                coordinator.handle(TransactionEvent::Request { ticket, request }, now);
                            } else {
                                told.push(Told::Reply(asker, reply));
                            }
                        }
                        Effect::Append { round, batch, .. } => {
                            let first = *log_end;
                            *log_end = Batches::new(batch.clone()).next().unwrap().unwrap().header.next_offset();
                            log.iter_mut().for_each(|log| log.push(batch.clone()));
                            coordinator.appended(round, Ok(first), now);
                            coordinator.flush();
                        }
                    }
                }
                let actions = coordinator.machine_mut().take_actions();
                if actions.is_empty() {
                    break;
                }
                for action in actions {
                    match action {
                        Action::Mark(marking) => told.push(Told::Mark(marking, *epoch)),
                        Action::GetProducerId { id } => {
                            let producer_id = next_producer_id();
                            coordinator.handle(TransactionEvent::GotProducerId { id, producer_id }, now);
                        }
                    }
                }
                coordinator.flush();
            }
        }
    }
}
