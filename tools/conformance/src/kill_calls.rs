//! Kills at the nth system call that changes a file: under a load of produces, rolls, retention, compaction, checkpoints, metadata
//! snapshots and topics that come and go, the node is killed before a call that is drawn; every third time while it starts. After
//! the next start everything that was acknowledged must be there: records, topics, deletions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use milena_protocol::messages::MetadataRequest;

use crate::flags::Flags;
use crate::full_disk::{delete_records, delete_topic};
use crate::injector::{Injector, LONG_SESSION, What};
use crate::ledger::{Kept, Ledger};
use crate::random::Random;
use crate::report::Report;
use crate::server::{self, Kind, Node, Server};
use crate::wire::Wire;

const SETTINGS: [(&str, &str); 12] = [
    ("log.segment.bytes", "1048576"),
    ("log.roll.ms", "150"),
    ("log.index.interval.bytes", "1024"),
    ("log.retention.check.interval.ms", "200"),
    ("log.initial.task.delay.ms", "100"),
    ("log.segment.delete.delay.ms", "300"),
    ("log.flush.offset.checkpoint.interval.ms", "300"),
    ("log.flush.start.offset.checkpoint.interval.ms", "300"),
    ("replica.high.watermark.checkpoint.interval.ms", "300"),
    ("log.cleaner.backoff.ms", "100"),
    LONG_SESSION,
    ("metadata.log.max.record.bytes.between.snapshots", "1500"),
];
/// The most calls between the load's start and the kill, and between the node's start and the kill.
const CALLS_MAX: u64 = 600;
const START_CALLS_MAX: u64 = 60;
/// How often what is never retained is deleted, in rounds.
const DELETE_EVERY: u32 = 8;

/// The task.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    if let Some(reason) = server::missing(Kind::Milena, flags).or_else(Injector::missing) {
        report.skip("kills at system calls", &reason);
        return Ok(());
    }
    println!("seed {}", flags.seed);
    let mut node = Node::with("kill-calls", flags, &SETTINGS)?;
    node.injector = Some(Injector::new(&node.folder, node.data())?);
    let failed = report.failed();
    let mut run = Run {
        node: &node,
        random: Random::new(flags.seed),
        ledger: Ledger::default(),
        deleted: BTreeSet::new(),
        churned: 0,
        created: None,
        at: BTreeMap::new(),
    };
    let outcome = run.rounds(flags.rounds.unwrap_or(500), report);
    if outcome.is_ok() && report.failed() == failed {
        node.remove(flags);
    }
    outcome.with_context(|| format!("seed {}", flags.seed))
}

struct Run<'a> {
    node: &'a Node,
    random: Random,
    ledger: Ledger,
    /// Topics whose deletion was acknowledged.
    deleted: BTreeSet<String>,
    churned: u32,
    /// The last topic whose creation was acknowledged.
    created: Option<String>,
    /// How many kills came before which call.
    at: BTreeMap<&'static str, u32>,
}

