//! Hostile peers on a live node: what they are answered, what the node's memory becomes, and how another client fares meanwhile.
//!
//! Groups have cases of their own in `abuse_groups.rs`, multitudes of producers in `abuse_producers.rs`.
//!
//! `milena-conformance abuse [--only NAME] [--ids N] [--servers kafka,kafka]`: on Apache Kafka it prints what the oracle does; the bounds on memory hold
//! for Milena only. Answers to bytes that are no request are also compared, case by case, by `java/WireCases.java`.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use milena_protocol::encode_request;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use milena_protocol::messages::{ApiVersionsRequest, FetchRequest, MetadataRequest};

use crate::abuse_groups;
use crate::abuse_producers;
use crate::bombs;
use crate::flags::Flags;
use crate::probe::{self, Probe};
use crate::report::Report;
use crate::server::{self, Kind, Node, Server};
use crate::wire::{Outcome, PRODUCE_VERSION, Wire, flat, produce_request};

pub(crate) const MB: u64 = 1 << 20;
/// The node may hold this much for requests; set, so that the bound is known.
pub(crate) const BUDGET_MB: u64 = 256;
const SETTINGS: [(&str, &str); 3] =
    [("queued.max.request.bytes", "268435456"), ("socket.listen.backlog.size", "4096"), ("group.max.size", "100")];
/// The longest a request of the other client may take; the machine may be busy.
const DISTURBANCE_MAX: Duration = Duration::from_secs(5);
const HALVES: usize = 200;
const HALF_REQUEST_BYTES: i32 = 90 << 20;
const READERS: usize = 200;
const IDLE: usize = 5000;
const UNREAD: usize = 10_000;

/// A case's surroundings.
pub(crate) struct Abuse<'a> {
    pub(crate) node: &'a Node,
    kind: Kind,
    server: Server,
}

/// What a case did, in words, and by how much the node's memory may grow.
pub(crate) struct Done {
    pub(crate) what: String,
    pub(crate) growth_max: u64,
    /// Held until the memory is measured.
    pub(crate) _held: Vec<TcpStream>,
}

/// What one case does.
pub(crate) type Case = fn(&Abuse<'_>) -> anyhow::Result<Done>;

const CASES: [(&str, Case); 11] = [
    ("nonsense", nonsense),
    ("idle connections", idle),
    ("half requests", half_requests),
    ("half small requests", half_small_requests),
    ("answers unread", unread),
    ("records unread", slow_readers),
    ("bombs", bombs_kept),
    ("bombs recompressed", bombs_recompressed),
    ("groups wrong", abuse_groups::wrong),
    ("groups joiners", abuse_groups::joiners),
    ("groups large members", abuse_groups::large_members),
];

/// The task.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kind = flags.servers.1;
    if let Some(reason) = server::missing(kind, flags) {
        report.skip("abuse", &reason);
        return Ok(());
    }
    for (name, case) in CASES.into_iter().filter(|(name, _)| flags.selects(name)) {
        // A node each: what one case leaves behind is not counted to the next.
        let node = Node::with("abuse", flags, &SETTINGS)?;
        let abuse = Abuse { node: &node, kind, server: node.format_and_start(kind)? };
        match abuse.measure(case) {
            Ok(text) => report.check(&format!("abuse {name}: {text}"), None),
            Err(error) => {
                report.check(&format!("abuse {name}"), Some(format!("     {error:#}\n{}", abuse.server.last_words())));
            }
        }
        report.outcome(&format!("abuse {name}: the server stops cleanly"), abuse.server.stop());
        node.remove(flags);
    }
    abuse_producers::run(flags, report)
}

