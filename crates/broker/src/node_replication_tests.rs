//! Three brokers of one controller in one process: what one acknowledges, all have.

use std::collections::BTreeMap;

use milena_protocol::Records;
use milena_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use milena_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{
    CreateTopicsRequest, FetchRequest, IncrementalAlterConfigsRequest, MetadataRequest, MetadataResponse,
    ProduceRequest,
};
use milena_records::{BatchBuilder, BuilderConfig};
use milena_types::{ErrorCode, LeaderEpoch, Offset, Uuid};

use super::*;
use crate::config::{ConfigSource, load_config};
use crate::format::{FormatRequest, InitialVoters, ensure_formatted, format};
use crate::hosts::Connection;

const PATIENCE: Duration = Duration::from_secs(30);

struct Member {
    config: ServerConfig,
    directory: tempfile::TempDir,
    node: Option<Node>,
}

impl Member {
    fn new(id: i32, controller_port: u16) -> Member {
        let directory = tempfile::tempdir().unwrap();
        let is_controller = id == 1;
        let controller = format!("127.0.0.1:{controller_port}");
        let mut listeners = "PLAINTEXT://127.0.0.1:0".to_owned();
        if is_controller {
            listeners = format!("{listeners},CONTROLLER://{controller}");
        }
        let texts = BTreeMap::from([
            // Kafka's defaults are for machines, not for tests that wait for a lease to end.
            ("broker.session.timeout.ms".to_owned(), "6000".to_owned()),
            ("broker.heartbeat.interval.ms".to_owned(), "300".to_owned()),
            ("log.dirs".to_owned(), directory.path().to_str().unwrap().to_owned()),
            ("process.roles".to_owned(), if is_controller { "broker,controller" } else { "broker" }.to_owned()),
            ("controller.listener.names".to_owned(), "CONTROLLER".to_owned()),
            ("node.id".to_owned(), id.to_string()),
            ("listeners".to_owned(), listeners),
            ("controller.quorum.bootstrap.servers".to_owned(), controller),
            ("broker.rack".to_owned(), format!("rack-{id}")),
            (
                "replica.selector.class".to_owned(),
                "org.apache.kafka.common.replica.RackAwareReplicaSelector".to_owned(),
            ),
            ("replica.fetch.backoff.ms".to_owned(), "20".to_owned()),
            ("replica.fetch.wait.max.ms".to_owned(), "20".to_owned()),
        ]);
        let config = load_config(&ConfigSource::BuiltIn, &texts).unwrap();
        let mut request = FormatRequest { cluster_id: "AAAAAAAAAAAAAAAAAAAAAQ".to_owned(), ..FormatRequest::default() };
        if is_controller {
            request.initial_voters = InitialVoters::Standalone;
        }
        format(&config, &request, &mut std::io::sink()).unwrap();
        Member { config, directory, node: None }
    }

    async fn start(&mut self) {
        let formatted = ensure_formatted(&self.config, &mut std::io::sink()).unwrap();
        self.node = Some(Node::start(&self.config, &formatted).await.unwrap());
    }

