//! How each metadata record changes the image. The rules, and what is refused, are those of Kafka's `*Delta.replay`.

use std::sync::Arc;

use milena_protocol::Text;
use milena_protocol::messages::{
    BrokerRegistrationChangeRecord, ClearElrRecord, ClientQuotaRecord, FeatureLevelRecord, MetadataRecord,
    PartitionChangeRecord, PartitionRecord,
};
use milena_types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId};

use super::cluster::{BrokerRegistration, ControllerRegistration};
use super::{ConfigResource, Delta, Image, Partition, QuotaEntity, Transaction};
use crate::{METADATA_VERSION, MetadataVersion};

/// A record that cannot follow the state it meets: the log is corrupt or from a version this node does not know.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("metadata record at offset {offset} cannot be replayed: {reason}")]
pub struct ReplayError {
    pub offset: Offset,
    pub reason: String,
}

type Outcome = Result<(), String>;

impl Image {
    /// Applies one committed record, at its offset and epoch in the log, and notes in `delta` what changed.
    ///
    /// While a metadata transaction is open (`is_in_transaction`) the image must not be published; an abort restores both
    /// image and delta as they were at its begin.
    ///
    /// # Errors
    /// When the record does not fit the state; the image is then unchanged but for the provenance.
    pub fn replay(
        &mut self,
        record: &MetadataRecord,
        offset: Offset,
        epoch: LeaderEpoch,
        delta: &mut Delta,
    ) -> Result<(), ReplayError> {
        self.offset = offset;
        self.epoch = epoch;
        self.apply(record, offset, delta).map_err(|reason| ReplayError { offset, reason })
    }

    fn apply(&mut self, record: &MetadataRecord, offset: Offset, delta: &mut Delta) -> Outcome {
        match record {
            MetadataRecord::Topic(record) => {
                if !self.topics.create(&record.name, record.topic_id) {
                    return Err(format!("topic {} with id {} exists already", record.name, record.topic_id));
                }
                delta.created_topics.insert(record.topic_id);
            }
            MetadataRecord::Partition(record) => return self.apply_partition(record, delta),
            MetadataRecord::PartitionChange(record) => return self.apply_partition_change(record, delta),
            MetadataRecord::RemoveTopic(record) => return self.apply_remove_topic(record.topic_id, delta),
            MetadataRecord::ClearElr(record) => return self.apply_clear_elr(record, delta),
            MetadataRecord::Config(record) => {
                let resource = ConfigResource { kind: record.resource_type, name: record.resource_name.detached() };
                Arc::make_mut(&mut self.configs).set(
                    resource.clone(),
                    record.name.detached(),
                    record.value.as_ref().map(Text::detached),
                );
                delta.configs.insert(resource);
            }
            MetadataRecord::FeatureLevel(record) => return self.apply_feature_level(record, delta),
            MetadataRecord::ProducerIds(record) => {
                self.next_producer_id = record.next_producer_id;
                delta.producer_ids = true;
            }
            MetadataRecord::BeginTransaction(_)
            | MetadataRecord::EndTransaction(_)
            | MetadataRecord::AbortTransaction(_) => return self.apply_transaction(record, delta),
            MetadataRecord::NoOp(_) | MetadataRecord::ZkMigrationState(_) => {}
            other => return self.apply_registration_or_security(other, offset, delta),
        }
        Ok(())
    }

