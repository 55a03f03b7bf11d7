//! The controller as its host drives it: decide, append, replay. Texts and records are those Apache Kafka 4.3.1 gave to
//! the same requests.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_metadata::{ConfigResource, Delta, Image, MetadataVersion, VersionedRecord, supported_features};
use milena_protocol::Text;
use milena_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use milena_protocol::messages::*;
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, Uuid};

use crate::*;

pub(crate) struct Host {
    pub(crate) controller: Controller,
    next: Offset,
    pub(crate) now: Duration,
    random: u64,
}

fn settings() -> ControllerSettings {
    ControllerSettings {
        cluster_id: "cluster".into(),
        node_id: BrokerId(1),
        voters: vec![BrokerId(1)],
        default_partitions: 1,
        default_replication_factor: 1,
        session_timeout: Duration::from_secs(9),
        static_configs: [("log.segment.delete.delay.ms".to_owned(), "100".to_owned())].into(),
    }
}

impl Host {
    /// A new cluster of this many brokers, all unfenced.
    pub(crate) fn with_brokers(count: i32) -> Host {
        let controller = Controller::new(settings(), Image::default());
        let mut host = Host { controller, next: Offset(3), now: Duration::from_secs(100), random: 1 };
        host.controller.activate(host.now);
        let bootstrap = bootstrap_records(MetadataVersion::LATEST, &BTreeMap::new());
        let decision = host.controller.decide_activation(true, &bootstrap);
        host.append(decision.records);
        for id in 1..=count {
            let epoch = host.register(id, id as u8, -1).unwrap();
            host.heartbeat(id, epoch, host.next.0, false);
        }
        host
    }

    pub(crate) fn append(&mut self, records: Vec<VersionedRecord>) -> Delta {
        let mut delta = Delta::default();
        for (record, version) in records {
            // Every record must be writable in the version it was decided for.
            let record = MetadataRecord::decode(record.encode(version)).unwrap();
            self.controller.replay(&record, self.next, LeaderEpoch(1), &mut delta).unwrap();
            self.next = self.next + 1;
        }
        delta
    }

    fn register(&mut self, id: i32, incarnation: u8, previous: i64) -> Result<i64, ApiError> {
        let feature = |(name, min, max): (&'static str, i16, i16)| broker_registration_request::Feature {
            name: Text::from(name),
            min_supported_version: min,
            max_supported_version: max,
            ..Default::default()
        };
        let request = BrokerRegistrationRequest {
            broker_id: id,
            cluster_id: "cluster".into(),
            incarnation_id: Uuid([incarnation; 16]),
            features: supported_features().map(feature).collect(),
            log_dirs: vec![Uuid([id as u8 + 100; 16])],
            previous_broker_epoch: previous,
            ..BrokerRegistrationRequest::default()
        };
        let decision = self.controller.decide_register_broker(&request, self.next, self.now);
        self.append(decision.records);
        decision.response.map(|response| response.broker_epoch)
    }

    pub(crate) fn heartbeat(&mut self, id: i32, epoch: i64, offset: i64, shut_down: bool) -> BrokerHeartbeatResponse {
        let request = BrokerHeartbeatRequest {
            broker_id: id,
            broker_epoch: epoch,
            current_metadata_offset: offset,
            want_shut_down: shut_down,
            ..BrokerHeartbeatRequest::default()
        };
        let decision = self.controller.decide_broker_heartbeat(&request, self.next, self.now);
        self.append(decision.records);
        decision.response.unwrap()
    }

    pub(crate) fn epoch(&self, id: i32) -> i64 {
        self.controller.image().cluster.broker(BrokerId(id)).unwrap().epoch
    }

    pub(crate) fn create(&mut self, topics: Vec<CreatableTopic>) -> Vec<(i16, Option<String>)> {
        let request = CreateTopicsRequest { topics, ..CreateTopicsRequest::default() };
        let decision = self.decide_create(&request);
        self.append(decision.records);
        let outcome = |topic: &create_topics_response::CreatableTopicResult| {
            (topic.error_code, topic.error_message.as_ref().map(ToString::to_string))
        };
        decision.response.topics.iter().map(outcome).collect()
    }

