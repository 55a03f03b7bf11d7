//! The command line.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::random::Random;
use crate::server::Kind;

const USAGE: &str = "usage: milena-conformance run|kill|swap|kill-calls|fail-syncs|corrupt|full-disk|restart|abuse|bench-groups|bench-transactions|bench-cluster|bench-upkeep|chaos-groups|lab|lab-bank|lab-gaps [flags]
  --milena PATH        the milena binary (default: target/release/milena)
  --servers A,B        the servers compared, of kafka and milena (default kafka,milena; kafka,kafka checks the scripts themselves)
  --parts NAMES        of scripts, separate, tools, transactions, clients, members, metrics, disks, failover, swap, mixed,
                        cluster, damage, elections (default all of these), programs, tour, fourth, no-controller, quorum; task swap: rounds, rolling
  --only PREFIX        only the cases whose name starts with it (scripts: a list of such)
  --without NAMES      all default parts but these
  --gigabytes N        send N GB of the machine's own files through the clients
  --rounds N           kill rounds (default 200); rounds of swap (default 20); kills of a quorum's active controller (default 3), of
                       programs (default 2); rounds of bench-groups that count (default 5)
  --cycles N           full-disk: cycles (default 50)
  --versions A,B       swap: releases of Apache Kafka, in turn (default 4.3.1)
  --power-cut          kill rounds lose what was not synced, too
  --seed N             the random choices of a run that printed this seed
  --members N          bench-groups: members of the large group (default 1000); chaos-groups: of each group (default 20)
  --partitions N       bench-groups: partitions of the large group (default 1000)
  --partitions N       chaos-groups: of the topic (default 60)
  --minutes N          chaos-groups: how long (default 10)
  --server NAME        chaos-groups, lab: milena or kafka; lab: mixed
  --runs N             lab: runs of --seconds each (default 12 of 300); lab-bank: the same (default 10 of 300); lab-gaps: kills and stops (default 20)
  --brokers N          chaos-groups: 3 brokers, which are killed, too (default 1)
  --partitions N       restart: partitions (default 2000); --gigabytes N: data in all of them (default 10)
  --settle N           restart: seconds between the last acknowledgement and the kill (default 0)
  --seconds N          restart: fails if a partition is served later (default 3); bench-groups: of a load of commits
  --ids N              abuse: how many producer ids or transactional ids (default 1000000, 100000)
  --cold               restart: empties the page cache between kill and start
  --beside             restart: then kills it and starts the other server on the same directory, which must take five times as long
  --set KEY=VALUE      kill, restart, cluster, quorum: a setting of the server, over that of the task
  --keep               leave the folders of the servers";

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Scripts, tools, clients, members of groups, disks, mixed, cluster, quorum.
    Run,
    /// Kill rounds.
    Kill,
    /// Damaged files.
    Corrupt,
    /// Syncs that fail.
    FailSyncs,
    /// Kills at system calls.
    KillCalls,
    /// Full disks.
    FullDisk,
    /// Apache Kafka and Milena in turn on the same directory.
    Swap,
    /// Hostile peers.
    Abuse,
    /// Kill with much data, start, measure.
    Restart,
    /// What groups cost.
    BenchGroups,
    /// Transactions, beside the other server.
    BenchTransactions,
    /// Three replicas, beside three nodes of the other server.
    BenchCluster,
    /// Retention and compaction beside a load.
    BenchUpkeep,
    /// Members of groups that come, go, and are killed.
    ChaosGroups,
    /// Clusters in networks of their own, under faults.
    Lab,
    /// Transfers in transactions, under faults.
    LabBank,
    /// How long nothing is acknowledged when a leader goes.
    LabGaps,
}

/// The parsed command line.
#[derive(Debug)]
pub(crate) struct Flags {
    pub(crate) task: Task,
    pub(crate) milena: Option<PathBuf>,
    /// Reference first, candidate second.
    pub(crate) servers: (Kind, Kind),
    pub(crate) only: String,
    pub(crate) gigabytes: f64,
    pub(crate) rounds: Option<u32>,
    pub(crate) power_cut: bool,
    pub(crate) seed: u64,
    pub(crate) keep: bool,
    pub(crate) partitions: u32,
    pub(crate) members: u32,
    pub(crate) brokers: u32,
    pub(crate) is_mixed: bool,
    pub(crate) settle: u64,
    pub(crate) ids: Option<usize>,
    pub(crate) seconds: f64,
    pub(crate) cold: bool,
    /// The other server restarts on the same directory.
    pub(crate) beside: bool,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) versions: Vec<String>,
    parts: Vec<String>,
    without: Vec<String>,
}

