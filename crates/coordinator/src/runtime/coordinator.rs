//! `Coordinator`: runs a machine on the log of one partition.
//!
//! Records that are decided are replayed at once, so that the next decision sees them, and collected into one batch. The
//! batch is a *round*: appended as a whole, committed as a whole when the high watermark has passed it, or taken back as a
//! whole when it could not be appended, with every round after it. Answers wait with the round they depend on.
//!
//! The host appends the batches of `Effect::Append` in their order and reports each with `appended`; nothing else may write
//! the partition's log meanwhile. It then tells of the high watermark with `committed`. Kafka: `CoordinatorRuntime`.

use super::collect::record_size;
use super::machine::{Decision, DecisionOf, Machine, Replicated, Scope, Ticket};
use bytes::Bytes;
use milena_records::{BatchBuilder, Codec};
use milena_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use std::collections::VecDeque;

/// How batches are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuntimeConfig {
    /// `max.message.bytes` of the topic: no batch is larger.
    pub max_batch_bytes: usize,
    /// How long a batch waits for more records; with -1 until `flush`, with 0 not at all.
    pub append_linger_ms: i64,
    /// How long answers wait for their records to be committed.
    pub write_timeout_ms: i64,
    /// How batches are compressed.
    pub codec: Codec,
}

/// What the log is told with a batch of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AppendTerms {
    /// Of a marker.
    pub transaction_version: i16,
    /// Of records: what verifying the transaction gave.
    pub guard: Option<u64>,
}

/// What the host does for a coordinator.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect<Y> {
    /// To be appended to the partition's log, then reported with `Coordinator::appended`.
    Append { round: u64, batch: Bytes, terms: AppendTerms },
    /// To be sent. A ticket is answered once.
    Reply(Ticket, Y),
}

/// What a coordinator can do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The log is being read.
    Loading,
    /// It serves.
    Active,
    /// It has ended: another node leads the partition, or the log is not what it must be.
    Ended,
}

/// Answers and what else waits for records.
pub(super) struct Completion<M: Machine> {
    replies: Vec<(Ticket, M::Reply)>,
    after: Vec<M::After>,
}

/// Records on their way.
pub(super) struct Round<M: Machine> {
    pub(super) number: u64,
    pub(super) first_offset: Offset,
    pub(super) end_offset: Offset,
    pub(super) opened_at: Timestamp,
    pub(super) completions: Vec<Completion<M>>,
}

/// The round that is being filled.
pub(super) struct OpenRound<M: Machine> {
    pub(super) round: Round<M>,
    pub(super) builder: BatchBuilder,
    pub(super) scope: Scope,
}

/// A machine on a log.
pub struct Coordinator<M: Machine> {
    pub(super) config: RuntimeConfig,
    pub(super) epoch: LeaderEpoch,
    pub(super) phase: Phase,
    pub(super) machine: M,
    pub(super) state: M::State,
    pub(super) next_offset: Offset,
    pub(super) last_round: u64,
    pub(super) open: Option<OpenRound<M>>,
    /// Oldest first; handed to the host or loaded, and not committed.
    pub(super) pending: VecDeque<Round<M>>,
    pub(super) effects: VecDeque<Effect<M::Reply>>,
}

impl<M: Machine> Coordinator<M> {
    /// A coordinator whose log is to be loaded, for the leader of `epoch`.
    #[must_use]
    pub fn new(machine: M, config: RuntimeConfig, epoch: LeaderEpoch) -> Self {
        Coordinator {
            config,
            epoch,
            phase: Phase::Loading,
            machine,
            state: M::State::default(),
            next_offset: Offset(0),
            last_round: 0,
            open: None,
            pending: VecDeque::new(),
            effects: VecDeque::new(),
        }
    }

    /// The epoch it leads in.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// What it can do.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The state with everything decided.
    #[must_use]
    pub fn state(&self) -> &M::State {
        &self.state
    }

    /// The machine, to be looked at.
    #[must_use]
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// When a round that is not committed was begun.
    #[must_use]
    pub fn opened_at(&self, round: u64) -> Option<Timestamp> {
        self.pending.iter().find(|pending| pending.number == round).map(|pending| pending.opened_at)
    }

    /// The machine, for what it wants done beside its log.
    pub fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// Where the next record goes.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// What the host has to do, in order.
    pub fn next_effect(&mut self) -> Option<Effect<M::Reply>> {
        self.effects.pop_front()
    }

