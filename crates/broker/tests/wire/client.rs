//! The node under test and a client that knows no more than the wire.

use bytes::Bytes;
use milena_broker::Node;
use milena_broker::config::{ConfigSource, load_config};
use milena_broker::format::ensure_formatted;
use milena_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::produce_response::PartitionProduceResponse;
use milena_protocol::messages::{CreateTopicsRequest, InitProducerIdRequest, MetadataRequest, ProduceRequest};
use milena_protocol::{Message, Records, Request, Segment, decode_response, encode_request};
use milena_records::{BatchBuilder, BuilderConfig};
use milena_types::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Uuid};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) struct TestNode {
    runtime: tokio::runtime::Runtime,
    node: Option<Node>,
    overrides: BTreeMap<String, String>,
    directory: tempfile::TempDir,
}

impl TestNode {
    pub(crate) fn start(settings: &[(&str, &str)]) -> TestNode {
        TestNode::with_log_dirs(&["data"], settings)
    }

    /// A node with these log directories, the first of which holds the metadata log.
    pub(crate) fn with_log_dirs(log_dirs: &[&str], settings: &[(&str, &str)]) -> TestNode {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &&str| directory.path().join(name).to_str().unwrap().to_owned();
        let mut overrides = BTreeMap::from([
            ("listeners".to_owned(), "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0".to_owned()),
            ("log.dirs".to_owned(), log_dirs.iter().map(path).collect::<Vec<_>>().join(",")),
        ]);
        overrides.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut node = TestNode { runtime, node: None, overrides, directory };
        node.run();
        node
    }

    pub(crate) fn run(&mut self) {
        let config = load_config(&ConfigSource::BuiltIn, &self.overrides).unwrap();
        let formatted = ensure_formatted(&config, &mut std::io::sink()).unwrap();
        self.node = Some(self.runtime.block_on(Box::pin(Node::start(&config, &formatted))).unwrap());
    }

    /// Stops the node as a signal does and starts it again on the same directory.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.run();
    }

    /// A log directory.
    pub(crate) fn log_dir(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Why the node does not start.
    pub(crate) fn refusal(&self) -> String {
        let config = load_config(&ConfigSource::BuiltIn, &self.overrides).unwrap();
        ensure_formatted(&config, &mut std::io::sink()).unwrap_err().to_string()
    }

    /// Whether the node says within ten seconds that it cannot go on.
    pub(crate) fn ends(&mut self) -> bool {
        let node = self.node.as_mut().unwrap();
        let patience = Duration::from_secs(10);
        self.runtime.block_on(async { tokio::time::timeout(patience, node.failed()).await.is_ok() })
    }

    pub(crate) fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            self.runtime.block_on(Box::pin(node.stop()));
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let addresses = self.node.as_ref().unwrap().addresses();
        addresses.iter().find(|(name, _)| name == "PLAINTEXT").unwrap().1
    }

    /// What is served as metrics now.
    pub(crate) fn metrics(&self) -> String {
        let address = self.node.as_ref().unwrap().metrics_address().expect("a node with metrics");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        assert!(body.ends_with("# EOF\n"), "a whole page");
        body.to_owned()
    }

    pub(crate) fn has_metrics(&self) -> bool {
        self.node.as_ref().unwrap().metrics_address().is_some()
    }

    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, correlation: 0 }
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    correlation: i32,
}

impl Client {
    pub(crate) fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.correlation += 1;
        let frame = encode_request(version, self.correlation, Some("wire-test"), request).unwrap();
        self.stream.write_all(&flat(frame)).unwrap();
        self.correlation
    }

    pub(crate) fn receive<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        decode_response::<R>(self.receive_frame(), version).unwrap()
    }

    pub(crate) fn receive_frame(&mut self) -> Bytes {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).unwrap();
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(size)).unwrap()];
        self.stream.read_exact(&mut frame).unwrap();
        frame.into()
    }

    pub(crate) fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let sent = self.send(version, request);
        let (correlation, response) = self.receive::<R>(version);
        assert_eq!(correlation, sent, "answers come in order");
        response
    }

    pub(crate) fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0; 1]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    pub(crate) fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Uuid {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..Default::default()
        });
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let response = self.call(7, &request);
        assert_eq!(ErrorCode(response.topics[0].error_code), ErrorCode::NONE, "{response:?}");
        let metadata = self.call(12, &MetadataRequest { topics: None, ..Default::default() });
        let topic = metadata.topics.iter().find(|topic| topic.name.as_deref() == Some(name)).unwrap();
        assert_eq!(topic.partitions.len(), partitions as usize);
        assert!(topic.partitions.iter().all(|partition| partition.leader_id == 1), "{topic:?}");
        topic.topic_id
    }

    pub(crate) fn produce(&mut self, topic: &str, partition: i32, records: Bytes) -> PartitionProduceResponse {
        let mut response = self.call(9, &produce_request(topic, -1, vec![(partition, records)]));
        response.responses.remove(0).partition_responses.remove(0)
    }
}

pub(crate) fn flat(segments: Vec<Segment>) -> Vec<u8> {
    let mut all = Vec::new();
    for segment in segments {
        match segment {
            Segment::Bytes(bytes) => all.extend_from_slice(&bytes),
            Segment::File(_) => panic!("a request has no file"),
        }
    }
    all
}

pub(crate) fn produce_request(topic: &str, acks: i16, partitions: Vec<(i32, Bytes)>) -> ProduceRequest {
    let data = partitions.into_iter().map(|(index, records)| PartitionProduceData {
        index,
        records: Some(Records::Bytes(records)),
        ..Default::default()
    });
    ProduceRequest {
        acks,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData { name: topic.into(), partition_data: data.collect(), ..Default::default() }],
        ..Default::default()
    }
}

pub(crate) fn producer_id_request() -> InitProducerIdRequest {
    InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: 1000, ..Default::default() }
}

/// One batch with these values, one millisecond apart from `timestamp` on.
pub(crate) fn batch_at(timestamp: i64, values: &[&str]) -> Bytes {
    built(BuilderConfig::default(), timestamp, values)
}

pub(crate) fn batch(values: &[&str]) -> Bytes {
    batch_at(now(), values)
}

pub(crate) fn idempotent(id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    let config = BuilderConfig {
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        ..BuilderConfig::default()
    };
    built(config, now(), values)
}

fn built(config: BuilderConfig, timestamp: i64, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(config);
    for (at, value) in values.iter().enumerate() {
        builder.append(timestamp + at as i64, None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build(Offset(0), LeaderEpoch(-1)).unwrap()
}

pub(crate) fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

/// The values of all whole batches, with their offsets.
pub(crate) fn values(records: &Option<Records>) -> Vec<(i64, String)> {
    let Some(Records::Bytes(bytes)) = records else { panic!("no records: {records:?}") };
    let mut all = Vec::new();
    for batch in milena_records::Batches::new(bytes.clone()) {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        for record in batch.records(1 << 20).unwrap() {
            let record = record.unwrap();
            all.push((record.offset.0, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
        }
    }
    all
}

/// The answer of `R` in this version can be decoded: nothing more is asked.
pub(crate) fn answers<R: Request>(
    client: &mut Client,
    versions: std::ops::RangeInclusive<i16>,
    request: impl Fn(i16) -> R,
) where
    R::Response: Message,
{
    for version in versions {
        client.call(version, &request(version));
    }
}
