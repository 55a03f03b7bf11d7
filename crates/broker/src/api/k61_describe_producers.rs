//! DescribeProducers, version 0 (KIP-664): who wrote to a partition with sequences. Only leaders answer. Kafka:
//! `KafkaApis.handleDescribeProducersRequest`, `UnifiedLog.activeProducers`.

use super::{Api, Lane};
use crate::broker::Broker;
use crate::call::{Call, Outcome};
use crate::partitions::{Lookup, Partition};
use milena_controller::validate_topic_name;
use milena_protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use milena_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};
use milena_protocol::{ApiKey, Text};
use milena_replication::Role;
use milena_types::{ErrorCode, PartitionIndex};

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::DESCRIBE_PRODUCERS, lane: Lane::Partition, handle };

/// What Kafka says of a topic it does not have.
const UNKNOWN_TOPIC: &str = "This server does not host this topic-partition.";

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<DescribeProducersRequest>() else { return Outcome::Close };
    let broker = call.broker;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let refusal = refusal(broker, &topic.name);
        let answer = |index: &i32| match &refusal {
            Some((error, message)) => PartitionResponse {
                partition_index: *index,
                error_code: error.0,
                error_message: message.clone(),
                ..Default::default()
            },
            None => describe(broker, &topic.name, *index),
        };
        let partitions = topic.partition_indexes.iter().map(answer).collect();
        topics.push(TopicResponse { name: topic.name, partitions, ..Default::default() });
    }
    call.answer(&DescribeProducersResponse { topics, ..Default::default() })
}

/// Why the whole topic is refused, if it is.
fn refusal(broker: &Broker, topic: &str) -> Option<(ErrorCode, Option<Text>)> {
    if let Err(invalid) = validate_topic_name(topic) {
        return Some((invalid.error, invalid.message.map(Text::from)));
    }
    let is_known = broker.image().topics.id_of(topic).is_some();
    (!is_known).then(|| (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Some(Text::from_static(UNKNOWN_TOPIC))))
}

fn describe(broker: &Broker, topic: &str, index: i32) -> PartitionResponse {
    let mut answer = PartitionResponse { partition_index: index, ..Default::default() };
    let found = match broker.lookup(topic, PartitionIndex(index)) {
        Lookup::Here(partition) => producers(&partition),
        Lookup::Refused(error) => Err(error),
    };
    match found {
        Ok(producers) => answer.active_producers = producers,
        Err(error) => answer.error_code = error.0,
    }
    answer
}

fn producers(partition: &Partition) -> Result<Vec<ProducerState>, ErrorCode> {
    let inner = partition.lock();
    match inner.state.role() {
        Role::Leader => {}
        Role::Follower { .. } => return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        Role::Offline => return Err(ErrorCode::KAFKA_STORAGE_ERROR),
    }
    let state = |(id, entry): (milena_types::ProducerId, &milena_storage::ProducerEntry)| ProducerState {
        producer_id: id.0,
        producer_epoch: i32::from(entry.epoch.0),
        last_sequence: entry.last_sequence(),
        last_timestamp: entry.last_timestamp,
        coordinator_epoch: entry.coordinator_epoch,
        current_txn_start_offset: entry.current_transaction_first_offset().unwrap_or(-1),
        ..Default::default()
    };
    Ok(inner.log.active_producers().map(state).collect())
}
