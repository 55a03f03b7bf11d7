//! Changes of dynamic configs (`ConfigurationControlManager`).

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_metadata::{ConfigMap, ConfigResource, Partition, VersionedRecord};
use milena_protocol::Text;
use milena_protocol::messages::{ClearElrRecord, ConfigRecord, MetadataRecord, PartitionChangeRecord};
use milena_types::{BrokerId, ErrorCode};

use crate::config_rules::{ConfigRules, MIN_INSYNC_REPLICAS, UNCLEAN_LEADER_ELECTION};
use crate::{ApiError, Controller, Decision};

/// Longest value, in UTF-16 units as Java counts.
const VALUE_LENGTH_MAX: usize = 32_767;

/// How a config changes (`AlterConfigOp.OpType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AlterOperation {
    Set,
    Delete,
    Append,
    Subtract,
}

impl AlterOperation {
    /// The operation of a number of the protocol.
    #[must_use]
    pub fn from_id(id: i8) -> Option<AlterOperation> {
        match id {
            0 => Some(AlterOperation::Set),
            1 => Some(AlterOperation::Delete),
            2 => Some(AlterOperation::Append),
            3 => Some(AlterOperation::Subtract),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            AlterOperation::Set => "SET",
            AlterOperation::Delete => "DELETE",
            AlterOperation::Append => "APPEND",
            AlterOperation::Subtract => "SUBTRACT",
        }
    }
}

/// One change of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigChange {
    pub name: Text,
    pub operation: AlterOperation,
    /// `None` counts as empty where a value is needed; requests with such values are refused before.
    pub value: Option<Text>,
}

/// The outcome for each resource, in the order asked.
pub(crate) type Outcomes = Vec<(ConfigResource, Result<(), ApiError>)>;

impl Controller {
    /// Changes single keys. Resources that fail leave the others untouched.
    #[must_use]
    pub fn decide_incremental_alter_configs(
        &self,
        changes: &[(ConfigResource, Vec<ConfigChange>)],
        validate_only: bool,
    ) -> Decision<Outcomes> {
        let mut records = Vec::new();
        let mut outcomes = Vec::new();
        for (resource, changes) in changes {
            let outcome = self.incremental_records(resource, changes, false).map(|new| records.extend(new));
            outcomes.push((resource.clone(), outcome));
        }
        self.finish(records, outcomes, validate_only)
    }

    /// Replaces all configs of each resource; keys that are not named are deleted.
    #[must_use]
    pub fn decide_alter_configs(
        &self,
        replacements: &[(ConfigResource, BTreeMap<Text, Option<Text>>)],
        validate_only: bool,
    ) -> Decision<Outcomes> {
        let mut records = Vec::new();
        let mut outcomes = Vec::new();
        for (resource, wanted) in replacements {
            let current = self.current(resource);
            let always = resource.kind == ConfigResource::BROKER;
            let explicit = wanted
                .iter()
                .filter(|(name, value)| always || current.get(*name) != value.as_ref())
                .map(|(name, value)| config_record(resource, name.clone(), value.clone()));
            let mut new: Vec<ConfigRecord> = explicit.collect();
            let gone = current.keys().filter(|name| !wanted.contains_key(*name));
            new.extend(gone.map(|name| config_record(resource, name.clone(), None)));
            let outcome = self.validate(resource, &new, false).map(|()| records.extend(versioned(new)));
            outcomes.push((resource.clone(), outcome));
        }
        self.finish(records, outcomes, validate_only)
    }

    /// The records of a resource's changes; a `newly_created` resource need not exist yet.
    pub(crate) fn incremental_records(
        &self,
        resource: &ConfigResource,
        changes: &[ConfigChange],
        newly_created: bool,
    ) -> Result<Vec<VersionedRecord>, ApiError> {
        let current = self.current(resource);
        let mut records = Vec::new();
        for change in changes {
            let before = current.get(&change.name);
            let after = match change.operation {
                AlterOperation::Set => change.value.clone(),
                AlterOperation::Delete => None,
                AlterOperation::Append | AlterOperation::Subtract => Some(changed_list(resource, change, before)?),
            };
            // Records for brokers are written also without a change: they make the brokers load files anew.
            if after.as_ref() != before || resource.kind == ConfigResource::BROKER {
                records.push(config_record(resource, change.name.clone(), after));
            }
        }
        self.validate(resource, &records, newly_created)?;
        Ok(versioned(records).collect())
    }

