//! CreateTopics (`ReplicationControlManager.createTopics`).

use std::collections::{BTreeMap, BTreeSet};

use milena_metadata::config::TOPIC_CONFIGS;
use milena_metadata::{ConfigResource, Partition, VersionedRecord};
use milena_protocol::Text;
use milena_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use milena_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use milena_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, MetadataRecord, TopicRecord};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, TopicId, Uuid};

use crate::config_changes::{AlterOperation, ConfigChange};
use crate::manual_assignment::validate_manual_assignment;
use crate::placement::place;
use crate::topic_names::{has_collision_characters, unify_collision_characters, validate_topic_name};
use crate::{ApiError, Controller, Decision, Random};

/// Most partitions one request may create.
const PARTITIONS_PER_REQUEST_MAX: i64 = 10_000;

impl Controller {
    /// Creates topics. Names must be unique within the request: `requests.rs` refuses others before, and is the only way here. The configs of a
    /// new topic are answered only for topics that `may_describe`.
    #[must_use]
    pub(crate) fn decide_create_topics(
        &self,
        request: &CreateTopicsRequest,
        may_describe: &dyn Fn(&str) -> bool,
        random: &mut dyn Random,
    ) -> Decision<CreateTopicsResponse> {
        if let Err(error) = self.check_partition_total(request) {
            let topics = request.topics.iter().map(|topic| failure(topic, &error)).collect();
            return Decision::atomic(Vec::new(), CreateTopicsResponse { topics, ..CreateTopicsResponse::default() });
        }
        let collisions = self.colliding_names(request);
        let mut records = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let outcome = self
                .check_name(topic, &collisions)
                .and_then(|()| self.create_topic(topic, may_describe(&topic.name), random, &mut records));
            topics.push(outcome.unwrap_or_else(|error| failure(topic, &error)));
        }
        let response = CreateTopicsResponse { topics, ..CreateTopicsResponse::default() };
        let decision = Decision::atomic(records, response);
        if request.validate_only { decision.without_records() } else { decision }
    }

    fn check_partition_total(&self, request: &CreateTopicsRequest) -> Result<(), ApiError> {
        let count = |topic: &CreatableTopic| match topic.num_partitions {
            _ if !topic.assignments.is_empty() => topic.assignments.len() as i64,
            -1 => i64::from(self.settings.default_partitions),
            count => i64::from(count.max(0)),
        };
        if request.topics.iter().map(count).sum::<i64>() > PARTITIONS_PER_REQUEST_MAX {
            let why = "Excessively large number of partitions per request.";
            return Err(ApiError::new(ErrorCode::POLICY_VIOLATION, why));
        }
        Ok(())
    }

    /// The existing topics that names of the request could collide with, by their unified name.
    fn colliding_names(&self, request: &CreateTopicsRequest) -> BTreeMap<String, Text> {
        let wanted: BTreeSet<String> = request
            .topics
            .iter()
            .filter(|topic| has_collision_characters(&topic.name))
            .map(|topic| unify_collision_characters(&topic.name))
            .collect();
        let mut found = BTreeMap::new();
        if wanted.is_empty() {
            return found;
        }
        for topic in self.image.topics.iter().filter(|topic| has_collision_characters(&topic.name)) {
            let unified = unify_collision_characters(&topic.name);
            if wanted.contains(&unified) {
                found.entry(unified).or_insert_with(|| topic.name.clone());
            }
        }
        found
    }

    fn check_name(&self, topic: &CreatableTopic, collisions: &BTreeMap<String, Text>) -> Result<(), ApiError> {
        let name = &*topic.name;
        if self.image.topics.named(name).is_some() {
            let why = format!("Topic '{name}' already exists.");
            return Err(ApiError::new(ErrorCode::TOPIC_ALREADY_EXISTS, why));
        }
        validate_topic_name(name)?;
        if has_collision_characters(name)
            && let Some(existing) = collisions.get(&unify_collision_characters(name))
        {
            let why = format!("Topic '{name}' collides with existing topic: {existing}");
            return Err(ApiError::new(ErrorCode::INVALID_TOPIC_EXCEPTION, why));
        }
        Ok(())
    }

    fn create_topic(
        &self,
        topic: &CreatableTopic,
        may_describe: bool,
        random: &mut dyn Random,
        records: &mut Vec<VersionedRecord>,
    ) -> Result<CreatableTopicResult, ApiError> {
        let config_records = self.topic_config_records(topic)?;
        let partitions = if topic.assignments.is_empty() {
            self.placed_partitions(topic, random)?
        } else {
            self.assigned_partitions(topic)?
        };
        let id = self.new_topic_id(random);
        let record = TopicRecord { name: topic.name.clone(), topic_id: id, ..TopicRecord::default() };
        records.push((MetadataRecord::Topic(record), 0));
        records.extend(config_records);
        let version = self.image.features.metadata_version;
        for (index, partition) in (0..).map(PartitionIndex).zip(&partitions) {
            let record = partition.to_record(id, index, version);
            records.push((MetadataRecord::Partition(record), version.partition_record_version()));
        }
        Ok(self.success(topic, id, &partitions, may_describe))
    }

    fn topic_config_records(&self, topic: &CreatableTopic) -> Result<Vec<VersionedRecord>, ApiError> {
        let null: Vec<&str> =
            topic.configs.iter().filter(|config| config.value.is_none()).map(|config| &*config.name).collect();
        if !null.is_empty() {
            let why = format!("Null value not supported for topic configs: {}", null.join(","));
            return Err(ApiError::new(ErrorCode::INVALID_CONFIG, why));
        }
        if topic.configs.is_empty() {
            return Ok(Vec::new());
        }
        let set = |config: &CreatableTopicConfig| ConfigChange {
            name: config.name.clone(),
            operation: AlterOperation::Set,
            value: config.value.clone(),
        };
        let changes: Vec<ConfigChange> = topic.configs.iter().map(set).collect();
        let mut records = self.incremental_records(&ConfigResource::topic(topic.name.clone()), &changes, true)?;
        records.extend(self.cleared_elr(&records));
        Ok(records)
    }

    /// Partitions where the client said which brokers hold them.
    fn assigned_partitions(&self, topic: &CreatableTopic) -> Result<Vec<Partition>, ApiError> {
        let refuse = |error, why: String| Err(ApiError::new(error, why));
        if topic.replication_factor != -1 {
            let why = "A manual partition assignment was specified, but replication factor was not set to -1.";
            return refuse(ErrorCode::INVALID_REQUEST, why.to_owned());
        }
        if topic.num_partitions != -1 {
            let why = "A manual partition assignment was specified, but numPartitions was not set to -1.";
            return refuse(ErrorCode::INVALID_REQUEST, why.to_owned());
        }
        let mut partitions: BTreeMap<i32, Partition> = BTreeMap::new();
        let mut replication_factor = None;
        for assignment in &topic.assignments {
            let index = assignment.partition_index;
            if partitions.contains_key(&index) {
                let why = format!("Found multiple manual partition assignments for partition {index}");
                return refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why);
            }
            let replicas: Vec<BrokerId> = assignment.broker_ids.iter().map(|id| BrokerId(*id)).collect();
            validate_manual_assignment(&self.image.cluster, &replicas, replication_factor)?;
            replication_factor = Some(replicas.len());
            let Some(partition) = self.new_partition(&replicas) else {
                return Err(all_fenced_in_assignment(index));
            };
            partitions.insert(index, partition);
        }
        if !partitions.keys().copied().eq(0..partitions.len() as i32) {
            let why = "partitions should be a consecutive 0-based integer sequence".to_owned();
            return refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why);
        }
        Ok(partitions.into_values().collect())
    }

    fn placed_partitions(&self, topic: &CreatableTopic, random: &mut dyn Random) -> Result<Vec<Partition>, ApiError> {
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            let why = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(ApiError::new(ErrorCode::INVALID_REPLICATION_FACTOR, why));
        }
        if topic.num_partitions < -1 || topic.num_partitions == 0 {
            let why = "Number of partitions was set to an invalid non-positive value.";
            return Err(ApiError::new(ErrorCode::INVALID_PARTITIONS, why));
        }
        let or_default = |asked: i32, default: i32| if asked == -1 { default } else { asked };
        let count = or_default(topic.num_partitions, self.settings.default_partitions);
        let replication_factor = match topic.replication_factor {
            -1 => self.settings.default_replication_factor,
            asked => asked,
        };
        let unable = |why: &str| {
            let why = format!("Unable to replicate the partition {replication_factor} time(s): {why}");
            ApiError::new(ErrorCode::INVALID_REPLICATION_FACTOR, why)
        };
        let count = usize::try_from(count).unwrap_or(0);
        let placed = place(&self.image.cluster, count, replication_factor, random)
            .map_err(|error| unable(error.message.as_deref().unwrap_or_default()))?;
        let new = |replicas: Vec<BrokerId>| {
            self.new_partition(&replicas)
                .ok_or_else(|| unable("All brokers are currently fenced or in controlled shutdown."))
        };
        placed.into_iter().map(new).collect()
    }

    /// A new partition on the given brokers; `None` when none of them can lead.
    pub(crate) fn new_partition(&self, replicas: &[BrokerId]) -> Option<Partition> {
        let isr: Box<[BrokerId]> =
            replicas.iter().copied().filter(|broker| self.image.cluster.is_active(*broker)).collect();
        let leader = *isr.first()?;
        Some(Partition {
            replicas: replicas.into(),
            directories: replicas.iter().map(|broker| self.default_directory(*broker)).collect(),
            isr,
            leader,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            ..Partition::default()
        })
    }

    /// The directory a new replica of a broker is recorded in.
    pub(crate) fn default_directory(&self, broker: BrokerId) -> Uuid {
        self.image
            .cluster
            .broker(broker)
            .map_or(milena_metadata::DIRECTORY_UNASSIGNED, |broker| broker.default_directory())
    }

    fn new_topic_id(&self, random: &mut dyn Random) -> TopicId {
        loop {
            let (high, low) = (random.next_u64(), random.next_u64());
            let bits = u128::from(high) << 64 | u128::from(low);
            if let Some(id) = Uuid::from_random(bits.to_be_bytes())
                && self.image.topics.get(id).is_none()
            {
                return id;
            }
        }
    }

    fn success(
        &self,
        topic: &CreatableTopic,
        id: TopicId,
        partitions: &[Partition],
        may_describe: bool,
    ) -> CreatableTopicResult {
        let result = CreatableTopicResult {
            name: topic.name.clone(),
            topic_id: id,
            error_message: None,
            configs: Some(Vec::new()),
            ..CreatableTopicResult::default()
        };
        if !may_describe {
            let topic_config_error_code = ErrorCode::TOPIC_AUTHORIZATION_FAILED.0;
            return CreatableTopicResult { topic_config_error_code, ..result };
        }
        let rules = self.config_rules();
        let asked: BTreeMap<&str, Option<&str>> =
            topic.configs.iter().map(|config| (&*config.name, config.value.as_deref())).collect();
        let describe = |key: &'static milena_metadata::config::ConfigKey| {
            let effective = rules.effective(key, asked.get(key.name).copied().flatten());
            CreatableTopicConfigs {
                name: Text::from_static(key.name),
                value: effective.value.filter(|_| !key.is_sensitive()).map(Text::from),
                config_source: effective.source,
                is_sensitive: key.is_sensitive(),
                ..CreatableTopicConfigs::default()
            }
        };
        CreatableTopicResult {
            num_partitions: partitions.len() as i32,
            replication_factor: partitions.first().map_or(-1, |partition| partition.replicas.len() as i16),
            configs: Some(TOPIC_CONFIGS.keys().iter().filter(|key| !key.internal).map(describe).collect()),
            ..result
        }
    }
}

pub(crate) fn all_fenced_in_assignment(partition: i32) -> ApiError {
    let why = format!(
        "All brokers specified in the manual partition assignment for partition {partition} are fenced or in controlled \
         shutdown."
    );
    ApiError::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why)
}

fn failure(topic: &CreatableTopic, error: &ApiError) -> CreatableTopicResult {
    CreatableTopicResult {
        name: topic.name.clone(),
        error_code: error.error.0,
        error_message: error.text(),
        configs: Some(Vec::new()),
        ..CreatableTopicResult::default()
    }
}