    fn decide_create(&mut self, request: &CreateTopicsRequest) -> Decision<CreateTopicsResponse> {
        let random = &mut self.random;
        let mut source = || {
            *random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *random
        };
        self.controller.decide_create_topics(request, &|_| true, &mut source)
    }

    pub(crate) fn leader(&self, topic: &str, partition: i32) -> i32 {
        let topic = self.controller.image().topics.named(topic).unwrap();
        topic.partition(PartitionIndex(partition)).unwrap().leader.0
    }
}

fn topic(name: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: replicas,
        ..CreatableTopic::default()
    }
}

fn with_config(name: &str, key: &str, value: &str) -> CreatableTopic {
    let config =
        CreatableTopicConfig { name: key.into(), value: Some(value.into()), ..CreatableTopicConfig::default() };
    CreatableTopic { configs: vec![config], ..topic(name, 1, 1) }
}

pub(crate) fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = |(partition, brokers): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index: *partition,
        broker_ids: brokers.to_vec(),
        ..CreatableReplicaAssignment::default()
    };
    CreatableTopic { assignments: assignments.iter().map(assignment).collect(), ..topic(name, -1, -1) }
}

fn failed(error: ErrorCode, text: &str) -> (i16, Option<String>) {
    (error.0, Some(text.to_owned()))
}

#[test]
fn a_new_cluster_begins_with_kafkas_records() {
    let controller = Controller::new(settings(), Image::default());
    let bootstrap = bootstrap_records(MetadataVersion::LATEST, &BTreeMap::new());
    let decision = controller.decide_activation(true, &bootstrap);
    let describe = |(record, version): &VersionedRecord| {
        assert_eq!(*version, 0);
        match record {
            MetadataRecord::BeginTransaction(record) => format!("begin {}", record.name.as_ref().unwrap()),
            MetadataRecord::FeatureLevel(record) => format!("{}={}", record.name, record.feature_level),
            MetadataRecord::Config(record) => {
                format!("{} {}={}", record.resource_type, record.name, record.value.as_ref().unwrap())
            }
            MetadataRecord::EndTransaction(_) => "end".to_owned(),
            other => format!("{other:?}"),
        }
    };
    assert_eq!(
        decision.records.iter().map(describe).collect::<Vec<_>>(),
        [
            "begin Bootstrap records",
            "metadata.version=30",
            "eligible.leader.replicas.version=1",
            "group.version=1",
            "share.version=1",
            "streams.version=1",
            "transaction.version=2",
            "4 min.insync.replicas=1",
            "end"
        ]
    );
}