    fn apply_registration_or_security(
        &mut self,
        record: &MetadataRecord,
        offset: Offset,
        delta: &mut Delta,
    ) -> Outcome {
        match record {
            MetadataRecord::RegisterBroker(record) => {
                let broker = BrokerRegistration::from_record(record, offset);
                delta.brokers.insert(broker.id);
                Arc::make_mut(&mut self.cluster).brokers.insert(broker.id, Arc::new(broker));
            }
            MetadataRecord::UnregisterBroker(record) => {
                let id = BrokerId(record.broker_id);
                self.registered(id, record.broker_epoch)?;
                Arc::make_mut(&mut self.cluster).brokers.remove(&id);
                delta.brokers.insert(id);
            }
            MetadataRecord::FenceBroker(record) => {
                let change = BrokerRegistrationChangeRecord { fenced: 1, ..BrokerRegistrationChangeRecord::default() };
                return self.apply_broker_change(record.id, record.epoch, &change, delta);
            }
            MetadataRecord::UnfenceBroker(record) => {
                let change = BrokerRegistrationChangeRecord { fenced: -1, ..BrokerRegistrationChangeRecord::default() };
                return self.apply_broker_change(record.id, record.epoch, &change, delta);
            }
            MetadataRecord::BrokerRegistrationChange(record) => {
                return self.apply_broker_change(record.broker_id, record.broker_epoch, record, delta);
            }
            MetadataRecord::RegisterController(record) => {
                let controller = ControllerRegistration::from_record(record);
                delta.controllers.insert(controller.id);
                Arc::make_mut(&mut self.cluster).controllers.insert(controller.id, Arc::new(controller));
            }
            other => self.apply_security(other, delta),
        }
        Ok(())
    }

    fn apply_security(&mut self, record: &MetadataRecord, delta: &mut Delta) {
        let security = Arc::make_mut(&mut self.security);
        match record {
            MetadataRecord::AccessControlEntry(record) => {
                security.acls.insert(record.id, Arc::new(record.clone()));
                delta.acls = true;
            }
            MetadataRecord::RemoveAccessControlEntry(record) => {
                security.acls.remove(&record.id);
                delta.acls = true;
            }
            MetadataRecord::UserScramCredential(record) => {
                security.scram.insert((record.mechanism, record.name.clone()), Arc::new(record.clone()));
                delta.scram = true;
            }
            MetadataRecord::RemoveUserScramCredential(record) => {
                security.scram.remove(&(record.mechanism, record.name.clone()));
                delta.scram = true;
            }
            MetadataRecord::DelegationToken(record) => {
                security.delegation_tokens.insert(record.token_id.clone(), Arc::new(record.clone()));
                delta.delegation_tokens = true;
            }
            MetadataRecord::RemoveDelegationToken(record) => {
                security.delegation_tokens.remove(&record.token_id);
                delta.delegation_tokens = true;
            }
            MetadataRecord::ClientQuota(record) => {
                let key = (quota_entity(record), record.key.clone());
                if record.remove {
                    security.client_quotas.remove(&key);
                } else {
                    security.client_quotas.insert(key, record.value);
                }
                delta.client_quotas = true;
            }
            _ => {}
        }
    }

    fn apply_partition(&mut self, record: &PartitionRecord, delta: &mut Delta) -> Outcome {
        let index = PartitionIndex(record.partition_id);
        if !self.topics.set_partition(record.topic_id, index, Partition::from_record(record)) {
            return Err(format!("no topic with id {} for its partition {index}", record.topic_id));
        }
        delta.partition_changed(record.topic_id, index);
        Ok(())
    }

    fn apply_partition_change(&mut self, record: &PartitionChangeRecord, delta: &mut Delta) -> Outcome {
        let index = PartitionIndex(record.partition_id);
        let changed = match self.topics.partition(record.topic_id, index) {
            Some(partition) => partition.merge(record),
            None => return Err(format!("no partition {index} of the topic with id {}", record.topic_id)),
        };
        self.topics.set_partition(record.topic_id, index, changed);
        delta.partition_changed(record.topic_id, index);
        Ok(())
    }

    fn apply_remove_topic(&mut self, id: TopicId, delta: &mut Delta) -> Outcome {
        let Some(topic) = self.topics.remove(id) else {
            return Err(format!("no topic with id {id} to remove"));
        };
        let resource = ConfigResource::topic(topic.name.clone());
        if self.configs.get(&resource).is_some() {
            Arc::make_mut(&mut self.configs).remove(&resource);
            delta.configs.insert(resource);
        }
        delta.topic_deleted(topic);
        Ok(())
    }

