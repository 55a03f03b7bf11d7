//! OffsetDelete, version 0: offsets of topics nobody in the group wants any more (KIP-496). Topics and partitions that do
//! not exist are refused here. Kafka: `KafkaApis.handleOffsetDeleteRequest`, `OffsetMetadataManager.deleteOffsets`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_metadata::Image;
use milena_protocol::ApiKey;
use milena_protocol::messages::OffsetDeleteRequest;
use milena_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use milena_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use milena_types::{ErrorCode, PartitionIndex};

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::OFFSET_DELETE, lane: Lane::Coordinator, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(mut request) = call.decode::<OffsetDeleteRequest>() else { return Outcome::Close };
    let image = call.broker.image();
    let mut refused = Vec::new();
    request.topics.retain_mut(|topic| {
        refused.extend(refuse_unknown(&image, topic));
        !topic.partitions.is_empty()
    });
    drop(image);
    call.coordinate(GroupRequest::OffsetDelete(request), move |reply| {
        let GroupReply::OffsetDelete(mut response) = reply else { return None };
        if response.error_code == 0 {
            for topic in refused {
                match response.topics.iter_mut().find(|known| known.name == topic.name) {
                    Some(known) => known.partitions.extend(topic.partitions),
                    None => response.topics.push(topic),
                }
            }
        }
        Some(response)
    })
}

/// Takes what does not exist out of the topic.
fn refuse_unknown(image: &Image, topic: &mut OffsetDeleteRequestTopic) -> Option<OffsetDeleteResponseTopic> {
    let known = image.topics.named(&topic.name);
    let exists = |index: i32| known.is_some_and(|known| known.partition(PartitionIndex(index)).is_some());
    let (kept, unknown): (Vec<_>, Vec<_>) =
        std::mem::take(&mut topic.partitions).into_iter().partition(|partition| exists(partition.partition_index));
    topic.partitions = kept;
    let partitions: Vec<_> = unknown
        .iter()
        .map(|partition| OffsetDeleteResponsePartition {
            partition_index: partition.partition_index,
            error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0,
        })
        .collect();
    (!partitions.is_empty()).then(|| OffsetDeleteResponseTopic { name: topic.name.clone(), partitions })
}
