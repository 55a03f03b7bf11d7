//! AlterReplicaLogDirs (KIP-113), versions 1 and 2: moves replicas of this broker between its log directories, or says where
//! those go that are not here yet. The answer says that a move began; DescribeLogDirs shows how far it is. The order of the
//! checks and their codes are those of `ReplicaManager.alterReplicaLogDirs`.

use super::{Api, Lane};
use crate::broker::Broker;
use crate::call::{Call, Outcome};
use crate::partitions::Lookup;
use milena_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use milena_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
use milena_protocol::{ApiKey, Text};
use milena_storage::TopicPartition;
use milena_types::{ErrorCode, PartitionIndex};
use std::collections::BTreeMap;
use std::path::Path;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::ALTER_REPLICA_LOG_DIRS, lane: Lane::Partition, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<AlterReplicaLogDirsRequest>() else { return Outcome::Close };
    // Named twice, the last directory counts, as in Kafka's map.
    let mut wanted: BTreeMap<Text, BTreeMap<i32, Text>> = BTreeMap::new();
    for dir in request.dirs {
        for topic in dir.topics {
            let partitions = wanted.entry(topic.name).or_default();
            partitions.extend(topic.partitions.into_iter().map(|index| (index, dir.path.clone())));
        }
    }
    let results = wanted.into_iter().map(|(topic_name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, path)| AlterReplicaLogDirPartitionResult {
            partition_index: index,
            error_code: alter(call.broker, &topic_name, PartitionIndex(index), &path).err().map_or(0, |error| error.0),
            ..Default::default()
        });
        let partitions = partitions.collect();
        AlterReplicaLogDirTopicResult { topic_name, partitions, ..Default::default() }
    });
    let results = results.collect();
    call.answer(&AlterReplicaLogDirsResponse { results, ..Default::default() })
}

fn alter(broker: &Broker, topic: &Text, index: PartitionIndex, path: &str) -> Result<(), ErrorCode> {
    let is_named = |named: &Path| std::path::absolute(named).is_ok_and(|absolute| absolute == Path::new(path));
    let (_, directory) =
        broker.log_dirs().all().find(|(named, _)| is_named(named)).ok_or(ErrorCode::LOG_DIR_NOT_FOUND)?;
    let directory = directory.ok_or(ErrorCode::KAFKA_STORAGE_ERROR)?;
    if directory.is_cordoned() {
        return Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    }
    match broker.lookup(topic, index) {
        Lookup::Here(partition) => broker.move_replica(&partition, directory),
        Lookup::Refused(error) => {
            let partition = TopicPartition { topic: (**topic).into(), partition: index };
            broker.log_dirs().prefer(partition, directory.id());
            // Kafka keeps an older code for this answer.
            Err(if error == ErrorCode::NOT_LEADER_OR_FOLLOWER { ErrorCode::REPLICA_NOT_AVAILABLE } else { error })
        }
    }
}
