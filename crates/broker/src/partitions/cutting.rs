//! The one door through which the log of a partition is cut (INV-8). A log that ends below its recovery point has lost records,
//! for all that the next start knows: so the recovery point on disk is lowered before, and nobody writes another one until
//! the log is cut. Kafka writes it afterwards, and does not look.

use super::checkpoints::Checkpoints;
use super::follower::{FollowerProblem, Taken};
use super::partition::{Inner, Partition};
use crate::broker::Broker;
use milena_types::Offset;

impl Partition {
    /// Does `cut`, which leaves nothing of the log from `to` on, or from the batch that holds it. `is_asked` says whether the
    /// partition still is what it was when that was decided: its lock is taken here, after that of the checkpoints. Blocks
    /// on the device.
    ///
    /// # Errors
    /// Those of `cut`; no room for the checkpoint: then nothing is cut.
    pub(super) fn cut_log(
        &self,
        broker: &Broker,
        to: Offset,
        is_asked: impl Fn(&Inner) -> bool,
        cut: impl FnOnce(&mut Inner) -> Result<(), FollowerProblem>,
    ) -> Result<Taken, FollowerProblem> {
        let alone = broker.log_dirs().checkpoints();
        let mut checkpoints = Checkpoints::default();
        let mut inner = self.lock();
        if !is_asked(&inner) {
            return Ok(Taken::Stale);
        }
        if inner.log.lower_recovery_point(to) {
            drop(inner);
            checkpoints.write_recovery_points_alone(broker, &alone);
            if !checkpoints.has_recovery_points(&self.log_dir()) {
                return Err(FollowerProblem::NoRoom);
            }
            inner = self.lock();
            if !is_asked(&inner) {
                return Ok(Taken::Stale);
            }
        }
        let outcome = cut(&mut inner);
        drop(inner);
        checkpoints.write_recovery_points_alone(broker, &alone);
        drop(alone);
        checkpoints.write_cleaned(broker);
        outcome.map(|()| Taken::Done)
    }
}

#[cfg(test)]
#[path = "cutting_tests.rs"]
mod tests;
