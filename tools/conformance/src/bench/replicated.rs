//! `bench-cluster`: what three replicas cost. Three nodes of each server, broker and controller each, are up in one run; every
//! partition has three replicas, and a record is acknowledged when all have it (`acks=all`). Requests are made beforehand; each
//! broker leads a third of the partitions and has one connection. Rounds alternate between the clusters.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use milena_protocol::encode_request;
use milena_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use milena_protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest, ProduceRequest};

use super::figures::{Figure, Table};
use super::stable;
use crate::cluster::{Cluster, Controllers};
use crate::flags::Flags;
use crate::report::Report;
use crate::server::{self, Kind};
use crate::wire::{PRODUCE_VERSION, Wire, flat, produce_request};
use crate::{cpu, probe};

const NODES: usize = 3;
/// Led by each broker.
const PARTITIONS: i32 = 6;
/// Apache Kafka's defaults instead of what the harness gives clusters that are killed.
const SETTINGS: [(&str, &str); 6] = [
    ("broker.session.timeout.ms", "9000"),
    ("broker.heartbeat.interval.ms", "2000"),
    ("log.segment.bytes", "1073741824"),
    ("metadata.log.max.record.bytes.between.snapshots", "20971520"),
    ("offsets.topic.replication.factor", "3"),
    ("log.segment.delete.delay.ms", "100"),
];
const ROUNDS: u32 = 5;
/// A server is warm when its rate has not grown by a twentieth for so many rounds: the JVMs compile what runs often, and three of
/// them share the machine.
const WARM_AFTER: u32 = 6;
const WARM_UP_MAX: u32 = 80;
const GROWTH: f64 = 1.05;
const LEADERS_LIMIT: Duration = Duration::from_secs(30);
/// From the start of a load to where it counts.
const RAMP: Duration = Duration::from_millis(500);
/// Of Apache Kafka's CPU.
const CPU_GOAL: f64 = 0.5;

const RATE: &str = "MB/s ↑";
const CPU: &str = "CPU-s/GB of the three ↓";

/// What each connection does.
#[derive(Debug)]
struct Shape {
    name: &'static str,
    in_flight: usize,
    /// Batches of a request, each for a partition of its own.
    batches: i32,
    /// Of a batch, 1 KiB each.
    records: u32,
    /// Between two requests; back to back without it.
    pause: Duration,
}

const SHAPES: [Shape; 2] = [
    Shape {
        name: "RF 3, acks=all, 6 batches of 15 KiB, 5 in flight",
        in_flight: 5,
        batches: PARTITIONS,
        records: 15,
        pause: Duration::ZERO,
    },
    Shape {
        name: "RF 3, acks=all, one record of 1 KiB, 300/s",
        in_flight: 1,
        batches: 1,
        records: 1,
        pause: Duration::from_millis(10),
    },
];

/// The task.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kinds = [flags.servers.0, flags.servers.1];
    if let Some(reason) = kinds.into_iter().find_map(|kind| server::missing(kind, flags)) {
        report.skip("bench cluster", &reason);
        return Ok(());
    }
    let mut clusters = Vec::new();
    for (n, kind) in kinds.into_iter().enumerate() {
        let name = format!("bench-cluster-{n}");
        let mut cluster = Cluster::with(&name, [kind; NODES], Controllers::All, flags, &SETTINGS)?.for_benchmark();
        (0..NODES).try_for_each(|at| cluster.begin(at))?;
        (0..NODES).try_for_each(|at| cluster.await_answers(at))?;
        clusters.push((kind, cluster));
    }
    let mut table = Table::new([kinds[0].name(), kinds[1].name()]);
    let measured = measure(flags, &clusters, &mut table);
    println!("\n{table}");
    if measured.is_ok() {
        check_goals(&table, report);
    }
    for (_, mut cluster) in clusters {
        // The last controllers of Apache Kafka wait long for a quorum that is gone.
        (0..NODES).try_for_each(|at| cluster.take(at)?.kill())?;
        if !flags.keep {
            let _ = std::fs::remove_dir_all(&cluster.folder);
        }
    }
    measured
}

