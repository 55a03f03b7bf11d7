//! The questions to controllers (`controllers.rs`): what is asked for is not there, is said twice, names another cluster or an epoch
//! that is over, so that a leader refuses and changes nothing. Who does not lead may be asked for more.

use milena_protocol::Text;
use milena_protocol::messages::*;
use milena_types::Uuid;

use crate::controllers::Interview;
use crate::server::CLUSTER_ID;

/// A topic nobody made, and its id.
const NOWHERE: &str = "nowhere";
const ID: Uuid = Uuid([7; 16]);
/// A node that was never there.
const NOBODY: i32 = 99;
const METADATA: &str = "__cluster_metadata";
const METADATA_ID: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const LIMIT_MS: i32 = 10_000;

/// Asks everything.
pub(crate) fn ask_all(to: &mut Interview) -> anyhow::Result<()> {
    topics(to)?;
    configs(to)?;
    partitions(to)?;
    nodes(to)?;
    voters(to)?;
    quorum(to)?;
    fetches(to)
}

fn topics(to: &mut Interview) -> anyhow::Result<()> {
    use create_partitions_request::CreatePartitionsTopic;
    use create_topics_request::CreatableTopic;
    use delete_topics_request::DeleteTopicState;
    for (what, names) in [
        ("none", &[][..]),
        ("bad", &["bad/name"]),
        ("twice", &[NOWHERE, NOWHERE]),
        ("metadata", &[METADATA]),
        ("mixed", &[NOWHERE, METADATA, NOWHERE, "bad/name"]),
    ] {
        let topic = |name: &&str| CreatableTopic {
            name: Text::from(*name),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let topics = names.iter().map(topic).collect();
        to.ask_forwarded(what, &CreateTopicsRequest { topics, timeout_ms: LIMIT_MS, ..Default::default() })?;

        let topic_names = names.iter().map(|name| Text::from(*name)).collect();
        to.ask_forwarded(what, &DeleteTopicsRequest { topic_names, timeout_ms: LIMIT_MS, ..Default::default() })?;
        let topic = |name: &&str| DeleteTopicState { name: Some(Text::from(*name)), ..Default::default() };
        let topics = names.iter().map(topic).collect();
        to.ask_forwarded(what, &DeleteTopicsRequest { topics, timeout_ms: LIMIT_MS, ..Default::default() })?;

        let topic = |name: &&str| CreatePartitionsTopic { name: Text::from(*name), count: 3, ..Default::default() };
        let topics = names.iter().map(topic).collect();
        to.ask_forwarded(what, &CreatePartitionsRequest { topics, timeout_ms: LIMIT_MS, ..Default::default() })?;
    }
    let by_id =
        |name: Option<&str>, topic_id| DeleteTopicState { name: name.map(Text::from), topic_id, ..Default::default() };
    for (what, topics) in [
        ("an id", vec![by_id(None, ID)]),
        ("an id twice", vec![by_id(None, ID), by_id(None, ID)]),
        ("both", vec![by_id(Some(NOWHERE), ID)]),
        ("neither", vec![by_id(None, Uuid::default())]),
    ] {
        to.ask_forwarded(what, &DeleteTopicsRequest { topics, timeout_ms: LIMIT_MS, ..Default::default() })?;
    }
    Ok(())
}

fn configs(to: &mut Interview) -> anyhow::Result<()> {
    const TOPIC: i8 = 2;
    const BROKER: i8 = 4;
    const UNKNOWN: i8 = 77;
    for (what, resources) in [
        ("none", &[][..]),
        ("a topic", &[(TOPIC, NOWHERE)]),
        ("twice", &[(TOPIC, NOWHERE), (TOPIC, NOWHERE)]),
        ("an unknown type", &[(UNKNOWN, NOWHERE)]),
        ("mixed", &[(UNKNOWN, NOWHERE), (TOPIC, NOWHERE), (BROKER, "no number")]),
    ] {
        use {alter_configs_request as old, incremental_alter_configs_request as new};
        let name = || Text::from("retention.ms");
        let altered = |(resource_type, resource_name): &(i8, &str)| old::AlterConfigsResource {
            resource_type: *resource_type,
            resource_name: Text::from(*resource_name),
            configs: vec![old::AlterableConfig { name: name(), value: Some("x".into()), ..Default::default() }],
            ..Default::default()
        };
        let request = AlterConfigsRequest { resources: resources.iter().map(altered).collect(), ..Default::default() };
        to.ask_forwarded(what, &request)?;
        let changed = |(resource_type, resource_name): &(i8, &str)| new::AlterConfigsResource {
            resource_type: *resource_type,
            resource_name: Text::from(*resource_name),
            configs: vec![new::AlterableConfig { name: name(), value: Some("x".into()), ..Default::default() }],
            ..Default::default()
        };
        let resources = resources.iter().map(changed).collect();
        to.ask_forwarded(what, &IncrementalAlterConfigsRequest { resources, ..Default::default() })?;
    }
    let update = |name: &str| update_features_request::FeatureUpdateKey {
        feature: Text::from(name),
        max_version_level: 1,
        ..Default::default()
    };
    for (what, feature_updates) in [("none", vec![]), ("an unknown feature", vec![update("no.such.version")])] {
        to.ask_forwarded(what, &UpdateFeaturesRequest { feature_updates, ..Default::default() })?;
    }
    Ok(())
}

fn partitions(to: &mut Interview) -> anyhow::Result<()> {
    use {
        alter_partition_reassignments_request as alter, alter_partition_request as in_sync,
        assign_replicas_to_dirs_request as assign, elect_leaders_request as elect,
        list_partition_reassignments_request as list,
    };
    let topic = elect::TopicPartitions { topic: NOWHERE.into(), partitions: vec![0, 0], ..Default::default() };
    for (what, election_type, topics) in [
        ("none", 0, vec![]),
        ("unclean", 1, vec![topic.clone()]),
        ("a topic", 0, vec![topic.clone()]),
        ("an unknown type", 7, vec![topic]),
    ] {
        let topic_partitions = Some(topics);
        to.ask_forwarded(what, &ElectLeadersRequest { election_type, topic_partitions, ..Default::default() })?;
    }
    let partition = alter::ReassignablePartition { partition_index: 0, replicas: None, ..Default::default() };
    let topic = alter::ReassignableTopic { name: NOWHERE.into(), partitions: vec![partition], ..Default::default() };
    for (what, topics) in [("none", vec![]), ("a topic", vec![topic])] {
        to.ask_forwarded(what, &AlterPartitionReassignmentsRequest { topics, ..Default::default() })?;
    }
    let topic = list::ListPartitionReassignmentsTopics {
        name: NOWHERE.into(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    for (what, topics) in [("none", Some(vec![])), ("a topic", Some(vec![topic])), ("all", None)] {
        to.ask_forwarded(what, &ListPartitionReassignmentsRequest { topics, ..Default::default() })?;
    }
    let partition = in_sync::PartitionData { leader_epoch: 1, ..Default::default() };
    let topic = in_sync::TopicData { topic_id: ID, partitions: vec![partition], ..Default::default() };
    for (what, topics) in [("none", vec![]), ("a topic", vec![topic])] {
        to.ask(what, &AlterPartitionRequest { broker_id: NOBODY, broker_epoch: 5, topics, ..Default::default() })?;
    }
    let topic =
        assign::TopicData { topic_id: ID, partitions: vec![assign::PartitionData::default()], ..Default::default() };
    let directory = assign::DirectoryData { id: ID, topics: vec![topic], ..Default::default() };
    for (what, directories) in [("none", vec![]), ("a directory", vec![directory])] {
        let request =
            AssignReplicasToDirsRequest { broker_id: NOBODY, broker_epoch: 5, directories, ..Default::default() };
        to.ask(what, &request)?;
    }
    Ok(())
}

fn nodes(to: &mut Interview) -> anyhow::Result<()> {
    let cluster_id = || Text::from("another");
    let incarnation_id = ID;
    to.ask(
        "another cluster",
        &BrokerRegistrationRequest {
            broker_id: NOBODY,
            cluster_id: cluster_id(),
            incarnation_id,
            ..Default::default()
        },
    )?;
    for want_shut_down in [false, true] {
        let what = if want_shut_down { "leaving" } else { "staying" };
        let request =
            BrokerHeartbeatRequest { broker_id: NOBODY, broker_epoch: 5, want_shut_down, ..Default::default() };
        to.ask(what, &request)?;
    }
    to.ask_forwarded("nobody", &UnregisterBrokerRequest { broker_id: NOBODY, ..Default::default() })?;
    to.ask("nobody", &AllocateProducerIdsRequest { broker_id: NOBODY, broker_epoch: 5, ..Default::default() })?;
    for (what, endpoint_type) in [("brokers", 1), ("controllers", 2), ("an unknown type", 7)] {
        to.ask(what, &DescribeClusterRequest { endpoint_type, ..Default::default() })?;
    }
    // A leader would take its word.
    if !to.place.leads {
        let request = ControllerRegistrationRequest { controller_id: NOBODY, incarnation_id, ..Default::default() };
        to.ask("nobody", &request)?;
    }
    Ok(())
}

fn voters(to: &mut Interview) -> anyhow::Result<()> {
    let current_leader_epoch = to.place.epoch;
    for cluster in [None, Some(CLUSTER_ID), Some("another")] {
        let cluster_id = cluster.map(Text::from);
        let listener = |name: &str| add_raft_voter_request::Listener {
            name: Text::from(name),
            host: "127.0.0.1".into(),
            port: 9,
            ..Default::default()
        };
        for (what, voter_id, listeners) in [
            ("no listener", NOBODY, vec![]),
            ("another listener", NOBODY, vec![listener("OTHER")]),
            ("a voter", 1, vec![listener("CONTROLLER")]),
        ] {
            let request = AddRaftVoterRequest {
                cluster_id: cluster_id.clone(),
                timeout_ms: LIMIT_MS,
                voter_id,
                voter_directory_id: ID,
                listeners,
                ..Default::default()
            };
            to.ask_forwarded(&format!("{what}, cluster {cluster:?}"), &request)?;
        }
        let what = format!("nobody, cluster {cluster:?}");
        let voter_directory_id = ID;
        let cluster_id = || cluster.map(Text::from);
        let request = RemoveRaftVoterRequest {
            cluster_id: cluster_id(),
            voter_id: NOBODY,
            voter_directory_id,
            ..Default::default()
        };
        to.ask_forwarded(&what, &request)?;
        for (when, current_leader_epoch) in
            [("before", current_leader_epoch - 1), ("now", current_leader_epoch), ("later", current_leader_epoch + 100)]
        {
            // Of an epoch that is to come they would wait for the leader.
            if when == "later" && !to.place.leads {
                continue;
            }
            let request = UpdateRaftVoterRequest {
                cluster_id: cluster_id(),
                current_leader_epoch,
                voter_id: NOBODY,
                voter_directory_id,
                ..Default::default()
            };
            to.ask(&format!("{what}, {when}"), &request)?;
        }
    }
    Ok(())
}

/// A topic and a partition that are no quorum's, and those that are.
const PLACES: [(&str, &str, i32); 3] =
    [("another topic", NOWHERE, 0), ("another partition", METADATA, 1), ("the quorum", METADATA, 0)];

fn quorum(to: &mut Interview) -> anyhow::Result<()> {
    use {
        begin_quorum_epoch_request as begin, describe_quorum_request as describe, end_quorum_epoch_request as end,
        vote_request as vote,
    };
    for (what, name, partition_index) in PLACES {
        // What a leader says of its quorum are times.
        if !to.place.leads || name == NOWHERE || partition_index == 1 {
            let partitions = vec![describe::PartitionData { partition_index, ..Default::default() }];
            let topics = vec![describe::TopicData { topic_name: name.into(), partitions, ..Default::default() }];
            let request = DescribeQuorumRequest { topics, ..Default::default() };
            // A follower of Apache Kafka has the enclosed answer say what Milena's says of the envelope.
            if to.place.leads { to.ask_forwarded(what, &request)? } else { to.ask(what, &request)? }
        }
        for cluster in [Some(CLUSTER_ID), Some("another")] {
            let cluster_id = || cluster.map(Text::from);
            let what = format!("{what}, an epoch that is over, cluster {cluster:?}");
            let partitions = vec![vote::PartitionData { partition_index, replica_id: 1, ..Default::default() }];
            let topics = vec![vote::TopicData { topic_name: name.into(), partitions, ..Default::default() }];
            to.ask(&what, &VoteRequest { cluster_id: cluster_id(), voter_id: -1, topics, ..Default::default() })?;
            let partitions = vec![begin::PartitionData { partition_index, leader_id: 1, ..Default::default() }];
            let topics = vec![begin::TopicData { topic_name: name.into(), partitions, ..Default::default() }];
            to.ask(&what, &BeginQuorumEpochRequest { cluster_id: cluster_id(), topics, ..Default::default() })?;
            let partitions = vec![end::PartitionData { partition_index, leader_id: 1, ..Default::default() }];
            let topics = vec![end::TopicData { topic_name: name.into(), partitions, ..Default::default() }];
            to.ask(&what, &EndQuorumEpochRequest { cluster_id: cluster_id(), topics, ..Default::default() })?;
        }
    }
    Ok(())
}

fn fetches(to: &mut Interview) -> anyhow::Result<()> {
    use {fetch_request as fetch, fetch_snapshot_request as snapshot};
    let now = to.place.epoch;
    for (what, name, partition) in PLACES {
        for (when, epoch) in [("over", now - 1), ("now", now), ("to come", now + 100)] {
            // A leader would answer with its log.
            if to.place.leads && when == "now" {
                continue;
            }
            for cluster in [CLUSTER_ID, "another"] {
                let what = format!("{what}, epoch {when}, cluster {cluster}");
                let one = fetch::FetchPartition {
                    partition,
                    current_leader_epoch: epoch,
                    last_fetched_epoch: 0,
                    partition_max_bytes: 1000,
                    ..Default::default()
                };
                let topic_id = if name == METADATA { METADATA_ID } else { ID };
                let topic =
                    fetch::FetchTopic { topic: name.into(), topic_id, partitions: vec![one], ..Default::default() };
                let cluster_id = || Some(Text::from(cluster));
                to.ask(&what, &FetchRequest { cluster_id: cluster_id(), topics: vec![topic], ..Default::default() })?;
                // Of a quorum's own errors Apache Kafka says UNKNOWN_SERVER_ERROR: it cannot encode an answer without a piece.
                if cluster == CLUSTER_ID {
                    continue;
                }
                let snapshot_id = snapshot::SnapshotId { end_offset: 1, epoch: 0, ..Default::default() };
                let one = snapshot::PartitionSnapshot {
                    partition,
                    current_leader_epoch: epoch,
                    snapshot_id,
                    ..Default::default()
                };
                let topic = snapshot::TopicSnapshot { name: name.into(), partitions: vec![one], ..Default::default() };
                to.ask(
                    &what,
                    &FetchSnapshotRequest { cluster_id: cluster_id(), topics: vec![topic], ..Default::default() },
                )?;
            }
        }
    }
    Ok(())
}
