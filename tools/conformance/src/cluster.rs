//! Three brokers under one controller, three replicas, at least two of them in sync: idempotent producers write without pause
//! while brokers are killed (SIGKILL) and started again. What was acknowledged must be there once and in order, whoever
//! leads; at the end the logs of all replicas are the same bytes. The load and its checks are those of the kill rounds.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::flags::Flags;
use crate::kill::{hide_ends, last_batch};
use crate::load::Load;
use crate::random::Random;
use crate::report::Report;
use crate::server::{self, CLUSTER_ID, Kind, Server};
use crate::{kafka, layout, namespaces, ports, process, segment};

/// Kills in one run.
const ROUNDS: u32 = 4;
/// How long the replicas of a broker that came back may take to be in sync.
const IN_SYNC_LIMIT: Duration = Duration::from_secs(180);
const TOOL_LIMIT: Duration = Duration::from_secs(180);
const TOPICS: [&str; 3] = ["kill-none", "kill-lz4", "kill-zstd"];
const PARTITIONS: u32 = 2;

/// One node of the cluster; the first is a controller as well, or all are.
pub(crate) struct Member {
    pub(crate) id: u32,
    pub(crate) kind: Kind,
    /// Where it listens.
    pub(crate) host: String,
    /// The network namespace in which it runs, if not ours.
    namespace: Option<String>,
    /// The broker's; the controller's is the next one.
    pub(crate) port: u16,
    folder: PathBuf,
    pub(crate) server: Option<Server>,
}

/// Who is a controller.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controllers {
    First,
    All,
}

/// The clusters: of Milena alone, and with a broker of Apache Kafka under Milena's controller.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    use Kind::{Kafka, Milena};
    for (name, kinds) in [
        ("cluster: three of Milena", [Milena, Milena, Milena]),
        ("cluster: Apache Kafka's broker between two of Milena", [Milena, Milena, Kafka]),
    ] {
        if !flags.selects(name) {
            continue;
        }
        let missing = kinds.iter().find_map(|kind| server::missing(*kind, flags)).or_else(server::missing_java);
        match missing {
            Some(reason) => report.skip(name, &reason),
            None => {
                println!("{name}: seed {}", flags.seed);
                let cluster = Cluster::new("cluster", kinds, Controllers::First, flags);
                report.outcome(name, cluster.and_then(|cluster| cluster.test(flags)));
            }
        }
    }
    Ok(())
}

/// Three nodes, each a process.
pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    controllers: Controllers,
    milena: PathBuf,
    /// Apache Kafka runs as its own scripts run it, not as it starts and ends soonest.
    is_benchmark: bool,
    pub(crate) folder: PathBuf,
    pub(crate) random: Random,
}

impl Cluster {
    pub(crate) fn new(name: &str, kinds: [Kind; 3], controllers: Controllers, flags: &Flags) -> anyhow::Result<Self> {
        Self::with(name, kinds, controllers, flags, &[])
    }

    /// The same with settings of its own.
    pub(crate) fn with(
        name: &str,
        kinds: [Kind; 3],
        controllers: Controllers,
        flags: &Flags,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let place = || Ok(("127.0.0.1".to_owned(), None, ports::free_pair()?));
        let places: Vec<_> = kinds.iter().map(|_| place()).collect::<anyhow::Result<_>>()?;
        Self::at(places, (name, kinds), controllers, flags, settings)
    }

    /// The same at addresses in network namespaces of their own.
    pub(crate) fn at(
        places: Vec<(String, Option<String>, u16)>,
        (name, kinds): (&str, [Kind; 3]),
        controllers: Controllers,
        flags: &Flags,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let folder = layout::scratch(name)?;
        let milena = flags.milena.clone().unwrap_or_else(layout::milena);
        let mut members = Vec::new();
        for ((id, kind), (host, namespace, port)) in (1..).zip(kinds).zip(places) {
            let member = Member { id, kind, host, namespace, port, folder: folder.join(id.to_string()), server: None };
            std::fs::create_dir_all(&member.folder)?;
            members.push(member);
        }
        let random = Random::new(flags.seed);
        let cluster = Self { members, controllers, milena, is_benchmark: false, folder, random };
        for member in &cluster.members {
            let voters = match controllers {
                Controllers::First if member.id == 1 => vec!["--standalone".to_owned()],
                Controllers::First => Vec::new(),
                Controllers::All => vec!["--initial-controllers".to_owned(), cluster.voters()],
            };
            cluster.format(member, &voters, flags, settings)?;
        }
        Ok(cluster)
    }

    /// One node more, formatted and not started: it knows where the controllers are and is none of them yet.
    pub(crate) fn add(&mut self, kind: Kind, flags: &Flags, settings: &[(&str, &str)]) -> anyhow::Result<usize> {
        let at = self.members.len();
        let id = u32::try_from(at)? + 1;
        let folder = self.folder.join(id.to_string());
        std::fs::create_dir_all(&folder)?;
        let (host, port) = ("127.0.0.1".to_owned(), ports::free_pair()?);
        let member = Member { id, kind, host, namespace: None, port, folder, server: None };
        let voters = match self.controllers {
            Controllers::First => Vec::new(),
            Controllers::All => vec!["--no-initial-controllers".to_owned()],
        };
        self.format(&member, &voters, flags, settings)?;
        self.members.push(member);
        Ok(at)
    }

