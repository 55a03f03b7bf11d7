//! What recovery does with a batch that is damaged though it was on disk once (protocol-aware recovery): it is not the torn
//! end of the last write, and cutting the log there would throw away what is good. Kafka cuts.

use milena_records::BatchHeader;

use super::{Damage, Log, LogOpen};
use crate::config::LogConfig;
use crate::disk::Disk;
use crate::error::{At, Result, corrupt};
use crate::files::Files;
use crate::scan::ValidBatches;
use crate::segment::Segment;

/// Passes over a damaged batch that was durable; which offsets it had. A log whose batches cannot be told apart any more is
/// not opened, and nothing of it is changed.
pub(super) fn pass_damaged<D: Disk>(
    batches: &mut ValidBatches<'_, D::File>,
    segment: &mut Segment<D>,
    (files, config): (&Files<D>, &LogConfig),
    next: i64,
) -> Result<Damage> {
    let path = segment.path(files);
    let position = segment.size;
    let place = batches.pass_damaged().at("read", &path)?;
    let Some(place) =
        place.filter(|place| place.header.base_offset.0 >= next && segment.takes_offset(place.header.last_offset().0))
    else {
        return Err(corrupt(&path, position, "a batch that was durable is damaged and its end cannot be told"));
    };
    let (from, to) = (place.header.base_offset, place.header.last_offset());
    tracing::error!(path = %path.display(), position, %from, %to, "a batch that was durable is damaged; it is left as it is, and who reads it is told by its checksum");
    // Its times may be what is damaged.
    segment.note(files, config, &BatchHeader { max_timestamp: -1, ..place.header })?;
    Ok(Damage::new(segment.base_offset, position, (next, place.header.next_offset().0)))
}

impl<D: Disk> Log<D> {
    /// Durable records may be missing so that no batch shows it: a file was cut between two batches, or is gone. Whoever cuts
    /// a log, or makes one in the place of another, lowers the recovery point before.
    pub(super) fn notice_lost_end(&self, end: i64, open: LogOpen) -> Result<()> {
        let durable_end = open.recovery_point.0;
        // Of what was compacted the last records may be gone, and with the power the empty segment behind them.
        let last = self.segments.last().map_or(0, |segment| segment.base_offset);
        let is_compacted = open.cleaned_to.is_some_and(|cleaned_to| cleaned_to.0 > last);
        // What lay before the log's start was deleted, and need not be there.
        if end >= durable_end || durable_end <= open.log_start_offset.0 || is_compacted {
            return Ok(());
        }
        let was = if open.clean_shutdown { "when it was closed" } else { "on disk" };
        Err(corrupt(&self.files.directory, 0, format!("the log ends at {end}, and ended at {durable_end} {was}")))
    }
}
