//! What may happen to transactions, what callers get, what the host is to do.

use super::state::Transaction;
use crate::runtime::{Producer, Ticket};
use milena_protocol::Text;
use milena_types::{ErrorCode, ProducerId};
use std::collections::BTreeSet;

/// A partition of a transaction.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartitionKey {
    pub topic: Text,
    pub index: i32,
}

/// Something happens to the transactions of one partition.
#[derive(Clone, Debug)]
pub enum TransactionEvent {
    /// A request; its ticket is answered once.
    Request { ticket: Ticket, request: TransactionRequest },
    /// The cluster's level of `transaction.version`.
    Version(i16),
    /// A marker of a transaction is written in these partitions, or they are gone.
    Marked { id: Text, producer: Producer, partitions: Vec<PartitionKey> },
    /// A partition refused a marker for ever: another coordinator, or a later epoch of the producer, was there before.
    MarkerRefused { id: Text, producer: Producer },
    /// The producer id that `Action::GetProducerId` asked for.
    GotProducerId { id: Text, producer_id: ProducerId },
}

/// Requests. `fresh` is a producer id that nobody has; the answer `NeedsProducerId` asks to come again with one.
#[derive(Clone, PartialEq, Debug)]
pub enum TransactionRequest {
    InitProducerId {
        id: Text,
        timeout_ms: i32,
        expected: Option<Producer>,
        fresh: Option<ProducerId>,
    },
    /// Adds partitions to the transaction; begins it if need be.
    AddPartitions {
        id: Text,
        producer: Producer,
        partitions: BTreeSet<PartitionKey>,
        client_version: i16,
    },
    /// Asks whether partitions are in the transaction.
    Verify {
        id: Text,
        producer: Producer,
        partitions: BTreeSet<PartitionKey>,
    },
    End {
        id: Text,
        producer: Producer,
        is_committed: bool,
        client_version: i16,
        fresh: Option<ProducerId>,
    },
    Describe(Vec<Text>),
    List(ListFilter),
}

/// Which transactional ids to list; each filter that says nothing lets everything pass.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ListFilter {
    /// Names of states; unknown ones are told.
    pub states: Vec<Text>,
    pub producer_ids: Vec<i64>,
    /// Transactions that run longer; negative for all.
    pub duration_ms: i64,
    /// A regular expression for the whole id.
    pub pattern: Option<Text>,
}

/// Answers.
#[derive(Clone, PartialEq, Debug)]
pub enum TransactionReply {
    InitProducerId(Result<Producer, ErrorCode>),
    AddPartitions(ErrorCode),
    Verify(Result<Vec<(PartitionKey, ErrorCode)>, ErrorCode>),
    /// The producer of the next transaction; `None` for clients that keep theirs.
    End(Result<Option<Producer>, ErrorCode>),
    Describe(Vec<(Text, Result<Transaction, ErrorCode>)>),
    List(Result<Vec<(Text, ProducerId, &'static str)>, ErrorCode>),
    NeedsProducerId,
}

/// What the host does beside the log.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Markers are to be written, however long it takes.
    Mark(Marking),
    /// A producer id is wanted; it comes with `TransactionEvent::GotProducerId`.
    GetProducerId { id: Text },
}

/// A transaction whose outcome is decided.
#[derive(Clone, PartialEq, Debug)]
pub struct Marking {
    pub id: Text,
    pub producer: Producer,
    pub is_committed: bool,
    /// The version the markers are checked by.
    pub transaction_version: i16,
    pub partitions: BTreeSet<PartitionKey>,
}

impl TransactionRequest {
    /// The transactional id of a request of one.
    #[must_use]
    pub fn id(&self) -> Option<&Text> {
        match self {
            TransactionRequest::InitProducerId { id, .. }
            | TransactionRequest::AddPartitions { id, .. }
            | TransactionRequest::Verify { id, .. }
            | TransactionRequest::End { id, .. } => Some(id),
            TransactionRequest::Describe(_) | TransactionRequest::List(_) => None,
        }
    }

    /// The request once more, with a producer id that nobody has.
    #[must_use]
    pub fn with_producer_id(mut self, producer_id: ProducerId) -> TransactionRequest {
        match &mut self {
            TransactionRequest::InitProducerId { fresh, .. } | TransactionRequest::End { fresh, .. } => {
                *fresh = Some(producer_id);
            }
            _ => {}
        }
        self
    }

    /// The answer with this error.
    #[must_use]
    pub fn refused(&self, error: ErrorCode) -> TransactionReply {
        match self {
            TransactionRequest::InitProducerId { .. } => TransactionReply::InitProducerId(Err(error)),
            TransactionRequest::AddPartitions { .. } => TransactionReply::AddPartitions(error),
            TransactionRequest::Verify { .. } => TransactionReply::Verify(Err(error)),
            TransactionRequest::End { .. } => TransactionReply::End(Err(error)),
            TransactionRequest::Describe(ids) => {
                TransactionReply::Describe(ids.iter().map(|id| (id.clone(), Err(error))).collect())
            }
            TransactionRequest::List(_) => TransactionReply::List(Err(error)),
        }
    }
}

impl TransactionReply {
    /// The answer when its records could not be written.
    #[must_use]
    pub fn failed(self, error: ErrorCode) -> TransactionReply {
        match self {
            TransactionReply::InitProducerId(_) => TransactionReply::InitProducerId(Err(error)),
            TransactionReply::AddPartitions(_) => TransactionReply::AddPartitions(error),
            TransactionReply::Verify(_) => TransactionReply::Verify(Err(error)),
            TransactionReply::End(_) => TransactionReply::End(Err(error)),
            TransactionReply::Describe(described) => {
                TransactionReply::Describe(described.into_iter().map(|(id, _)| (id, Err(error))).collect())
            }
            TransactionReply::List(_) => TransactionReply::List(Err(error)),
            TransactionReply::NeedsProducerId => TransactionReply::NeedsProducerId,
        }
    }
}
