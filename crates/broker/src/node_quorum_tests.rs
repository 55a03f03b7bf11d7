//! Three nodes on real files and sockets that are broker and controller each: they elect, hand over, and go on.

use std::collections::BTreeMap;

use milena_protocol::messages::create_topics_request::CreatableTopic;
use milena_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use milena_protocol::messages::{CreateTopicsRequest, DescribeClusterRequest, DescribeQuorumRequest};
use milena_types::Uuid;

use super::*;
use crate::config::{ConfigSource, load_config};
use crate::format::{FormatRequest, InitialVoters, ensure_formatted, format};
use crate::hosts::Connection;

const PATIENCE: Duration = Duration::from_secs(30);

struct Member {
    config: ServerConfig,
    formatted: Formatted,
    node: Option<Node>,
    _directory: tempfile::TempDir,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Formats three nodes; with `dynamic` their voters are in the log, else in the configuration.
fn members(dynamic: bool) -> Vec<Member> {
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let addresses: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let voters = (1_u8..).zip(&addresses).map(|(id, at)| format!("{id}@{at}:{}", Uuid([id; 16])));
    let voters = voters.collect::<Vec<_>>().join(",");
    let statics = (1..).zip(&addresses).map(|(id, at)| format!("{id}@{at}")).collect::<Vec<_>>().join(",");
    let member = |(id, at): (i32, &String)| {
        let directory = tempfile::tempdir().unwrap();
        let mut set = BTreeMap::from([
            ("log.dirs".to_owned(), directory.path().to_str().unwrap().to_owned()),
            ("node.id".to_owned(), id.to_string()),
            ("listeners".to_owned(), format!("PLAINTEXT://127.0.0.1:0,CONTROLLER://{at}")),
            ("controller.quorum.bootstrap.servers".to_owned(), addresses.join(",")),
        ]);
        if !dynamic {
            set.insert("controller.quorum.voters".to_owned(), statics.clone());
        }
        let config = load_config(&ConfigSource::BuiltIn, &set).unwrap();
        let initial_voters = if dynamic { InitialVoters::List(voters.clone()) } else { InitialVoters::Unspecified };
        let cluster_id = "AAAAAAAAAAAAAAAAAAAAAQ".to_owned();
        let request = FormatRequest { cluster_id, initial_voters, ..FormatRequest::default() };
        format(&config, &request, &mut std::io::sink()).unwrap();
        let formatted = ensure_formatted(&config, &mut std::io::sink()).unwrap();
        Member { config, formatted, node: None, _directory: directory }
    };
    (1..).zip(&addresses).map(member).collect()
}

impl Member {
    async fn start(&mut self) {
        self.node = Some(Node::start(&self.config, &self.formatted).await.unwrap());
    }

    async fn connect(&self, listener: &str) -> Connection {
        let node = self.node.as_ref().unwrap();
        let (_, address) = node.addresses().iter().find(|(name, _)| name == listener).unwrap();
        Connection::open(&(address.ip().to_string(), address.port()), "test", PATIENCE).await.unwrap()
    }

    async fn create_topic(&self, name: &str) -> i16 {
        let topic =
            CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 2, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let answer = self.connect("PLAINTEXT").await.ask(&request, Duration::ZERO).await.unwrap();
        answer.topics[0].error_code
    }

    /// Leader and number of voters, as this node's broker learns from whoever leads.
    async fn quorum(&self) -> (i32, usize) {
        let partition = PartitionData { partition_index: 0, ..Default::default() };
        let topic =
            TopicData { topic_name: "__cluster_metadata".into(), partitions: vec![partition], ..Default::default() };
        let request = DescribeQuorumRequest { topics: vec![topic], ..Default::default() };
        let answer = self.connect("PLAINTEXT").await.ask(&request, Duration::ZERO).await.unwrap();
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(partition.error_code, 0, "{answer:?}");
        (partition.leader_id, partition.current_voters.len())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_elect_a_controller_and_go_on_without_it() {
    for dynamic in [true, false] {
        let mut members = members(dynamic);
        // None comes up alone: a broker waits until a majority has elected a controller.
        let [first, second, third] = members.as_mut_slice() else { panic!("three") };
        tokio::join!(first.start(), second.start(), third.start());
        assert_eq!(members[0].create_topic("first").await, 0);
        let (leader, voters) = members[0].quorum().await;
        assert_eq!(voters, 3);
        let at = usize::try_from(leader - 1).unwrap();
        members[at].node.take().unwrap().stop().await;
        let other = (at + 1) % 3;
        assert_eq!(members[other].create_topic("without-it").await, 0);
        let (next, voters) = members[other].quorum().await;
        assert!(next != leader && voters == 3, "{next} leads after {leader}");
        members[at].start().await;
        assert_eq!(members[at].create_topic("with-it-again").await, 0);
        assert_eq!(members[at].quorum().await, (next, 3), "who comes back does not disturb");
        let request = DescribeClusterRequest { endpoint_type: 2, ..Default::default() };
        let cluster = members[at].connect("CONTROLLER").await.ask(&request, Duration::ZERO).await.unwrap();
        assert_eq!((cluster.error_code, cluster.brokers.len(), cluster.controller_id), (0, 3, next));
        for member in &mut members {
            member.node.take().unwrap().stop().await;
        }
    }
}
