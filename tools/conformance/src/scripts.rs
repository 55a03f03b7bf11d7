//! The Java scripts (`java/*Cases.java`) on both servers at once; each case is one check.

use std::time::Duration;

use anyhow::Context as _;

use crate::flags::Flags;
use crate::report::Report;
use crate::server::{self, Kind, Node};
use crate::{process, text};

const LIMIT: Duration = Duration::from_secs(900);

/// What of the scripts goes through the controller, or asks who is there: run again where that is a process of its own.
const SEPARATE: &str = "cluster/,topics/,configs/,offsets/,produce/none,wire/";

/// Cases for a server of their own, and its settings.
type Others = (&'static str, &'static [(&'static str, &'static str)]);

/// Cases of groups (`java/GroupSettingCases.java`): much ends by itself, and soon.
const GROUP_SETTINGS: Others = (
    "group settings/",
    &[
        ("offsets.retention.check.interval.ms", "500"),
        ("offset.metadata.max.bytes", "10"),
        ("group.max.size", "2"),
        ("group.initial.rebalance.delay.ms", "500"),
        ("group.consumer.max.size", "2"),
        ("group.consumer.migration.policy", "disabled"),
        ("group.consumer.min.session.timeout.ms", "1000"),
        ("group.consumer.min.heartbeat.interval.ms", "100"),
        ("group.consumer.heartbeat.interval.ms", "500"),
        ("group.consumer.assignors", "range"),
        ("broker.rack", "r1"),
    ],
);

/// Cases of the levels of `transaction.version` (`java/TransactionVersionCases.java`), which all ids of a server share.
const TRANSACTION_VERSIONS: Others = ("transaction versions/", &[("transaction.state.log.num.partitions", "1")]);

/// Runs the scripts on the two servers and compares case by case; those of other settings, if they are asked for, on servers
/// with those.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let all = [GROUP_SETTINGS, TRANSACTION_VERSIONS];
    let is_usual = |prefix: &&str| !all.iter().any(|(others, _)| prefix.starts_with(others));
    let usual: Vec<&str> = flags.only.split(',').filter(is_usual).collect();
    if !usual.is_empty() {
        let only = usual.join(",");
        compare("script", flags, report, |name, kind| {
            script(Node::new(&format!("scripts-{name}"), flags)?, kind, &only, flags)
        })?;
    }
    for others in all {
        let asked: Vec<&str> = flags.only.split(',').filter(|prefix| prefix.starts_with(others.0)).collect();
        if !asked.is_empty() {
            run_others(others, &asked.join(","), flags, report)?;
        }
    }
    Ok(())
}

fn run_others((_, settings): Others, only: &str, flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    compare("script", flags, report, |name, kind| {
        script(Node::with(&format!("settings-{name}"), flags, settings)?, kind, only, flags)
    })
}

/// The level of `transaction.version` raised and lowered while producers go on.
pub(crate) fn run_transaction_versions(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    run_others(TRANSACTION_VERSIONS, "transaction versions/under load", flags, report)
}

/// Runs some of them where controller and broker are two processes.
pub(crate) fn run_separate(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let only = if flags.only.is_empty() { SEPARATE } else { &flags.only };
    compare("two processes", flags, report, |name, kind| {
        script(Node::separate(&format!("separate-{name}"), flags)?, kind, only, flags)
    })
}

/// Does something on both servers and compares what it prints, section by section.
pub(crate) fn compare(
    what: &str,
    flags: &Flags,
    report: &mut Report,
    one: impl Fn(&str, Kind) -> anyhow::Result<String> + Sync,
) -> anyhow::Result<()> {
    if let Some(reason) = server::missing(flags.servers.0, flags).or_else(|| server::missing(flags.servers.1, flags)) {
        report.skip(what, &reason);
        return Ok(());
    }
    let (reference, candidate) = both(flags.servers, one);
    let reference = text::sections(&reference.context("the reference")?);
    let candidate = match candidate {
        Ok(output) => text::sections(&output),
        Err(error) => {
            report.check(what, Some(format!("     {error:#}")));
            return Ok(());
        }
    };
    for (name, lines) in &reference {
        let broken = lines.iter().find(|line| line.starts_with("BROKEN"));
        let difference = match (broken, candidate.get(name)) {
            (Some(broken), _) => Some(format!("     the reference itself: {broken}")),
            (None, Some(found)) => text::difference(lines, found),
            (None, None) => Some("     the script did not get here".to_owned()),
        };
        report.check(&format!("{what} {name}"), difference);
    }
    Ok(())
}

/// Does the same on both servers at the same time.
pub(crate) fn both<T: Send>(servers: (Kind, Kind), one: impl Fn(&str, Kind) -> T + Sync) -> (T, T) {
    std::thread::scope(|scope| {
        let first = scope.spawn(|| one("reference", servers.0));
        let second = one("candidate", servers.1);
        match first.join() {
            Ok(first) => (first, second),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn script(node: Node, kind: Kind, only: &str, flags: &Flags) -> anyhow::Result<String> {
    let mut server = node.format_and_start(kind)?;
    let mut command = process::java("Conformance");
    command.arg(node.bootstrap()).arg(node.data()).arg(only);
    let ended = process::run(&mut command, None, &node.at("scripts"), LIMIT)?;
    if !server.is_alive() {
        println!("     {} died: {}", kind.name(), server.last_words());
    }
    if ended.code != 0 {
        println!("     the scripts on {} ended with {}: {}", kind.name(), ended.code, text::end_of(&ended.errors, 12));
    }
    server.stop()?;
    node.remove(flags);
    Ok(ended.output)
}