fn measure(flags: &Flags, clusters: &[(Kind, Cluster)], table: &mut Table) -> anyhow::Result<()> {
    for shape in SHAPES.iter().filter(|shape| flags.selects(shape.name)) {
        for (kind, cluster) in clusters {
            warm_up(*kind, cluster, shape, flags.seconds)?;
        }
        for round in 0..flags.rounds.unwrap_or(ROUNDS) {
            for (column, (kind, cluster)) in clusters.iter().enumerate() {
                let taken = one_round(*kind, cluster, shape, (flags.seconds, round))?;
                table.add(column, shape.name, &taken);
            }
        }
    }
    let memory = |cluster: &Cluster| cluster.running().map(server::Server::resident_bytes).sum::<anyhow::Result<u64>>();
    for (column, (_, cluster)) in clusters.iter().enumerate() {
        table.add(column, "after it all", &[("MB resident, the three", memory(cluster)? as f64 / 1e6)]);
    }
    Ok(())
}

/// Rounds that are not counted, until no round is better than those before it.
fn warm_up(kind: Kind, cluster: &Cluster, shape: &Shape, seconds: f64) -> anyhow::Result<()> {
    let (mut best, mut since) = (0.0, 0);
    for round in 0..WARM_UP_MAX {
        let taken = one_round(kind, cluster, shape, (seconds, round)).context("warm up")?;
        let rate = taken.iter().find(|(name, _)| *name == RATE).map_or(0.0, |(_, rate)| *rate);
        since = if rate > best * GROWTH { 0 } else { since + 1 };
        best = rate.max(best);
        if since == WARM_AFTER {
            break;
        }
    }
    Ok(())
}

/// One round, told as it ends.
fn one_round(
    kind: Kind,
    cluster: &Cluster,
    shape: &Shape,
    (seconds, round): (f64, u32),
) -> anyhow::Result<Vec<Figure>> {
    let taken = load(cluster, shape, seconds, round).with_context(|| format!("{} on {}", shape.name, kind.name()))?;
    let figures: Vec<String> = taken.iter().map(|(name, value)| format!("{name} {value:.2}")).collect();
    println!("{} {}: {}", kind.name(), shape.name, figures.join(", "));
    Ok(taken)
}

/// A topic, a load on it for some seconds.
fn load(cluster: &Cluster, shape: &Shape, seconds: f64, round: u32) -> anyhow::Result<Vec<Figure>> {
    let topic = format!("bench-{}-{round}", shape.in_flight);
    create(cluster, &topic)?;
    let used = || cluster.running().map(server::Server::cpu).sum::<anyhow::Result<Duration>>();
    stable::await_quiet(used)?;
    let is_over = Arc::new(AtomicBool::new(false));
    let bytes = Arc::new(AtomicU64::new(0));
    let mut writers = Vec::new();
    for (nth, member) in (0..).zip(&cluster.members) {
        let writer = Writer::new(member.port, &topic, nth, shape)?;
        let (is_over, bytes) = (Arc::clone(&is_over), Arc::clone(&bytes));
        writers.push(std::thread::spawn(move || writer.run(&is_over, &bytes)));
    }
    std::thread::sleep(RAMP);
    let before = (Instant::now(), bytes.load(Ordering::Relaxed), used()?, cpu::own()?);
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let after = (Instant::now(), bytes.load(Ordering::Relaxed), used()?, cpu::own()?);
    is_over.store(true, Ordering::Relaxed);
    let joined =
        |thread: JoinHandle<anyhow::Result<Vec<Duration>>>| thread.join().map_err(|_| anyhow!("a writer broke"))?;
    let latencies: Vec<Vec<Duration>> = writers.into_iter().map(joined).collect::<Result<_, _>>()?;
    let mut latencies = latencies.concat();
    latencies.sort_unstable();
    let request =
        DeleteTopicsRequest { topic_names: vec![topic.as_str().into()], timeout_ms: 30_000, ..Default::default() };
    connect(cluster)?.call(5, &request)?;
    let wall = after.0.duration_since(before.0).as_secs_f64();
    let gigabytes = (after.1 - before.1) as f64 / 1e9;
    let mut figures = vec![(RATE, gigabytes * 1e3 / wall)];
    if shape.pause.is_zero() {
        figures.push((CPU, (after.2 - before.2).as_secs_f64() / gigabytes));
        figures.push(("client CPU-s/GB", (after.3 - before.3).as_secs_f64() / gigabytes));
    } else {
        figures.push(("CPU, % of one core, the three ↓", (after.2 - before.2).as_secs_f64() * 100.0 / wall));
    }
    figures.push(("ms to the acknowledgement, p50 ↓", percentile(&latencies, 50)?));
    figures.push(("ms to the acknowledgement, p99 ↓", percentile(&latencies, 99)?));
    Ok(figures)
}