    /// Empties the ELR of one topic, or of all when the name is empty.
    fn apply_clear_elr(&mut self, record: &ClearElrRecord, delta: &mut Delta) -> Outcome {
        let mut targets = Vec::new();
        let mut collect = |topic: &super::Topic| {
            for (index, partition) in topic.iter() {
                if !partition.eligible_leader_replicas.is_empty() || !partition.last_known_elr.is_empty() {
                    targets.push((topic.id, index, Arc::clone(partition)));
                }
            }
        };
        if record.topic_name.is_empty() {
            self.topics.iter_by_id().for_each(|topic| collect(topic));
        } else {
            match self.topics.named(&record.topic_name) {
                Some(topic) => collect(topic),
                None => return Err(format!("no topic named {} whose ELR to clear", record.topic_name)),
            }
        }
        for (topic, index, partition) in targets {
            let mut partition = Arc::unwrap_or_clone(partition);
            partition.eligible_leader_replicas = Box::default();
            partition.last_known_elr = Box::default();
            self.topics.set_partition(topic, index, partition);
            delta.partition_changed(topic, index);
        }
        Ok(())
    }

    fn apply_feature_level(&mut self, record: &FeatureLevelRecord, delta: &mut Delta) -> Outcome {
        let features = Arc::make_mut(&mut self.features);
        if &*record.name == METADATA_VERSION {
            match MetadataVersion::from_level(record.feature_level) {
                Some(version) => features.metadata_version = version,
                None => return Err(format!("metadata.version {} is not supported", record.feature_level)),
            }
        } else if record.feature_level == 0 {
            features.levels.remove(&record.name);
        } else {
            features.levels.insert(record.name.detached(), record.feature_level);
        }
        delta.features = true;
        Ok(())
    }

    fn apply_transaction(&mut self, record: &MetadataRecord, delta: &mut Delta) -> Outcome {
        match (record, self.transaction.take()) {
            (MetadataRecord::BeginTransaction(_), None) => {
                let begin = Transaction { image: self.clone(), delta: delta.clone() };
                self.transaction = Some(Arc::new(begin));
                Ok(())
            }
            (MetadataRecord::EndTransaction(_), Some(_)) => Ok(()),
            (MetadataRecord::AbortTransaction(_), Some(begin)) => {
                let (offset, epoch) = (self.offset, self.epoch);
                let begin = Arc::unwrap_or_clone(begin);
                *self = begin.image;
                *delta = begin.delta;
                (self.offset, self.epoch) = (offset, epoch);
                Ok(())
            }
            (_, open) => {
                self.transaction = open;
                Err("a metadata transaction begins within another or ends without one".to_owned())
            }
        }
    }

    fn apply_broker_change(
        &mut self,
        id: i32,
        epoch: i64,
        change: &BrokerRegistrationChangeRecord,
        delta: &mut Delta,
    ) -> Outcome {
        let id = BrokerId(id);
        self.registered(id, epoch)?;
        if let Some(broker) = Arc::make_mut(&mut self.cluster).brokers.get_mut(&id) {
            Arc::make_mut(broker).apply(change);
            delta.brokers.insert(id);
        }
        Ok(())
    }

    fn registered(&self, id: BrokerId, epoch: i64) -> Outcome {
        match self.cluster.broker(id) {
            None => Err(format!("broker {id} is not registered")),
            Some(broker) if broker.epoch != epoch => {
                Err(format!("broker {id} is registered with epoch {}, not {epoch}", broker.epoch))
            }
            Some(_) => Ok(()),
        }
    }
}

fn quota_entity(record: &ClientQuotaRecord) -> QuotaEntity {
    let mut entity: Vec<(Text, Option<Text>)> =
        record.entity.iter().map(|part| (part.entity_type.clone(), part.entity_name.clone())).collect();
    entity.sort_unstable();
    entity
}
