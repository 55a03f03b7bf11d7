//! Compaction (`LogCleaner`, `Cleaner`): of each key only the newest record stays. What is to be cleaned is planned on a
//! view of the log (`plan.rs`), the newest offset of each key of the dirty part goes into a map (`offset_map.rs`), then
//! all segments below are written anew without what the map says is old (`filter.rs`), several small ones into one
//! (`groups.rs`), and take the places of the old ones (`log/replace.rs`). The log is locked for the view and for the
//! exchange only; nothing is synced and no record is read meanwhile.
//!
//! Invariants: what a cleaning removes is superseded by a record that stays, or is a tombstone, marker or aborted record
//! whose time has come; a checkpoint of the cleaner is written only after the exchanges below it are durable.
//!
//! Not here: when, how many at once, and how fast; that is the host's (`broker/partitions/cleaner.rs`).

mod filter;
mod groups;
mod offset_map;
mod plan;
mod run;
mod target;
mod transactions;
mod view;

pub use plan::CleanPlan;
pub use run::{CleanError, CleanStats, Cleaner, CleanerLimits, Cleaning, Pace};
pub use target::CleanedGroup;
pub(crate) use target::INDEX_SUFFIXES;
pub use view::{CleanView, LastRecords};
pub(crate) use view::{LastRecord, SegmentView};
