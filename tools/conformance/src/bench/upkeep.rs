//! `bench-upkeep`: what retention and compaction at work do to the time until a record is acknowledged. One node takes the same
//! load twice, for minutes: once nothing is ever deleted, once old segments are deleted and keys compacted all the time. The
//! load is open: requests are due at fixed times, and a request that had to wait counts from when it was due.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, ensure};
use bytes::Bytes;
use milena_protocol::encode_request;
use milena_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use milena_protocol::messages::{ListOffsetsRequest, ProduceRequest};
use milena_records::{BatchBuilder, BuilderConfig};
use milena_types::{LeaderEpoch, Offset};

use super::figures::{Figure, Table};
use crate::flags::Flags;
use crate::report::Report;
use crate::server::{self, Node};
use crate::wire::{PRODUCE_VERSION, Wire, flat, produce_request};

const PARTITIONS: i32 = 6;
/// Of each topic, 15 KiB each.
const REQUESTS_PER_SECOND: u32 = 500;
const RECORDS: u32 = 15;
/// Different requests, and so many times the keys of one.
const FRAMES: u32 = 1024;
const SETTINGS: [(&str, &str); 5] = [
    ("log.retention.check.interval.ms", "2000"),
    ("log.cleaner.backoff.ms", "1000"),
    ("log.segment.delete.delay.ms", "1000"),
    ("log.initial.task.delay.ms", "1000"),
    ("metadata.log.max.record.bytes.between.snapshots", "20971520"),
];
/// Of the 99th percentile without upkeep.
const GOAL: f64 = 1.5;
const P99: &str = "ms to the acknowledgement, p99 ↓";
const EARLIEST: i64 = -2;

/// What a topic is for, and what keeps it small.
struct Subject {
    topic: &'static str,
    has_keys: bool,
    upkeep: &'static [(&'static str, &'static str)],
}

const SUBJECTS: [Subject; 2] = [
    Subject { topic: "events", has_keys: false, upkeep: &[("retention.bytes", "33554432")] },
    Subject { topic: "tables", has_keys: true, upkeep: &[("cleanup.policy", "compact")] },
];

/// The task.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kind = flags.servers.1;
    if let Some(reason) = server::missing(kind, flags) {
        report.skip("bench upkeep", &reason);
        return Ok(());
    }
    let mut table = Table::new(["without", "with"]);
    for (column, has_upkeep) in [false, true].into_iter().enumerate() {
        let node = Node::for_benchmark(&format!("bench-upkeep-{column}"), flags, &SETTINGS)?;
        let server = node.format_and_start(kind)?;
        let before = server.cpu()?;
        let taken = load(&node, has_upkeep, flags.seconds)?;
        let used = server.cpu()?.saturating_sub(before).as_secs_f64() * 100.0 / flags.seconds;
        for (topic, figures) in taken {
            table.add(column, topic, &figures);
        }
        table.add(column, "both", &[("CPU, % of one core ↓", used), ("MB on the disk", megabytes(&node)?)]);
        if has_upkeep {
            report.outcome("bench upkeep: old segments were deleted all the time", is_kept_small(&node));
        }
        server.stop()?;
        node.remove(flags);
    }
    println!("\n{table}");
    for row in table.rows().iter().filter(|row| row.figure == P99) {
        let Some(ratio) = row.ratio() else { continue };
        let name = format!("bench upkeep: {}, p99 {ratio:.2} of that without", row.workload);
        report.check(&name, (ratio > GOAL).then(|| format!("     more than {GOAL}")));
    }
    Ok(())
}

/// The load on both topics, and what its requests took.
fn load(node: &Node, has_upkeep: bool, seconds: f64) -> anyhow::Result<Vec<(&'static str, Vec<Figure>)>> {
    for subject in &SUBJECTS {
        let upkeep = subject.upkeep.iter().filter(|_| has_upkeep);
        let configs: Vec<(&str, &str)> = upkeep.chain([&("segment.bytes", "16777216")]).copied().collect();
        Wire::connect(node.port)?.create_topic(subject.topic, PARTITIONS, &configs)?;
    }
    let writers: Vec<_> = SUBJECTS
        .iter()
        .map(|subject| {
            let (wire, frames) = (Wire::connect(node.port)?, frames(subject)?);
            let took = std::thread::spawn(move || write(wire, &frames, Duration::from_secs_f64(seconds)));
            Ok((subject.topic, took))
        })
        .collect::<anyhow::Result<_>>()?;
    let mut all = Vec::new();
    for (topic, writer) in writers {
        let mut took = writer.join().map_err(|_| anyhow!("a writer broke"))??;
        took.sort_unstable();
        let percentile = |permille: usize| -> anyhow::Result<f64> {
            let at = (took.len() * permille / 1000).min(took.len().saturating_sub(1));
            Ok(took.get(at).context("a request")?.as_secs_f64() * 1e3)
        };
        let figures = vec![
            ("requests", took.len() as f64),
            ("ms to the acknowledgement, p50 ↓", percentile(500)?),
            (P99, percentile(990)?),
            ("ms to the acknowledgement, p99.9 ↓", percentile(999)?),
            ("ms to the acknowledgement, longest", percentile(1000)?),
        ];
        all.push((topic, figures));
    }
    Ok(all)
}

