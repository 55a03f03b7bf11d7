//! What a broker answers while there is no controller: whatever goes through one, and whatever does not, asked of both servers on a
//! connection each, all at once. Whether the answer came at once or only when the broker gave up belongs to it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use milena_protocol::messages::*;
use milena_protocol::{Request, Text};
use milena_types::Uuid;

use crate::controllers::versions;
use crate::flags::Flags;
use crate::report::Report;
use crate::server::{CLUSTER_ID, Kind, Node};
use crate::wire::{PRODUCE_VERSION, Wire, produce_request};
use crate::{probe, scripts, text};

/// A topic and a group from before.
const THERE: &str = "there";
/// A name nobody gave yet.
const NOWHERE: &str = "nowhere";
/// Longer than any broker tries.
const PATIENCE: Duration = Duration::from_secs(150);
/// What takes longer did not come at once.
const AT_ONCE: Duration = Duration::from_secs(5);
/// What requests say they have time for.
const LIMIT_MS: i32 = 3_000;
const TOPIC: i8 = 2;

/// The part.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    scripts::compare("without a controller", flags, report, |name, kind| one(name, kind, flags))
}

fn one(name: &str, kind: Kind, flags: &Flags) -> anyhow::Result<String> {
    let (controller, broker) = Node::pair(&format!("no-controller-{name}"), flags)?;
    let leader = controller.format_and_start(kind)?;
    let mut server = broker.format_and_start(kind)?;
    prepare(&mut Wire::connect(broker.port)?)?;
    leader.kill()?;
    let told = ask_all(broker.port);
    ensure!(server.is_alive(), "the broker ended: {}", server.last_words());
    server.kill()?;
    broker.remove(flags);
    told
}

/// A topic with a record, a group with an offset, a producer's id: whatever a broker needs a controller for once.
fn prepare(wire: &mut Wire) -> anyhow::Result<()> {
    wire.create_topic(THERE, 3, &[])?;
    until(|| Ok(wire.produce(THERE, 0, probe::batch(100)?)?.0)).context("produce")?;
    until(|| committed(wire)).context("commit an offset")?;
    until(|| Ok(wire.call(4, &new_id())?.error_code)).context("a producer id")
}

/// Until it gets no error.
fn until(mut once: impl FnMut() -> anyhow::Result<i16>) -> anyhow::Result<()> {
    let end = Instant::now() + AT_ONCE * 4;
    loop {
        let code = once()?;
        if code == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < end, "error {code}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Asks for the group's coordinator, so that it comes to be, and commits.
fn committed(wire: &mut Wire) -> anyhow::Result<i16> {
    wire.call(4, &coordinator(0))?;
    let answer = wire.call(COMMIT_VERSION, &commit())?;
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
    Ok(partition.context("a partition")?.error_code)
}

/// The newest with names of topics.
const COMMIT_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
const LIST_VERSION: i16 = 7;

fn new_id() -> InitProducerIdRequest {
    InitProducerIdRequest { transactional_id: None, producer_id: -1, producer_epoch: -1, ..Default::default() }
}

fn coordinator(key_type: i8) -> FindCoordinatorRequest {
    FindCoordinatorRequest { key_type, coordinator_keys: vec![THERE.into()], ..Default::default() }
}

fn commit() -> OffsetCommitRequest {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    let partition = OffsetCommitRequestPartition { committed_offset: 1, ..Default::default() };
    let topic = OffsetCommitRequestTopic { name: THERE.into(), partitions: vec![partition], ..Default::default() };
    OffsetCommitRequest {
        group_id: THERE.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

type Asking<'a> = Box<dyn FnOnce() -> anyhow::Result<String> + Send + 'a>;

/// What is asked, each on a connection of its own.
struct Questions<'a> {
    port: u16,
    asked: Vec<(String, Asking<'a>)>,
}

impl<'a> Questions<'a> {
    /// In the newest version.
    fn ask<R: Request + Send + 'a>(&mut self, what: &str, request: R) -> anyhow::Result<()> {
        let version = versions::<R>().next_back().context("a version")?;
        self.ask_in(version, what, request);
        Ok(())
    }

    fn ask_in<R: Request + Send + 'a>(&mut self, version: i16, what: &str, request: R) {
        let port = self.port;
        let asking = Box::new(move || {
            let mut wire = Wire::connect(port)?;
            wire.stream.set_read_timeout(Some(PATIENCE))?;
            let begin = Instant::now();
            let answer = wire.call(version, &request)?;
            let took = begin.elapsed();
            let when = if took < AT_ONCE { "at once".to_owned() } else { format!("after {:.0} s", took.as_secs_f64()) };
            Ok(format!("{when}\n{answer:#?}"))
        });
        self.asked.push((format!("{} {version}, {what}", R::NAME), asking));
    }
}

fn ask_all(port: u16) -> anyhow::Result<String> {
    let mut questions = Questions { port, asked: Vec::new() };
    through_the_controller(&mut questions)?;
    of_the_cluster(&mut questions)?;
    by_the_broker(&mut questions)?;
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = questions.asked.into_iter().map(|(name, asking)| (name, scope.spawn(asking))).collect();
        asking.into_iter().map(|(name, asking)| (name, asking.join())).collect()
    });
    let mut all = String::new();
    for (name, answer) in answers {
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => format!("{error:#}"),
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let answer = answer.replace(&format!("port: {port},"), "port: OWN,");
        all += &format!("## {name}\n{}\n", text::hide_word_after(&answer, "topic_id: "));
    }
    Ok(all)
}

