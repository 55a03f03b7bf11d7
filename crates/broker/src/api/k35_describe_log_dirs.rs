//! DescribeLogDirs, versions 1 to 5: the log directories with the sizes of the partitions in them, the size of their
//! file system from version 4 (KIP-827), whether they are cordoned from version 5 (KIP-1066). A directory that is offline
//! is listed with `KAFKA_STORAGE_ERROR`. Kafka: `ReplicaManager.describeLogDirs`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use crate::log_dirs::Directory;
use crate::partitions::Partition;
use milena_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use milena_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use milena_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use milena_protocol::{ApiKey, Text};
use milena_types::ErrorCode;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::DESCRIBE_LOG_DIRS, lane: Lane::Partition, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<DescribeLogDirsRequest>() else { return Outcome::Close };
    let asked = request.topics.as_deref().map(asked);
    let is_asked = |partition: &Arc<Partition>| {
        asked.as_ref().is_none_or(|asked| asked.contains(&(&partition.topic, partition.index.0)))
    };
    let mut partitions = call.broker.partitions.all();
    partitions.retain(is_asked);
    let results = call.broker.log_dirs().all().map(|(path, log_dir)| describe(path, log_dir, &partitions)).collect();
    call.answer(&DescribeLogDirsResponse { results, ..Default::default() })
}

fn asked(topics: &[DescribableLogDirTopic]) -> HashSet<(&Text, i32)> {
    topics.iter().flat_map(|topic| topic.partitions.iter().map(|index| (&topic.topic, *index))).collect()
}

/// `partitions` are those of all directories, by topic and number.
fn describe(path: &Path, log_dir: Option<&Arc<Directory>>, partitions: &[Arc<Partition>]) -> DescribeLogDirsResult {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut result =
        DescribeLogDirsResult { log_dir: Text::from(absolute.to_string_lossy().into_owned()), ..Default::default() };
    let Some(log_dir) = log_dir else {
        result.error_code = ErrorCode::KAFKA_STORAGE_ERROR.0;
        return result;
    };
    let (total_bytes, usable_bytes) = match space(&absolute) {
        Ok(space) => space,
        Err(error) => {
            tracing::error!(path = %absolute.display(), %error, "the log directory cannot be described");
            result.error_code = ErrorCode::KAFKA_STORAGE_ERROR.0;
            return result;
        }
    };
    result.total_bytes = total_bytes;
    result.usable_bytes = usable_bytes;
    result.is_cordoned = log_dir.is_cordoned();
    for topic in partitions.chunk_by(|one, other| one.topic == other.topic) {
        let held: Vec<_> = topic.iter().flat_map(|partition| measure(partition, log_dir)).collect();
        if !held.is_empty() {
            result.topics.push(DescribeLogDirsTopic {
                name: topic.first().map(|partition| partition.topic.clone()).unwrap_or_default(),
                partitions: held,
                ..Default::default()
            });
        }
    }
    result
}

/// What of a partition is in a directory: its log, or the copy that will take its place.
fn measure(partition: &Partition, log_dir: &Directory) -> Option<DescribeLogDirsPartition> {
    let future = partition.future_copy();
    let inner = partition.lock();
    let end = inner.log.log_end_offset();
    let (size, lag, is_future_key) = match future {
        _ if inner.log_dir.id() == log_dir.id() => (inner.log.size_bytes(), inner.state.high_watermark() - end, false),
        Some((directory, size, copied_to)) if directory.id() == log_dir.id() => (size, end - copied_to, true),
        _ => return None,
    };
    Some(DescribeLogDirsPartition {
        partition_index: partition.index.0,
        partition_size: i64::try_from(size).unwrap_or(i64::MAX),
        offset_lag: lag.max(0),
        is_future_key,
        ..Default::default()
    })
}

/// Total and usable bytes of the file system of `path`, at most `i64::MAX` (`adjustForLargeFileSystems`).
fn space(path: &Path) -> std::io::Result<(i64, i64)> {
    let found = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(found.f_frsize)).unwrap_or(i64::MAX);
    Ok((bytes(found.f_blocks), bytes(found.f_bavail)))
}

#[cfg(test)]
mod tests {
    use super::space;

    #[test]
    fn a_directory_has_a_size_and_a_missing_one_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let (total, usable) = space(directory.path()).unwrap();
        assert!(total > 0 && (0..=total).contains(&usable), "{total} {usable}");
        assert!(space(&directory.path().join("missing")).is_err());
    }
}