/// Requests for each partition in turn, with other keys each.
fn frames(subject: &Subject) -> anyhow::Result<Vec<Vec<u8>>> {
    (0..FRAMES)
        .map(|n| {
            let records = batch(n, subject.has_keys)?;
            let partition = i32::try_from(n)? % PARTITIONS;
            let request = produce_request(subject.topic, vec![(partition, records)]);
            flat(encode_request(PRODUCE_VERSION, 1, Some("upkeep"), &request)?)
        })
        .collect()
}

fn batch(nth: u32, has_keys: bool) -> anyhow::Result<Bytes> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let mut builder = BatchBuilder::new(BuilderConfig::default());
    for n in 0..RECORDS {
        let key = (nth * RECORDS + n).to_string();
        builder.append(now, has_keys.then_some(key.as_bytes()), Some(&[b'v'; 1000]), &[])?;
    }
    Ok(builder.build(Offset(0), LeaderEpoch(-1))?)
}

/// Sends when it is time and notes when each was answered.
fn write(wire: Wire, frames: &[Vec<u8>], time: Duration) -> anyhow::Result<Vec<Duration>> {
    let mut sender = wire.stream.try_clone()?;
    let (due, owed) = mpsc::channel::<Instant>();
    let is_broken = Arc::new(AtomicBool::new(false));
    let broken = Arc::clone(&is_broken);
    let reader = std::thread::spawn(move || {
        let took = answers(wire, &owed);
        broken.store(took.is_err(), Ordering::Relaxed);
        took
    });
    let begin = Instant::now();
    for (n, frame) in (0..).zip(frames.iter().cycle()) {
        let at = begin + Duration::from_secs(1) * n / REQUESTS_PER_SECOND;
        if at > begin + time || is_broken.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        let _ = due.send(at);
        sender.write_all(frame)?;
    }
    drop(due);
    reader.join().map_err(|_| anyhow!("a reader broke"))?
}

fn answers(mut wire: Wire, owed: &mpsc::Receiver<Instant>) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    for due in owed {
        let answer = wire.receive::<ProduceRequest>(PRODUCE_VERSION)?;
        let mut codes = answer.responses.iter().flat_map(|topic| &topic.partition_responses).map(|one| one.error_code);
        ensure!(codes.all(|code| code == 0), "produce is answered with {answer:?}");
        took.push(due.elapsed());
    }
    Ok(took)
}

/// Everything of the topics' directories.
fn megabytes(node: &Node) -> anyhow::Result<f64> {
    let mut bytes = 0;
    for directory in std::fs::read_dir(node.data())? {
        let directory = directory?;
        let is_subject = |subject: &Subject| directory.file_name().to_string_lossy().starts_with(subject.topic);
        if !SUBJECTS.iter().any(is_subject) {
            continue;
        }
        for file in std::fs::read_dir(directory.path())? {
            // A file may be deleted meanwhile.
            bytes += file?.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    Ok(bytes as f64 / 1e6)
}

fn is_kept_small(node: &Node) -> anyhow::Result<()> {
    let partitions = (0..PARTITIONS).map(|partition_index| ListOffsetsPartition {
        partition_index,
        timestamp: EARLIEST,
        ..Default::default()
    });
    let topic = ListOffsetsTopic { name: "events".into(), partitions: partitions.collect(), ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let answer = Wire::connect(node.port)?.call(7, &request)?;
    let starts: Vec<i64> = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.offset).collect();
    ensure!(!starts.is_empty() && starts.iter().all(|start| *start > 0), "the logs begin at {starts:?}");
    Ok(())
}