    /// When `tick` has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if self.phase != Phase::Active {
            return None;
        }
        let linger = self
            .open
            .as_ref()
            .filter(|_| self.config.append_linger_ms > 0)
            .map(|open| Timestamp(open.round.opened_at.0.saturating_add(self.config.append_linger_ms)));
        let waits = |round: &&Round<M>| !round.completions.is_empty();
        let timeout = self.pending.iter().find(waits).map(|round| self.timeout_of(round));
        [self.machine.next_deadline(), linger, timeout].into_iter().flatten().min()
    }

    /// The topic's `max.message.bytes` may have changed.
    pub fn set_max_batch_bytes(&mut self, bytes: usize) {
        self.config.max_batch_bytes = bytes;
    }

    /// Somebody may have set the clock: steady time is ahead of the time of day by this many milliseconds.
    pub fn set_steady_ahead(&mut self, ms: i64) {
        self.machine.set_steady_ahead(ms);
    }

    /// Something happened.
    pub fn handle(&mut self, event: M::Event, now: Timestamp) {
        let error = match self.phase {
            Phase::Active => {
                let decision = self.machine.decide(&self.state, event, now);
                return self.carry_out(decision, now);
            }
            Phase::Loading => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            Phase::Ended => ErrorCode::NOT_COORDINATOR,
        };
        self.reply_all(M::refused(event, error));
    }

    /// Time passed: handles timers that are due, rounds that have waited long enough, and callers that have.
    pub fn tick(&mut self, now: Timestamp) {
        if self.phase != Phase::Active {
            return;
        }
        for _ in 0..TIMERS_PER_TICK {
            let Some(decision) = self.machine.expire(&self.state, now) else { break };
            self.carry_out(decision, now);
        }
        let linger_ms = self.config.append_linger_ms;
        if linger_ms > 0 && self.open.as_ref().is_some_and(|open| now.0 - open.round.opened_at.0 >= linger_ms) {
            self.flush();
        }
        let write_timeout_ms = self.config.write_timeout_ms;
        let is_late = |round: &Round<M>| now.0 - round.opened_at.0 >= write_timeout_ms;
        let mut late = Vec::new();
        for round in self.pending.iter_mut().filter(|round| is_late(round)) {
            late.append(&mut round.completions);
        }
        self.fail(late, ErrorCode::REQUEST_TIMED_OUT, now);
    }

    /// Nothing more comes for now: what was collected is appended, unless it is to wait for more.
    pub fn flush_unless_lingering(&mut self) {
        if self.config.append_linger_ms <= 0 {
            self.flush();
        }
    }

    /// Appends what was collected.
    pub fn flush(&mut self) {
        let Some(OpenRound { round, builder, scope }) = self.open.take() else { return };
        let guard = if let Scope::Transaction { guard, .. } = scope { guard } else { None };
        let terms = AppendTerms { guard, ..AppendTerms::default() };
        match builder.build(round.first_offset, self.epoch) {
            Ok(batch) => self.effects.push_back(Effect::Append { round: round.number, batch, terms }),
            // The sizes were checked before.
            Err(error) => panic!("a batch of a coordinator cannot be built: {error}"),
        }
        self.pending.push_back(round);
    }

    /// The batch of a round lies in the log from this offset on, or is not in it.
    pub fn appended(&mut self, round: u64, result: Result<Offset, ErrorCode>, now: Timestamp) {
        let Some(at) = self.pending.iter().position(|pending| pending.number == round) else { return };
        let expected = self.pending.get(at).map(|round| round.first_offset);
        match result {
            Ok(first_offset) if Some(first_offset) == expected => {}
            // Someone else wrote to the log: what was replayed is not what is there.
            Ok(_) => self.end(ErrorCode::NOT_COORDINATOR),
            Err(error) => self.take_back(at, error, now),
        }
    }

    /// The high watermark has moved to this offset.
    pub fn committed(&mut self, high_watermark: Offset, now: Timestamp) {
        while let Some(round) = self.pending.pop_front_if(|round| round.end_offset <= high_watermark) {
            self.state.commit(round.number);
            for completion in round.completions {
                self.complete(completion, now);
            }
        }
    }

    /// Ends: whoever waits is told why. Nothing that was not committed is to be relied on.
    pub fn end(&mut self, error: ErrorCode) {
        if self.phase == Phase::Ended {
            return;
        }
        self.phase = Phase::Ended;
        let open = self.open.take().map(|open| open.round);
        let rounds = std::mem::take(&mut self.pending).into_iter().chain(open);
        // Records that were not handed out yet never will be.
        self.effects.retain(|effect| matches!(effect, Effect::Reply(..)));
        for (ticket, reply) in rounds.flat_map(|round| round.completions).flat_map(|completion| completion.replies) {
            self.effects.push_back(Effect::Reply(ticket, M::failed(reply, error)));
        }
        let waiting = self.machine.unloaded(error);
        self.reply_all(waiting);
    }

    /// Replays and collects what was decided.
    pub(super) fn carry_out(&mut self, decision: DecisionOf<M>, now: Timestamp) {
        let Decision { records, scope, is_separable, replies, at_once, after } = decision;
        self.reply_all(at_once);
        let completion = Completion { replies, after };
        if let Scope::End(end) = scope {
            return self.end_transaction(&end, completion, now);
        }
        if records.is_empty() {
            return self.complete_after_all_before(completion, now);
        }
        let encoded: Vec<(Bytes, Option<Bytes>)> = records.iter().map(M::encode).collect();
        let fits = self.fits(&encoded, is_separable);
        if !fits {
            self.machine.reverted(&self.state, now);
            return self.fail(vec![completion], ErrorCode::RECORD_LIST_TOO_LARGE, now);
        }
        if scope != Scope::Shared {
            self.flush();
        }
        if !is_separable {
            self.make_room(encoded.iter().map(|(key, value)| record_size(key, value.as_ref())).sum());
        }
        for (record, (key, value)) in records.iter().zip(&encoded) {
            if is_separable {
                self.make_room(record_size(key, value.as_ref()));
            }
            self.collect(record, (key, value.as_ref()), scope, now);
        }
        if let Some(open) = &mut self.open {
            open.round.completions.push(completion);
        }
        if self.config.append_linger_ms == 0 || scope != Scope::Shared {
            self.flush();
        }
    }

    /// An answer that needs no records of its own may still tell of others' that are not committed.
    fn complete_after_all_before(&mut self, completion: Completion<M>, now: Timestamp) {
        if completion.replies.is_empty() && completion.after.is_empty() {
            return;
        }
        let last = self.open.as_mut().map(|open| &mut open.round).or_else(|| self.pending.back_mut());
        match last {
            Some(round) => round.completions.push(completion),
            None => self.complete(completion, now),
        }
    }

    fn complete(&mut self, completion: Completion<M>, now: Timestamp) {
        self.reply_all(completion.replies);
        for after in completion.after {
            let decision = self.machine.after(&self.state, after, Ok(()), now);
            self.carry_out(decision, now);
        }
    }

    fn fail(&mut self, completions: Vec<Completion<M>>, error: ErrorCode, now: Timestamp) {
        for completion in completions {
            for (ticket, reply) in completion.replies {
                self.effects.push_back(Effect::Reply(ticket, M::failed(reply, error)));
            }
            for after in completion.after {
                let decision = self.machine.after(&self.state, after, Err(error), now);
                self.carry_out(decision, now);
            }
        }
    }

    /// A round could not be appended: it and all after it have not happened.
    fn take_back(&mut self, at: usize, error: ErrorCode, now: Timestamp) {
        let mut lost: Vec<Round<M>> = self.pending.drain(at..).collect();
        lost.extend(self.open.take().map(|open| open.round));
        let Some((number, first_offset)) = lost.first().map(|round| (round.number, round.first_offset)) else { return };
        self.state.revert(number);
        self.next_offset = first_offset;
        self.effects.retain(|effect| !matches!(effect, Effect::Append { round, .. } if *round >= number));
        self.machine.reverted(&self.state, now);
        self.fail(lost.into_iter().flat_map(|round| round.completions).collect(), error, now);
    }

    fn timeout_of(&self, round: &Round<M>) -> Timestamp {
        Timestamp(round.opened_at.0.saturating_add(self.config.write_timeout_ms))
    }

    fn reply_all(&mut self, replies: Vec<(Ticket, M::Reply)>) {
        self.effects.extend(replies.into_iter().map(|(ticket, reply)| Effect::Reply(ticket, reply)));
    }
}

/// Timers handled at once; what is left is due in the next tick.
const TIMERS_PER_TICK: usize = 1000;
