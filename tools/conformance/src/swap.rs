//! Trading places: Apache Kafka of some release and Milena run in turn on the same `server.properties` and the same log dirs, stopped
//! cleanly or killed by draw, under one load (`java/SwapLoad.java`) that outlives them all and compares what each says, and every record,
//! with what it was told before. After each stop `kafka-dump-log` of that release reads every file.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::flags::Flags;
use crate::layout;
use crate::load::Load;
use crate::process;
use crate::random::Random;
use crate::report::Report;
use crate::server::{self, Kind, Node, Server};

const ROUNDS: u32 = 20;
const ACTIONS: u32 = 40;
const DUMP_LIMIT: Duration = Duration::from_secs(400);
/// The authorizer is Apache Kafka's only: Milena refuses to run as if there were none when one is named.
const KAFKA_ALONE: [&str; 2] =
    ["authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS"];
const SETTINGS: [(&str, &str); 7] = [
    // Producers go on asking about topics that were deleted.
    ("auto.create.topics.enable", "false"),
    ("offsets.topic.num.partitions", "4"),
    ("transaction.state.log.num.partitions", "3"),
    ("log.cleaner.backoff.ms", "300"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("transaction.max.timeout.ms", "900000"),
    // Producers of transactions must not be forgotten while a machine is busy.
    ("transactional.id.expiration.ms", "604800000"),
];

/// One short round with the release Milena is held against.
pub(crate) fn slice(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let missing = server::missing(Kind::Milena, flags).or_else(server::missing_java);
    if let Some(reason) = missing {
        report.skip("swap", &reason);
        return Ok(());
    }
    round(
        flags,
        report,
        &Plan { release: layout::RELEASE, seed: flags.seed, turns: 3, actions: 25, is_separate: false },
    )
}

/// `cargo xtask swap`: rounds from a seed, releases in turn.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    if let Some(reason) = server::missing(Kind::Milena, flags).or_else(server::missing_java) {
        report.skip("swap", &reason);
        return Ok(());
    }
    let releases: Vec<&str> = if flags.versions.is_empty() {
        vec![layout::RELEASE]
    } else {
        flags.versions.iter().map(String::as_str).collect()
    };
    for (number, release) in (0..flags.rounds.unwrap_or(ROUNDS)).zip(releases.iter().cycle()) {
        if !layout::jars_of(release).is_dir() {
            report.skip(&format!("swap with {release}"), "its jars are not installed");
            continue;
        }
        let seed = flags.seed.wrapping_add(u64::from(number));
        let is_separate = number as usize / releases.len() % 2 == 1;
        round(flags, report, &Plan { release, seed, turns: 5, actions: ACTIONS, is_separate })?;
    }
    Ok(())
}

/// What a round is to do.
struct Plan<'a> {
    release: &'a str,
    seed: u64,
    /// How many servers run one after the other; the first is Apache Kafka.
    turns: u32,
    /// What the load does in each turn.
    actions: u32,
    /// Controller and broker are two processes.
    is_separate: bool,
}

fn round(flags: &Flags, report: &mut Report, plan: &Plan<'_>) -> anyhow::Result<()> {
    let how = if plan.is_separate { ", controller and broker apart" } else { "" };
    let name = format!("swap with {}{how}, seed {}", plan.release, plan.seed);
    let node = if plan.is_separate {
        Node::separate_with("swap", flags, &SETTINGS)?
    } else {
        Node::with("swap", flags, &SETTINGS)?
    };
    let node = node.with_release(plan.release, &KAFKA_ALONE);
    let outcome = turns(&node, plan);
    let is_kept = outcome.is_err();
    report.outcome(&name, outcome.with_context(|| format!("in {}", node.folder.display())));
    if !is_kept {
        node.remove(flags);
    }
    Ok(())
}

fn turns(node: &Node, plan: &Plan<'_>) -> anyhow::Result<()> {
    let mut random = Random::new(plan.seed);
    node.format(Kind::Kafka)?;
    let mut load = None;
    for turn in 0..plan.turns {
        let kind = if turn % 2 == 0 { Kind::Kafka } else { Kind::Milena };
        let is_killed = random.below(2) == 0;
        let has_flight = random.below(2) == 0;
        let begin = Instant::now();
        let mut told = String::new();
        let name = || format!("turn {turn} of {}, {}", kind.name(), if is_killed { "killed" } else { "stopped" });
        let mut server = node.start(kind).with_context(name)?;
        let load = match &mut load {
            Some(load) => load,
            none => none.insert(Load::swap(&node.bootstrap(), plan.seed, &node.at("load.err"))?),
        };
        work(load, plan.actions, turn + 1 == plan.turns, has_flight, &mut told)
            .with_context(name)
            .with_context(|| server.last_words())?;
        ensure!(server.is_alive(), "{}: the server ended: {}", name(), server.last_words());
        end(server, is_killed).with_context(name)?;
        told += &dump(node, plan.release, is_killed).with_context(name)?;
        println!("     {}: {told}, {:.1} s", name(), begin.elapsed().as_secs_f32());
    }
    Ok(())
}

/// What the load does in one turn.
fn work(load: &mut Load, actions: u32, is_last: bool, has_flight: bool, told: &mut String) -> anyhow::Result<()> {
    let mut ask = |command: &str| -> anyhow::Result<String> {
        let answer = load.ask(command)?;
        if answer.starts_with("broken") {
            bail!("{}", answer.replace("\\n", "\n     "));
        }
        Ok(answer)
    };
    ask("settle").context("what was on its way when the other server went")?;
    ask("compare").context("what the other server left")?;
    ask(&format!("step {actions}"))?;
    if is_last {
        ask("finish")?;
    }
    ask("remember")?;
    *told += &ask("compare").context("what this server wrote")?;
    if has_flight {
        ask("flight")?;
    }
    Ok(())
}

fn end(server: Server, is_killed: bool) -> anyhow::Result<()> {
    if is_killed { server.kill() } else { server.stop() }
}

/// Every file, read by the release's own tool; indexes of who was killed end in what was reserved for them.
fn dump(node: &Node, release: &str, is_killed: bool) -> anyhow::Result<String> {
    let what = if is_killed { "records" } else { "all" };
    let mut files = 0;
    for dir in [node.data(), node.at("controller-data")] {
        if !Path::is_dir(&dir) {
            continue;
        }
        let mut command = process::java_of_release("SwapDump", release);
        command.arg(dump_class(release)).arg(&dir).arg(what);
        let said = process::succeed(&mut command, &node.at("dump"), DUMP_LIMIT).context("kafka-dump-log")?;
        let count =
            said.lines().last().and_then(|line| line.strip_suffix(" files")).and_then(|count| count.parse().ok());
        files += count.unwrap_or(0);
    }
    ensure!(files > 0, "kafka-dump-log has read nothing");
    Ok(format!(", {files} files dumped"))
}

/// The tool moved.
fn dump_class(release: &str) -> &'static str {
    let is_old = ["3.", "4.0.", "4.1.", "4.2."].iter().any(|series| release.starts_with(series));
    if is_old { "kafka.tools.DumpLogSegments" } else { "org.apache.kafka.tools.DumpLogSegments" }
}
