//! Kill rounds: idempotent producers write without pause, the server is killed (SIGKILL) at a random moment and started again on the same
//! disk, and everything that was acknowledged must be there once, in order, with no gap. The load is `java/KillLoad.java`.
//!
//! With `--power-cut` what was not synced is lost as well (`power.rs`). A run ends with what must be noticed: a batch that was
//! acknowledged is taken from a log, another is put there twice, and the checker has to name both.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::flags::Flags;
use crate::load::Load;
use crate::power::PowerCut;
use crate::random::Random;
use crate::report::Report;
use crate::segment;
use crate::server::{self, Kind, Node, Server};

/// For how long the load runs, at least and at most, between its first acknowledgement and the kill.
const LOAD_MS: (u64, u64) = (0, 900);
/// An acknowledged record is on the disk, and segments are so small that they roll under the load.
const SETTINGS: [(&str, &str); 2] = [("milena.durability", "fsync"), ("log.segment.bytes", "1048576")];
/// What Apache Kafka wants for the same promise.
const KAFKA_SETTINGS: [(&str, &str); 2] = [("log.flush.interval.messages", "1"), ("log.segment.bytes", "1048576")];

/// The task: each round is one check.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kind = flags.servers.1;
    if let Some(reason) = server::missing(kind, flags).or_else(server::missing_java) {
        report.skip("kill", &reason);
        return Ok(());
    }
    let mut settings = if kind == Kind::Milena { SETTINGS } else { KAFKA_SETTINGS }.to_vec();
    if flags.power_cut {
        // The rounds that bound the tail sync the whole file system by a call that the library cannot see.
        settings.push(("log.flush.offset.checkpoint.interval.ms", "86400000"));
    }
    let mut node = Node::with("kill", flags, &settings)?;
    let power = if flags.power_cut { Some(PowerCut::new(&node.folder)?) } else { None };
    node.power.clone_from(&power);
    let mut run = Run { node: &node, kind, power, random: Random::new(flags.seed), acknowledged: 0, in_flight: 0 };
    println!("seed {}", flags.seed);
    let failed = report.failed();
    let outcome = run.rounds(flags.rounds.unwrap_or(200), report);
    if outcome.is_ok() && report.failed() == failed {
        node.remove(flags);
    }
    outcome.with_context(|| format!("seed {}", flags.seed))
}

struct Run<'a> {
    node: &'a Node,
    kind: Kind,
    power: Option<PowerCut>,
    random: Random,
    /// Records the server had acknowledged, over all rounds.
    acknowledged: u64,
    /// Rounds whose kill found requests on their way.
    in_flight: u32,
}

impl Run<'_> {
    fn rounds(&mut self, rounds: u32, report: &mut Report) -> anyhow::Result<()> {
        let mut server = self.node.format_and_start(self.kind)?;
        let mut load = Load::start(&self.node.bootstrap(), 1, 0, &self.node.at("load.err"))?;
        for round in 1..=rounds {
            let flowing = load.ask("flowing")?;
            anyhow::ensure!(flowing == "flowing", "round {round}: {flowing}");
            std::thread::sleep(Duration::from_millis(LOAD_MS.0 + self.random.below(LOAD_MS.1 - LOAD_MS.0)));
            self.in_flight += u32::from(load.flight()? > 0);
            server.kill()?;
            let lost = self.cut_power()?;
            let begin = Instant::now();
            server = self.node.start(self.kind).context("start after a kill")?;
            let started = begin.elapsed().as_millis();
            let answer = load.ask("verify")?;
            let failure = self.count(&answer).is_none().then(|| format!("     {}", server.last_words()));
            report.check(&format!("kill {round}: serving after {started} ms, {answer}{lost}"), failure);
        }
        let answer = load.ask("everything")?;
        report.check(
            &format!("kill rounds, all from the beginning: {answer}"),
            self.count(&answer).is_none().then(String::new),
        );
        let name = format!(
            "kill rounds acknowledged {} records, {} of {rounds} found requests on their way",
            self.acknowledged, self.in_flight
        );
        report.check(&name, (self.acknowledged == 0 || self.in_flight * 2 < rounds).then(String::new));
        self.plant(server, &mut load, report)
    }

    fn cut_power(&mut self) -> anyhow::Result<String> {
        let Some(power) = &self.power else { return Ok(String::new()) };
        let lost = power.cut(&self.node.data(), &mut self.random)?;
        Ok(format!(", {} bytes of {} logs were lost", lost.bytes, lost.files))
    }

    /// The acknowledged records of a good answer.
    fn count(&mut self, answer: &str) -> Option<u64> {
        let told = answer.strip_prefix("verified ")?.split(' ').next()?.parse().ok()?;
        self.acknowledged += told;
        Some(told)
    }

    /// Does what a server must never do and wants it to be noticed.
    fn plant(&self, server: Server, load: &mut Load, report: &mut Report) -> anyhow::Result<()> {
        let paused = load.ask("pause")?;
        report
            .check(&format!("kill rounds, the load comes to an end: {paused}"), (paused != "paused").then(String::new));
        let before = load.ask("verify")?;
        report.check(&format!("kill rounds, the rest: {before}"), (!before.starts_with("verified")).then(String::new));
        server.kill()?;
        let (lost, twice) = ("kill-none-0", "kill-lz4-0");
        let (log, at, _) = last_batch(&self.node.data().join(lost))?;
        File::options().write(true).open(&log)?.set_len(at)?;
        hide_ends(&self.node.data())?;
        let (log, at, mut batch) = last_batch(&self.node.data().join(twice))?;
        segment::renumber(&mut batch)?;
        File::options().write(true).open(&log)?.write_all_at(&batch, at + batch.len() as u64)?;
        let server = self.node.start(self.kind).context("start on the spoiled logs")?;
        let answer = load.ask("verify")?;
        let is_noticed = answer.starts_with("broken") && answer.contains(lost) && answer.contains(twice);
        report.check(
            "kill rounds, a lost and a doubled batch are noticed",
            (!is_noticed).then(|| format!("     {answer}")),
        );
        server.stop()
    }
}

/// Takes away by what the server itself would notice that a log lost its end: this is about the checks.
pub(crate) fn hide_ends(data: &Path) -> anyhow::Result<()> {
    for name in [".kafka_cleanshutdown", "recovery-point-offset-checkpoint"] {
        match std::fs::remove_file(data.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// The last batch of a partition: its segment, where it begins there, and its bytes.
pub(crate) fn last_batch(partition: &Path) -> anyhow::Result<(PathBuf, u64, Vec<u8>)> {
    let log = segment::logs(partition)?.pop().context("a log with records")?;
    let content = std::fs::read(&log)?;
    let (at, batch) = segment::batches(&content).pop().context("a whole batch")?;
    Ok((log, at, batch.to_vec()))
}