fn percentile(sorted: &[Duration], percent: usize) -> anyhow::Result<f64> {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    Ok(sorted.get(at).context("a latency")?.as_secs_f64() * 1e3)
}

fn connect(cluster: &Cluster) -> anyhow::Result<Wire> {
    Wire::connect(cluster.members.first().context("a member")?.port)
}

/// Creates the topic; broker `n` leads every third partition. Waits until all replicas are in sync.
fn create(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let ids: Vec<i32> = cluster.members.iter().map(|member| i32::try_from(member.id)).collect::<Result<_, _>>()?;
    let count = PARTITIONS * i32::try_from(ids.len())?;
    let assignments = (0..count).map(|partition_index| {
        let mut broker_ids = ids.clone();
        broker_ids.rotate_left(usize::try_from(partition_index).unwrap_or(0) % NODES);
        CreatableReplicaAssignment { partition_index, broker_ids, ..Default::default() }
    });
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: assignments.collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
    let answer = connect(cluster)?.call(7, &request)?;
    ensure!(answer.topics.iter().all(|topic| topic.error_code == 0), "create {name}: {answer:?}");
    let end = Instant::now() + LEADERS_LIMIT;
    while Instant::now() < end {
        let is_led = |port| -> anyhow::Result<bool> {
            let metadata = Wire::connect(port)?.call(12, &MetadataRequest { topics: None, ..Default::default() })?;
            let found = metadata.topics.iter().find(|topic| topic.name.as_deref() == Some(name));
            Ok(found.is_some_and(|topic| {
                topic.partitions.len() == usize::try_from(count).unwrap_or(0)
                    && topic.partitions.iter().all(|one| {
                        Some(&one.leader_id) == one.replica_nodes.first() && one.isr_nodes.len() == ids.len()
                    })
            }))
        };
        let led: Vec<bool> = cluster.members.iter().map(|member| is_led(member.port)).collect::<Result<_, _>>()?;
        if led.into_iter().all(|led| led) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("{name} is not led by those who should")
}

/// One connection to one broker.
struct Writer {
    wire: Wire,
    frame: Vec<u8>,
    /// Of the batches in a request.
    bytes: u64,
    in_flight: usize,
    pause: Duration,
}

impl Writer {
    fn new(port: u16, topic: &str, nth: i32, shape: &Shape) -> anyhow::Result<Self> {
        let batch = probe::batch_of(shape.records, 1024)?;
        let bytes = batch.len() as u64 * u64::try_from(shape.batches)?;
        let step = i32::try_from(NODES)?;
        let batches = (0..shape.batches).map(|n| (nth + n * step, batch.clone())).collect();
        let request: ProduceRequest = produce_request(topic, batches);
        let frame = flat(encode_request(PRODUCE_VERSION, 1, Some("writer"), &request)?)?;
        Ok(Self { wire: Wire::connect(port)?, frame, bytes, in_flight: shape.in_flight, pause: shape.pause })
    }

    /// Writes until it is over; how long each request took.
    fn run(mut self, is_over: &AtomicBool, bytes: &AtomicU64) -> anyhow::Result<Vec<Duration>> {
        let mut sent = std::collections::VecDeque::new();
        let mut latencies = Vec::new();
        loop {
            while sent.len() < self.in_flight && !is_over.load(Ordering::Relaxed) {
                sent.push_back(Instant::now());
                self.wire.stream.write_all(&self.frame)?;
            }
            let Some(began) = sent.pop_front() else { return Ok(latencies) };
            let answer = self.wire.receive::<ProduceRequest>(PRODUCE_VERSION)?;
            let codes = answer.responses.iter().flat_map(|topic| &topic.partition_responses).map(|one| one.error_code);
            ensure!(codes.clone().all(|code| code == 0), "produce is answered with {:?}", codes.collect::<Vec<_>>());
            latencies.push(began.elapsed());
            bytes.fetch_add(self.bytes, Ordering::Relaxed);
            if !self.pause.is_zero() {
                std::thread::sleep(self.pause);
            }
        }
    }
}

fn check_goals(table: &Table, report: &mut Report) {
    for row in table.rows() {
        let Some(ratio) = row.ratio() else { continue };
        let failed = match row.figure {
            RATE => (ratio < 1.0 / super::NOISE).then_some("slower than the reference"),
            CPU => (ratio > CPU_GOAL).then_some("more than half of the reference"),
            _ => continue,
        };
        let name = format!("bench cluster: {}, {}: {ratio:.2} of the reference", row.workload, row.figure);
        report.check(&name, failed.map(|text| format!("     {text}")));
    }
}
