//! What is counted only while somebody may ask for metrics.

use super::requests::RequestCells;
use crate::hosts::RuntimeCells;
use milena_metrics::Histogram;

/// Of one broker.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    pub(crate) requests: RequestCells,
    /// Syncs of logs.
    pub(crate) log_flush: Histogram,
    /// Of the group coordinators.
    pub(crate) groups: RuntimeCells,
}