    /// Writes what a node is configured with, and formats its log dir.
    fn format(
        &self,
        member: &Member,
        voters: &[String],
        flags: &Flags,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let mut properties = self.properties(member);
        let asked = flags.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        for (key, value) in settings.iter().copied().chain(asked) {
            let _ = writeln!(properties, "{key}={value}");
        }
        std::fs::write(member.config(), properties)?;
        let mut command = match member.kind {
            Kind::Kafka => process::java("kafka.tools.StorageTool"),
            Kind::Milena => Command::new(&self.milena),
        };
        command.args(["format", "-t", CLUSTER_ID, "-c"]).arg(member.config()).args(voters);
        process::succeed(&mut command, &member.folder.join("format"), TOOL_LIMIT).context("format").map(|_| ())
    }

    /// The same for a benchmark.
    pub(crate) fn for_benchmark(self) -> Self {
        Self { is_benchmark: true, ..self }
    }

    /// `--initial-controllers`.
    fn voters(&self) -> String {
        let voter =
            |member: &Member| format!("{}@{}:{}:{}", member.id, member.host, member.port + 1, member.directory());
        self.members.iter().map(voter).collect::<Vec<_>>().join(",")
    }

    /// Where controllers are asked.
    pub(crate) fn controllers(&self) -> String {
        let is_controller = |member: &&Member| member.id == 1 || self.controllers == Controllers::All;
        let address = |member: &Member| format!("{}:{}", member.host, member.port + 1);
        self.members.iter().filter(is_controller).map(address).collect::<Vec<_>>().join(",")
    }

    fn properties(&self, member: &Member) -> String {
        let mut listeners = format!("PLAINTEXT://{}:{}", member.host, member.port);
        let mut roles = "broker";
        if member.id == 1 || self.controllers == Controllers::All {
            let _ = write!(listeners, ",CONTROLLER://{}:{}", member.host, member.port + 1);
            roles = "broker,controller";
        }
        let mut text = format!("process.roles={roles}\nnode.id={}\nlisteners={listeners}\n", member.id);
        let _ = writeln!(text, "controller.quorum.bootstrap.servers={}", self.controllers());
        if self.controllers == Controllers::All {
            // Snapshots are there to be read and fetched.
            text.push_str("metadata.log.max.record.bytes.between.snapshots=4000\n");
        }
        let _ = writeln!(text, "controller.listener.names=CONTROLLER\nlog.dirs={}", member.data().display());
        // Silent brokers are fenced soon, and segments roll under the load.
        text.push_str("broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n");
        text.push_str("min.insync.replicas=2\nlog.segment.bytes=1048576\nlog.retention.ms=-1\n");
        text
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.members.iter().map(|member| format!("{}:{}", member.host, member.port)).collect::<Vec<_>>().join(",")
    }

    /// Starts a node and waits until it answers.
    pub(crate) fn start(&mut self, at: usize) -> anyhow::Result<()> {
        self.begin(at)?;
        self.await_answers(at)
    }

    /// Waits until a node that began answers.
    pub(crate) fn await_answers(&mut self, at: usize) -> anyhow::Result<()> {
        self.members.get_mut(at).and_then(|member| member.server.as_mut()).context("a member")?.await_answers()
    }

