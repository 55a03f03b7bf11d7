//! Trading places: Apache Kafka of some release and Milena run in turn on the same `server.properties` and the same log dirs, stopped
//! cleanly or killed by draw, under one load (`java/SwapLoad.java`) that outlives them all and compares what each says, and every record,
//! with what it was told before. After each stop `kafka-dump-log` of that release reads every file, and `milena doctor` must let
//! both start.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::flags::Flags;
use crate::layout;
use crate::load::Load;
use crate::process;
use crate::random::Random;
use crate::report::Report;
use crate::server::{self, Kind, Node, Server};
use crate::swap_rolling;

const ROUNDS: u32 = 20;
const ACTIONS: u32 = 40;
const DUMP_LIMIT: Duration = Duration::from_secs(400);
/// The authorizer is Apache Kafka's only: Milena refuses to run as if there were none when one is named.
const KAFKA_ALONE: [&str; 2] =
    ["authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS"];
/// Tries 20 ms apart.
const CHECKPOINT_TRIES_MAX: u32 = 3000;
pub(crate) const SETTINGS: [(&str, &str); 8] = [
    // Producers go on asking about topics that were deleted.
    ("auto.create.topics.enable", "false"),
    ("offsets.topic.num.partitions", "4"),
    ("transaction.state.log.num.partitions", "3"),
    ("log.cleaner.backoff.ms", "300"),
    // Who is killed sooner forgets which records were deleted.
    ("log.flush.start.offset.checkpoint.interval.ms", "500"),
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

/// `cargo xtask swap`: rounds from a seed, releases in turn; with `--parts rolling`, a cluster of three node by node.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    if let Some(reason) = server::missing(Kind::Milena, flags).or_else(server::missing_java) {
        report.skip("swap", &reason);
        return Ok(());
    }
    if flags.wants("rounds", true) {
        rounds(flags, report)?;
    }
    if flags.wants("rolling", false) {
        swap_rolling::run(flags, report)?;
    }
    Ok(())
}

fn rounds(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
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
    /// How many servers run one after the other; the first is Apache Kafka (`--servers kafka,kafka` checks the round itself).
    turns: u32,
    /// What the load does in each turn.
    actions: u32,
    /// Controller and broker are two processes.
    is_separate: bool,
}

fn round(flags: &Flags, report: &mut Report, plan: &Plan<'_>) -> anyhow::Result<()> {
    let how = if plan.is_separate { ", controller and broker apart" } else { "" };
    let name = format!("swap with {}{how}, seed {}", plan.release, plan.seed);
    // The next round must not take the place of one that failed.
    let folder = format!("swap-{}", plan.seed);
    let node = if plan.is_separate {
        Node::separate_with(&folder, flags, &SETTINGS)?
    } else {
        Node::with(&folder, flags, &SETTINGS)?
    };
    let node = node.with_release(plan.release, &KAFKA_ALONE);
    let outcome = turns(&node, flags.servers, plan);
    let is_kept = outcome.is_err();
    report.outcome(&name, outcome.with_context(|| format!("in {}", node.folder.display())));
    if !is_kept {
        node.remove(flags);
    }
    Ok(())
}

fn turns(node: &Node, (first, second): (Kind, Kind), plan: &Plan<'_>) -> anyhow::Result<()> {
    let mut random = Random::new(plan.seed);
    node.format(first)?;
    let mut load = None;
    let mut was_killed = false;
    for turn in 0..plan.turns {
        let kind = if turn % 2 == 0 { first } else { second };
        let is_killed = random.below(2) == 0;
        let has_flight = random.below(2) == 0;
        let begin = Instant::now();
        let mut told = String::new();
        let name = || format!("turn {turn} of {}, {}", kind.name(), if is_killed { "killed" } else { "stopped" });
        let mut server = node.start(kind).with_context(name)?;
        let load = match &mut load {
            Some(load) => load,
            none => none.insert(Load::swap(&node.bootstrap(), plan.seed, 1, &node.at("load.err"))?),
        };
        let steps = Steps { actions: plan.actions, is_last: turn + 1 == plan.turns, has_flight };
        work(load, was_killed, &steps, &mut told).with_context(name).with_context(|| server.last_words())?;
        ensure!(server.is_alive(), "{}: the server ended: {}", name(), server.last_words());
        if is_killed {
            await_log_starts(load, &node.data()).with_context(name)?;
        }
        end(server, is_killed).with_context(name)?;
        was_killed = is_killed;
        told += &dump(plan.release, is_killed, &node.at("dump"), &[node.data(), node.at("controller-data")])
            .with_context(name)?;
        both_may_start(node, plan.release).with_context(name)?;
        println!("     {}: {told}, {:.1} s", name(), begin.elapsed().as_secs_f32());
    }
    Ok(())
}

