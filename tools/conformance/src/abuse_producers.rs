//! Very many producers that write once and never come back: `abuse --only "producer ids"` gives each an id and one batch,
//! `abuse --only "transactional ids"` a transactional id and one transaction. `--ids N` says how many (a million, a tenth of
//! it). What the node holds in memory after that is told, and bounded: also after a clean stop and a start, and after a
//! kill and a start, when all is read from snapshots and logs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use milena_protocol::messages::{EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, ProduceRequest};
use milena_protocol::{Request, encode_request};
use milena_records::{BatchBuilder, BuilderConfig};
use milena_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use crate::abuse::MB;
use crate::flags::Flags;
use crate::report::Report;
use crate::server::{Kind, Node, Server};
use crate::wire::{Wire, flat, produce_request};

/// The node's memory, whatever there was.
const MEMORY_MAX: u64 = 256 * MB;
const TOPIC: &str = "once";
const PARTITIONS: usize = 2;
/// Requests on their way.
const WINDOW: usize = 200;
const INIT_VERSION: i16 = 4;
/// The last one that names topics; it adds partitions to transactions.
const PRODUCE_VERSION: i16 = 12;
const END_VERSION: i16 = 5;
const COORDINATORS_MAX: Duration = Duration::from_secs(60);
/// No transaction ends by the clock.
const TIMEOUT_MS: i32 = 900_000;

/// A way to fill a node.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Filling {
    name: &'static str,
    /// How many if nobody says.
    count: usize,
    is_transactional: bool,
}

const FILLINGS: [Filling; 2] = [
    Filling { name: "producer ids", count: 1_000_000, is_transactional: false },
    Filling { name: "transactional ids", count: 100_000, is_transactional: true },
];

/// The cases that are asked for.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    for filling in FILLINGS.into_iter().filter(|filling| flags.selects(filling.name)) {
        case(flags, report, filling, flags.ids.unwrap_or(filling.count))?;
    }
    Ok(())
}

/// A few of them, for every run.
pub(crate) fn slice(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    FILLINGS.into_iter().try_for_each(|filling| case(flags, report, filling, filling.count / 50))
}

fn case(flags: &Flags, report: &mut Report, filling: Filling, count: usize) -> anyhow::Result<()> {
    let kind = flags.servers.1;
    // As many partitions of transactions as are needed to see what an id costs, not what fifty partitions do.
    // A machine that stands still for a while ends no session.
    let settings = [("transaction.state.log.num.partitions", "4"), ("broker.session.timeout.ms", "300000")];
    let node = Node::with("producers", flags, &settings)?;
    let mut server = node.format_and_start(kind)?;
    let before = server.resident_bytes()?;
    let began = Instant::now();
    let filled = fill(&node, filling, count);
    let took = began.elapsed();
    let name = format!("{count} {}", filling.name);
    if let Err(error) = filled {
        report.check(&name, Some(format!("     {error:#}\n{}", server.last_words())));
        return Ok(());
    }
    let full = Memory::of(&server)?;
    server.stop()?;
    server = node.start(kind)?;
    settle(&node)?;
    let stopped = Memory::of(&server)?;
    server.kill()?;
    server = node.start(kind)?;
    settle(&node)?;
    let killed = Memory::of(&server)?;
    let text = format!(
        "{name} in {:.1} s: resident {} MB before, {full} then, {stopped} after a stop and a start, {killed} after a kill and a start",
        took.as_secs_f64(),
        before / MB
    );
    let most = full.most.max(stopped.most).max(killed.most);
    let is_wrong = kind == Kind::Milena && most > MEMORY_MAX;
    report.check(&text, is_wrong.then(|| format!("     more than {} MB", MEMORY_MAX / MB)));
    server.stop()?;
    node.remove(flags);
    Ok(())
}

/// What a server holds, and held at most.
struct Memory {
    now: u64,
    most: u64,
}

impl Memory {
    fn of(server: &Server) -> anyhow::Result<Memory> {
        Ok(Memory { now: server.resident_bytes()?, most: server.peak_bytes()? })
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (at most {})", self.now / MB, self.most / MB)
    }
}

/// The node leads its partitions, so their logs are open.
fn settle(node: &Node) -> anyhow::Result<()> {
    let mut wire = Wire::connect(node.port)?;
    wire.await_leaders(TOPIC, PARTITIONS)
}