    fn current(&self, resource: &ConfigResource) -> Arc<ConfigMap> {
        self.image.configs.get(resource).cloned().unwrap_or_default()
    }

    fn finish(&self, mut records: Vec<VersionedRecord>, outcomes: Outcomes, validate_only: bool) -> Decision<Outcomes> {
        if validate_only {
            return Decision::atomic(Vec::new(), outcomes);
        }
        records.extend(self.cleared_elr(&records));
        Decision::atomic(records, outcomes)
    }

    /// What changed values of `min.insync.replicas` ask for: a replica is eligible by the smallest ISR that was in force when
    /// it left the ISR. Kafka: `ConfigurationControlManager.createClearElrRecordsAsNeeded`.
    pub(crate) fn cleared_elr(&self, records: &[VersionedRecord]) -> Vec<VersionedRecord> {
        if !self.image.features.is_elr_enabled() {
            return Vec::new();
        }
        let topics = records.iter().filter_map(|(record, _)| match record {
            MetadataRecord::Config(record) if &*record.name == MIN_INSYNC_REPLICAS => {
                let of_topic = record.resource_type == ConfigResource::TOPIC;
                // What topics go by without a value of their own may be many things.
                let value = record.value.as_ref().filter(|_| of_topic).and_then(|value| value.trim().parse().ok());
                Some((if of_topic { record.resource_name.clone() } else { Text::default() }, value))
            }
            _ => None,
        });
        topics.flat_map(|(topic, value)| self.cleared_elr_of(topic, value.unwrap_or(0))).collect()
    }

    /// One record for the topic, or for all if it has no name. Where a partition has fewer replicas in sync than `min_insync`
    /// from now on, or none, nothing is committed that those which are eligible lack: it keeps them, and each other one gets
    /// its own record.
    fn cleared_elr_of(&self, name: Text, min_insync: usize) -> Vec<VersionedRecord> {
        let topics = self.image.topics.iter().filter(|topic| name.is_empty() || topic.name == name);
        let all = topics.flat_map(|topic| topic.iter().map(move |(index, partition)| (topic.id, index, partition)));
        let has_any =
            |known: &&Partition| !known.eligible_leader_replicas.is_empty() || !known.last_known_elr.is_empty();
        let concerned = all.map(|(topic, index, known)| (topic, index, &**known)).filter(|(.., known)| has_any(known));
        let (keep, clear): (Vec<_>, Vec<_>) = concerned
            .partition(|(.., known)| known.isr.is_empty() || known.isr.len() < min_insync.min(known.replicas.len()));
        if keep.is_empty() {
            let record = ClearElrRecord { topic_name: name, ..ClearElrRecord::default() };
            return vec![(MetadataRecord::ClearElr(record), 0)];
        }
        let version = self.image.features.metadata_version.partition_change_record_version();
        let cleared = clear.into_iter().map(|(topic_id, index, known)| {
            let record = PartitionChangeRecord {
                topic_id,
                partition_id: index.0,
                eligible_leader_replicas: (!known.eligible_leader_replicas.is_empty()).then(Vec::new),
                last_known_elr: (!known.last_known_elr.is_empty()).then(Vec::new),
                ..PartitionChangeRecord::default()
            };
            (MetadataRecord::PartitionChange(record), version)
        });
        cleared.collect()
    }

    fn validate(
        &self,
        resource: &ConfigResource,
        changes: &[ConfigRecord],
        newly_created: bool,
    ) -> Result<(), ApiError> {
        let old = self.current(resource);
        let mut new = ConfigMap::clone(&old);
        for change in changes {
            self.check_min_insync_replicas(resource, change)?;
            match &change.value {
                Some(value) if value.encode_utf16().count() > VALUE_LENGTH_MAX => {
                    return Err(ApiError::new(
                        ErrorCode::INVALID_CONFIG,
                        "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.",
                    ));
                }
                Some(value) => {
                    new.insert(change.name.clone(), value.clone());
                }
                None => {
                    new.remove(&change.name);
                }
            }
        }
        self.config_rules().validate(resource, &new, &old)?;
        if newly_created { Ok(()) } else { self.check_exists(resource) }
    }