fn through_the_controller(to: &mut Questions<'_>) -> anyhow::Result<()> {
    use {
        alter_configs_request as old, alter_partition_reassignments_request as alter, elect_leaders_request as elect,
        incremental_alter_configs_request as new,
    };
    let timeout_ms = LIMIT_MS;
    for validate_only in [false, true] {
        let topic = create_topics_request::CreatableTopic {
            name: NOWHERE.into(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let what = if validate_only { "to try" } else { "in earnest" };
        to.ask(what, CreateTopicsRequest { topics: vec![topic], timeout_ms, validate_only, ..Default::default() })?;
    }
    for name in [THERE, NOWHERE] {
        let topic = delete_topics_request::DeleteTopicState { name: Some(name.into()), ..Default::default() };
        to.ask(name, DeleteTopicsRequest { topics: vec![topic], timeout_ms, ..Default::default() })?;
        let topic =
            create_partitions_request::CreatePartitionsTopic { name: name.into(), count: 3, ..Default::default() };
        to.ask(name, CreatePartitionsRequest { topics: vec![topic], timeout_ms, ..Default::default() })?;
        let resource = old::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: name.into(),
            configs: vec![old::AlterableConfig {
                name: "retention.ms".into(),
                value: Some("1000".into()),
                ..Default::default()
            }],
            ..Default::default()
        };
        to.ask(name, AlterConfigsRequest { resources: vec![resource], ..Default::default() })?;
        let resource = new::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: name.into(),
            configs: vec![new::AlterableConfig {
                name: "retention.ms".into(),
                value: Some("1000".into()),
                ..Default::default()
            }],
            ..Default::default()
        };
        to.ask(name, IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() })?;
        let topic = elect::TopicPartitions { topic: name.into(), partitions: vec![0], ..Default::default() };
        to.ask(name, ElectLeadersRequest { topic_partitions: Some(vec![topic]), timeout_ms, ..Default::default() })?;
        let partition = alter::ReassignablePartition { replicas: Some(vec![1, 2]), ..Default::default() };
        let topic = alter::ReassignableTopic { name: name.into(), partitions: vec![partition], ..Default::default() };
        to.ask(name, AlterPartitionReassignmentsRequest { topics: vec![topic], timeout_ms, ..Default::default() })?;
    }
    Ok(())
}