impl Run<'_> {
    fn injector(&self) -> anyhow::Result<&Injector> {
        self.node.injector.as_ref().context("an injector")
    }

    fn rounds(&mut self, rounds: u32, report: &mut Report) -> anyhow::Result<()> {
        let mut server = self.node.format_and_start(Kind::Milena)?;
        let mut wire = Wire::connect(self.node.port)?;
        let compact = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.01")];
        wire.create_topic("plain", 2, &[])?;
        wire.create_topic("sized", 1, &[("retention.bytes", "131072")])?;
        wire.create_topic("compacted", 1, &compact)?;
        for (name, partitions, kept) in
            [("plain", 2, Kept::All), ("sized", 1, Kept::Tail), ("compacted", 1, Kept::Keys)]
        {
            self.ledger.add_topic(name, partitions, kept);
        }
        for round in 1..=rounds {
            let call = self.kill(&mut server)?;
            let begin = Instant::now();
            server = self.start_again(round)?;
            let started = begin.elapsed().as_millis();
            let outcome = self.check(round);
            let is_lost = outcome.is_err();
            let (told, failure) = match outcome {
                Ok(records) => (format!(", {records} records as they were acknowledged"), None),
                Err(error) => (String::new(), Some(format!("     {error:#}\n     {}", server.last_words()))),
            };
            report.check(&format!("kill {round} before a {call}: started after {started} ms{told}"), failure);
            if is_lost {
                break;
            }
        }
        println!("{} records acknowledged; killed before {:?}", self.ledger.acknowledged, self.at);
        server.stop()
    }

    /// Loads until the kill.
    fn kill(&mut self, server: &mut Server) -> anyhow::Result<&'static str> {
        let after = self.random.below(CALLS_MAX);
        self.injector()?.arm(What::Kill, after)?;
        let mut steps = 0;
        // What is on its way when the node dies is an error here and open in the ledger.
        let error = loop {
            if let Err(error) = self.step(steps) {
                break error;
            }
            steps += 1;
            ensure!(steps < 20_000, "the node was never killed");
        };
        let end = Instant::now() + Duration::from_secs(10);
        while server.is_alive() {
            let last_words = || server.last_words();
            ensure!(Instant::now() < end, "a step failed and the node lives: {error:#}\n{}", last_words());
            std::thread::sleep(Duration::from_millis(5));
        }
        let call = self.injector()?.happened()?.with_context(|| format!("the node ended: {}", server.last_words()))?;
        *self.at.entry(call).or_default() += 1;
        Ok(call)
    }

    fn step(&mut self, step: u32) -> anyhow::Result<()> {
        let mut wire = Wire::connect(self.node.port)?;
        let partitions = [("plain", 0), ("plain", 1), ("sized", 0), ("compacted", 0)];
        for _ in 0..4 {
            let size = (1 + self.random.below(20), 10 + usize::try_from(self.random.below(1500))?);
            let codes = self.ledger.produce(&mut wire, &partitions, size)?;
            ensure!(codes.iter().all(|code| *code == 0), "refused with {codes:?}");
        }
        if !step.is_multiple_of(3) {
            return Ok(());
        }
        self.churned += 1;
        let name = format!("churn-{}", self.churned);
        wire.create_topic(&name, 1, &[])?;
        self.ledger.add_topic(&name, 1, Kept::All);
        // Only what was acknowledged is deleted: a kill may come before a topic is there.
        let before = self.created.replace(name.clone());
        self.ledger.produce(&mut wire, &[(&name, 0)], (3, 100))?;
        if let Some(before) = before {
            self.ledger.remove_topic(&before);
            delete_topic(&mut wire, &before)?;
            self.deleted.insert(before);
        }
        Ok(())
    }

    /// Starts the node, every third time with a kill on the way.
    fn start_again(&mut self, round: u32) -> anyhow::Result<Server> {
        if round.is_multiple_of(3) {
            let after = self.random.below(START_CALLS_MAX);
            self.injector()?.arm(What::Kill, after)?;
            match self.node.start(Kind::Milena) {
                // It needed fewer calls.
                Ok(server) => {
                    self.injector()?.disarm()?;
                    return Ok(server);
                }
                Err(error) => {
                    let call = self.injector()?.happened()?.with_context(|| format!("start: {error:#}"))?;
                    *self.at.entry(call).or_default() += 1;
                }
            }
        }
        self.injector()?.disarm()?;
        self.node.start(Kind::Milena).context("start after a kill")
    }

    fn check(&mut self, round: u32) -> anyhow::Result<u64> {
        let records = self.ledger.check_all(self.node.port)?;
        let mut wire = Wire::connect(self.node.port)?;
        let metadata = wire.call(12, &MetadataRequest { topics: None, ..Default::default() })?;
        for topic in metadata.topics.iter().filter_map(|topic| topic.name.as_deref()) {
            if self.deleted.contains(topic) {
                bail!("{topic} was deleted and is there");
            }
        }
        if round.is_multiple_of(DELETE_EVERY) {
            for partition in 0..2 {
                let offset = self.ledger.end("plain", partition);
                self.ledger.deleted_to("plain", partition, offset);
                delete_records(&mut wire, "plain", partition, offset)?;
            }
        }
        Ok(records)
    }
}