    fn check_min_insync_replicas(&self, resource: &ConfigResource, change: &ConfigRecord) -> Result<(), ApiError> {
        let concerned = &*change.name == MIN_INSYNC_REPLICAS
            && resource.kind == ConfigResource::BROKER
            && self.image.features.is_elr_enabled();
        let refuse = |why: &str| Err(ApiError::new(ErrorCode::INVALID_CONFIG, why));
        if concerned && !resource.name.is_empty() {
            return refuse("Broker-level min.insync.replicas cannot be altered while ELR is enabled.");
        }
        if concerned && change.value.is_none() {
            return refuse("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.");
        }
        Ok(())
    }

    /// `QuorumController.ConfigResourceExistenceChecker`.
    fn check_exists(&self, resource: &ConfigResource) -> Result<(), ApiError> {
        match resource.kind {
            ConfigResource::TOPIC if self.image.topics.named(&resource.name).is_none() => Err(ApiError::new(
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                format!("The topic '{}' does not exist.", resource.name),
            )),
            ConfigResource::BROKER if !resource.name.is_empty() => {
                let Ok(id) = resource.name.parse::<i32>() else {
                    let why = format!("Invalid broker name {}", resource.name);
                    return Err(ApiError::new(ErrorCode::INVALID_REQUEST, why));
                };
                let known =
                    self.image.cluster.broker(BrokerId(id)).is_some() || self.settings.voters.contains(&BrokerId(id));
                if known {
                    return Ok(());
                }
                Err(ApiError::new(ErrorCode::BROKER_ID_NOT_REGISTERED, format!("No node with id {id} found.")))
            }
            _ => Ok(()),
        }
    }

    /// Whether a topic's partitions may be led by a replica that is not in sync.
    pub(crate) fn is_unclean_election_enabled(&self, topic: &Text) -> bool {
        self.topic_value(topic, UNCLEAN_LEADER_ELECTION).as_deref() == Some("true")
    }

    /// The smallest ISR a topic's writes need, never more than its replicas.
    pub(crate) fn min_insync_replicas(&self, topic: &Text, replication_factor: usize) -> usize {
        let configured = self.topic_value(topic, MIN_INSYNC_REPLICAS).and_then(|text| text.trim().parse().ok());
        configured.unwrap_or(1usize).min(replication_factor)
    }

    fn topic_value(&self, topic: &Text, name: &str) -> Option<String> {
        let own = self.image.configs.topic(topic).and_then(|configs| configs.get(name));
        match own {
            Some(value) => Some(value.to_string()),
            // Both keys have the same name for topics and for brokers.
            None => self.config_rules().broker_value(name),
        }
    }
}

fn config_record(resource: &ConfigResource, name: Text, value: Option<Text>) -> ConfigRecord {
    ConfigRecord {
        resource_type: resource.kind,
        resource_name: resource.name.clone(),
        name,
        value,
        ..ConfigRecord::default()
    }
}

fn versioned(records: Vec<ConfigRecord>) -> impl Iterator<Item = VersionedRecord> {
    records.into_iter().map(|record| (MetadataRecord::Config(record), 0))
}

/// The value of a list after values were added or taken away.
fn changed_list(resource: &ConfigResource, change: &ConfigChange, before: Option<&Text>) -> Result<Text, ApiError> {
    if !ConfigRules::is_list(resource.kind, &change.name) {
        let why = format!("Can't {} to key {} because its type is not LIST.", change.operation.name(), change.name);
        return Err(ApiError::new(ErrorCode::INVALID_CONFIG, why));
    }
    let start = before.map(|text| &**text).or_else(|| ConfigRules::default_text(resource.kind, &change.name));
    let mut list: Vec<&str> = start.unwrap_or_default().split(',').filter(|part| !part.is_empty()).collect();
    for part in change.value.as_deref().unwrap_or_default().split(',') {
        let at = list.iter().position(|known| *known == part);
        match (change.operation, at) {
            (AlterOperation::Append, None) => list.push(part),
            (AlterOperation::Subtract, Some(at)) => {
                list.remove(at);
            }
            _ => {}
        }
    }
    Ok(Text::from(list.join(",")))
}