fn of_the_cluster(to: &mut Questions<'_>) -> anyhow::Result<()> {
    let timeout_ms = LIMIT_MS;
    to.ask("all", ElectLeadersRequest { topic_partitions: None, timeout_ms, ..Default::default() })?;
    to.ask("all", ListPartitionReassignmentsRequest { topics: None, timeout_ms, ..Default::default() })?;
    let update = update_features_request::FeatureUpdateKey {
        feature: "no.such.version".into(),
        max_version_level: 1,
        ..Default::default()
    };
    to.ask("a feature", UpdateFeaturesRequest { feature_updates: vec![update], timeout_ms, ..Default::default() })?;
    to.ask("nobody", UnregisterBrokerRequest { broker_id: 99, ..Default::default() })?;
    let partition = describe_quorum_request::PartitionData::default();
    let topic = describe_quorum_request::TopicData {
        topic_name: "__cluster_metadata".into(),
        partitions: vec![partition],
        ..Default::default()
    };
    to.ask("the quorum", DescribeQuorumRequest { topics: vec![topic], ..Default::default() })?;
    let cluster_id = Some(Text::from(CLUSTER_ID));
    let voter_directory_id = Uuid([7; 16]);
    let listener = add_raft_voter_request::Listener {
        name: "CONTROLLER".into(),
        host: "127.0.0.1".into(),
        port: 9,
        ..Default::default()
    };
    to.ask(
        "nobody",
        AddRaftVoterRequest {
            cluster_id: cluster_id.clone(),
            timeout_ms,
            voter_id: 99,
            voter_directory_id,
            listeners: vec![listener],
            ..Default::default()
        },
    )?;
    to.ask("nobody", RemoveRaftVoterRequest { cluster_id, voter_id: 99, voter_directory_id, ..Default::default() })
}

fn by_the_broker(to: &mut Questions<'_>) -> anyhow::Result<()> {
    for name in [THERE, NOWHERE] {
        let topic = || metadata_request::MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
        to.ask(name, MetadataRequest { topics: Some(vec![topic()]), ..Default::default() })?;
        let topics = Some(vec![topic()]);
        to.ask(
            &format!("{name}, made if it is not there"),
            MetadataRequest { topics, allow_auto_topic_creation: true, ..Default::default() },
        )?;
        let resource = describe_configs_request::DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: name.into(),
            configuration_keys: Some(vec!["retention.ms".into()]),
            ..Default::default()
        };
        to.ask(name, DescribeConfigsRequest { resources: vec![resource], ..Default::default() })?;
        let topic = describe_topic_partitions_request::TopicRequest { name: name.into(), ..Default::default() };
        to.ask(name, DescribeTopicPartitionsRequest { topics: vec![topic], ..Default::default() })?;
        for (partition, acks) in [(0, 1), (1, -1)] {
            let request = produce_request(name, vec![(partition, probe::batch(100)?)]);
            to.ask_in(PRODUCE_VERSION, &format!("{name}, acks={acks}"), ProduceRequest { acks, ..request });
        }
        let partition =
            list_offsets_request::ListOffsetsPartition { partition_index: 2, timestamp: -1, ..Default::default() };
        let topic = list_offsets_request::ListOffsetsTopic {
            name: name.into(),
            partitions: vec![partition],
            ..Default::default()
        };
        to.ask_in(LIST_VERSION, name, ListOffsetsRequest { topics: vec![topic], replica_id: -1, ..Default::default() });
        let partition = fetch_request::FetchPartition { partition: 2, partition_max_bytes: 1, ..Default::default() };
        let topic = fetch_request::FetchTopic { topic: name.into(), partitions: vec![partition], ..Default::default() };
        to.ask_in(FETCH_VERSION, name, FetchRequest { topics: vec![topic], replica_id: -1, ..Default::default() });
    }
    to.ask("", DescribeClusterRequest::default())?;
    to.ask("controllers", DescribeClusterRequest { endpoint_type: 2, ..Default::default() })?;
    to.ask_in(4, "a group", coordinator(0));
    // `__transaction_state` was never needed.
    to.ask_in(4, "a transaction", coordinator(1));
    to.ask_in(COMMIT_VERSION, "a group", commit());
    to.ask("a group", DescribeGroupsRequest { groups: vec![THERE.into()], ..Default::default() })?;
    to.ask_in(4, "an id", new_id());
    Ok(())
}