impl Flags {
    pub(crate) fn parse(args: &[String]) -> anyhow::Result<Self> {
        let mut words = args.iter();
        let task = match words.next().map(String::as_str) {
            Some("run") => Task::Run,
            Some("kill") => Task::Kill,
            Some("corrupt") => Task::Corrupt,
            Some("fail-syncs") => Task::FailSyncs,
            Some("kill-calls") => Task::KillCalls,
            Some("full-disk") => Task::FullDisk,
            Some("swap") => Task::Swap,
            Some("abuse") => Task::Abuse,
            Some("restart") => Task::Restart,
            Some("bench-groups") => Task::BenchGroups,
            Some("bench-transactions") => Task::BenchTransactions,
            Some("bench-cluster") => Task::BenchCluster,
            Some("bench-upkeep") => Task::BenchUpkeep,
            Some("chaos-groups") => Task::ChaosGroups,
            Some("lab") => Task::Lab,
            Some("lab-bank") => Task::LabBank,
            Some("lab-gaps") => Task::LabGaps,
            _ => bail!("{USAGE}"),
        };
        let mut flags = Self {
            task,
            milena: None,
            servers: (Kind::Kafka, Kind::Milena),
            only: String::new(),
            gigabytes: if task == Task::Restart { 10.0 } else { 0.0 },
            rounds: None,
            power_cut: false,
            seed: Random::fresh_seed(),
            keep: false,
            partitions: match task {
                Task::BenchGroups => 1000,
                Task::ChaosGroups => 60,
                _ => 2000,
            },
            members: if task == Task::ChaosGroups { 20 } else { 1000 },
            brokers: 1,
            is_mixed: false,
            settle: 0,
            ids: None,
            seconds: match task {
                Task::ChaosGroups => 600.0,
                Task::Lab | Task::LabBank => 300.0,
                _ => 3.0,
            },
            cold: false,
            beside: false,
            settings: Vec::new(),
            versions: Vec::new(),
            parts: Vec::new(),
            without: Vec::new(),
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--cold" => flags.cold = true,
                "--beside" => flags.beside = true,
                "--power-cut" => flags.power_cut = true,
                "--keep" => flags.keep = true,
                other => {
                    let value = words.next().with_context(|| format!("{other} wants a value\n{USAGE}"))?;
                    flags.set(other, value)?;
                }
            }
        }
        Ok(flags)
    }

    fn set(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        match name {
            "--milena" => self.milena = Some(PathBuf::from(value)),
            "--servers" if !value.contains(',') => self.set("--server", value)?,
            "--servers" => {
                let (first, second) = value.split_once(',').context("--servers wants two names")?;
                self.servers = (Kind::parse(first)?, Kind::parse(second)?);
            }
            "--parts" => self.parts = value.split(',').map(str::to_owned).collect(),
            "--without" => self.without = value.split(',').map(str::to_owned).collect(),
            "--versions" => self.versions = value.split(',').map(str::to_owned).collect(),
            "--only" => value.clone_into(&mut self.only),
            "--gigabytes" => self.gigabytes = value.parse().context("--gigabytes wants a number")?,
            "--rounds" | "--runs" | "--cycles" => self.rounds = Some(value.parse().context("--rounds wants a number")?),
            "--partitions" => self.partitions = value.parse().context("--partitions wants a number")?,
            "--members" => self.members = value.parse().context("--members wants a number")?,
            "--ids" => self.ids = Some(value.parse().context("--ids wants a number")?),
            "--settle" => self.settle = value.parse().context("--settle wants a number")?,
            "--seconds" => self.seconds = value.parse().context("--seconds wants a number")?,
            "--minutes" => self.seconds = 60.0 * value.parse::<f64>().context("--minutes wants a number")?,
            "--brokers" => self.brokers = value.parse().context("--brokers wants a number")?,
            "--server" if value == "mixed" => self.is_mixed = true,
            "--server" => self.servers.1 = Kind::parse(value)?,
            "--set" => {
                let (key, value) = value.split_once('=').context("--set wants KEY=VALUE")?;
                self.settings.push((key.to_owned(), value.to_owned()));
            }
            "--seed" => self.seed = value.parse().context("--seed wants a number")?,
            other => bail!("unknown flag {other}\n{USAGE}"),
        }
        Ok(())
    }

    /// True if this part was asked for; or none was, it is one of those run by default, and it was not left out.
    pub(crate) fn wants(&self, part: &str, is_default: bool) -> bool {
        let is_named = |names: &[String]| names.iter().any(|name| name == part);
        if self.parts.is_empty() { is_default && !is_named(&self.without) } else { is_named(&self.parts) }
    }

    /// True if a case's name was asked for.
    pub(crate) fn selects(&self, case: &str) -> bool {
        case.starts_with(&self.only)
    }
}
