//! OffsetForLeaderEpoch, versions 2 to 4 (KIP-279, KIP-320): where a leader epoch ends in the leader's log. Only leaders
//! answer. Kafka: `ReplicaManager.lastOffsetForLeaderEpoch`, `Partition.lastOffsetForLeaderEpoch`.

use super::{Api, Lane};
use crate::broker::Broker;
use crate::call::{Call, Outcome};
use crate::partitions::{Lookup, Partition};
use milena_protocol::ApiKey;
use milena_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use milena_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use milena_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use milena_replication::Role;
use milena_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::OFFSET_FOR_LEADER_EPOCH, lane: Lane::Partition, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<OffsetForLeaderEpochRequest>() else { return Outcome::Close };
    let broker = call.broker;
    let topics = request
        .topics
        .into_iter()
        .map(|topic| OffsetForLeaderTopicResult {
            partitions: topic.partitions.iter().map(|asked| answer(broker, &topic.topic, asked)).collect(),
            topic: topic.topic,
            ..Default::default()
        })
        .collect();
    call.answer(&OffsetForLeaderEpochResponse { topics, ..Default::default() })
}

fn answer(broker: &Broker, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let mut answer = EpochEndOffset { partition: asked.partition, ..Default::default() };
    let found = match broker.lookup(topic, PartitionIndex(asked.partition)) {
        Lookup::Here(partition) => end_of(&partition, asked),
        Lookup::Refused(error) => Err(error),
    };
    match found {
        Ok(Some((epoch, end))) => {
            answer.leader_epoch = epoch.0;
            answer.end_offset = end.0;
        }
        // Nothing is known of the epoch: both stay -1.
        Ok(None) => {}
        Err(error) => answer.error_code = error.0,
    }
    answer
}

/// The leader epoch is checked before the role, as `Partition.getLocalLog` does.
fn end_of(partition: &Partition, asked: &OffsetForLeaderPartition) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
    let inner = partition.lock();
    let role = inner.state.role();
    if role == Role::Offline {
        return Err(ErrorCode::KAFKA_STORAGE_ERROR);
    }
    check_leader_epoch(inner.state.leader_epoch(), LeaderEpoch(asked.current_leader_epoch))?;
    if role != Role::Leader {
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    Ok(inner.log.epoch_end_offset(LeaderEpoch(asked.leader_epoch)))
}

/// Whether the client knows the same leader epoch, if it says one (`Partition.checkCurrentLeaderEpoch`).
fn check_leader_epoch(here: LeaderEpoch, client: LeaderEpoch) -> Result<(), ErrorCode> {
    if client == LeaderEpoch::NONE || client == here {
        return Ok(());
    }
    Err(if here > client { ErrorCode::FENCED_LEADER_EPOCH } else { ErrorCode::UNKNOWN_LEADER_EPOCH })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_epochs_are_fenced_newer_ones_unknown_and_none_is_not_checked() {
        let check = |client| check_leader_epoch(LeaderEpoch(5), LeaderEpoch(client));
        assert_eq!(check(-1), Ok(()));
        assert_eq!(check(5), Ok(()));
        assert_eq!(check(4), Err(ErrorCode::FENCED_LEADER_EPOCH));
        assert_eq!(check(6), Err(ErrorCode::UNKNOWN_LEADER_EPOCH));
    }
}
