//! What a broker wants done by the world around it.

use milena_replication::PartitionKey;
use milena_storage::FlushHandle;
use milena_storage::disk::SimulatedDisk;
use milena_types::{BrokerId, LeaderEpoch, Offset};

use super::replica::Entry;
use crate::message::{Answer, Lane, Purpose, Request};

/// Whom to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    /// The active controller, as far as this node knows who that is.
    Controller,
    Broker(BrokerId),
}

/// Something that checkers and counters are told.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    Appended {
        key: PartitionKey,
        base: i64,
        entries: Vec<Entry>,
    },
    Truncated {
        key: PartitionKey,
        from: i64,
        to: i64,
        high_watermark: i64,
    },
    BeganToLead {
        key: PartitionKey,
        epoch: LeaderEpoch,
    },
    Acknowledged {
        key: PartitionKey,
        first: Offset,
        values: Vec<u64>,
    },
    /// A log was opened after an end that was not clean.
    Recovered {
        bytes_cut: u64,
    },
    /// A log failed: the process ends, as the last log directory of a broker does it.
    LogFailed,
    Unfenced,
    /// The controller lets the broker go.
    MayLeave,
}

/// Collected while a broker acts.
#[derive(Default)]
pub(crate) struct Outbox {
    pub(crate) calls: Vec<(To, Lane, Request, Purpose)>,
    pub(crate) answers: Vec<(u64, Answer)>,
    pub(crate) flushes: Vec<(PartitionKey, FlushHandle<SimulatedDisk>)>,
    pub(crate) notes: Vec<Note>,
}

impl Outbox {
    pub(crate) fn answer(&mut self, call: u64, answer: Answer) {
        self.answers.push((call, answer));
    }
}