fn fill(node: &Node, filling: Filling, count: usize) -> anyhow::Result<()> {
    let mut wire = Wire::connect(node.port)?;
    wire.create_topic(TOPIC, i32::try_from(PARTITIONS)?, &[])?;
    if filling.is_transactional {
        // Whoever asks for a coordinator has the topic made.
        let keys = vec![id_of(0).into()];
        let request = FindCoordinatorRequest { key_type: 1, coordinator_keys: keys, ..Default::default() };
        let began = Instant::now();
        while init(&mut wire, 0..1, true)?.is_empty() {
            ensure!(began.elapsed() < COORDINATORS_MAX, "there are no coordinators");
            wire.call(4, &request)?;
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let mut from = 0;
    while from < count {
        let numbers = from..count.min(from + WINDOW);
        let producers = init(&mut wire, numbers.clone(), filling.is_transactional)?;
        ensure!(producers.len() == numbers.len(), "{} of {} producers got an id", producers.len(), numbers.len());
        produce(&mut wire, from, &producers, filling.is_transactional)?;
        if filling.is_transactional {
            end(&mut wire, from, &producers)?;
        }
        from = numbers.end;
    }
    Ok(())
}

fn id_of(number: usize) -> String {
    format!("transactional-id-{number:010}")
}

/// Sends all requests with one write, then takes the answers.
fn exchange<R: Request>(wire: &mut Wire, version: i16, requests: &[R]) -> anyhow::Result<Vec<R::Response>> {
    let mut all = Vec::new();
    for request in requests {
        all.extend_from_slice(&flat(encode_request(version, 1, Some("once"), request)?)?);
    }
    std::io::Write::write_all(&mut wire.stream, &all).context("send")?;
    requests.iter().map(|_| wire.receive::<R>(version)).collect()
}

/// The producers that got an id and an epoch.
fn init(
    wire: &mut Wire,
    numbers: std::ops::Range<usize>,
    is_transactional: bool,
) -> anyhow::Result<Vec<(ProducerId, ProducerEpoch)>> {
    let request = |number| InitProducerIdRequest {
        transactional_id: is_transactional.then(|| id_of(number).into()),
        transaction_timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let answers = exchange(wire, INIT_VERSION, &numbers.map(request).collect::<Vec<_>>())?;
    let given = answers.into_iter().filter(|answer| answer.error_code == 0);
    Ok(given.map(|answer| (ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch))).collect())
}

fn produce(
    wire: &mut Wire,
    from: usize,
    producers: &[(ProducerId, ProducerEpoch)],
    is_transactional: bool,
) -> anyhow::Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let mut requests = Vec::new();
    for (number, (producer_id, producer_epoch)) in (from..).zip(producers) {
        let mut builder = BatchBuilder::new(BuilderConfig {
            producer_id: *producer_id,
            producer_epoch: *producer_epoch,
            base_sequence: 0,
            transactional: is_transactional,
            ..Default::default()
        });
        builder.append(i64::try_from(now.as_millis())?, None, Some(b"once"), &[])?;
        let records: Bytes = builder.build(Offset(0), LeaderEpoch::NONE)?;
        let request = produce_request(TOPIC, vec![(i32::try_from(number % PARTITIONS)?, records)]);
        let transactional_id = is_transactional.then(|| id_of(number).into());
        requests.push(ProduceRequest { transactional_id, ..request });
    }
    for answer in exchange(wire, PRODUCE_VERSION, &requests)? {
        let mut partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
        ensure!(partitions.all(|partition| partition.error_code == 0), "a producer's batch: {answer:?}");
    }
    Ok(())
}

fn end(wire: &mut Wire, from: usize, producers: &[(ProducerId, ProducerEpoch)]) -> anyhow::Result<()> {
    let request = |(number, (producer_id, producer_epoch)): (usize, &(ProducerId, ProducerEpoch))| EndTxnRequest {
        transactional_id: id_of(number).into(),
        producer_id: producer_id.0,
        producer_epoch: producer_epoch.0,
        committed: number % 10 != 0,
        ..Default::default()
    };
    let requests: Vec<_> = (from..).zip(producers).map(request).collect();
    for answer in exchange(wire, END_VERSION, &requests)? {
        ensure!(answer.error_code == 0, "a transaction's end: {answer:?}");
    }
    Ok(())
}
