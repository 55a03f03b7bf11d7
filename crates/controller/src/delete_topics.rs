//! DeleteTopics: by name or by id (`ReplicationControlManager.deleteTopics`). What the request may name, and how often, is
//! checked by the handler, as Kafka's `ControllerApis` does.

use std::collections::BTreeSet;

use milena_metadata::VersionedRecord;
use milena_protocol::messages::{MetadataRecord, RemoveTopicRecord};
use milena_types::{ErrorCode, TopicId};

use crate::{ApiError, Controller, Decision};

impl Controller {
    /// Deletes topics by id; the outcome of each is in the order asked. An id given twice is unknown the second time.
    /// With `delete.topic.enable` off all are refused.
    #[must_use]
    pub fn decide_delete_topics(&self, ids: &[TopicId]) -> Decision<Vec<(TopicId, Result<(), ApiError>)>> {
        let mut records: Vec<VersionedRecord> = Vec::new();
        let mut outcomes = Vec::with_capacity(ids.len());
        let disabled = self.config_rules().broker_value("delete.topic.enable").as_deref() == Some("false");
        let mut seen = BTreeSet::new();
        for id in ids {
            if disabled {
                let error = ApiError::new(ErrorCode::TOPIC_DELETION_DISABLED, "Topic deletion is disabled.");
                outcomes.push((*id, Err(error)));
                continue;
            }
            if self.image.topics.get(*id).is_none() || !seen.insert(*id) {
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
