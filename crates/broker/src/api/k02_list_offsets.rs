//! ListOffsets, versions 1 to 11: the first record from a time on, and the special times: latest (-1), earliest (-2),
//! the record with the greatest time (-3, from version 7), earliest local (-4, from 8), latest tiered (-5, from 9),
//! earliest not yet uploaded (-6, from 11). Nothing is tiered here: the last two have no answer (offset -1). Kafka:
//! `ReplicaManager.fetchOffset`, `Partition.fetchOffsetForTimestamp`, `UnifiedLog.fetchOffsetByTimestamp`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use crate::partitions::{Inner, Lookup, Partition};
use milena_protocol::ApiKey;
use milena_protocol::messages::list_offsets_request::ListOffsetsPartition;
use milena_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use milena_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use milena_replication::Isolation;
use milena_storage::TimestampOffset;
use milena_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, Timestamp};
use std::collections::BTreeSet;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::LIST_OFFSETS, lane: Lane::Partition, handle };

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// The replica id of a consumer that sees everything, for debugging.
const DEBUGGING_REPLICA: i32 = -2;
/// The replica id of a consumer.
const CONSUMER: i32 = -1;

/// How the offsets of one request are looked up.
struct Rules {
    version: i16,
    leader_only: bool,
    isolation: Isolation,
}

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<ListOffsetsRequest>() else { return Outcome::Close };
    let rules = Rules {
        version: call.version(),
        leader_only: request.replica_id != DEBUGGING_REPLICA,
        isolation: match request.isolation_level {
            _ if request.replica_id != CONSUMER => Isolation::LogEnd,
            1 => Isolation::LastStable,
            _ => Isolation::HighWatermark,
        },
    };
    let mut response = ListOffsetsResponse::default();
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = (&*topic.name, partition.partition_index);
            if !seen.insert(key) {
                twice.insert(key);
            }
        }
    }
    for topic in &request.topics {
        let mut answers = ListOffsetsTopicResponse { name: topic.name.clone(), ..Default::default() };
        for partition in &topic.partitions {
            let index = PartitionIndex(partition.partition_index);
            let result = if twice.contains(&(&*topic.name, partition.partition_index)) {
                Err(ErrorCode::INVALID_REQUEST)
            } else if is_unsupported(partition.timestamp, rules.version) {
                Err(ErrorCode::UNSUPPORTED_VERSION)
            } else {
                match call.broker.lookup(&topic.name, index) {
                    Lookup::Here(found) => look_up(&found, partition, &rules),
                    Lookup::Refused(error) => Err(error),
                }
            };
            answers.partitions.push(answer(partition.partition_index, rules.version, result));
        }
        response.topics.push(answers);
    }
    call.answer(&response)
}

/// Special times came one by one (`ReplicaManager.isListOffsetsTimestampUnsupported`).
fn is_unsupported(timestamp: i64, version: i16) -> bool {
    match timestamp {
        LATEST | EARLIEST | 0.. => false,
        MAX_TIMESTAMP => version < 7,
        EARLIEST_LOCAL => version < 8,
        LATEST_TIERED => version < 9,
        EARLIEST_PENDING_UPLOAD => version < 11,
        _ => true,
    }
}

fn look_up(
    partition: &Partition,
    asked: &ListOffsetsPartition,
    rules: &Rules,
) -> Result<Option<TimestampOffset>, ErrorCode> {
    let inner = partition.lock();
    let current_leader_epoch = LeaderEpoch(asked.current_leader_epoch);
    inner.state.check_access(current_leader_epoch, rules.leader_only)?;
    let timeless = |offset, leader_epoch| Some(TimestampOffset { timestamp: Timestamp::NONE, offset, leader_epoch });
    // KIP-207: a new leader's high watermark may still go back.
    let latest = inner
        .state
        .latest_offset(current_leader_epoch, rules.isolation, inner.first_unstable_offset())
        .map_err(|error| {
            let is_old = error == ErrorCode::OFFSET_NOT_AVAILABLE && rules.version < 5;
            if is_old { ErrorCode::LEADER_NOT_AVAILABLE } else { error }
        });
    match asked.timestamp {
        LATEST => latest.map(|offset| timeless(offset, inner.state.leader_epoch())),
        EARLIEST | EARLIEST_LOCAL => {
            let start = inner.log.log_start_offset();
            Ok(timeless(start, epoch_of_start(&inner, start)))
        }
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(timeless(Offset(-1), LeaderEpoch::NONE)),
        timestamp => {
            let found = if timestamp == MAX_TIMESTAMP {
                inner.log.offset_of_max_timestamp()
            } else {
                inner.log.offset_for_timestamp(Timestamp(timestamp))
            };
            let found = found.map_err(|error| {
                inner.storage_failed(&error, "a lookup by time failed");
                ErrorCode::KAFKA_STORAGE_ERROR
            })?;
            let visible = inner.visible_end(rules.isolation);
            match found {
                Some(found) if found.offset < visible => Ok(Some(found)),
                _ => latest.map(|_| None),
            }
        }
    }
}

/// The first epoch, if it begins at the log's start or before (`UnifiedLog.fetchOffsetByTimestamp`).
fn epoch_of_start(inner: &Inner, start: Offset) -> LeaderEpoch {
    let first = inner.log.epochs().first();
    first.filter(|entry| entry.start_offset <= start).map_or(LeaderEpoch::NONE, |entry| entry.epoch)
}

fn answer(
    index: i32,
    version: i16,
    result: Result<Option<TimestampOffset>, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let mut answer =
        ListOffsetsPartitionResponse { partition_index: index, timestamp: -1, offset: -1, ..Default::default() };
    match result {
        Ok(Some(found)) => {
            answer.timestamp = found.timestamp.0;
            answer.offset = found.offset.0;
            // Versions before 4 have no place for it (`KafkaApis.handleListOffsetRequest`).
            if version >= 4 {
                answer.leader_epoch = found.leader_epoch.0;
            }
        }
        Ok(None) => {}
        Err(error) => answer.error_code = error.0,
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_times_need_the_version_that_brought_them() {
        for (timestamp, first) in [(-1, 1), (-2, 1), (0, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11)] {
            assert!(!is_unsupported(timestamp, first), "{timestamp}");
            assert!(first == 1 || is_unsupported(timestamp, first - 1), "{timestamp}");
        }
        assert!(is_unsupported(-7, 11));
    }
}
