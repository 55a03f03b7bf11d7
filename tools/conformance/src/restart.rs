//! Restart: a node with many partitions and much data is killed (SIGKILL) and started again; how long until each partition is served?
//!
//! Served: ListOffsets gives the end that was acknowledged, and Fetch gives the first and the last batch, for every partition.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use milena_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use milena_protocol::messages::{FetchRequest, ListOffsetsRequest, ProduceRequest};

use crate::flags::Flags;
use crate::probe::batch_of;
use crate::report::Report;
use crate::server::{self, Kind, Node, Server};
use crate::wire::{PRODUCE_VERSION, Wire, produce_request};

/// Partitions of one topic.
const TOPIC_PARTITIONS: u32 = 100;
/// Records of a batch and bytes of a record.
const BATCH_RECORDS: u32 = 64;
const RECORD_BYTES: usize = 1024;
/// Partitions of one Produce request.
const REQUEST_PARTITIONS: usize = 10;
/// Produce requests sent before the first answer is read.
const REQUESTS_IN_FLIGHT: usize = 4;
/// The latest a partition may be served.
const LIMIT: Duration = Duration::from_secs(300);
const LATEST: i64 = -1;
/// How much faster than the reference.
const BESIDE_GOAL: f64 = 5.0;

/// What was written: names, and how many batches each partition holds.
struct Filled {
    topics: Vec<(String, i32)>,
    rounds: u32,
    batch_bytes: usize,
}

impl Filled {
    fn end(&self) -> i64 {
        i64::from(self.rounds) * i64::from(BATCH_RECORDS)
    }

    fn partitions(&self) -> usize {
        self.topics.iter().map(|(_, count)| usize::try_from(*count).unwrap_or(0)).sum()
    }
}

/// The task.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kind = flags.servers.1;
    let reference = flags.beside.then_some(flags.servers.0);
    if let Some(reason) = [Some(kind), reference].into_iter().flatten().find_map(|kind| server::missing(kind, flags)) {
        report.skip("restart", &reason);
        return Ok(());
    }
    let node = Node::for_benchmark("restart", flags, &[])?;
    let outcome = measure(&node, flags, report);
    node.remove(flags);
    outcome
}

fn measure(node: &Node, flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kind = flags.servers.1;
    let server = node.format_and_start(kind)?;
    let filled = fill(node, flags)?;
    std::thread::sleep(Duration::from_secs(flags.settle));
    println!("killed {} s after the last acknowledgement", flags.settle);
    server.kill()?;
    let (server, [listed, fetched]) = started(node, flags, kind, &filled, report)?;
    // What does not fit into the page cache has to come from the disk first, which is not the server's time.
    let is_late = listed > Duration::from_secs_f64(flags.seconds);
    report.check("restart in time", is_late.then(|| format!("     more than {} s", flags.seconds)));
    if !flags.beside {
        return server.stop();
    }
    // What was recovered once stands in no checkpoint more than what was durable, so that this server has no more to do.
    server.kill()?;
    let (server, reference) = started(node, flags, flags.servers.0, &filled, report)?;
    server.kill()?;
    for (what, milena, other) in [("offsets", listed, reference[0]), ("records", fetched, reference[1])] {
        let ratio = other.as_secs_f64() / milena.as_secs_f64();
        let name = format!("restart: {what} of all {ratio:.1} times as fast as {}", flags.servers.0.name());
        report.check(&name, (ratio < BESIDE_GOAL).then(|| format!("     less than {BESIDE_GOAL} times")));
    }
    Ok(())
}

/// Starts one server; how long it takes until it knows the end of every partition, and until it gave records of every one.
fn started(
    node: &Node,
    flags: &Flags,
    kind: Kind,
    filled: &Filled,
    report: &mut Report,
) -> anyhow::Result<(Server, [Duration; 2])> {
    if flags.cold {
        drop_cache(node)?;
    }
    let begin = Instant::now();
    let server = node.start(kind)?;
    let answering = begin.elapsed();
    let listed = until(begin, || list_all(node, filled))?;
    let fetched = until(begin, || fetch_all(node, filled))?;
    let name = format!(
        "{} restarts {} partitions, {:.1} GB after kill -9: answering {:.3} s, offsets of all {:.3} s, records of all {:.3} s, {} MB \
         resident, {:.2} s of CPU",
        kind.name(),
        filled.partitions(),
        (filled.partitions() * filled.batch_bytes) as f64 * f64::from(filled.rounds) / 1e9,
        answering.as_secs_f64(),
        listed.as_secs_f64(),
        fetched.as_secs_f64(),
        server.resident_bytes()? >> 20,
        server.cpu()?.as_secs_f64(),
    );
    report.check(&name, None);
    Ok((server, [listed, fetched]))
}

