//! `TransactionMachine`: what happens to transactions, passed on to the file of its kind.

use super::config::TransactionConfig;
use super::event::{Action, TransactionEvent, TransactionReply, TransactionRequest};
use super::markers::Markers;
use super::record::TransactionRecord;
use super::state::{Transaction, Transactions};
use super::{add_partitions, describe, end, expiry, init_producer_id, markers};
use crate::group::operation_error;
use crate::runtime::{Decision, Machine, Ticket, Timers};
use bytes::Bytes;
use milena_protocol::{DecodeError, Text};
use milena_types::{ErrorCode, Timestamp};

/// A decision about transactions.
pub type TransactionDecision = Decision<TransactionRecord, TransactionReply, After>;

/// The name of a timer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// Transactions that took too long are aborted.
    AbortTimedOut,
    /// Ids that were silent too long are removed.
    RemoveExpired,
    /// The end of a transaction that could not be written is written again.
    Complete(Text),
}

/// What is to be done once records are committed, or will never be.
#[derive(Clone, PartialEq, Debug)]
pub enum After {
    /// The outcome of a transaction is in the log: its markers can be written.
    Prepared { id: Text },
    /// The end of a transaction is in the log; if not, it is to be written again.
    Completed { id: Text },
}

/// The transactions of one partition, beside what is in the log.
#[derive(Debug)]
pub struct TransactionMachine {
    pub(super) config: TransactionConfig,
    /// The cluster's level of `transaction.version`.
    pub(super) version: i16,
    pub(super) timers: Timers<Timer>,
    pub(super) markers: Markers,
    pub(super) actions: Vec<Action>,
}

/// The surroundings of one decision.
pub(super) struct Context<'a> {
    pub(super) state: &'a Transactions,
    pub(super) machine: &'a mut TransactionMachine,
    pub(super) now: Timestamp,
}

impl Context<'_> {
    /// The record that puts an id into a state.
    pub(super) fn record(&self, id: &Text, value: Transaction) -> TransactionRecord {
        TransactionRecord { id: id.clone(), value: Some(value), version: i16::from(self.machine.version >= 1) }
    }
}

impl TransactionMachine {
    /// A machine for a log that is being loaded; `version` is the cluster's level of `transaction.version`.
    #[must_use]
    pub fn new(config: TransactionConfig, version: i16) -> TransactionMachine {
        TransactionMachine {
            config,
            version,
            timers: Timers::default(),
            markers: Markers::default(),
            actions: Vec::new(),
        }
    }

    /// What the host is to do, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }
}

fn handle(context: &mut Context<'_>, ticket: Ticket, request: TransactionRequest) -> TransactionDecision {
    match request {
        TransactionRequest::InitProducerId { id, timeout_ms, expected, fresh } => {
            init_producer_id::init(context, ticket, &id, (timeout_ms, expected, fresh))
        }
        TransactionRequest::AddPartitions { id, producer, partitions, client_version } => {
            add_partitions::add(context, ticket, &id, (producer, partitions, client_version))
        }
        TransactionRequest::Verify { id, producer, partitions } => {
            let verified = add_partitions::verify(context.state, &id, producer, partitions);
            Decision::reply(ticket, TransactionReply::Verify(verified), Vec::new())
        }
        TransactionRequest::End { id, producer, is_committed, client_version, fresh } => {
            let asked = end::Asked { producer, is_committed, client_version, fresh };
            end::end(context, ticket, &id, &asked)
        }
        TransactionRequest::Describe(ids) => {
            let described = ids.into_iter().map(|id| describe::describe(context.state, id)).collect();
            Decision::at_once(ticket, TransactionReply::Describe(described))
        }
        TransactionRequest::List(filter) => {
            Decision::at_once(ticket, TransactionReply::List(describe::list(context, &filter)))
        }
    }
}

impl Machine for TransactionMachine {
    type State = Transactions;
    type Event = TransactionEvent;
    type Reply = TransactionReply;
    type After = After;

    const BASE_SEQUENCE: i32 = -1;

    fn encode(record: &TransactionRecord) -> (Bytes, Option<Bytes>) {
        record.encode()
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<TransactionRecord>, DecodeError> {
        TransactionRecord::decode(key, value)
    }

    fn loaded(&mut self, state: &Transactions, now: Timestamp) -> TransactionDecision {
        let mut context = Context { state, machine: self, now };
        expiry::schedule(&mut context);
        markers::loaded(&mut context)
    }

    fn decide(&mut self, state: &Transactions, event: TransactionEvent, now: Timestamp) -> TransactionDecision {
        let mut context = Context { state, machine: self, now };
        match event {
            TransactionEvent::Request { ticket, request } => handle(&mut context, ticket, request),
            TransactionEvent::Version(version) => {
                self.version = version;
                TransactionDecision::default()
            }
            TransactionEvent::Marked { id, producer, partitions } => {
                markers::marked(&mut context, &id, producer, &partitions)
            }
            TransactionEvent::MarkerRefused { id, producer } => {
                self.markers.abandon(&id, producer);
                TransactionDecision::default()
            }
            TransactionEvent::GotProducerId { id, producer_id } => {
                expiry::abort_timed_out(&mut context, &id, Some(producer_id))
            }
        }
    }

    fn after(
        &mut self,
        state: &Transactions,
        after: After,
        result: Result<(), ErrorCode>,
        now: Timestamp,
    ) -> TransactionDecision {
        let mut context = Context { state, machine: self, now };
        match (after, result) {
            (After::Prepared { id }, Ok(())) => markers::prepared(&mut context, &id),
            (After::Completed { id }, Err(_)) => {
                markers::complete_later(&mut context, id);
                TransactionDecision::default()
            }
            (After::Prepared { .. }, Err(_)) | (After::Completed { .. }, Ok(())) => TransactionDecision::default(),
        }
    }

    fn refused(event: TransactionEvent, error: ErrorCode) -> Vec<(Ticket, TransactionReply)> {
        match event {
            TransactionEvent::Request { ticket, request } => vec![(ticket, request.refused(operation_error(error)))],
            _ => Vec::new(),
        }
    }

    fn failed(reply: TransactionReply, error: ErrorCode) -> TransactionReply {
        let error = match error {
            ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => ErrorCode::COORDINATOR_NOT_AVAILABLE,
            error => operation_error(error),
        };
        reply.failed(error)
    }

    fn set_steady_ahead(&mut self, ms: i64) {
        self.timers.set_steady_ahead(ms);
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next_deadline()
    }

    fn expire(&mut self, state: &Transactions, now: Timestamp) -> Option<TransactionDecision> {
        let timer = self.timers.pop_due(now)?;
        let mut context = Context { state, machine: self, now };
        Some(match timer {
            Timer::AbortTimedOut => expiry::abort_all_timed_out(&mut context),
            Timer::RemoveExpired => expiry::remove_expired(&mut context),
            Timer::Complete(id) => markers::complete(&mut context, &id),
        })
    }

    fn unloaded(&mut self, _: ErrorCode) -> Vec<(Ticket, TransactionReply)> {
        self.markers = Markers::default();
        self.actions.clear();
        Vec::new()
    }
}