impl Abuse<'_> {
    fn measure(&self, case: Case) -> anyhow::Result<String> {
        Probe::prepare(self.node.port)?;
        let probe = Probe::start(self.node.port)?;
        std::thread::sleep(Duration::from_secs(1));
        let calm = probe.stop()?;
        let before = self.server.resident_bytes()?;
        self.server.forget_peak()?;
        let probe = Probe::start(self.node.port)?;
        let done = case(self);
        std::thread::sleep(Duration::from_secs(1));
        let meanwhile = probe.stop();
        let done = done?;
        let meanwhile = meanwhile.with_context(|| done.what.clone())?;
        let peak = self.server.peak_bytes()?;
        let Done { what, growth_max, _held: held } = done;
        drop(held);
        std::thread::sleep(Duration::from_secs(1));
        let after = self.server.resident_bytes()?;
        let text = format!(
            "{what}; resident {} MB, at most {}, after {}; other client: {meanwhile}; before: {calm}",
            before / MB,
            peak / MB,
            after / MB
        );
        if self.kind == Kind::Milena {
            ensure!(peak.saturating_sub(before) <= growth_max, "more than {} MB: {text}", growth_max / MB);
            ensure!(meanwhile.max <= DISTURBANCE_MAX, "the other client waited: {text}");
        }
        Ok(text)
    }

    pub(crate) fn wire(&self) -> anyhow::Result<Wire> {
        Wire::connect(self.node.port)
    }
}

/// Bytes that are no request, a thousand times.
fn nonsense(abuse: &Abuse<'_>) -> anyhow::Result<Done> {
    let bytes: [&[u8]; 8] = [
        &[0x7f, 0xff, 0xff, 0xff, 0, 18, 0, 0],
        &[0xff, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0],
        &[0, 0, 0, 4, 0, 18, 0, 0],
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03],
        &[0, 0, 0, 10, 0x7f, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        &[0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff],
    ];
    for _ in 0..125 {
        for bytes in bytes {
            let mut wire = abuse.wire()?;
            wire.stream.write_all(bytes)?;
            let outcome = wire.outcome(Duration::from_secs(20))?;
            ensure!(outcome == Outcome::Closed, "{bytes:?} was {outcome:?}");
        }
    }
    Ok(Done { what: "1000 connections closed".to_owned(), growth_max: 32 * MB, _held: Vec::new() })
}

fn idle(abuse: &Abuse<'_>) -> anyhow::Result<Done> {
    let mut held = Vec::new();
    for n in 0..IDLE {
        let mut wire = abuse.wire().with_context(|| format!("after {n} connections"))?;
        wire.call(0, &ApiVersionsRequest::default())?;
        held.push(wire.stream);
    }
    let growth_max = (IDLE as u64 * 16) << 10;
    Ok(Done { what: format!("{IDLE} idle connections"), growth_max, _held: held })
}

/// Requests of 90 MB of which half is sent, as far as the node takes it.
fn half_requests(abuse: &Abuse<'_>) -> anyhow::Result<Done> {
    halves(abuse, HALVES, HALF_REQUEST_BYTES)
}

/// Requests of 900 KB of which half is sent.
fn half_small_requests(abuse: &Abuse<'_>) -> anyhow::Result<Done> {
    halves(abuse, 1000, 900_000)
}

