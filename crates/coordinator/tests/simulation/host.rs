//! One coordinator, as a broker hosts it: its disk takes batches one after another and slowly, or refuses them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use milena_coordinator::group::GroupReply;
use milena_coordinator::runtime::{Coordinator, Ticket};
use milena_types::Offset;

use crate::cluster::Spot;
use crate::log::Lives;
use crate::mistakes::Planted;

/// To whom an answer goes.
#[derive(Debug)]
pub(crate) enum Caller {
    Member {
        slot: usize,
        process: u64,
        connection: u64,
        commits: Vec<(Spot, i64)>,
    },
    /// Somebody outside looks at a group's offsets, and knows what had been acknowledged when it asked.
    Poller {
        group: usize,
        acknowledged: BTreeMap<Spot, i64>,
    },
    /// Wants the states of all groups.
    Lister,
}

pub(crate) struct Host {
    pub(crate) coordinator: Coordinator<Planted>,
    pub(crate) disk: VecDeque<(u64, Bytes)>,
    pub(crate) is_disk_busy: bool,
    /// Another leads, and it does not know.
    pub(crate) is_deposed: bool,
    /// Where its own log ends, once it is deposed.
    pub(crate) own_end: Offset,
    pub(crate) callers: BTreeMap<Ticket, Caller>,
    pub(crate) ticks_at: Option<i64>,
    pub(crate) lives: Lives,
}

/// An answer on its way.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) ticket: Ticket,
    pub(crate) caller: Caller,
    pub(crate) reply: GroupReply,
    /// The life of each group when it was sent; nobody knows who was not reached.
    pub(crate) lives: Option<Lives>,
}
