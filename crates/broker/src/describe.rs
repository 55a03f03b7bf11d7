//! Topics and brokers as clients see them through one listener: what Metadata, DescribeTopicPartitions and others have in
//! common. Kafka's counterpart is `KRaftMetadataCache`.

use milena_metadata::{BrokerRegistration, Image, Partition};
use milena_types::{BrokerId, ErrorCode};
use std::sync::Arc;

/// Every operation on a topic, as bits: what an unauthorised cluster lets everyone do (`AclEntry.supportedOperations`).
pub(crate) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// The same for the cluster.
pub(crate) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// What a client is told of one partition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PartitionView {
    pub(crate) error: ErrorCode,
    /// -1 if there is none that can be reached.
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
    pub(crate) offline: Vec<i32>,
}

/// How a partition is shown.
#[derive(Clone, Copy)]
pub(crate) struct ViewRules<'a> {
    pub(crate) listener: &'a str,
    /// Leave replicas out that are not there, and say so (Metadata version 0).
    pub(crate) hide_unavailable: bool,
    /// Say when the leader does not have the listener (Metadata from version 6).
    pub(crate) tell_missing_listener: bool,
}

/// Whether a broker is alive and has the listener.
fn is_reachable(image: &Image, broker: BrokerId, listener: &str) -> bool {
    let registration = image.cluster.broker(broker);
    registration.is_some_and(|broker| !broker.is_fenced && broker.endpoint(listener).is_some())
}

/// The brokers a client of `listener` may dial.
pub(crate) fn reachable_brokers<'a>(
    image: &'a Image,
    listener: &'a str,
) -> impl Iterator<Item = (&'a Arc<BrokerRegistration>, &'a milena_metadata::Endpoint)> {
    image.cluster.alive().filter_map(move |broker| Some((broker, broker.endpoint(listener)?)))
}

/// One partition as a client of the listener sees it.
pub(crate) fn view(image: &Image, partition: &Partition, rules: ViewRules<'_>) -> PartitionView {
    let reachable = |id: &BrokerId| is_reachable(image, *id, rules.listener);
    let shown = |ids: &[BrokerId]| -> Vec<i32> {
        ids.iter().filter(|id| !rules.hide_unavailable || reachable(id)).map(|id| id.0).collect()
    };
    let (replicas, isr) = (shown(&partition.replicas), shown(&partition.isr));
    let is_offline = |id: &&BrokerId| {
        let registration = image.cluster.broker(**id).filter(|broker| !broker.is_fenced);
        registration.is_none_or(|broker| {
            broker.endpoint(rules.listener).is_none()
                || partition.directory(**id).is_some_and(|directory| !broker.has_online_directory(directory))
        })
    };
    let offline = partition.replicas.iter().filter(is_offline).map(|id| id.0).collect();
    let leader_reachable = reachable(&partition.leader);
    let error = if !leader_reachable {
        let leader_alive = image.cluster.broker(partition.leader).is_some_and(|broker| !broker.is_fenced);
        if leader_alive && rules.tell_missing_listener {
            ErrorCode::LISTENER_NOT_FOUND
        } else {
            ErrorCode::LEADER_NOT_AVAILABLE
        }
    } else if replicas.len() < partition.replicas.len() || isr.len() < partition.isr.len() {
        ErrorCode::REPLICA_NOT_AVAILABLE
    } else {
        ErrorCode::NONE
    };
    PartitionView {
        error,
        leader: if leader_reachable { partition.leader.0 } else { -1 },
        leader_epoch: partition.leader_epoch.0,
        replicas,
        isr,
        offline,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_the_bits_of_kafkas_acl_operations() {
        let bits = |operations: &[u32]| operations.iter().fold(0, |bits, operation| bits | 1 << operation);
        // Read, write, create, delete, alter, describe, describe and alter configs.
        assert_eq!(TOPIC_OPERATIONS, bits(&[3, 4, 5, 6, 7, 8, 10, 11]));
        // Create, alter, describe, cluster action, describe and alter configs, idempotent write.
        assert_eq!(CLUSTER_OPERATIONS, bits(&[5, 7, 8, 9, 10, 11, 12]));
    }

    #[test]
    fn a_partition_without_a_reachable_leader_says_so() {
        let image = Image::default();
        let partition = Partition {
            replicas: [BrokerId(1)].into(),
            isr: [BrokerId(1)].into(),
            leader: BrokerId(1),
            ..Default::default()
        };
        let rules = ViewRules { listener: "PLAINTEXT", hide_unavailable: false, tell_missing_listener: true };
        let seen = view(&image, &partition, rules);
        assert_eq!((seen.error, seen.leader), (ErrorCode::LEADER_NOT_AVAILABLE, -1));
        assert_eq!((seen.replicas, seen.isr, seen.offline), (vec![1], vec![1], vec![1]));
        let hidden = view(&image, &partition, ViewRules { hide_unavailable: true, ..rules });
        assert!(hidden.replicas.is_empty());
    }
}