    /// The nodes that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Server> {
        self.members.iter().filter_map(|member| member.server.as_ref())
    }

    /// Starts a node.
    pub(crate) fn begin(&mut self, at: usize) -> anyhow::Result<()> {
        let member = self.members.get_mut(at).context("a member")?;
        let mut command = match member.kind {
            Kind::Kafka if self.is_benchmark => kafka::for_benchmark(),
            Kind::Kafka => kafka::short_lived(layout::RELEASE),
            Kind::Milena => {
                let mut command = Command::new(&self.milena);
                command.arg("start");
                command
            }
        };
        command.arg(member.config());
        if let Some(namespace) = &member.namespace {
            command = namespaces::within(namespace, &command);
        }
        let server = Server::begin(command, member.folder.join("log"), (&member.host, member.port));
        member.server = Some(server.with_context(|| format!("start node {}", member.id))?);
        Ok(())
    }

    pub(crate) fn take(&mut self, at: usize) -> anyhow::Result<Server> {
        self.members.get_mut(at).and_then(|member| member.server.take()).context("a running member")
    }

    fn test(mut self, flags: &Flags) -> anyhow::Result<()> {
        for at in 0..self.members.len() {
            self.start(at)?;
        }
        let mut load = Load::start(&self.bootstrap(), 3, 0, &self.folder.join("load.err"))?;
        for round in 1..=ROUNDS {
            self.round(round, &mut load).with_context(|| format!("round {round}"))?;
        }
        verified(&load.ask("everything")?)?;
        ensure!(load.ask("pause")? == "paused", "the load does not come to an end");
        verified(&load.ask("verify")?)?;
        self.stop()?;
        self.same_logs()?;
        self.plant(&mut load)?;
        if !flags.keep {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
        Ok(())
    }

    /// Kills one, goes on without it, and takes it back.
    fn round(&mut self, round: u32, load: &mut Load) -> anyhow::Result<()> {
        ensure!(load.ask("flowing")? == "flowing", "nothing is acknowledged");
        std::thread::sleep(Duration::from_millis(500 + self.random.below(1500)));
        // Every third kill takes the controller, whose partitions cannot be led by others until it is back.
        let at = if round.is_multiple_of(3) { 0 } else { 1 + usize::try_from(self.random.below(2)).unwrap_or(0) };
        let flight = load.flight()?;
        self.take(at)?.kill()?;
        let killed = Instant::now();
        let mut told = String::new();
        if at > 0 {
            told = format!(", without it {}", verified(&load.ask("verify")?)?);
            ensure!(load.ask("flowing")? == "flowing", "nothing is acknowledged without one of three");
        }
        let gap = killed.elapsed().as_millis();
        self.start(at)?;
        let answer = verified(&load.ask("verify")?)?;
        let in_sync = self.await_in_sync()?.as_millis();
        let node = at + 1;
        println!(
            "     round {round}: node {node} killed with {flight} requests on their way{told} after {gap} ms; back: {answer}, in sync \
             after {in_sync} ms"
        );
        Ok(())
    }

    pub(crate) fn await_in_sync(&self) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        loop {
            let text = self.topics("--describe --under-replicated-partitions")?;
            if text.trim().is_empty() {
                return Ok(begin.elapsed());
            }
            if begin.elapsed() > IN_SYNC_LIMIT {
                bail!("not all replicas are in sync: {text}");
            }
        }
    }

    pub(crate) fn topics(&self, args: &str) -> anyhow::Result<String> {
        self.tool("org.apache.kafka.tools.TopicCommand", &format!("--bootstrap-server {} {args}", self.bootstrap()))
    }

    /// What a tool of Apache Kafka prints.
    pub(crate) fn tool(&self, class: &str, args: &str) -> anyhow::Result<String> {
        let mut command = process::java(class);
        command.args(args.split(' '));
        process::succeed(&mut command, &self.folder.join("tool"), TOOL_LIMIT).with_context(|| format!("{class} {args}"))
    }

    /// The brokers first: the controller lets them go.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        (0..self.members.len()).rev().try_for_each(|at| self.take(at)?.stop())
    }

    /// All replicas of the load's topics are the same bytes.
    pub(crate) fn same_logs(&self) -> anyhow::Result<()> {
        TOPICS.into_iter().try_for_each(|topic| self.same_logs_of(topic, PARTITIONS, |_| true))
    }

    /// The replicas of a topic on these nodes are the same bytes.
    pub(crate) fn same_logs_of(
        &self,
        topic: &str,
        partitions: u32,
        has: impl Fn(&Member) -> bool,
    ) -> anyhow::Result<()> {
        let mut bytes = 0;
        for partition in (0..partitions).map(|index| format!("{topic}-{index}")) {
            let members = self.members.iter().filter(|member| has(member));
            let logs: Vec<Vec<u8>> =
                members.map(|member| content(&member.data().join(&partition))).collect::<Result<_, _>>()?;
            bytes += logs.first().map_or(0, Vec::len);
            let sizes: Vec<usize> = logs.iter().map(Vec::len).collect();
            ensure!(logs.windows(2).all(|pair| pair.first() == pair.last()), "{partition} differs: sizes {sizes:?}");
        }
        ensure!(bytes > 0, "there are no records");
        println!("     the logs of the replicas of {topic} are the same {bytes} bytes");
        Ok(())
    }

    /// Takes an acknowledged batch from all replicas, and wants that to be noticed.
    fn plant(&mut self, load: &mut Load) -> anyhow::Result<()> {
        let lost = "kill-none-0";
        for member in &self.members {
            let (log, at, _) = last_batch(&member.data().join(lost))?;
            std::fs::File::options().write(true).open(&log)?.set_len(at)?;
            hide_ends(&member.data())?;
        }
        for at in 0..self.members.len() {
            self.start(at)?;
        }
        let answer = load.ask("verify")?;
        ensure!(answer.starts_with("broken") && answer.contains(lost), "a lost batch is not noticed: {answer}");
        self.stop()
    }
}

impl Member {
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The id of its log directory where all vote: 22 letters that stand for 16 bytes.
    pub(crate) fn directory(&self) -> String {
        format!("{}AA", char::from_digit(self.id, 10).unwrap_or('0').to_string().repeat(20))
    }
}

/// All segments of a partition behind each other.
pub(crate) fn content(partition: &Path) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    for log in segment::logs(partition)? {
        content.extend(std::fs::read(log)?);
    }
    Ok(content)
}

/// A good answer, or an error.
pub(crate) fn verified(answer: &str) -> anyhow::Result<String> {
    ensure!(answer.starts_with("verified"), "{answer}");
    Ok(answer.to_owned())
}
