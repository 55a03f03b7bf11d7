//! One connection that knows no more than the wire: for what no client library would do, and for filling a node fast.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use milena_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{CreateTopicsRequest, MetadataRequest, ProduceRequest};
use milena_protocol::{Records, Request, Segment, decode_response, encode_request};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A version of Produce that both servers know and that names topics by name.
pub(crate) const PRODUCE_VERSION: i16 = 9;

/// What became of a connection on which something was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A frame of this many bytes came.
    Answered(usize),
    /// It was closed.
    Closed,
    /// Nothing came for as long as was waited.
    Silent,
}

#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    correlation: i32,
}

impl Wire {
    pub(crate) fn connect(port: u16) -> anyhow::Result<Self> {
        Self::connect_to("127.0.0.1", port)
    }

    pub(crate) fn connect_to(host: &str, port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((host, port)).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, correlation: 0 })
    }

    pub(crate) fn send<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<()> {
        self.correlation += 1;
        let frame = encode_request(version, self.correlation, Some("wire"), request).context("encode")?;
        self.stream.write_all(&flat(frame)?).context("send")
    }

    pub(crate) fn receive<R: Request>(&mut self, version: i16) -> anyhow::Result<R::Response> {
        let (_, response) = decode_response::<R>(self.frame()?, version).context("decode")?;
        Ok(response)
    }

    pub(crate) fn call<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<R::Response> {
        self.send(version, request)?;
        self.receive::<R>(version)
    }

    fn frame(&mut self) -> anyhow::Result<Bytes> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).context("read the size of an answer")?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(size))?];
        self.stream.read_exact(&mut frame).context("read an answer")?;
        Ok(frame.into())
    }

    /// Waits for a frame, the end, or the end of the patience given here.
    pub(crate) fn outcome(&mut self, patience: Duration) -> anyhow::Result<Outcome> {
        self.stream.set_read_timeout(Some(patience))?;
        let mut size = [0; 4];
        let outcome = match self.stream.read(&mut size) {
            Ok(0) => Outcome::Closed,
            Ok(some) => {
                let mut rest = vec![0; size.len() - some];
                self.stream.read_exact(&mut rest)?;
                let all: Vec<u8> = size.iter().take(some).copied().chain(rest).collect();
                let size = all.first_chunk::<4>().copied().unwrap_or_default();
                let mut frame = vec![0; usize::try_from(i32::from_be_bytes(size))?];
                self.stream.read_exact(&mut frame)?;
                Outcome::Answered(frame.len())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Outcome::Silent,
            Err(_) => Outcome::Closed,
        };
        self.stream.set_read_timeout(Some(PATIENCE))?;
        Ok(outcome)
    }

    /// Creates a topic and waits until each partition has a leader.
    pub(crate) fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> anyhow::Result<()> {
        self.create_replicated(name, (partitions, 1), configs)
    }

    /// The same with as many partitions and replicas.
    pub(crate) fn create_replicated(
        &mut self,
        name: &str,
        (partitions, replication_factor): (i32, i16),
        configs: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..Default::default()
        });
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
        let answer = self.call(7, &request)?;
        ensure!(answer.topics.iter().all(|topic| topic.error_code == 0), "create {name}: {answer:?}");
        self.await_leaders(name, usize::try_from(partitions)?)
    }

    /// Waits until each partition of a topic has a leader.
    pub(crate) fn await_leaders(&mut self, name: &str, partitions: usize) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let metadata = self.call(12, &MetadataRequest { topics: None, ..Default::default() })?;
            let found = metadata.topics.iter().find(|topic| topic.name.as_deref() == Some(name));
            let led = found.map_or(0, |topic| topic.partitions.iter().filter(|one| one.error_code == 0).count());
            if led == partitions {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("{name} has no leaders")
    }

    /// Which node leads a partition.
    pub(crate) fn leader(&mut self, topic: &str, partition: i32) -> anyhow::Result<i32> {
        let metadata = self.call(12, &MetadataRequest { topics: None, ..Default::default() })?;
        let found = metadata.topics.iter().find(|one| one.name.as_deref() == Some(topic));
        let partition = found.and_then(|one| one.partitions.iter().find(|one| one.partition_index == partition));
        Ok(partition.with_context(|| format!("no partition of {topic}"))?.leader_id)
    }

    /// Produces one set of records to one partition; the partition's error code and base offset.
    pub(crate) fn produce(&mut self, topic: &str, partition: i32, records: Bytes) -> anyhow::Result<(i16, i64)> {
        let answer = self.call(PRODUCE_VERSION, &produce_request(topic, vec![(partition, records)]))?;
        let topic = answer.responses.first().context("an answer for the topic")?;
        let partition = topic.partition_responses.first().context("an answer for the partition")?;
        Ok((partition.error_code, partition.base_offset))
    }
}

pub(crate) fn produce_request(topic: &str, partitions: Vec<(i32, Bytes)>) -> ProduceRequest {
    let data = partitions.into_iter().map(|(index, records)| PartitionProduceData {
        index,
        records: Some(Records::Bytes(records)),
        ..Default::default()
    });
    let topic = TopicProduceData { name: topic.into(), partition_data: data.collect(), ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() }
}

pub(crate) fn flat(segments: Vec<Segment>) -> anyhow::Result<Vec<u8>> {
    let mut all = Vec::new();
    for segment in segments {
        match segment {
            Segment::Bytes(bytes) => all.extend_from_slice(&bytes),
            Segment::File(_) => bail!("a request has no file"),
        }
    }
    Ok(all)
}
