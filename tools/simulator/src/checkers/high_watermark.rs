//! A replica's high watermark does not fall while it runs, is not beyond its log, and nothing below it is cut off.

use super::{Checkers, Verdict};
use crate::broker::Replica;

impl Checkers {
    /// Looks at a replica after its broker did something.
    pub(crate) fn on_replica(&mut self, node: usize, replica: &mut Replica) -> Verdict {
        if !replica.is_promised() {
            return Ok(());
        }
        let (before, now) = (replica.seen_high_watermark, replica.state.high_watermark().0);
        if now == before {
            return Ok(());
        }
        if now < before {
            return Err(format!("{}: the high watermark of node {node} fell from {before} to {now}", replica.title()));
        }
        let end = replica.log.log_end_offset().0;
        if now > end {
            return Err(format!("{}: node {node} calls {now} committed and ends at {end}", replica.title()));
        }
        replica.seen_high_watermark = now;
        self.on_committed(node, replica, before, now)
    }

    /// A log was cut to `to`.
    pub(crate) fn on_truncated(&mut self, node: usize, replica: &Replica, to: i64, high_watermark: i64) -> Verdict {
        self.version += 1;
        if replica.is_promised() && to < high_watermark {
            let title = replica.title();
            return Err(format!("{title}: node {node} cut its log to {to}, below its high watermark {high_watermark}"));
        }
        Ok(())
    }
}
