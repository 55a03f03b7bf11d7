//! Replicas the client chose (`ReplicationControlManager.validateManualPartitionAssignment`).

use milena_metadata::Cluster;
use milena_types::{BrokerId, ErrorCode};

use crate::ApiError;

/// Whether the replicas of one partition may be as asked; `replication_factor` is that of the partitions before it.
pub(crate) fn validate_manual_assignment(
    cluster: &Cluster,
    replicas: &[BrokerId],
    replication_factor: Option<usize>,
) -> Result<(), ApiError> {
    let refuse = |why: String| {
        Err(ApiError::new(
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            format!("The manual partition assignment includes {why}"),
        ))
    };
    if replicas.is_empty() {
        return refuse("an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    let mut previous = None;
    for broker in sorted {
        if cluster.broker(broker).is_none() {
            return refuse(format!("broker {broker}, but no such broker is registered."));
        }
        if previous == Some(broker) {
            return refuse(format!("the broker {broker} more than once."));
        }
        previous = Some(broker);
    }
    match replication_factor {
        Some(expected) if expected != replicas.len() => refuse(format!(
            "a partition with {} replica(s), but this is not consistent with previous partitions, which have {expected} \
             replica(s).",
            replicas.len()
        )),
        _ => Ok(()),
    }
}
