//! DeleteTopics: by name or by id (`ReplicationControlManager.deleteTopics`). What the request may name, and how often, is
//! checked by the handler, as Kafka's `ControllerApis` does.

use milena_metadata::VersionedRecord;
use milena_protocol::messages::{MetadataRecord, RemoveTopicRecord};
use milena_types::{ErrorCode, TopicId};

use crate::{ApiError, Controller, Decision};

impl Controller {
    /// Deletes topics by id; the outcome of each is in the order asked.
    #[must_use]
    pub(crate) fn decide_delete_topics(&self, ids: &[TopicId]) -> Decision<Vec<(TopicId, Result<(), ApiError>)>> {
        let mut records: Vec<VersionedRecord> = Vec::new();
        let mut outcomes = Vec::with_capacity(ids.len());
        for id in ids {
            if self.image.topics.get(*id).is_none() {
                outcomes.push((*id, Err(ApiError::bare(ErrorCode::UNKNOWN_TOPIC_ID))));
                continue;
            }
            let record = RemoveTopicRecord { topic_id: *id, ..RemoveTopicRecord::default() };
            records.push((MetadataRecord::RemoveTopic(record), 0));
            outcomes.push((*id, Ok(())));
        }
        Decision::atomic(records, outcomes)
    }
}
