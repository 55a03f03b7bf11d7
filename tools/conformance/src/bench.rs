//! `milena-conformance bench-groups`: what groups cost, beside Apache Kafka in one run. Both servers are up, each is warmed
//! up, and rounds alternate between them; a row is the median (least..greatest) of the rounds.
//!
//! The goals are checks: not slower than Apache Kafka in the time until a large group is stable nor in its CPU, and three
//! times its offset commits a second, or, where the client leaves no room for that, half of what a server reaches that only answers.

mod commits;
mod figures;
mod floor;
pub(crate) mod replicated;
mod stable;
pub(crate) mod transactions;
pub(crate) mod upkeep;

use std::time::Duration;

use anyhow::Context as _;

use crate::flags::Flags;
use crate::report::Report;
use crate::server::{self, Kind, Node, Server};
use figures::{Figure, Table};

/// What both servers are told beyond their defaults. A thousand members connect without waiting for each other. A member of a consumer group comes every second instead of every
/// five, so that a round is short; it may take as long to leave as it likes.
const SETTINGS: [(&str, &str); 7] = [
    ("socket.listen.backlog.size", "4096"),
    ("group.initial.rebalance.delay.ms", "500"),
    ("group.consumer.min.heartbeat.interval.ms", "500"),
    ("group.consumer.heartbeat.interval.ms", "1000"),
    ("group.consumer.min.session.timeout.ms", "10000"),
    ("metadata.log.max.record.bytes.between.snapshots", "20971520"),
    ("log.segment.delete.delay.ms", "100"),
];
/// Rounds that are not counted: a JVM compiles what runs often.
const WARM_UP: u32 = 3;
/// Rounds that count, unless others are asked for.
const ROUNDS: u32 = 5;
/// By so much the medians of equals differ.
const NOISE: f64 = 1.02;
/// How much faster commits are to be.
const COMMITS_GOAL: f64 = 3.0;
/// What is to be reached of the rate of a server that only answers, where that is less.
const OF_FLOOR_GOAL: f64 = 0.5;

/// One server that is measured.
struct Subject {
    kind: Kind,
    node: Node,
    server: Server,
}

impl Subject {
    fn port(&self) -> u16 {
        self.node.port
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        self.server.cpu()
    }
}

/// The task.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kinds = [flags.servers.0, flags.servers.1];
    if let Some(reason) = kinds.into_iter().find_map(|kind| server::missing(kind, flags)) {
        report.skip("bench groups", &reason);
        return Ok(());
    }
    let subjects = start(flags, &SETTINGS)?;
    let mut table = Table::new([kinds[0].name(), kinds[1].name()]);
    let measured = measure(flags, &subjects, &mut table);
    println!("\n{table}");
    if measured.is_ok() {
        check_goals(&table, report);
    }
    for Subject { kind, node, server } in subjects {
        report.outcome(&format!("bench groups: {} stops cleanly", kind.name()), server.stop());
        node.remove(flags);
    }
    measured
}

/// Both servers, up.
fn start(flags: &Flags, settings: &[(&str, &str)]) -> anyhow::Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for (n, kind) in [flags.servers.0, flags.servers.1].into_iter().enumerate() {
        let node = Node::for_benchmark(&format!("bench-{n}-{}", kind.name()), flags, settings)?;
        let server = node.format_and_start(kind)?;
        subjects.push(Subject { kind, node, server });
    }
    Ok(subjects)
}

fn measure(flags: &Flags, subjects: &[Subject], table: &mut Table) -> anyhow::Result<()> {
    for subject in subjects {
        stable::prepare(subject, flags).with_context(|| subject.kind.name())?;
        commits::prepare(subject).with_context(|| subject.kind.name())?;
    }
    for round in 0..WARM_UP + flags.rounds.unwrap_or(ROUNDS) {
        let counted = round >= WARM_UP;
        let mark = if counted { "" } else { " (warm-up)" };
        for shape in stable::Shape::ALL.into_iter().filter(|shape| flags.selects(shape.name())) {
            for (column, subject) in subjects.iter().enumerate() {
                let taken = stable::measure(subject, shape, flags, round)
                    .with_context(|| format!("{} on {}", shape.name(), subject.kind.name()))?;
                tell(subject, &format!("{}{mark}", shape.name()), &taken);
                if counted {
                    table.add(column, shape.name(), &taken);
                }
            }
        }
    }
    // Every load first runs uncounted, and once more before its own rounds.
    let loads: Vec<&commits::Load> = commits::LOADS.iter().filter(|load| flags.selects(load.name)).collect();
    for load in &loads {
        for subject in subjects {
            commit(subject, load, flags.seconds, "warm")?;
        }
    }
    for load in loads {
        for round in 0..=flags.rounds.unwrap_or(ROUNDS) {
            for (column, subject) in subjects.iter().enumerate() {
                let taken = commit(subject, load, flags.seconds, &round.to_string())?;
                if round > 0 {
                    table.add(column, load.name, &taken);
                }
            }
        }
    }
    Ok(())
}

fn commit(subject: &Subject, load: &commits::Load, seconds: f64, round: &str) -> anyhow::Result<Vec<Figure>> {
    let taken = commits::measure(subject, load, seconds, round)
        .with_context(|| format!("{} on {}", load.name, subject.kind.name()))?;
    tell(subject, load.name, &taken);
    Ok(taken)
}

fn tell(subject: &Subject, what: &str, taken: &[Figure]) {
    let figures: Vec<String> = taken.iter().map(|(figure, value)| format!("{figure} {value:.2}")).collect();
    println!("{} {what}: {}", subject.kind.name(), figures.join(", "));
}

fn check_goals(table: &Table, report: &mut Report) {
    for row in table.rows() {
        let Some(ratio) = row.ratio() else { continue };
        let failed = match row.figure {
            stable::SECONDS | stable::CPU => (ratio > NOISE).then_some("more than the reference"),
            commits::RATE => {
                // Where even a server that only answers is not that much faster, the client is the limit.
                let floor =
                    table.first(&row.workload, commits::OF_FLOOR).map_or(f64::INFINITY, |percent| 100.0 / percent);
                (ratio < COMMITS_GOAL.min(floor * OF_FLOOR_GOAL))
                    .then_some("less than three times the reference, and less than half the floor")
            }
            _ => continue,
        };
        let name = format!("bench groups: {}, {}: {ratio:.2} of the reference", row.workload, row.figure);
        report.check(&name, failed.map(|text| format!("     {text}")));
    }
}