fn halves(abuse: &Abuse<'_>, count: usize, size: i32) -> anyhow::Result<Done> {
    let half = usize::try_from(size / 2)?;
    let piece = vec![0; 1 << 16];
    let mut held = Vec::new();
    let mut sent = 0_u64;
    let mut left = Vec::new();
    for _ in 0..count {
        let mut stream = abuse.wire()?.stream;
        // A produce request's header, whole; then what would be its body.
        stream.write_all(&size.to_be_bytes())?;
        stream.write_all(&[0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0])?;
        stream.set_nonblocking(true)?;
        held.push(stream);
        left.push(half);
    }
    // Until nobody has been able to send for a while.
    let mut quiet = 0;
    while quiet < 20 {
        let mut is_sent = false;
        for (stream, left) in held.iter_mut().zip(&mut left) {
            let some = piece.get(..piece.len().min(*left)).unwrap_or_default();
            if some.is_empty() {
                continue;
            }
            if let Ok(taken) = stream.write(some) {
                *left -= taken;
                sent += taken as u64;
                is_sent = true;
            }
        }
        quiet = if is_sent { 0 } else { quiet + 1 };
        if !is_sent {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let what = format!("{count} requests of {size} bytes, {} MB of their halves taken", sent / MB);
    Ok(Done { what, growth_max: (BUDGET_MB + 64) * MB, _held: held })
}

/// Requests with large answers, pipelined, of which no answer is read.
fn unread(abuse: &Abuse<'_>) -> anyhow::Result<Done> {
    let mut wire = abuse.wire()?;
    for n in 0..5 {
        wire.create_topic(&format!("unread-{n}"), 200, &[])?;
    }
    let request = MetadataRequest { topics: None, ..Default::default() };
    let answer = answer_bytes(&mut wire, &request)?;
    let one = flat(encode_request(12, 1, None, &request)?)?;
    let many = one.repeat(UNREAD);
    let mut held = Vec::new();
    let mut sent = 0;
    for _ in 0..20 {
        let mut stream = abuse.wire()?.stream;
        stream.set_nonblocking(true)?;
        let mut rest = many.as_slice();
        for _ in 0..40 {
            match stream.write(rest) {
                Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        sent += (many.len() - rest.len()) / one.len();
        held.push(stream);
    }
    std::thread::sleep(Duration::from_secs(1));
    let what = format!("{sent} requests on 20 connections, answers of {answer} bytes each not read");
    Ok(Done { what, growth_max: (BUDGET_MB + 64) * MB, _held: held })
}

fn answer_bytes(wire: &mut Wire, request: &MetadataRequest) -> anyhow::Result<usize> {
    wire.send(12, request)?;
    match wire.outcome(Duration::from_secs(20))? {
        Outcome::Answered(bytes) => Ok(bytes),
        other => anyhow::bail!("metadata: {other:?}"),
    }
}

/// Fetches of much, pipelined, of which nothing is read.
fn slow_readers(abuse: &Abuse<'_>) -> anyhow::Result<Done> {
    let mut wire = abuse.wire()?;
    wire.create_topic("much", 1, &[])?;
    let records = probe::batch(1_000_000)?;
    for _ in 0..60 {
        let (error, _) = wire.produce("much", 0, records.clone())?;
        ensure!(error == 0, "fill: {error}");
    }
    let partition =
        FetchPartition { partition: 0, fetch_offset: 0, partition_max_bytes: 50 << 20, ..Default::default() };
    let topic = FetchTopic { topic: "much".into(), partitions: vec![partition], ..Default::default() };
    let request =
        FetchRequest { max_wait_ms: 100, min_bytes: 1, max_bytes: 50 << 20, topics: vec![topic], ..Default::default() };
    let one = flat(encode_request(12, 1, None, &request)?)?;
    let mut held = Vec::new();
    for _ in 0..READERS {
        let mut stream = abuse.wire()?.stream;
        stream.write_all(&one.repeat(20))?;
        held.push(stream);
    }
    std::thread::sleep(Duration::from_secs(2));
    let what = format!("{READERS} readers of 20 times 50 MB each read nothing");
    Ok(Done { what, growth_max: 96 * MB, _held: held })
}

/// Batches that inflate, to a topic that keeps them as they are.
fn bombs_kept(abuse: &Abuse<'_>) -> anyhow::Result<Done> {
    explode(abuse, &[], 64 * MB)
}

/// The same to a topic of another codec, for which they are compressed anew.
fn bombs_recompressed(abuse: &Abuse<'_>) -> anyhow::Result<Done> {
    explode(abuse, &[("compression.type", "lz4")], (BUDGET_MB + 64) * MB)
}

fn explode(abuse: &Abuse<'_>, configs: &[(&str, &str)], growth_max: u64) -> anyhow::Result<Done> {
    abuse.wire()?.create_topic("bombs", 1, configs)?;
    let mut what = Vec::new();
    for bomb in bombs::all()? {
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut wire = abuse.wire()?;
            wire.send(PRODUCE_VERSION, &produce_request("bombs", vec![(0, Bytes::clone(&bomb.records))]))?;
            held.push(wire);
        }
        let mut errors = Vec::new();
        for wire in &mut held {
            let answer = wire.receive::<milena_protocol::messages::ProduceRequest>(PRODUCE_VERSION)?;
            let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
            errors.extend(partitions.map(|partition| partition.error_code));
        }
        what.push(format!(
            "{} {} to {} MB: errors {errors:?}",
            bomb.codec,
            bomb.records.len(),
            bomb.inflated_bytes / 1_000_000
        ));
    }
    Ok(Done { what: what.join(", "), growth_max, _held: Vec::new() })
}