#[test]
fn topics_are_created_and_refused_in_kafkas_words() {
    let mut host = Host::with_brokers(1);
    assert_eq!(host.create(vec![topic("a.b", 2, 1)]), [(0, None)]);
    assert_eq!(host.create(vec![topic("d1", -1, -1), assigned("m5", &[(0, &[1])])]), [(0, None), (0, None)]);
    let refused = host.create(vec![
        topic("a.b", 2, 1),
        topic("a_b", 2, 1),
        topic("r0", 2, 0),
        topic("r3", 2, 3),
        topic("p0", 0, 1),
        assigned("m1", &[(0, &[1]), (2, &[1])]),
        assigned("m2", &[(0, &[9])]),
        assigned("m3", &[(0, &[1, 1])]),
        assigned("m4", &[(0, &[])]),
        with_config("c1", "nope", "1"),
        with_config("c2", "retention.ms", "abc"),
        with_config("c3", "cleanup.policy", "foo"),
        with_config("c4", "min.insync.replicas", "0"),
    ]);
    let expected = [
        failed(ErrorCode::TOPIC_ALREADY_EXISTS, "Topic 'a.b' already exists."),
        failed(ErrorCode::INVALID_TOPIC_EXCEPTION, "Topic 'a_b' collides with existing topic: a.b"),
        failed(
            ErrorCode::INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        failed(
            ErrorCode::INVALID_REPLICATION_FACTOR,
            "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because \
             only 1 broker(s) are registered or some brokers have all their log directories cordoned.",
        ),
        failed(ErrorCode::INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value."),
        failed(ErrorCode::INVALID_REPLICA_ASSIGNMENT, "partitions should be a consecutive 0-based integer sequence"),
        failed(
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes broker 9, but no such broker is registered.",
        ),
        failed(
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        failed(
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes an empty replica list.",
        ),
        failed(ErrorCode::INVALID_CONFIG, "Unknown topic config name: nope"),
        failed(
            ErrorCode::INVALID_CONFIG,
            "Invalid value abc for configuration retention.ms: Not a number of type LONG",
        ),
        failed(
            ErrorCode::INVALID_CONFIG,
            "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        failed(
            ErrorCode::INVALID_CONFIG,
            "Invalid value 0 for configuration min.insync.replicas: Value must be at least 1",
        ),
    ];
    assert_eq!(refused, expected);
    assert_eq!(host.controller.image().topics.len(), 3);
}

#[test]
fn a_created_topic_is_answered_with_its_configs_and_their_sources() {
    let mut host = Host::with_brokers(1);
    let request = CreateTopicsRequest {
        topics: vec![with_config("d1", "segment.bytes", "2097152")],
        validate_only: true,
        ..CreateTopicsRequest::default()
    };
    let decision = host.decide_create(&request);
    assert!(decision.records.is_empty());
    let result = &decision.response.topics[0];
    assert_eq!((result.num_partitions, result.replication_factor), (1, 1));
    let configs = result.configs.as_ref().unwrap();
    let config = |name: &str| {
        let found = configs.iter().find(|config| &*config.name == name).unwrap();
        (found.value.as_ref().unwrap().to_string(), found.config_source)
    };
    assert_eq!(configs.len(), 33);
    assert_eq!(config("segment.bytes"), ("2097152".to_owned(), 1));
    assert_eq!(config("min.insync.replicas"), ("1".to_owned(), 3));
    assert_eq!(config("file.delete.delay.ms"), ("100".to_owned(), 4));
    assert_eq!(config("retention.ms"), ("604800000".to_owned(), 5));
    assert_eq!(config("min.cleanable.dirty.ratio"), ("0.5".to_owned(), 5));
}

#[test]
fn a_topic_created_with_its_own_smallest_isr_has_its_eligible_replicas_cleared_as_kafka_does() {
    let mut host = Host::with_brokers(1);
    assert!(host.controller.image().features.is_elr_enabled());
    for (key, value, wanted) in [
        ("min.insync.replicas", "1", ["Topic", "Config", "ClearElr", "Partition"].as_slice()),
        ("segment.bytes", "2097152", &["Topic", "Config", "Partition"]),
    ] {
        let name = value;
        let request =
            CreateTopicsRequest { topics: vec![with_config(name, key, value)], ..CreateTopicsRequest::default() };
        let decision = host.decide_create(&request);
        let kinds = decision.records.iter().map(|(record, _)| match record {
            MetadataRecord::Topic(_) => "Topic",
            MetadataRecord::Config(_) => "Config",
            MetadataRecord::ClearElr(record) => {
                assert_eq!(&*record.topic_name, name);
                "ClearElr"
            }
            MetadataRecord::Partition(_) => "Partition",
            _ => "another",
        });
        assert_eq!(kinds.collect::<Vec<_>>(), wanted, "{key}");
        host.append(decision.records);
    }
}

#[test]
fn replicas_are_striped_evenly_over_brokers() {
    let mut host = Host::with_brokers(3);
    assert_eq!(host.create(vec![topic("wide", 30, 2)]), [(0, None)]);
    let topic = host.controller.image().topics.named("wide").unwrap();
    let mut leaders = BTreeMap::<i32, usize>::new();
    let mut replicas = BTreeMap::<i32, usize>::new();
    for partition in &topic.partitions {
        assert_eq!(partition.replicas.len(), 2);
        assert_ne!(partition.replicas[0], partition.replicas[1]);
        *leaders.entry(partition.leader.0).or_default() += 1;
        partition.replicas.iter().for_each(|id| *replicas.entry(id.0).or_default() += 1);
    }
    assert_eq!(leaders.values().copied().collect::<Vec<_>>(), [10, 10, 10]);
    assert_eq!(replicas.values().copied().collect::<Vec<_>>(), [20, 20, 20]);
}

#[test]
fn partitions_are_added_and_refused_in_kafkas_words() {
    let mut host = Host::with_brokers(1);
    host.create(vec![topic("d1", 1, 1), topic("a.b", 2, 1)]);
    let mut ask = |name: &str, count: i32, assignments: Option<Vec<Vec<i32>>>| {
        let assignment =
            |broker_ids| create_partitions_request::CreatePartitionsAssignment { broker_ids, ..Default::default() };
        let topic = create_partitions_request::CreatePartitionsTopic {
            name: name.into(),
            count,
            assignments: assignments.map(|lists| lists.into_iter().map(assignment).collect()),
            ..Default::default()
        };
        let request = CreatePartitionsRequest { topics: vec![topic], ..CreatePartitionsRequest::default() };
        let decision = host.controller.decide_create_partitions(&request, &mut || 5);
        host.append(decision.records);
        let result = &decision.response.results[0];
        (result.error_code, result.error_message.as_ref().map(ToString::to_string))
    };
    assert_eq!(ask("d1", 1, None), failed(ErrorCode::INVALID_PARTITIONS, "Topic already has 1 partition(s)."));
    assert_eq!(
        ask("a.b", 1, None),
        failed(
            ErrorCode::INVALID_PARTITIONS,
            "The topic a.b currently has 2 partition(s); 1 would not be an increase."
        )
    );
    assert_eq!(ask("zz", 1, None), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0, None));
    assert_eq!(
        ask("d1", 3, Some(vec![vec![1]])),
        failed(
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."
        )
    );
    assert_eq!(ask("d1", 3, None), (0, None));
    assert_eq!(host.controller.image().topics.named("d1").unwrap().partitions.len(), 3);
}

fn alter(host: &mut Host, kind: i8, name: &str, changes: &[(&str, AlterOperation, Option<&str>)]) -> Option<String> {
    let changes = changes
        .iter()
        .map(|(name, operation, value)| ConfigChange {
            name: Text::from(*name),
            operation: *operation,
            value: value.map(Text::from),
        })
        .collect();
    let resource = ConfigResource { kind, name: name.into() };
    let decision = host.controller.decide_incremental_alter_configs(&[(resource, changes)], false);
    host.append(decision.records);
    match &decision.response[0].1 {
        Ok(()) => None,
        Err(error) => error.message.clone(),
    }
}

#[test]
fn configs_change_by_key_and_are_refused_in_kafkas_words() {
    use AlterOperation::{Append, Delete, Set, Subtract};
    let mut host = Host::with_brokers(1);
    host.create(vec![with_config("a.b", "cleanup.policy", "compact")]);
    let (of_topic, of_broker, of_group) = (ConfigResource::TOPIC, ConfigResource::BROKER, ConfigResource::GROUP);
    let mut ask = |kind, name, key, operation, value| alter(&mut host, kind, name, &[(key, operation, value)]);
    assert_eq!(ask(of_topic, "a.b", "retention.ms", Set, Some("5")), None);
    assert_eq!(ask(of_topic, "a.b", "cleanup.policy", Append, Some("delete")), None);
    assert_eq!(ask(of_topic, "a.b", "cleanup.policy", Subtract, Some("compact")), None);
    assert_eq!(ask(of_topic, "a.b", "retention.ms", Delete, None), None);
    assert_eq!(ask(of_group, "g", "consumer.session.timeout.ms", Set, Some("50000")), None);
    let refusals = [
        (
            of_topic,
            "a.b",
            "retention.ms",
            Append,
            "5",
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (of_topic, "a.b", "foo", Set, "5", "Unknown topic config name: foo"),
        (
            of_topic,
            "a.b",
            "retention.ms",
            Set,
            "-5",
            "Invalid value -5 for configuration retention.ms: Value must be at least -1",
        ),
        (of_topic, "zz", "retention.ms", Set, "1", "The topic 'zz' does not exist."),
        (of_topic, "", "retention.ms", Set, "1", "Default topic resources are not allowed."),
        (
            of_broker,
            "1",
            "min.insync.replicas",
            Set,
            "2",
            "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
        ),
        (of_broker, "7", "log.cleaner.threads", Set, "2", "No node with id 7 found."),
        (
            of_group,
            "g",
            "consumer.session.timeout.ms",
            Set,
            "1",
            "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
        ),
        (of_group, "g", "nope", Set, "1", "Unknown group config name: nope"),
        (of_group, "", "nope", Set, "1", "Default group resources are not allowed."),
        (ConfigResource::CLIENT_METRICS, "g", "nope", Set, "1", "Unknown client metrics configuration: nope"),
    ];
    for (kind, name, key, operation, value, text) in refusals {
        assert_eq!(ask(kind, name, key, operation, Some(value)).as_deref(), Some(text));
    }
    assert_eq!(
        ask(of_broker, "", "min.insync.replicas", Delete, None).as_deref(),
        Some("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
    );
    let configs = host.controller.image().configs.topic(&"a.b".into()).unwrap();
    assert_eq!(
        configs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(),
        ["cleanup.policy=delete"]
    );
}

#[test]
fn a_broker_that_comes_back_uncleanly_leads_again_once_it_knows_its_registration() {
    let mut host = Host::with_brokers(1);
    host.create(vec![topic("t", 1, 1)]);
    let refused = host.register(1, 77, -1).unwrap_err();
    assert_eq!(refused.error, ErrorCode::DUPLICATE_BROKER_REGISTRATION);
    host.now += Duration::from_secs(60);
    let epoch = host.register(1, 77, -1).unwrap();
    assert_eq!(host.leader("t", 0), -1);
    let early = host.heartbeat(1, epoch, 0, false);
    assert!(early.is_fenced && !early.is_caught_up);
    let answer = host.heartbeat(1, epoch, host.next.0 - 1, false);
    assert!(!answer.is_fenced && answer.is_caught_up);
    assert_eq!(host.leader("t", 0), 1);
    let partition = host.controller.image().topics.named("t").unwrap().partitions[0].clone();
    assert!(partition.is_recovering);
}

#[test]
fn a_controlled_shutdown_moves_leaders_and_waits_until_the_others_know() {
    let mut host = Host::with_brokers(2);
    host.create(vec![assigned("t", &[(0, &[1, 2]), (1, &[2, 1])])]);
    let (first, second) = (host.epoch(1), host.epoch(2));
    let answer = host.heartbeat(1, first, host.next.0 - 1, true);
    assert!(!answer.should_shut_down && !answer.is_fenced);
    assert_eq!((host.leader("t", 0), host.leader("t", 1)), (2, 2));
    assert!(!host.heartbeat(1, first, host.next.0 - 1, true).should_shut_down);
    host.heartbeat(2, second, host.next.0 - 1, false);
    let answer = host.heartbeat(1, first, host.next.0 - 1, true);
    assert!(answer.should_shut_down && answer.is_fenced);
    assert!(host.controller.image().cluster.broker(BrokerId(1)).unwrap().is_fenced);
}

#[test]
fn a_silent_broker_is_fenced_when_its_session_expires() {
    let mut host = Host::with_brokers(2);
    host.create(vec![assigned("t", &[(0, &[1, 2])])]);
    host.now += Duration::from_secs(5);
    let second = host.epoch(2);
    host.heartbeat(2, second, host.next.0 - 1, false);
    let deadline = host.controller.next_deadline().unwrap();
    assert!(host.controller.decide_fence_stale_broker(deadline - Duration::from_nanos(1)).records.is_empty());
    let decision = host.controller.decide_fence_stale_broker(deadline);
    assert_eq!(decision.response, Some(BrokerId(1)));
    host.append(decision.records);
    assert_eq!(host.leader("t", 0), 2);
    // Balancing gives the partition back once the broker has returned and is in sync again.
    assert!(host.controller.decide_preferred_leaders().records.is_empty());
}

#[test]
fn isr_changes_are_checked_in_kafkas_order() {
    let mut host = Host::with_brokers(2);
    host.create(vec![assigned("t", &[(0, &[1, 2])])]);
    let epoch = host.epoch(1);
    let id = host.controller.image().topics.id_of("t").unwrap();
    let ask = |host: &mut Host, isr: &[i32], leader_epoch: i32, partition_epoch: i32| {
        let state = |id: &i32| alter_partition_request::BrokerState { broker_id: *id, ..Default::default() };
        let partition = alter_partition_request::PartitionData {
            partition_index: 0,
            leader_epoch,
            partition_epoch,
            new_isr_with_epochs: isr.iter().map(state).collect(),
            ..Default::default()
        };
        let topic =
            alter_partition_request::TopicData { topic_id: id, partitions: vec![partition], ..Default::default() };
        let request = AlterPartitionRequest {
            broker_id: 1,
            broker_epoch: epoch,
            topics: vec![topic],
            ..AlterPartitionRequest::default()
        };
        let decision = host.controller.decide_alter_partition(&request);
        host.append(decision.records);
        let partition = decision.response.topics[0].partitions[0].clone();
        (partition.error_code, partition.isr, partition.partition_epoch)
    };
    assert_eq!(ask(&mut host, &[1], 1, 0).0, ErrorCode::NOT_CONTROLLER.0);
    assert_eq!(ask(&mut host, &[2], 0, 0).0, ErrorCode::INVALID_REQUEST.0);
    assert_eq!(ask(&mut host, &[1, 3], 0, 0).0, ErrorCode::INVALID_REQUEST.0);
    assert_eq!(ask(&mut host, &[1], 0, 0), (0, vec![1], 1));
    assert_eq!(ask(&mut host, &[1, 2], 0, 0).0, ErrorCode::INVALID_UPDATE_VERSION.0);
    assert_eq!(ask(&mut host, &[1, 2], 0, 1), (0, vec![1, 2], 2));
}

#[test]
fn feature_levels_are_changed_and_refused_in_kafkas_words() {
    let mut host = Host::with_brokers(1);
    let mut ask = |feature: &str, level: i16, upgrade_type: i8| {
        let update = update_features_request::FeatureUpdateKey {
            feature: feature.into(),
            max_version_level: level,
            upgrade_type,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest { feature_updates: vec![update], ..UpdateFeaturesRequest::default() };
        let decision = host.controller.decide_update_features(&request, 1);
        host.append(decision.records);
        let message = decision.response.error_message.map(|text| text.to_string());
        message.and_then(|text| Some(text.split_once("had an error: ")?.1.to_owned()))
    };
    let refusals = [
        (
            "metadata.version",
            31,
            1,
            "Invalid update version 31 for feature metadata.version. Local controller 1 only supports versions 7-30",
        ),
        (
            "metadata.version",
            29,
            1,
            "Invalid update version 29 for feature metadata.version. Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
        ),
        (
            "metadata.version",
            29,
            2,
            "Unsupported metadata.version downgrade from 30 to 29. Refusing to perform the requested downgrade because it might delete metadata information.",
        ),
        (
            "metadata.version",
            29,
            3,
            "Unsupported metadata.version downgrade from 30 to 29. Unsafe metadata downgrade is not supported in this version.",
        ),
        ("foo", 1, 1, "Invalid update version 1 for feature foo. Local controller 1 does not support this feature."),
        (
            "kraft.version",
            0,
            2,
            "Invalid update version 0 for feature kraft.version. Can't downgrade the version of this feature.",
        ),
    ];
    for (feature, level, upgrade, text) in refusals {
        assert_eq!(ask(feature, level, upgrade).as_deref(), Some(text));
    }
    assert_eq!(ask("transaction.version", 1, 3), None);
    assert_eq!(ask("eligible.leader.replicas.version", 0, 2), None);
    assert_eq!(ask("kraft.version", 1, 1), None);
    let features = &host.controller.image().features;
    assert_eq!(features.level("transaction.version"), 1);
    assert!(!features.is_elr_enabled());
}

#[test]
fn producer_ids_come_in_blocks_and_topics_go_by_id() {
    let mut host = Host::with_brokers(1);
    host.create(vec![topic("t", 1, 1)]);
    let request = AllocateProducerIdsRequest { broker_id: 1, broker_epoch: host.epoch(1), ..Default::default() };
    for start in [0, 1000, 2000] {
        let decision = host.controller.decide_allocate_producer_ids(&request);
        assert_eq!((decision.response.producer_id_start, decision.response.producer_id_len), (start, 1000));
        host.append(decision.records);
    }
    let stale = AllocateProducerIdsRequest { broker_epoch: -5, ..request };
    assert_eq!(
        host.controller.decide_allocate_producer_ids(&stale).response.error_code,
        ErrorCode::STALE_BROKER_EPOCH.0
    );
    let id = host.controller.image().topics.id_of("t").unwrap();
    let decision = host.controller.decide_delete_topics(&[id, Uuid([3; 16])]);
    assert_eq!(decision.response[1].1.as_ref().unwrap_err().error, ErrorCode::UNKNOWN_TOPIC_ID);
    host.append(decision.records);
    assert!(host.controller.image().topics.is_empty());
    let unregistered = host.controller.decide_unregister_broker(BrokerId(9)).response;
    assert_eq!(unregistered.error_message.as_deref(), Some("Broker ID 9 is not currently registered"));
}

#[test]
fn requests_that_name_a_thing_twice_are_refused_for_that_thing() {
    let mut host = Host::with_brokers(1);
    let create = CreateTopicsRequest {
        topics: vec![topic("a", 1, 1), topic("b", 1, 1), topic("b", 2, 1), topic("__cluster_metadata", 1, 1)],
        ..CreateTopicsRequest::default()
    };
    let decision = host.controller.decide_create_topics_request(&create, &mut || 0x0123_4567_89ab_cdef);
    host.append(decision.records);
    let codes: Vec<_> =
        decision.response.topics.iter().map(|topic| (topic.name.to_string(), topic.error_code)).collect();
    let invalid = ErrorCode::INVALID_REQUEST.0;
    assert_eq!(codes, [("a".into(), 0), ("b".into(), invalid), ("__cluster_metadata".into(), invalid)]);

    let id = host.controller.image().topics.id_of("a").unwrap();
    let state = |name: Option<&str>, topic_id| delete_topics_request::DeleteTopicState {
        name: name.map(Text::from),
        topic_id,
        ..Default::default()
    };
    let delete = |topics| DeleteTopicsRequest { topics, ..DeleteTopicsRequest::default() };
    let both =
        host.controller.decide_delete_topics_request(&delete(vec![state(Some("a"), Uuid::ZERO), state(None, id)]));
    assert!(both.records.is_empty());
    assert_eq!(
        both.response.responses[0].error_message.as_deref(),
        Some("The provided topic name maps to an ID that was already supplied.")
    );
    let gone = host.controller.decide_delete_topics_request(&delete(vec![
        state(Some("zz"), Uuid::ZERO),
        state(None, Uuid([3; 16])),
        state(None, Uuid::ZERO),
        state(Some("a"), Uuid::ZERO),
    ]));
    let texts: Vec<_> = gone.response.responses.iter().map(|result| result.error_message.as_deref()).collect();
    assert_eq!(
        texts,
        [
            Some("Neither topic name nor id were specified."),
            Some("This server does not host this topic ID."),
            Some("This server does not host this topic-partition."),
            None
        ]
    );
    host.append(gone.records);
    assert!(host.controller.image().topics.is_empty());
}
