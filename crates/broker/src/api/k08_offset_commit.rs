//! OffsetCommit, versions 2 to 10. Offsets of topics and partitions that do not exist are refused here, the rest goes to the
//! group's coordinator and is answered once it is committed there. From version 10 topics have ids (KIP-848); records
//! keep the id in any case. Kafka: `KafkaApis.handleOffsetCommitRequest`, `OffsetMetadataManager.commitOffset`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_metadata::Image;
use milena_protocol::ApiKey;
use milena_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use milena_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use milena_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use milena_types::{ErrorCode, PartitionIndex};

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::OFFSET_COMMIT, lane: Lane::Coordinator, handle };

/// From this version on topics have ids instead of names.
const TOPIC_IDS_FROM_VERSION: i16 = 10;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(mut request) = call.decode::<OffsetCommitRequest>() else { return Outcome::Close };
    let mut refused = Vec::new();
    let image = call.broker.image();
    let by_id = call.version() >= TOPIC_IDS_FROM_VERSION;
    for mut topic in std::mem::take(&mut request.topics) {
        refuse_unknown(&image, by_id, &mut topic, &mut refused);
        if !topic.partitions.is_empty() {
            request.topics.push(topic);
        }
    }
    drop(image);
    if request.topics.is_empty() {
        return call.answer(&OffsetCommitResponse { topics: refused, ..Default::default() });
    }
    call.coordinate(GroupRequest::OffsetCommit(Box::new(request)), move |reply| {
        let GroupReply::OffsetCommit(mut response) = reply else { return None };
        response.topics = merge(refused, response.topics);
        Some(*response)
    })
}

/// Takes what does not exist out of the topic.
fn refuse_unknown(
    image: &Image,
    by_id: bool,
    topic: &mut OffsetCommitRequestTopic,
    refused: &mut Vec<OffsetCommitResponseTopic>,
) {
    let known = if by_id { image.topics.get(topic.topic_id) } else { image.topics.named(&topic.name) };
    let error =
        if by_id && known.is_none() { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
    if let Some(known) = known {
        topic.name = known.name.clone();
        topic.topic_id = known.id;
    }
    let exists = |index: i32| known.is_some_and(|known| known.partition(PartitionIndex(index)).is_some());
    let (kept, unknown): (Vec<_>, Vec<_>) =
        std::mem::take(&mut topic.partitions).into_iter().partition(|partition| exists(partition.partition_index));
    topic.partitions = kept;
    if unknown.is_empty() {
        return;
    }
    let partitions = unknown.iter().map(|partition| OffsetCommitResponsePartition {
        partition_index: partition.partition_index,
        error_code: error.0,
        ..Default::default()
    });
    refused.push(OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
        ..Default::default()
    });
}

/// Adds the coordinator's answers to those given here; a topic is answered once.
fn merge(
    mut refused: Vec<OffsetCommitResponseTopic>,
    answered: Vec<OffsetCommitResponseTopic>,
) -> Vec<OffsetCommitResponseTopic> {
    if refused.is_empty() {
        return answered;
    }
    for topic in answered {
        match refused.iter_mut().find(|known| known.name == topic.name) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => refused.push(topic),
        }
    }
    refused
}
