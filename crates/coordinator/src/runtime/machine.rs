//! `Machine`: what the runtime hosts, in two halves. `State` is what the log amounts to and changes only when a record is
//! replayed; the machine itself is what is forgotten when the coordinator moves: timers, callers that wait, caches.
//! Deciding gets the state by `&`, so that the compiler holds INV-13.

use bytes::Bytes;
use milena_protocol::DecodeError;
use milena_types::{ErrorCode, Offset, ProducerEpoch, ProducerId, Timestamp};

/// A caller that waits for an answer. The host knows what it stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// Where a record lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordPlace {
    /// Its offset in the partition.
    pub offset: Offset,
    /// The producer of its batch if that is part of a transaction, else `NONE`.
    pub producer_id: ProducerId,
}

/// State that follows from a log.
pub trait Replicated: Default {
    /// One change.
    type Record;

    /// Makes the change. The only way to change anything. A record that cannot be is passed over: the log is the truth
    /// and was written by many versions.
    fn replay(&mut self, place: RecordPlace, record: &Self::Record);

    /// A transaction of this producer ended.
    fn replay_end_of_transaction(&mut self, producer_id: ProducerId, is_committed: bool);

    /// What is replayed from now on belongs to this round; see `Timeline`.
    fn begin(&mut self, round: u64);

    /// Rounds up to this one are committed.
    fn commit(&mut self, round: u64);

    /// Takes back every round from this one on.
    fn revert(&mut self, round: u64);
}

/// A producer of transactions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Producer {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
}

/// The end of a transaction in this log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndOfTransaction {
    pub producer: Producer,
    /// The epoch of the transaction's coordinator.
    pub coordinator_epoch: i32,
    pub is_committed: bool,
    /// The version of the protocol the transaction was made with (KIP-890).
    pub transaction_version: i16,
}

/// What kind of batch a decision's records go into.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scope {
    /// One with others' records.
    #[default]
    Shared,
    /// One of their own, which is part of this producer's transaction. The guard is what verifying the transaction gave.
    Transaction { producer: Producer, guard: Option<u64> },
    /// There are no records; the marker that ends a transaction is a batch of its own.
    End(EndOfTransaction),
}

/// What was decided. Nothing of it has happened yet.
#[derive(Clone, PartialEq, Debug)]
pub struct Decision<R, Y, A> {
    /// In order. They are appended in one batch, with others' if there is room.
    pub records: Vec<R>,
    /// Where the records go.
    pub scope: Scope,
    /// The records may be spread over several batches; nothing else depends on them.
    pub is_separable: bool,
    /// Sent once the records are committed; without records, once everything before them is.
    pub replies: Vec<(Ticket, Y)>,
    /// Sent at once, whatever becomes of the records.
    pub at_once: Vec<(Ticket, Y)>,
    /// Handed to `Machine::after` when the records are committed, or will never be.
    pub after: Vec<A>,
}

impl<R, Y, A> Default for Decision<R, Y, A> {
    fn default() -> Self {
        Decision {
            records: Vec::new(),
            scope: Scope::Shared,
            is_separable: false,
            replies: Vec::new(),
            at_once: Vec::new(),
            after: Vec::new(),
        }
    }
}

impl<R, Y, A> Decision<R, Y, A> {
    /// An answer once `records` are committed.
    #[must_use]
    pub fn reply(ticket: Ticket, reply: Y, records: Vec<R>) -> Self {
        Decision { records, replies: vec![(ticket, reply)], ..Decision::default() }
    }

    /// An answer that waits for nothing.
    #[must_use]
    pub fn at_once(ticket: Ticket, reply: Y) -> Self {
        Decision { at_once: vec![(ticket, reply)], ..Decision::default() }
    }

    /// Records for which nobody waits.
    #[must_use]
    pub fn records(records: Vec<R>) -> Self {
        Decision { records, ..Decision::default() }
    }

    /// Records for which nobody waits and that need not be written together.
    #[must_use]
    pub fn separable(records: Vec<R>) -> Self {
        Decision { records, is_separable: true, ..Decision::default() }
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.scope == Scope::Shared
            && self.replies.is_empty()
            && self.at_once.is_empty()
            && self.after.is_empty()
    }

    /// Both, this first. Decisions of a transaction stand alone.
    pub fn extend(&mut self, other: Self) {
        assert_eq!((self.scope, other.scope), (Scope::Shared, Scope::Shared), "a transaction's records are their own");
        self.is_separable &= other.is_separable;
        self.records.extend(other.records);
        self.replies.extend(other.replies);
        self.at_once.extend(other.at_once);
        self.after.extend(other.after);
    }
}

/// A machine's decision.
pub type DecisionOf<M> =
    Decision<<<M as Machine>::State as Replicated>::Record, <M as Machine>::Reply, <M as Machine>::After>;

/// A log-backed state machine.
pub trait Machine {
    /// What the log amounts to.
    type State: Replicated;
    /// What may happen.
    type Event;
    /// What a caller gets.
    type Reply;
    /// What is to be done once records are committed or lost.
    type After;

    /// The sequence that its batches carry though there is no producer: Apache Kafka's coordinators count from 0, but that
    /// of transactions, which came before their runtime, does not count.
    const BASE_SEQUENCE: i32 = 0;

    /// The key and value of a record in the log.
    fn encode(record: &<Self::State as Replicated>::Record) -> (Bytes, Option<Bytes>);

    /// The record of a key and value of the log; `None` for kinds this version does not know.
    ///
    /// # Errors
    /// Bytes that are no record of their kind.
    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<<Self::State as Replicated>::Record>, DecodeError>;

    /// The log is loaded and this node leads it.
    fn loaded(&mut self, state: &Self::State, now: Timestamp) -> DecisionOf<Self>;

    /// Something happened.
    fn decide(&mut self, state: &Self::State, event: Self::Event, now: Timestamp) -> DecisionOf<Self>;

    /// Records are committed and replayed, or were taken back for `result`'s reason.
    fn after(
        &mut self,
        state: &Self::State,
        after: Self::After,
        result: Result<(), ErrorCode>,
        now: Timestamp,
    ) -> DecisionOf<Self>;

    /// Records that were decided could not be written and are taken back: what was put off or dropped with them is to be
    /// expected again. The decisions' own `after` follows.
    fn reverted(&mut self, _state: &Self::State, _now: Timestamp) {}

    /// The answers to an event that cannot be decided because of `error`.
    fn refused(event: Self::Event, error: ErrorCode) -> Vec<(Ticket, Self::Reply)>;

    /// An answer whose records were lost because of `error`.
    fn failed(reply: Self::Reply, error: ErrorCode) -> Self::Reply;

    /// Steady time is ahead of the time of day by this many milliseconds from now on; timers go by steady time.
    fn set_steady_ahead(&mut self, _ms: i64) {}

    /// When `expire` has something to do.
    fn next_deadline(&self) -> Option<Timestamp>;

    /// Handles one timer that is due; `None` when none is.
    fn expire(&mut self, state: &Self::State, now: Timestamp) -> Option<DecisionOf<Self>>;

    /// The coordinator goes away: answers for everyone who waits for something else than records.
    fn unloaded(&mut self, error: ErrorCode) -> Vec<(Ticket, Self::Reply)>;
}
