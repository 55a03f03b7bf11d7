//! Fetch, versions 4 to 18: sessions (KIP-227), long poll with min and max bytes, the first batch whole whatever its size
//! (KIP-74), leader epochs (KIP-320), topic ids from version 13 (KIP-516), the current leader from version 16 (KIP-951).
//! Consumers read up to the high watermark or the last stable offset. Reading and waiting are in `partitions/fetch`.
//! With `replica.selector.class` a consumer that tells its rack is sent to a replica there (KIP-392). Kafka:
//! `KafkaApis.handleFetchRequest`. Quotas of clients are not here yet.

use super::{Api, Lane};
use crate::broker::Broker;
use crate::call::{Call, Outcome};
use crate::partitions::{FetchParams, FetchWork, ParkedFetch};
use bytes::Bytes;
use milena_protocol::messages::FetchRequest;
use milena_protocol::messages::fetch_request::{FetchTopic, ForgottenTopic};
use milena_protocol::{ApiKey, Text};
use milena_replication::{Isolation, RequestedPartition, SessionRequest, TopicKey};
use milena_types::{BrokerId, Uuid};
use std::sync::Arc;
use std::time::Duration;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::FETCH, lane: Lane::Partition, handle };

/// From here on topics have ids.
const TOPIC_IDS_FROM_VERSION: i16 = 13;
/// From here on sessions exist.
const SESSIONS_FROM_VERSION: i16 = 7;
/// From here on consumers may fetch from followers (KIP-392).
const RACK_FROM_VERSION: i16 = 11;
/// From here on the replica id is in the replica state (KIP-903).
const REPLICA_STATE_FROM_VERSION: i16 = 15;
/// A consumer that sees everything, for debugging.
const DEBUGGING_REPLICA: i32 = -2;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<FetchRequest>() else { return Outcome::Close };
    let (broker, version) = (Arc::clone(call.broker), call.version());
    let params = params(&broker, &request, version);
    let uses_topic_ids = version >= TOPIC_IDS_FROM_VERSION;
    let partitions = requested(&broker, &request.topics, uses_topic_ids);
    let forgotten = forgotten(&request.forgotten_topics_data, uses_topic_ids);
    let head = SessionRequest {
        session_id: if version >= SESSIONS_FROM_VERSION { request.session_id } else { 0 },
        epoch: if version >= SESSIONS_FROM_VERSION { request.session_epoch } else { -1 },
        uses_topic_ids,
        from_follower: params.replica.is_some(),
    };
    drop(request);
    let context = broker.fetch_sessions().begin(head, partitions, &forgotten, broker.now());
    let work = FetchWork::new(&broker, params, context, Arc::clone(&call.session.peer.listener));
    let pass = work.read_first(&broker);
    if pass.is_enough() || !work.may_wait() {
        return call.answer(&work.respond(&broker, pass));
    }
    drop(pass);
    let Some(later) = call.park() else { return Outcome::Close };
    ParkedFetch::park(&broker, work, later);
    Outcome::Pending
}

fn params(broker: &Broker, request: &FetchRequest, version: i16) -> FetchParams {
    let replica_id =
        if version >= REPLICA_STATE_FROM_VERSION { request.replica_state.replica_id } else { request.replica_id };
    let replica_epoch = if version >= REPLICA_STATE_FROM_VERSION { request.replica_state.replica_epoch } else { -1 };
    let replica = (replica_id >= 0).then_some(BrokerId(replica_id));
    let isolation = match request.isolation_level {
        _ if replica.is_some() || replica_id == DEBUGGING_REPLICA => Isolation::LogEnd,
        1 => Isolation::LastStable,
        _ => Isolation::HighWatermark,
    };
    let is_sent_on = broker.settings.replication.reads_from_racks && replica.is_none() && version >= RACK_FROM_VERSION;
    let asked_bytes = u32::try_from(request.max_bytes).unwrap_or(0);
    let max_bytes = if replica.is_some() { asked_bytes } else { asked_bytes.min(broker.settings.fetch_max_bytes) };
    FetchParams {
        version,
        replica,
        replica_epoch,
        isolation,
        rack: (is_sent_on && !request.rack_id.is_empty()).then(|| request.rack_id.detached()),
        leader_only: replica.is_some() || (replica_id == -1 && version < RACK_FROM_VERSION),
        min_bytes: u64::try_from(request.min_bytes).unwrap_or(0).min(u64::from(max_bytes)),
        max_bytes,
        max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
    }
}

/// The partitions asked for, with names that do not keep the request's bytes alive.
fn requested(broker: &Broker, topics: &[FetchTopic], uses_topic_ids: bool) -> Vec<RequestedPartition> {
    let mut partitions = Vec::with_capacity(topics.iter().map(|topic| topic.partitions.len()).sum());
    for topic in topics {
        let key = if uses_topic_ids { TopicKey::Id(topic.topic_id) } else { own_name(broker, &topic.topic) };
        for partition in &topic.partitions {
            partitions.push(RequestedPartition {
                topic: key.clone(),
                partition: partition.partition,
                max_bytes: partition.partition_max_bytes,
                fetch_offset: partition.fetch_offset,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
                log_start_offset: partition.log_start_offset,
            });
        }
    }
    partitions
}

fn own_name(broker: &Broker, name: &Text) -> TopicKey {
    let local = broker.partitions.named(name);
    TopicKey::Name(match local {
        Some(local) => local.name.clone().into_bytes(),
        None => Bytes::copy_from_slice(name.as_bytes()),
    })
}

fn forgotten(topics: &[ForgottenTopic], uses_topic_ids: bool) -> Vec<(TopicKey, i32)> {
    let key = |name: &Text, id: Uuid| {
        if uses_topic_ids { TopicKey::Id(id) } else { TopicKey::Name(Bytes::copy_from_slice(name.as_bytes())) }
    };
    let each = |topic: &ForgottenTopic| {
        let key = key(&topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |index| (key.clone(), *index)).collect::<Vec<_>>()
    };
    topics.iter().flat_map(each).collect()
}
