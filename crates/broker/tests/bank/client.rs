//! A producer of transfers: it takes over its transactional id, writes both sides, ends the transaction, and does not know
//! what became of it when it gives up.

use milena_coordinator::runtime::Producer;
use milena_types::{ErrorCode, ProducerEpoch, ProducerId};

/// What a client waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// An epoch of its own.
    Init,
    /// Nothing: the next transfer can begin.
    Ready,
    /// Answers to the writes of both sides.
    Writing,
    /// The answer to the end.
    Ending { is_committed: bool },
}

pub(crate) struct Client {
    /// Counts what came before it with the same transactional id; answers to those are not its own.
    pub(crate) incarnation: u64,
    pub(crate) step: Step,
    pub(crate) producer: Producer,
    /// Sequence numbers, by partition.
    pub(crate) sequences: Vec<i32>,
    pub(crate) transfer: u64,
    /// Partitions of the transfer that are not written yet.
    pub(crate) unwritten: Vec<usize>,
    pub(crate) sides: Vec<(usize, i64)>,
    pub(crate) has_failed: bool,
    /// Steps since something was heard.
    pub(crate) patience: u32,
}

impl Client {
    pub(crate) fn new(incarnation: u64, partitions: usize) -> Client {
        Client {
            incarnation,
            step: Step::Init,
            producer: Producer { id: ProducerId::NONE, epoch: ProducerEpoch::NONE },
            sequences: vec![0; partitions],
            transfer: 0,
            unwritten: Vec::new(),
            sides: Vec::new(),
            has_failed: false,
            patience: 0,
        }
    }

    /// Has another producer id or epoch: sequences begin anew.
    pub(crate) fn becomes(&mut self, producer: Producer) {
        self.producer = producer;
        self.sequences.iter_mut().for_each(|sequence| *sequence = 0);
        self.step = Step::Ready;
    }
}

/// Whether a client sends the same once more.
pub(crate) fn comes_again(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::CONCURRENT_TRANSACTIONS
            | ErrorCode::NOT_COORDINATOR
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::REQUEST_TIMED_OUT
    )
}