/// Asks the load; what it finds broken is an error.
pub(crate) fn ask(load: &mut Load, command: &str) -> anyhow::Result<String> {
    let answer = load.ask(command)?;
    if answer.starts_with("broken") {
        bail!("{}", answer.replace("\\n", "\n     "));
    }
    Ok(answer)
}

/// What is to be seen after an exchange: everything that was there before, but for what a killed server leaves nowhere.
pub(crate) fn everything_is_there(load: &mut Load, was_killed: bool) -> anyhow::Result<String> {
    ask(load, "settle").context("what was on its way when a server went")?;
    ask(load, "members").context("what the members of groups were given")?;
    ask(load, if was_killed { "compare killed" } else { "compare" }).context("what another server left")
}

/// What the load does in one turn.
struct Steps {
    actions: u32,
    is_last: bool,
    has_flight: bool,
}

fn work(load: &mut Load, was_killed: bool, steps: &Steps, told: &mut String) -> anyhow::Result<()> {
    everything_is_there(load, was_killed)?;
    ask(load, &format!("step {}", steps.actions))?;
    if steps.is_last {
        ask(load, "finish")?;
    }
    ask(load, "remember").context("what this server was asked for")?;
    *told += &ask(load, "compare").context("what this server wrote")?;
    if steps.has_flight {
        ask(load, "flight")?;
    }
    Ok(())
}

fn end(server: Server, is_killed: bool) -> anyhow::Result<()> {
    if is_killed { server.kill() } else { server.stop() }
}

/// A killed server remembers of DeleteRecords what its checkpoint says, Apache Kafka as Milena: returns when it says all of it.
fn await_log_starts(load: &mut Load, dir: &Path) -> anyhow::Result<()> {
    let starts = ask(load, "starts")?;
    for start in starts.split(',').filter(|start| !start.is_empty()) {
        let mut left = CHECKPOINT_TRIES_MAX;
        while !is_saved(dir, start)? {
            ensure!(left > 0, "the checkpoint of log starts never says {start}");
            left -= 1;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Whether a log start survives: it is in the checkpoint, or no segment begins before it.
fn is_saved(dir: &Path, start: &str) -> anyhow::Result<bool> {
    // Not there until it is first written.
    let checkpoint = std::fs::read_to_string(dir.join("log-start-offset-checkpoint")).unwrap_or_default();
    if checkpoint.lines().any(|line| line == start) {
        return Ok(true);
    }
    let (partition, offset) = start.rsplit_once(' ').context("a log start")?;
    let offset: u64 = offset.parse().context("the offset of a log start")?;
    let folder = dir.join(partition.replace(' ', "-"));
    let names = std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
    let bases = names.filter_map(|name| name.ok()?.file_name().to_str()?.strip_suffix(".log")?.parse::<u64>().ok());
    Ok(bases.min().is_some_and(|base| base >= offset))
}

/// The doctor lets both start, Milena and the release.
fn both_may_start(node: &Node, release: &str) -> anyhow::Result<()> {
    let series: Vec<&str> = release.split('.').take(2).collect();
    let wanted = format!("Apache Kafka {} starts here: yes", series.join("."));
    let said = node.doctor()?;
    ensure!(said.lines().any(|line| line == wanted), "the doctor does not say `{wanted}`: {said}");
    Ok(())
}

/// Every file, read by the release's own tool; indexes of who was killed end in what was reserved for them.
pub(crate) fn dump(release: &str, is_killed: bool, at: &Path, dirs: &[PathBuf]) -> anyhow::Result<String> {
    let what = if is_killed { "records" } else { "all" };
    let mut files = 0;
    for dir in dirs.iter().filter(|dir| dir.is_dir()) {
        let mut command = process::java_of_release("SwapDump", release);
        command.arg(dump_class(release)).arg(dir).arg(what);
        let said = process::succeed(&mut command, at, DUMP_LIMIT).context("kafka-dump-log")?;
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
