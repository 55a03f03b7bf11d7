//! One offset per partition of a log directory: recovery points, log starts, high watermarks, cleaner positions
//! (`OffsetCheckpointFile`).

use std::collections::BTreeMap;
use std::path::Path;

use milena_types::{Offset, PartitionIndex};

use super::lines::{format_lines, read_lines};
use crate::disk::{Disk, write_atomic};
use crate::error::{At, Result};
use crate::names::TopicPartition;

/// Up to where each log is known to be on disk.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// Where each log begins, if not at its first segment.
pub const LOG_START_OFFSET_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// High watermarks.
pub const REPLICATION_OFFSET_CHECKPOINT: &str = "replication-offset-checkpoint";
/// Up to where compaction came.
pub const CLEANER_OFFSET_CHECKPOINT: &str = "cleaner-offset-checkpoint";

/// The entries of one such file.
pub type OffsetCheckpoint = BTreeMap<TopicPartition, Offset>;

/// Reads the file `name` of a log directory; empty if it does not exist.
pub(crate) fn read_offsets<D: Disk>(disk: &D, log_dir: &Path, name: &str) -> Result<OffsetCheckpoint> {
    let path = log_dir.join(name);
    let entries = read_lines(disk, &path, |words| match words {
        [topic, partition, offset] => {
            let partition = PartitionIndex(partition.parse().ok()?);
            Some((TopicPartition { topic: (*topic).into(), partition }, Offset(offset.parse().ok()?)))
        }
        _ => None,
    })?;
    Ok(entries.unwrap_or_default().into_iter().collect())
}

/// Replaces the file `name` of a log directory durably.
pub(crate) fn write_offsets<D: Disk>(disk: &D, log_dir: &Path, name: &str, offsets: &OffsetCheckpoint) -> Result<()> {
    let path = log_dir.join(name);
    let lines: Vec<String> =
        offsets.iter().map(|(at, offset)| format!("{} {} {offset}", at.topic, at.partition)).collect();
    write_atomic(disk, &path, format_lines(&lines).as_bytes()).at("write", &path)
}
