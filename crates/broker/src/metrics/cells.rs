//! What is counted only while somebody may ask for metrics.

use crate::hosts::RuntimeCells;

/// Of one broker.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    /// Of the group coordinators.
    pub(crate) groups: RuntimeCells,
}
