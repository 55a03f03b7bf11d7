//! Whole nodes on real files and sockets: one alone, and a controller with a broker of its own process' kind.

use std::collections::BTreeMap;
use std::path::Path;

use milena_metadata::supported_features;
use milena_protocol::messages::broker_registration_request::Feature;
use milena_protocol::messages::create_topics_request::CreatableTopic;
use milena_protocol::messages::{BrokerRegistrationRequest, CreateTopicsRequest, EnvelopeRequest, MetadataRequest};
use milena_types::{BrokerId, ErrorCode, Uuid};

use super::*;
use crate::config::{ConfigSource, load_config};
use crate::format::{FormatRequest, InitialVoters, ensure_formatted, format};
use crate::hosts::Connection;

const PATIENCE: Duration = Duration::from_secs(10);

fn config(dir: &Path, set: &[(&str, &str)]) -> ServerConfig {
    let mut overrides = BTreeMap::from([
        ("log.dirs".to_owned(), dir.to_str().unwrap().to_owned()),
        ("controller.listener.names".to_owned(), "CONTROLLER".to_owned()),
        ("node.id".to_owned(), "1".to_owned()),
    ]);
    overrides.extend(set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    load_config(&ConfigSource::BuiltIn, &overrides).unwrap()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn connect(node: &Node, listener: &str) -> Connection {
    let (_, address) = node.addresses().iter().find(|(name, _)| name == listener).unwrap();
    Connection::open(&(address.ip().to_string(), address.port()), "test", PATIENCE).await.unwrap()
}

async fn create_topic(node: &Node, name: &str) -> i16 {
    let topic = CreatableTopic { name: name.into(), num_partitions: 2, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let answer = connect(node, "PLAINTEXT").await.ask(&request, Duration::ZERO).await.unwrap();
    answer.topics[0].error_code
}

async fn leaders(node: &Node, topic: &str) -> Vec<i32> {
    let request = MetadataRequest { topics: None, ..Default::default() };
    let answer = connect(node, "PLAINTEXT").await.ask(&request, Duration::ZERO).await.unwrap();
    let found = answer.topics.iter().find(|found| found.name.as_deref() == Some(topic)).expect("the topic is known");
    found.partitions.iter().map(|partition| partition.leader_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_keeps_its_topics_over_clean_and_unclean_ends() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let listeners = format!("PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:{port}");
    let servers = format!("127.0.0.1:{port}");
    let set = [("listeners", listeners.as_str()), ("controller.quorum.bootstrap.servers", servers.as_str())];
    let config = config(dir.path(), &set);
    for round in 0..3 {
        let formatted = ensure_formatted(&config, &mut std::io::sink()).unwrap();
        assert_eq!(formatted.is_new, round == 0);
        let node = Node::start(&config, &formatted).await.unwrap();
        if round == 0 {
            assert_eq!(create_topic(&node, "orders").await, 0);
        }
        assert_eq!(leaders(&node, "orders").await, [1, 1], "in round {round}");
        node.stop().await;
        if round == 1 {
            // As after kill -9: nothing says that the logs were closed.
            std::fs::remove_file(dir.path().join(".kafka_cleanshutdown")).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_a_late_registration_displaced_registers_again() {
    let dir = tempfile::tempdir().unwrap();
    let servers = format!("127.0.0.1:{}", free_port());
    let listeners = format!("PLAINTEXT://127.0.0.1:0,CONTROLLER://{servers}");
    // Only the registration of a broker that is fenced can be displaced: its session is shorter than its silence.
    let set = [
        ("listeners", listeners.as_str()),
        ("controller.quorum.bootstrap.servers", servers.as_str()),
        ("broker.session.timeout.ms", "400"),
        ("broker.heartbeat.interval.ms", "1500"),
        // A lease would have it speak more often.
        ("milena.leader.lease.enable", "false"),
    ];
    let config = config(dir.path(), &set);
    let formatted = ensure_formatted(&config, &mut std::io::sink()).unwrap();
    let node = Node::start(&config, &formatted).await.unwrap();
    let broker = Arc::clone(&node.broker.as_ref().unwrap().broker);
    let feature = |(name, min_supported_version, max_supported_version): (&'static str, i16, i16)| Feature {
        name: name.into(),
        min_supported_version,
        max_supported_version,
        ..Feature::default()
    };
    let late = BrokerRegistrationRequest {
        broker_id: 1,
        cluster_id: formatted.cluster_id.as_str().into(),
        incarnation_id: Uuid([9; 16]),
        features: supported_features().map(feature).collect(),
        log_dirs: vec![Uuid([9; 16])],
        previous_broker_epoch: -1,
        ..BrokerRegistrationRequest::default()
    };
    let deadline = tokio::time::Instant::now() + 3 * PATIENCE;
    let mut controller = connect(&node, "CONTROLLER").await;
    let displaced_at = loop {
        let answer = controller.ask(&late, Duration::ZERO).await.unwrap();
        if answer.error_code == 0 {
            break answer.broker_epoch;
        }
        assert_eq!(ErrorCode(answer.error_code), ErrorCode::DUPLICATE_BROKER_REGISTRATION);
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let registered = || broker.image().cluster.broker(BrokerId(1)).map(|known| (known.epoch, known.incarnation_id));
    while broker.epoch() <= displaced_at || registered().is_none_or(|(epoch, _)| epoch != broker.epoch()) {
        assert!(tokio::time::Instant::now() < deadline, "{:?} in the image, {} here", registered(), broker.epoch());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(registered().is_some_and(|(_, incarnation)| incarnation != late.incarnation_id));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let listeners = format!("PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:{port}");
    let servers = format!("127.0.0.1:{port}");
    let set = [("listeners", listeners.as_str()), ("controller.quorum.bootstrap.servers", servers.as_str())];
    let config = config(dir.path(), &set);
    let formatted = ensure_formatted(&config, &mut std::io::sink()).unwrap();
    let node = Node::start(&config, &formatted).await.unwrap();
    let refused = Node::start(&config, &formatted).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains(".lock"), "{refused}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_and_a_broker_are_a_cluster_and_the_broker_outlives_the_controllers_restart() {
    let (controller_dir, broker_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let port = free_port();
    let servers = format!("127.0.0.1:{port}");
    let listener = format!("CONTROLLER://127.0.0.1:{port}");
    let controller_config = config(
        controller_dir.path(),
        &[
            ("process.roles", "controller"),
            ("node.id", "100"),
            ("listeners", &listener),
            ("controller.quorum.bootstrap.servers", &servers),
        ],
    );
    let broker_config = config(
        broker_dir.path(),
        &[
            ("process.roles", "broker"),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("controller.quorum.bootstrap.servers", &servers),
        ],
    );
    let cluster_id = "AAAAAAAAAAAAAAAAAAAAAQ".to_owned();
    let request = FormatRequest { cluster_id: cluster_id.clone(), ..FormatRequest::default() };
    let standalone = FormatRequest { initial_voters: InitialVoters::Standalone, ..request.clone() };
    format(&controller_config, &standalone, &mut std::io::sink()).unwrap();
    format(&broker_config, &request, &mut std::io::sink()).unwrap();
    let formatted = |config| ensure_formatted(config, &mut std::io::sink()).unwrap();

    let controller = Node::start(&controller_config, &formatted(&controller_config)).await.unwrap();
    let broker = Node::start(&broker_config, &formatted(&broker_config)).await.unwrap();
    assert_eq!(create_topic(&broker, "before").await, 0);
    controller.stop().await;
    let controller = Node::start(&controller_config, &formatted(&controller_config)).await.unwrap();
    assert_eq!(create_topic(&broker, "after").await, 0);
    wait_for_leaders(&broker, "after").await;
    assert_eq!(leaders(&broker, "before").await, [1, 1]);
    broker.stop().await;
    let directories = formatted(&broker_config);
    let started = tokio::time::timeout(PATIENCE, Node::start(&broker_config, &directories));
    let broker = started.await.expect("a broker that knew its controller finds it again").unwrap();
    wait_for_leaders(&broker, "after").await;
    broker.stop().await;
    controller.stop().await;
}

async fn wait_for_leaders(broker: &Node, topic: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while leaders_or_none(broker, topic).await.is_none() {
        assert!(tokio::time::Instant::now() < deadline, "the broker never learned of the topic");
        tokio::task::yield_now().await;
    }
}

async fn leaders_or_none(node: &Node, topic: &str) -> Option<Vec<i32>> {
    let request = MetadataRequest { topics: None, ..Default::default() };
    let answer = connect(node, "PLAINTEXT").await.ask(&request, Duration::ZERO).await.unwrap();
    let found = answer.topics.iter().find(|found| found.name.as_deref() == Some(topic))?;
    let leaders: Vec<i32> = found.partitions.iter().map(|partition| partition.leader_id).collect();
    leaders.iter().all(|leader| *leader == 1).then_some(leaders)
}

/// What a broker of Apache Kafka puts around a client's request: the request without its size, the client's name as
/// `DefaultPrincipalData` version 0, its address.
fn envelope<R: milena_protocol::Request>(version: i16, request: &R) -> EnvelopeRequest {
    let frame = milena_protocol::encode_request(version, 77, Some("client"), request).unwrap();
    let mut bytes = Vec::new();
    for segment in frame {
        let milena_protocol::Segment::Bytes(piece) = segment else { panic!("{segment:?}") };
        bytes.extend_from_slice(&piece);
    }
    EnvelopeRequest {
        request_data: bytes::Bytes::from(bytes).slice(4..),
        request_principal: Some(bytes::Bytes::from_static(b"\0\0\x05User\x0aANONYMOUS\0\0")),
        client_host_address: bytes::Bytes::from_static(&[127, 0, 0, 1]),
        ..EnvelopeRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_forwards_in_an_envelope_is_answered_in_one() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let listeners = format!("PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:{port}");
    let servers = format!("127.0.0.1:{port}");
    let set = [("listeners", listeners.as_str()), ("controller.quorum.bootstrap.servers", servers.as_str())];
    let config = config(dir.path(), &set);
    let formatted = ensure_formatted(&config, &mut std::io::sink()).unwrap();
    let node = Node::start(&config, &formatted).await.unwrap();
    let mut connection = connect(&node, "CONTROLLER").await;
    let topic =
        CreatableTopic { name: "enclosed".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    for expected in [0, ErrorCode::TOPIC_ALREADY_EXISTS.0] {
        let answer = connection.ask(&envelope(7, &request), Duration::ZERO).await.unwrap();
        assert_eq!(answer.error_code, 0);
        let enclosed = answer.response_data.unwrap();
        let (correlation_id, response) = milena_protocol::decode_response::<CreateTopicsRequest>(enclosed, 7).unwrap();
        assert_eq!((correlation_id, response.topics[0].error_code), (77, expected));
    }
    assert_eq!(leaders(&node, "enclosed").await, [1]);

    let sound = envelope(7, &request);
    let refused = [
        (EnvelopeRequest { request_principal: None, ..sound.clone() }, ErrorCode::PRINCIPAL_DESERIALIZATION_FAILURE),
        (EnvelopeRequest { client_host_address: bytes::Bytes::new(), ..sound.clone() }, ErrorCode::INVALID_REQUEST),
        (envelope(12, &MetadataRequest::default()), ErrorCode::INVALID_REQUEST),
        (
            envelope(0, &milena_protocol::messages::AlterUserScramCredentialsRequest::default()),
            ErrorCode::UNSUPPORTED_VERSION,
        ),
        (EnvelopeRequest { request_data: sound.request_data.slice(..20), ..sound }, ErrorCode::UNSUPPORTED_VERSION),
    ];
    for (request, error) in refused {
        let answer = connection.ask(&request, Duration::ZERO).await.unwrap();
        assert_eq!((answer.error_code, answer.response_data), (error.0, None), "on the same connection");
    }
    node.stop().await;
}
