//! OffsetFetch, versions 1 to 10: one group, from version 8 several (KIP-709), from version 10 topics by id (KIP-848).
//! Kafka: `KafkaApis.handleOffsetFetchRequest`, `OffsetFetchRequest.groups`, `OffsetFetchResponse.Builder`.

use super::{Api, Lane};
use crate::broker::Broker;
use crate::call::{Call, Outcome};
use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use milena_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use milena_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use milena_protocol::{ApiKey, Text};
use milena_types::ErrorCode;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::OFFSET_FETCH, lane: Lane::Coordinator, handle };

const GROUP_ERROR_FROM_VERSION: i16 = 2;
const BATCHED_FROM_VERSION: i16 = 8;
const TOPIC_IDS_FROM_VERSION: i16 = 10;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<OffsetFetchRequest>() else { return Outcome::Close };
    let version = call.version();
    let require_stable = request.require_stable;
    let groups = groups_of(request, version);
    let Some(later) = call.park() else { return Outcome::Close };
    if groups.is_empty() {
        later.answer(&OffsetFetchResponse::default());
        return Outcome::Pending;
    }
    let answers = Arc::new(Mutex::new((groups.len(), vec![None; groups.len()], Some(later))));
    for (place, mut group) in groups.into_iter().enumerate() {
        let unknown = if version >= TOPIC_IDS_FROM_VERSION { resolve(call.broker, &mut group) } else { Vec::new() };
        let asked = if version < GROUP_ERROR_FROM_VERSION { group.topics.clone() } else { None };
        let (answers, broker) = (Arc::clone(&answers), Arc::downgrade(call.broker));
        let done = Box::new(move |reply| {
            let GroupReply::OffsetFetch(mut group) = reply else { return };
            finish_group(&mut group, version, unknown, asked.as_deref(), &broker);
            let mut state = answers.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(slot) = state.1.get_mut(place) {
                *slot = Some(group);
            }
            state.0 = state.0.saturating_sub(1);
            if state.0 == 0
                && let Some(later) = state.2.take()
            {
                let groups = std::mem::take(&mut state.1).into_iter().flatten().collect();
                drop(state);
                later.answer(&response_of(groups, version));
            }
        });
        let request = GroupRequest::OffsetFetch { group, require_stable };
        call.broker.groups().submit(call.broker, call.caller(), request, done);
    }
    Outcome::Pending
}

/// Before version 8 there was one group and its fields stood outside.
fn groups_of(request: OffsetFetchRequest, version: i16) -> Vec<OffsetFetchRequestGroup> {
    if version >= BATCHED_FROM_VERSION {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        topics
            .into_iter()
            .map(|topic| OffsetFetchRequestTopics {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
                ..Default::default()
            })
            .collect()
    });
    vec![OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() }]
}

/// Names the topics; those that are not known are taken out and answered apart.
fn resolve(broker: &Broker, group: &mut OffsetFetchRequestGroup) -> Vec<OffsetFetchResponseTopics> {
    let Some(topics) = &mut group.topics else { return Vec::new() };
    let image = broker.image();
    let mut unknown = Vec::new();
    topics.retain_mut(|topic| match image.topics.get(topic.topic_id) {
        Some(known) => {
            topic.name = known.name.clone();
            true
        }
        None => {
            unknown.push(refused(topic, ErrorCode::UNKNOWN_TOPIC_ID));
            false
        }
    });
    unknown
}

fn refused(topic: &OffsetFetchRequestTopics, error: ErrorCode) -> OffsetFetchResponseTopics {
    let partition = |index: &i32| OffsetFetchResponsePartitions {
        partition_index: *index,
        error_code: error.0,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Text::default()),
        ..Default::default()
    };
    OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(partition).collect(),
        ..Default::default()
    }
}

/// Brings one group's answer into the form of the version.
fn finish_group(
    group: &mut OffsetFetchResponseGroup,
    version: i16,
    unknown: Vec<OffsetFetchResponseTopics>,
    asked: Option<&[OffsetFetchRequestTopics]>,
    broker: &Weak<Broker>,
) {
    let error = ErrorCode(group.error_code);
    if !error.is_none() {
        // The first version had no place for an error but the partitions.
        if let Some(asked) = asked {
            group.topics = asked.iter().map(|topic| refused(topic, error)).collect();
        }
        return;
    }
    if version >= TOPIC_IDS_FROM_VERSION
        && let Some(broker) = broker.upgrade()
    {
        let image = broker.image();
        // Whoever asked for everything gets what still has an id.
        group.topics.retain_mut(|topic| {
            if topic.topic_id.is_zero() {
                topic.topic_id = image.topics.id_of(&topic.name).unwrap_or_default();
            }
            !topic.topic_id.is_zero()
        });
    }
    group.topics.extend(unknown);
}

fn response_of(groups: Vec<OffsetFetchResponseGroup>, version: i16) -> OffsetFetchResponse {
    if version >= BATCHED_FROM_VERSION {
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let group = groups.into_iter().next().unwrap_or_default();
    let partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
        ..Default::default()
    };
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..Default::default()
    });
    OffsetFetchResponse { topics: topics.collect(), error_code: group.error_code, ..Default::default() }
}
