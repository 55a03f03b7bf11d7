//! What must always hold, one file each. A checker says what it saw in one sentence; the first one ends the run.

mod acknowledged;
mod audit;
mod candidates;
mod committed;
mod fenced;
mod high_watermark;
mod ledger;
mod liveness;
mod log_matching;
mod metadata_matching;
mod quorum_superset;
mod readers;
mod survivors;

pub(crate) use ledger::{Ledger, is_promised, is_promised_key};
pub(crate) use metadata_matching::MetadataMatching;

use std::collections::{BTreeMap, BTreeSet};

use milena_replication::PartitionKey;
use milena_types::Offset;

/// What a checker found.
pub(crate) type Verdict = Result<(), String>;

/// Everything the checkers remember.
#[derive(Default)]
pub(crate) struct Checkers {
    /// Grows with whatever may make a log lack what it needs; nothing is compared again before.
    pub(crate) version: u64,
    pub(crate) compared: u64,
    /// What is committed, by partition.
    pub(crate) ledgers: BTreeMap<PartitionKey, Ledger>,
    pub(crate) metadata: MetadataMatching,
    /// Which value a leader wrote at an offset in its epoch.
    pub(crate) written: BTreeMap<(PartitionKey, i64, i32), u64>,
    /// What clients were told: offset and value, the offset -1 where it was not told.
    pub(crate) acknowledged: BTreeMap<PartitionKey, Vec<(i64, u64)>>,
    /// When each broker's heartbeat was last answered well.
    pub(crate) heartbeats: BTreeMap<usize, i64>,
    /// The last fencing of each broker: in which epoch of it, and where in the metadata.
    pub(crate) fencings: BTreeMap<usize, (i64, Offset)>,
    /// When each heartbeat that is not answered yet came to a controller, by call.
    pub(crate) beats: BTreeMap<u64, i64>,
    /// Topics whose creation was answered.
    pub(crate) topics: BTreeSet<String>,
}