/// Asks until the answer is complete; an error of the last try is the error.
fn until(begin: Instant, ask: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    loop {
        let outcome = ask();
        if outcome.is_ok() {
            return Ok(begin.elapsed());
        }
        if begin.elapsed() > LIMIT {
            return Err(outcome.err().context("an error")?);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn fill(node: &Node, flags: &Flags) -> anyhow::Result<Filled> {
    let batch = batch_of(BATCH_RECORDS, RECORD_BYTES)?;
    let mut wire = Wire::connect(node.port)?;
    let mut topics = Vec::new();
    let mut left = flags.partitions;
    while left > 0 {
        let count = left.min(TOPIC_PARTITIONS);
        let topic = (format!("restart-{}", topics.len()), i32::try_from(count)?);
        wire.create_topic(&topic.0, topic.1, &[])?;
        topics.push(topic);
        left -= count;
    }
    let bytes = flags.gigabytes * 1e9 / f64::from(flags.partitions) / batch.len() as f64;
    let rounds = format!("{:.0}", bytes.max(1.0)).parse()?;
    let filled = Filled { topics, rounds, batch_bytes: batch.len() };
    let begin = Instant::now();
    for _ in 0..rounds {
        for (topic, count) in &filled.topics {
            fill_topic(&mut wire, topic, *count, &batch)?;
        }
    }
    println!("filled in {:.1} s", begin.elapsed().as_secs_f64());
    Ok(filled)
}

/// One batch for each partition of a topic.
fn fill_topic(wire: &mut Wire, topic: &str, partitions: i32, batch: &Bytes) -> anyhow::Result<()> {
    let indexes: Vec<i32> = (0..partitions).collect();
    for some in indexes.chunks(REQUEST_PARTITIONS * REQUESTS_IN_FLIGHT) {
        let requests = some.chunks(REQUEST_PARTITIONS);
        let count = requests.len();
        for few in requests {
            let records = few.iter().map(|index| (*index, batch.clone())).collect();
            wire.send(PRODUCE_VERSION, &produce_request(topic, records))?;
        }
        for _ in 0..count {
            let answer = wire.receive::<ProduceRequest>(PRODUCE_VERSION)?;
            let mut partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
            ensure!(partitions.all(|partition| partition.error_code == 0), "fill: {answer:?}");
        }
    }
    Ok(())
}

fn list_all(node: &Node, filled: &Filled) -> anyhow::Result<()> {
    let topics = filled.topics.iter().map(|(name, count)| ListOffsetsTopic {
        name: name.as_str().into(),
        partitions: (0..*count)
            .map(|index| ListOffsetsPartition { partition_index: index, timestamp: LATEST, ..Default::default() })
            .collect(),
        ..Default::default()
    });
    let request = ListOffsetsRequest { replica_id: -1, topics: topics.collect(), ..Default::default() };
    let answer = Wire::connect(node.port)?.call(7, &request)?;
    let mut found = 0;
    for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        if partition.error_code != 0 || partition.offset != filled.end() {
            bail!("{partition:?} where {} was due", filled.end());
        }
        found += 1;
    }
    ensure!(found == filled.partitions(), "{found} partitions answered");
    Ok(())
}

fn fetch_all(node: &Node, filled: &Filled) -> anyhow::Result<()> {
    let mut wire = Wire::connect(node.port)?;
    for offset in [0, filled.end() - i64::from(BATCH_RECORDS)] {
        for (name, count) in &filled.topics {
            let partitions = (0..*count).map(|partition| FetchPartition {
                partition,
                fetch_offset: offset,
                partition_max_bytes: i32::try_from(filled.batch_bytes).unwrap_or(i32::MAX),
                ..Default::default()
            });
            let topic =
                FetchTopic { topic: name.as_str().into(), partitions: partitions.collect(), ..Default::default() };
            let request = FetchRequest {
                max_wait_ms: 100,
                min_bytes: 1,
                max_bytes: i32::MAX,
                topics: vec![topic],
                ..Default::default()
            };
            let answer = wire.call(12, &request)?;
            let mut found = 0;
            for partition in answer.responses.iter().flat_map(|topic| &topic.partitions) {
                let bytes = partition.records.as_ref().map_or(0, milena_protocol::Records::len);
                if partition.error_code != 0 || bytes < filled.batch_bytes {
                    bail!(
                        "{name}-{} at {offset}: error {}, {bytes} bytes",
                        partition.partition_index,
                        partition.error_code
                    );
                }
                found += 1;
            }
            ensure!(found == *count, "{name}: {found} partitions answered");
        }
    }
    Ok(())
}

/// Has the kernel forget the log dir, as after a machine's own restart.
fn drop_cache(node: &Node) -> anyhow::Result<()> {
    let status = std::process::Command::new("sync").arg("-f").arg(node.data()).status()?;
    ensure!(status.success(), "sync");
    std::fs::write("/proc/sys/vm/drop_caches", "1").context("drop the page cache (needs root)")
}
