//! `bench-transactions`: transactions a second at 1, 10 and 100 producers, and what reading them as committed costs. Kafka's
//! own clients make the load, so that with many producers the machine is theirs as much as the server's: the CPU of the
//! server per transaction says more than the rate.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::figures::{Figure, Table};
use super::{Subject, start, tell};
use crate::flags::Flags;
use crate::process;
use crate::report::Report;
use crate::server::{self};

const PARTITIONS: &str = "8";
/// Rounds that count.
const ROUNDS: u32 = 3;
/// Most first: a JVM compiles what it runs often, and what one producer asks of it is not much.
const PRODUCERS: [u32; 3] = [100, 10, 1];
const LIMIT: Duration = Duration::from_secs(300);
const RATE: &str = "transactions/s";
const CPU: &str = "server CPU us/transaction";

/// Transactions are aborted late, so that a pause of the machine does not end them.
const SETTINGS: [(&str, &str); 1] = [("transaction.max.timeout.ms", "900000")];

/// The task.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kinds = [flags.servers.0, flags.servers.1];
    if let Some(reason) = kinds.into_iter().find_map(|kind| server::missing(kind, flags)) {
        report.skip("bench transactions", &reason);
        return Ok(());
    }
    let subjects = start(flags, &SETTINGS)?;
    let mut table = Table::new([kinds[0].name(), kinds[1].name()]);
    let measured = measure(flags, &subjects, &mut table);
    println!("\n{table}");
    for Subject { kind, node, server } in subjects {
        report.outcome(&format!("bench transactions: {} stops cleanly", kind.name()), server.stop());
        node.remove(flags);
    }
    if measured.is_ok() {
        check_goals(&table, report);
    }
    measured
}

fn measure(flags: &Flags, subjects: &[Subject], table: &mut Table) -> anyhow::Result<()> {
    for subject in subjects {
        let topics = PRODUCERS.map(topic);
        let mut create = process::java("Client");
        create.args(["create", &subject.node.bootstrap(), PARTITIONS]).args(topics);
        process::succeed(&mut create, &subject.node.at("create"), LIMIT)?;
    }
    for producers in PRODUCERS {
        let name = format!("{producers} producers");
        for round in 0..=flags.rounds.unwrap_or(ROUNDS) {
            for (column, subject) in subjects.iter().enumerate() {
                let taken = write(subject, producers, flags.seconds)
                    .with_context(|| format!("{name} on {}", subject.kind.name()))?;
                // The first round compiles a JVM's code.
                if round > 0 {
                    tell(subject, &name, &taken);
                    table.add(column, &name, &taken);
                }
            }
        }
    }
    for isolation in ["read_uncommitted", "read_committed"] {
        for round in 0..=flags.rounds.unwrap_or(ROUNDS) {
            for (column, subject) in subjects.iter().enumerate() {
                let taken = read(subject, isolation, flags.seconds)?;
                if round > 0 {
                    tell(subject, isolation, &taken);
                    table.add(column, isolation, &taken);
                }
            }
        }
    }
    Ok(())
}

fn topic(producers: u32) -> String {
    format!("bench-{producers}")
}

/// What the load found, and the CPU the server took meanwhile. Producers that failed end the benchmark with what they said.
fn load(subject: &Subject, args: &[&str]) -> anyhow::Result<(BTreeMap<String, f64>, Duration)> {
    let before = subject.cpu()?;
    let ended = process::run(process::java("TransactionLoad").args(args), None, &subject.node.at("load"), LIMIT)?;
    let used = subject.cpu()?.saturating_sub(before);
    if ended.code != 0 {
        bail!("the load ended with {}: {}", ended.code, ended.errors);
    }
    let pairs = ended.output.lines().filter_map(|line| line.split_once(' '));
    let found: BTreeMap<String, f64> =
        pairs.filter_map(|(what, value)| Some((what.to_owned(), value.parse().ok()?))).collect();
    match found.get("failed") {
        Some(&failed) if failed > 0.0 => bail!("{failed} producers failed: {}", ended.errors),
        _ => Ok((found, used)),
    }
}

fn value(found: &BTreeMap<String, f64>, what: &str) -> anyhow::Result<f64> {
    found.get(what).copied().with_context(|| format!("the load tells no {what}"))
}

fn write(subject: &Subject, producers: u32, seconds: f64) -> anyhow::Result<Vec<Figure>> {
    let bootstrap = subject.node.bootstrap();
    let (topic, count, seconds) = (topic(producers), producers.to_string(), seconds.to_string());
    let (found, used) = load(subject, &["write", &bootstrap, &topic, PARTITIONS, &count, &seconds])?;
    let transactions = value(&found, "transactions")?;
    Ok(vec![
        (RATE, transactions / value(&found, "seconds")?),
        ("ms of the median", value(&found, "p50")?),
        ("ms of the 99th percentile", value(&found, "p99")?),
        (CPU, used.as_secs_f64() * 1e6 / transactions),
    ])
}

fn read(subject: &Subject, isolation: &str, seconds: f64) -> anyhow::Result<Vec<Figure>> {
    let (topic, seconds) = (topic(PRODUCERS[1]), seconds.to_string());
    let (found, used) = load(subject, &["read", &subject.node.bootstrap(), &topic, PARTITIONS, isolation, &seconds])?;
    let records = value(&found, "records")?;
    Ok(vec![
        ("records/s", records / value(&found, "seconds")?),
        ("server CPU us/record", used.as_secs_f64() * 1e6 / records),
    ])
}

fn check_goals(table: &Table, report: &mut Report) {
    for row in table.rows() {
        let Some(ratio) = row.ratio() else { continue };
        let failed = match row.figure {
            RATE => (ratio < 1.0).then_some("slower than the reference"),
            CPU => (ratio > 1.0).then_some("more than the reference"),
            _ => continue,
        };
        let name = format!("bench transactions: {}, {}: {ratio:.2} of the reference", row.workload, row.figure);
        report.check(&name, failed.map(|text| format!("     {text}")));
    }
}