    async fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            node.stop().await;
        }
    }

    async fn connect(&self) -> Connection {
        let node = self.node.as_ref().unwrap();
        let (_, address) = node.addresses().iter().find(|(name, _)| name == "PLAINTEXT").unwrap();
        Connection::open(&(address.ip().to_string(), address.port()), "test", PATIENCE).await.unwrap()
    }

    fn log(&self) -> Vec<u8> {
        std::fs::read(self.directory.path().join("t-0").join("00000000000000000000.log")).unwrap_or_default()
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Three brokers; the first is the controller as well.
async fn three_started() -> Vec<Member> {
    let port = free_port();
    let mut members: Vec<Member> = (1..=3).map(|id| Member::new(id, port)).collect();
    for member in &mut members {
        member.start().await;
    }
    members
}

fn id_of(metadata: &MetadataResponse) -> Option<Uuid> {
    metadata.topics.iter().find(|topic| topic.name.as_deref() == Some("t")).map(|topic| topic.topic_id)
}

/// Waits until a node's metadata are as wanted: leader and in-sync replicas of the partition.
async fn wait_for(member: &Member, wanted: impl Fn(i32, &[i32]) -> bool) -> (i32, Uuid) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut connection = member.connect().await;
    loop {
        let request = MetadataRequest { topics: None, ..Default::default() };
        let answer = connection.ask(&request, Duration::ZERO).await.unwrap();
        if let Some(id) = id_of(&answer) {
            let topic = answer.topics.iter().find(|topic| topic.topic_id == id).unwrap();
            let partition = &topic.partitions[0];
            if wanted(partition.leader_id, &partition.isr_nodes) {
                return (partition.leader_id, id);
            }
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn produce(members: &[Member], leader: i32, topic: Uuid, value: &str) -> (i16, i64) {
    produce_with(-1, &members[usize::try_from(leader - 1).unwrap()], topic, value).await
}

async fn produce_with(acks: i16, member: &Member, topic: Uuid, value: &str) -> (i16, i64) {
    let answer = member.connect().await.ask(&write_of(acks, topic, value), Duration::ZERO).await.unwrap();
    let answer = &answer.responses[0].partition_responses[0];
    (answer.error_code, answer.base_offset)
}

fn write_of(acks: i16, topic: Uuid, value: &str) -> ProduceRequest {
    let mut builder = BatchBuilder::new(BuilderConfig::default());
    builder.append(1_700_000_000_000, None, Some(value.as_bytes()), &[]).unwrap();
    let records = builder.build(Offset(0), LeaderEpoch(0)).unwrap();
    let data = PartitionProduceData { index: 0, records: Some(Records::Bytes(records)), ..Default::default() };
    let topic = TopicProduceData { topic_id: topic, partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: 20_000, topic_data: vec![topic], ..Default::default() }
}

async fn create_topic(member: &Member) {
    create_topic_on(member, &[]).await;
}

/// The same with its replicas named, the preferred leader first.
async fn create_topic_on(member: &Member, replicas: &[i32]) {
    let is_placed = !replicas.is_empty();
    let assignment = CreatableReplicaAssignment { broker_ids: replicas.to_vec(), ..Default::default() };
    let config = CreatableTopicConfig {
        name: "min.insync.replicas".into(),
        value: Some("2".into()),
        ..CreatableTopicConfig::default()
    };
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: if is_placed { -1 } else { 1 },
        replication_factor: if is_placed { -1 } else { 3 },
        assignments: if is_placed { vec![assignment] } else { Vec::new() },
        configs: vec![config],
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let answer = member.connect().await.ask(&request, Duration::ZERO).await.unwrap();
    assert_eq!(answer.topics[0].error_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_outlives_its_leader_and_logs_end_up_the_same() {
    let mut members = three_started().await;
    create_topic(&members[0]).await;
    let (mut leader, topic) = wait_for(&members[0], |leader, isr| leader > 0 && isr.len() == 3).await;
    // The leader may hear of the topic after the controller's node.
    wait_for(&members[usize::try_from(leader - 1).unwrap()], |seen, _| seen == leader).await;
    assert_eq!(produce(&members, leader, topic, "first").await, (0, 0));
    // Node 1 is the controller and stays.
    for round in 0..2 {
        let leaving = if leader == 1 { 2 } else { leader };
        let at = usize::try_from(leaving - 1).unwrap();
        members[at].stop().await;
        let led = wait_for(&members[0], |leader, isr| leader > 0 && leader != leaving && isr.len() == 2).await;
        leader = led.0;
        wait_for(&members[usize::try_from(leader - 1).unwrap()], |seen, _| seen == leader).await;
        assert_eq!(produce(&members, leader, topic, "without one").await, (0, round + 1), "led by {leader}");
        members[at].start().await;
        wait_for(&members[0], |_, isr| isr.len() == 3).await;
    }
    for member in &mut members.iter_mut().rev() {
        member.stop().await;
    }
    let logs: Vec<Vec<u8>> = members.iter().map(Member::log).collect();
    assert!(!logs[0].is_empty());
    assert!(logs.iter().all(|log| *log == logs[0]), "{:?}", logs.iter().map(Vec::len).collect::<Vec<_>>());
}

/// Writes one after the other until somebody else leads: what was acknowledged, and who leads then, if that was said.
async fn write_until_moved(mut connection: Connection, acks: i16, topic: Uuid, writer: usize) -> (Vec<String>, i32) {
    let mut written = Vec::new();
    loop {
        let value = format!("<{writer}-{}>", written.len());
        // The connection may close between two writes.
        let Ok(answer) = connection.ask(&write_of(acks, topic, &value), Duration::ZERO).await else {
            return (written, -1);
        };
        let partition = &answer.responses[0].partition_responses[0];
        match ErrorCode(partition.error_code) {
            ErrorCode::NONE => written.push(value),
            error => {
                assert_eq!(error, ErrorCode::NOT_LEADER_OR_FOLLOWER, "nobody is left in doubt");
                return (written, partition.current_leader.leader_id);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_leaves_loses_nothing_it_acknowledged_and_leaves_no_write_in_doubt() {
    let mut members = three_started().await;
    create_topic_on(&members[0], &[2, 3, 1]).await;
    let (_, topic) = wait_for(&members[1], |leader, isr| leader == 2 && isr.len() == 3).await;
    let mut writers = Vec::new();
    for writer in 0..6 {
        let acks = if writer % 2 == 0 { -1 } else { 1 };
        writers.push(tokio::spawn(write_until_moved(members[1].connect().await, acks, topic, writer)));
    }
    // So that they are under way.
    while produce_with(-1, &members[1], topic, "until").await.1 < 200 {}
    members[1].stop().await;
    let mut written = Vec::new();
    let mut told = 0;
    for writer in writers {
        let (values, leader) = writer.await.unwrap();
        assert_ne!(leader, 2);
        told += usize::from(leader > 0);
        written.extend(values);
    }
    assert!(told > 0 && written.len() > 100, "{told} were told who leads, {} written", written.len());
    members[2].stop().await;
    members[0].stop().await;
    let log = members[2].log();
    for value in written {
        let count = log.windows(value.len()).filter(|window| *window == value.as_bytes()).count();
        assert_eq!(count, 1, "{value}");
    }
}

/// Produces with `acks=1` until the answer is as wanted.
async fn until_alone(member: &Member, topic: Uuid, wanted: ErrorCode) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while produce_with(1, member, topic, "alone").await.0 != wanted.0 {
        assert!(tokio::time::Instant::now() < deadline, "{wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_no_controller_answers_acknowledges_only_what_others_have() {
    let mut members = three_started().await;
    create_topic(&members[0]).await;
    let (_, topic) = wait_for(&members[0], |leader, isr| leader > 0 && isr.len() == 3).await;
    // The controller's node ends, and leads nothing any more before it does.
    let mut controller = members.remove(0);
    controller.stop().await;
    let (leader, _) = wait_for(&members[0], |leader, isr| leader > 1 && isr.len() == 2).await;
    let at = usize::try_from(leader - 2).unwrap();
    wait_for(&members[at], |seen, _| seen == leader).await;
    until_alone(&members[at], topic, ErrorCode::NONE).await;
    until_alone(&members[at], topic, ErrorCode::NOT_LEADER_OR_FOLLOWER).await;
    assert_eq!(produce_with(-1, &members[at], topic, "together").await.0, 0, "what both have stays");
    controller.start().await;
    until_alone(&members[at], topic, ErrorCode::NONE).await;
    for member in members.iter_mut().chain([&mut controller]) {
        member.stop().await;
    }
}

/// What broker `at` answers to a consumer in `rack`: the error, the replica it is sent to, the bytes of records.
async fn fetch(members: &[Member], at: i32, topic: Uuid, rack: &str) -> (i16, i32, usize) {
    let partition = FetchPartition { partition: 0, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic_id: topic, partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1 << 20,
        rack_id: rack.into(),
        topics: vec![topic],
        ..Default::default()
    };
    let member = &members[usize::try_from(at - 1).unwrap()];
    let answer = member.connect().await.ask(&request, Duration::ZERO).await.unwrap();
    let data = &answer.responses[0].partitions[0];
    (data.error_code, data.preferred_read_replica, data.records.as_ref().map_or(0, Records::len))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_sent_to_the_replica_in_its_rack_and_reads_there() {
    let mut members = three_started().await;
    create_topic(&members[0]).await;
    let (leader, topic) = wait_for(&members[0], |leader, isr| leader > 0 && isr.len() == 3).await;
    for member in &members {
        wait_for(member, |seen, _| seen == leader).await;
    }
    assert_eq!(produce(&members, leader, topic, "first").await, (0, 0));
    let follower = leader % 3 + 1;
    let (there, here) = (format!("rack-{follower}"), format!("rack-{leader}"));
    assert_eq!(fetch(&members, leader, topic, &there).await, (0, follower, 0), "sent on, without records");
    let (error, preferred, bytes) = fetch(&members, leader, topic, &here).await;
    assert!(error == 0 && preferred == -1 && bytes > 0, "the leader is as near");
    let (error, preferred, bytes) = fetch(&members, leader, topic, "rack-9").await;
    assert!(error == 0 && preferred == -1 && bytes > 0, "nobody is there");
    // The follower learns of the high watermark with its next fetch.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let (error, preferred, bytes) = fetch(&members, follower, topic, &there).await;
        assert_eq!((error, preferred), (0, -1));
        if bytes > 0 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline);
    }
    for member in &mut members.iter_mut().rev() {
        member.stop().await;
    }
}

async fn alter(member: &Member, kind: i8, name: &str, key: &str, value: &str) {
    let config = AlterableConfig { name: key.into(), value: Some(value.into()), ..Default::default() };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = member.connect().await.ask(&request, Duration::ZERO).await.unwrap();
    assert_eq!(answer.responses[0].error_code, 0, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_leader_gives_a_replica_that_is_behind_only_what_the_rate_allows() {
    let mut members = three_started().await;
    create_topic(&members[0]).await;
    let (mut leader, topic) = wait_for(&members[0], |leader, isr| leader > 0 && isr.len() == 3).await;
    wait_for(&members[usize::try_from(leader - 1).unwrap()], |seen, _| seen == leader).await;
    // Node 1 is the controller and stays.
    let leaving = if leader == 3 { 2 } else { 3 };
    members[leaving - 1].stop().await;
    leader = wait_for(&members[0], |leader, isr| leader > 0 && isr.len() == 2).await.0;
    let big = "x".repeat(400_000);
    for offset in 0..4 {
        assert_eq!(produce(&members, leader, topic, &big).await, (0, offset));
    }
    alter(&members[0], 2, "t", "leader.replication.throttled.replicas", "*").await;
    alter(&members[0], 4, "", "leader.replication.throttled.rate", "1000").await;
    members[leaving - 1].start().await;
    // What goes before the rate is known to be passed is one answer; then nothing for as long as that counts.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(members[leaving - 1].log().len() < 1_600_000, "{}", members[leaving - 1].log().len());
    alter(&members[0], 4, "", "leader.replication.throttled.rate", "1000000000").await;
    wait_for(&members[0], |_, isr| isr.len() == 3).await;
    for member in &mut members.iter_mut().rev() {
        member.stop().await;
    }
}
