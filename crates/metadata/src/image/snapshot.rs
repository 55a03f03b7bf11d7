//! The image as records, for snapshots: in the order of Kafka's `MetadataImage.write`, so that a reader knows the metadata
//! version before anything else and a topic before its partitions.

use milena_protocol::Text;
use milena_protocol::messages::client_quota_record::EntityData;
use milena_protocol::messages::{
    ClientQuotaRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord, ProducerIdsRecord, TopicRecord,
};

use super::{Image, QuotaEntity};
use crate::METADATA_VERSION;

/// A record and the version it is to be written with.
pub type VersionedRecord = (MetadataRecord, i16);

impl Image {
    /// Every record of a snapshot of this image, in order. They are made as they are asked for.
    pub fn records(&self) -> impl Iterator<Item = VersionedRecord> {
        self.feature_records()
            .chain(self.cluster_records())
            .chain(self.topic_records())
            .chain(self.config_records())
            .chain(self.quota_records())
            .chain(self.producer_id_records())
            .chain(self.security_records())
    }

    fn feature_records(&self) -> impl Iterator<Item = VersionedRecord> {
        let version = (Text::from_static(METADATA_VERSION), self.features.metadata_version.level());
        let others = self.features.levels.iter().map(|(name, level)| (name.clone(), *level));
        std::iter::once(version).chain(others).map(|(name, feature_level)| {
            let record = FeatureLevelRecord { name, feature_level, ..FeatureLevelRecord::default() };
            (MetadataRecord::FeatureLevel(record), 0)
        })
    }

    fn cluster_records(&self) -> impl Iterator<Item = VersionedRecord> {
        let version = self.features.metadata_version;
        let brokers = self.cluster.brokers.values().map(move |broker| {
            (MetadataRecord::RegisterBroker(broker.to_record(version)), version.register_broker_record_version())
        });
        let controllers = self
            .cluster
            .controllers
            .values()
            .filter(move |_| version.is_controller_registration_supported())
            .map(|controller| (MetadataRecord::RegisterController(controller.to_record()), 0));
        brokers.chain(controllers)
    }

    fn topic_records(&self) -> impl Iterator<Item = VersionedRecord> {
        let version = self.features.metadata_version;
        self.topics.iter_by_id().flat_map(move |topic| {
            let record = TopicRecord { name: topic.name.clone(), topic_id: topic.id, ..TopicRecord::default() };
            let partitions = topic.iter().map(move |(index, partition)| {
                let record = partition.to_record(topic.id, index, version);
                (MetadataRecord::Partition(record), version.partition_record_version())
            });
            std::iter::once((MetadataRecord::Topic(record), 0)).chain(partitions)
        })
    }

    fn config_records(&self) -> impl Iterator<Item = VersionedRecord> {
        self.configs.iter().flat_map(|(resource, configs)| {
            configs.iter().map(move |(name, value)| {
                let record = ConfigRecord {
                    resource_type: resource.kind,
                    resource_name: resource.name.clone(),
                    name: name.clone(),
                    value: Some(value.clone()),
                    ..ConfigRecord::default()
                };
                (MetadataRecord::Config(record), 0)
            })
        })
    }

    fn quota_records(&self) -> impl Iterator<Item = VersionedRecord> {
        self.security.client_quotas.iter().map(|((entity, key), value)| {
            let record = ClientQuotaRecord {
                entity: entity_data(entity),
                key: key.clone(),
                value: *value,
                remove: false,
                ..ClientQuotaRecord::default()
            };
            (MetadataRecord::ClientQuota(record), 0)
        })
    }

    fn producer_id_records(&self) -> impl Iterator<Item = VersionedRecord> {
        (self.next_producer_id >= 0)
            .then(|| {
                let record = ProducerIdsRecord {
                    broker_id: -1,
                    broker_epoch: -1,
                    next_producer_id: self.next_producer_id,
                    ..ProducerIdsRecord::default()
                };
                (MetadataRecord::ProducerIds(record), 0)
            })
            .into_iter()
    }

    fn security_records(&self) -> impl Iterator<Item = VersionedRecord> {
        let version = self.features.metadata_version;
        let acls = self.security.acls.values().map(|acl| MetadataRecord::AccessControlEntry(acl.as_ref().clone()));
        let scram = self
            .security
            .scram
            .values()
            .filter(move |_| version.is_scram_supported())
            .map(|credential| MetadataRecord::UserScramCredential(credential.as_ref().clone()));
        let tokens = self
            .security
            .delegation_tokens
            .values()
            .filter(move |_| version.is_delegation_token_supported())
            .map(|token| MetadataRecord::DelegationToken(token.as_ref().clone()));
        acls.chain(scram).chain(tokens).map(|record| (record, 0))
    }
}

fn entity_data(entity: &QuotaEntity) -> Vec<EntityData> {
    entity
        .iter()
        .map(|(kind, name)| EntityData {
            entity_type: kind.clone(),
            entity_name: name.clone(),
            ..EntityData::default()
        })
        .collect()
}
