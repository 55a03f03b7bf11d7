//! A server under test: Milena or Apache Kafka with the same configuration, as one process that is broker and controller or as two.

use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::flags::Flags;
use crate::injector::{self, Injector};
use crate::power::PowerCut;
pub(crate) use crate::presence::{Kind, missing, missing_java};
use crate::{cpu, kafka, layout, ports, process, text};

pub(crate) const CLUSTER_ID: &str = "AAAAAAAAAAAAAAAAAAAAAQ";
/// A clean end syncs the file systems, and waits there for what others have written to them.
const STOP_LIMIT: Duration = Duration::from_secs(120);
/// Apache Kafka scans what was not synced, which may be much. Waits are counted, not time: a machine may stand still.
const START_LIMIT: Duration = Duration::from_secs(240);

/// What one process is (`process.roles`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Both,
    Controller,
    Broker,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Both => "broker,controller",
            Self::Controller => "controller",
            Self::Broker => "broker",
        }
    }

    /// The scripts know the broker as 1.
    fn node_id(self) -> u32 {
        if self == Self::Controller { 1001 } else { 1 }
    }
}

/// A cluster's folder and configuration; it outlives the processes that run on it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    /// Notes what the server syncs, if it is to lose the rest.
    pub(crate) power: Option<PowerCut>,
    /// Where Apache Kafka serves JMX, if it is to.
    pub(crate) jmx_port: Option<u16>,
    /// Kills the server, or fails its syncs, at a system call.
    pub(crate) injector: Option<Injector>,
    milena: PathBuf,
    /// Its processes, in the order in which they start.
    roles: &'static [Role],
    /// Apache Kafka runs as its own scripts run it, not as it starts and ends soonest.
    is_benchmark: bool,
    /// The release of Apache Kafka, where that is what runs.
    release: String,
    /// Settings of Apache Kafka alone.
    kafka_settings: Vec<String>,
}

impl Node {
    /// A new node with an empty log dir: one process is broker and controller.
    pub(crate) fn new(name: &str, flags: &Flags) -> anyhow::Result<Self> {
        Self::with(name, flags, &[])
    }

    /// The same with settings of its own; those of the command line have the last word.
    pub(crate) fn with(name: &str, flags: &Flags, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::of(&[Role::Both], name, flags)?.with_settings(flags, settings)
    }

    fn with_settings(self, flags: &Flags, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let asked = flags.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let mut own: Vec<(&str, &str)> = settings.to_vec();
        own.retain(|(key, _)| asked.clone().all(|(other, _)| other != *key));
        for role in self.roles {
            let mut properties = self.properties(*role);
            for (key, value) in own.iter().copied().chain(asked.clone()) {
                let _ = writeln!(properties, "{key}={value}");
            }
            std::fs::write(self.config(*role), properties)?;
        }
        Ok(self)
    }

    /// The same for a benchmark.
    pub(crate) fn for_benchmark(name: &str, flags: &Flags, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        Ok(Self { is_benchmark: true, ..Self::with(name, flags, settings)? })
    }

    /// A controller and a broker, each a process with a log dir of its own, and settings of their own.
    pub(crate) fn separate_with(name: &str, flags: &Flags, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::separate(name, flags)?.with_settings(flags, settings)
    }

    /// The same without.
    pub(crate) fn separate(name: &str, flags: &Flags) -> anyhow::Result<Self> {
        Self::of(&[Role::Controller, Role::Broker], name, flags)
    }

    /// The same as two nodes, each with a server of its own kind, and an end of its own.
    pub(crate) fn pair(name: &str, flags: &Flags) -> anyhow::Result<(Self, Self)> {
        let broker = Self::of(&[Role::Broker], name, flags)?;
        let folder = broker.folder.clone();
        let (port, milena) = (broker.port, broker.milena.clone());
        let controller = Self { folder, port, milena, ..Self::bare(&[Role::Controller]) };
        std::fs::write(controller.config(Role::Controller), controller.properties(Role::Controller))?;
        Ok((controller, broker))
    }

    /// The same with another release of Apache Kafka, and settings that only Apache Kafka gets.
    pub(crate) fn with_release(mut self, release: &str, settings: &[&str]) -> Self {
        release.clone_into(&mut self.release);
        self.kafka_settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        self
    }

    fn bare(roles: &'static [Role]) -> Self {
        Self {
            folder: PathBuf::new(),
            port: 0,
            power: None,
            injector: None,
            jmx_port: None,
            milena: PathBuf::new(),
            roles,
            is_benchmark: false,
            release: layout::RELEASE.to_owned(),
            kafka_settings: Vec::new(),
        }
    }

    fn of(roles: &'static [Role], name: &str, flags: &Flags) -> anyhow::Result<Self> {
        let folder = layout::scratch(name)?;
        let milena = flags.milena.clone().unwrap_or_else(layout::milena);
        let node = Self { folder, port: ports::free_pair()?, milena, ..Self::bare(roles) };
        for role in roles {
            std::fs::write(node.config(*role), node.properties(*role))?;
        }
        Ok(node)
    }

    /// Where clients connect.
    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The log dir.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A path for the output of a program that works on this node.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn config(&self, role: Role) -> PathBuf {
        self.folder.join(format!("{}.properties", role.name()))
    }

    fn log(&self, role: Role) -> PathBuf {
        self.folder.join(format!("{}.log", role.name()))
    }

    fn port_of(&self, role: Role) -> u16 {
        if role == Role::Controller { self.port + 1 } else { self.port }
    }

    fn properties(&self, role: Role) -> String {
        let (port, controller) = (self.port, self.port + 1);
        let data = if role == Role::Controller { self.at("controller-data") } else { self.data() };
        let broker_listener = format!("PLAINTEXT://127.0.0.1:{port}");
        let controller_listener = format!("CONTROLLER://127.0.0.1:{controller}");
        let listeners = match role {
            Role::Both => format!("{broker_listener},{controller_listener}"),
            Role::Controller => controller_listener,
            Role::Broker => broker_listener,
        };
        let mut text = format!("process.roles={}\nnode.id={}\n", role.name(), role.node_id());
        let _ = writeln!(text, "controller.quorum.bootstrap.servers=127.0.0.1:{controller}");
        let _ = writeln!(text, "listeners={listeners}\nadvertised.listeners={listeners}");
        let _ = writeln!(text, "controller.listener.names=CONTROLLER\nlog.dirs={}", data.display());
        text.push_str("offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n");
        text.push_str("transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n");
        text.push_str("share.coordinator.state.topic.min.isr=1\nlog.segment.delete.delay.ms=1000\n");
        // Records carry fixed times of long ago, which the default retention removes 30 s after a server's start.
        text.push_str("log.retention.ms=-1\n");
        // Groups are many, and each waits once for more members.
        text.push_str("group.initial.rebalance.delay.ms=1000\n");
        // Small enough that every run writes snapshots of the metadata.
        text.push_str("metadata.log.max.record.bytes.between.snapshots=2000\n");
        text
    }

    /// Formats every log dir with the server's own tool.
    pub(crate) fn format(&self, kind: Kind) -> anyhow::Result<()> {
        for role in self.roles {
            let mut command = match kind {
                Kind::Kafka => process::java_of_release("kafka.tools.StorageTool", &self.release),
                Kind::Milena => Command::new(&self.milena),
            };
            command.args(["format", "-t", CLUSTER_ID, "-c"]).arg(self.config(*role));
            if *role != Role::Broker {
                command.arg("--standalone");
            }
            let at = self.at(&format!("format-{}", role.name()));
            process::succeed(&mut command, &at, START_LIMIT).context("format the log dir")?;
        }
        Ok(())
    }

    /// Starts the processes of this node and waits until all answer.
    pub(crate) fn start(&self, kind: Kind) -> anyhow::Result<Server> {
        let mut server = Server { processes: Vec::new() };
        for role in self.roles {
            let mut command = match kind {
                Kind::Kafka if self.is_benchmark => kafka::for_benchmark(),
                Kind::Kafka => kafka::short_lived(&self.release),
                Kind::Milena => injector::start(self.injector.as_ref(), &self.milena),
            };
            let output = File::options().create(true).append(true).open(self.log(*role))?;
            if let Some(power) = &self.power {
                command.env("LD_PRELOAD", &power.library).env("POWERCUT_NOTES", &power.notes);
            }
            let jmx = self.jmx_port.filter(|_| kind == Kind::Kafka).map(kafka::jmx_options);
            command.envs(jmx.map(|options| ("JAVA_TOOL_OPTIONS", options)));
            command.arg(self.config(*role)).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
            if kind == Kind::Kafka {
                command.args(self.kafka_settings.iter().flat_map(|setting| ["--override", setting]));
            }
            let child = command.spawn().with_context(|| format!("start {}", kind.name()))?;
            let host = "127.0.0.1".to_owned();
            server.processes.push(Process { child, log: self.log(*role), host, port: self.port_of(*role) });
        }
        server.await_answers()?;
        Ok(server)
    }

    /// Formats and starts.
    pub(crate) fn format_and_start(&self, kind: Kind) -> anyhow::Result<Server> {
        self.format(kind)?;
        self.start(kind)
    }

    /// What `milena doctor --deep` says of each log dir; it is an error if Milena could not start.
    pub(crate) fn doctor(&self) -> anyhow::Result<String> {
        let ask = |role: &Role| {
            let mut command = Command::new(&self.milena);
            command.args(["doctor", "--deep", "--config"]).arg(self.config(*role));
            process::succeed(&mut command, &self.at("doctor"), START_LIMIT).context("milena doctor")
        };
        self.roles.iter().map(ask).collect()
    }

    /// Removes the folder unless it is to be kept.
    pub(crate) fn remove(self, flags: &Flags) {
        if !flags.keep {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// The running processes of a node; dropped, they are killed.
#[derive(Debug, Default)]
pub(crate) struct Server {
    processes: Vec<Process>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    log: PathBuf,
    /// Where it is to answer.
    host: String,
    port: u16,
}

impl Server {
    /// One process that was made ready elsewhere and will answer at `host` and `port`.
    pub(crate) fn begin(mut command: Command, log: PathBuf, (host, port): (&str, u16)) -> anyhow::Result<Self> {
        let output = File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().context("start a server")?;
        Ok(Self { processes: vec![Process { child, log, host: host.to_owned(), port }] })
    }

    /// Returns when all processes answer.
    pub(crate) fn await_answers(&mut self) -> anyhow::Result<()> {
        self.processes.iter_mut().try_for_each(Process::await_answer)
    }

    /// The end of the processes' logs.
    pub(crate) fn last_words(&self) -> String {
        self.processes.iter().map(Process::last_words).collect::<Vec<_>>().join("\n     --\n     ")
    }

    /// True as long as all processes run.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.processes.iter_mut().all(|process| matches!(process.child.try_wait(), Ok(None)))
    }

    /// What the processes hold in memory now.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.processes.iter().map(|process| process.memory("VmRSS:")).sum()
    }

    /// The most they held since they started, or since `forget_peak`.
    pub(crate) fn peak_bytes(&self) -> anyhow::Result<u64> {
        self.processes.iter().map(|process| process.memory("VmHWM:")).sum()
    }

    /// The CPU time the processes have used.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        self.processes.iter().map(|process| cpu::of(&process.child.id().to_string())).sum()
    }

    /// The peak begins anew.
    pub(crate) fn forget_peak(&self) -> anyhow::Result<()> {
        let forget = |process: &Process| std::fs::write(format!("/proc/{}/clear_refs", process.child.id()), "5");
        self.processes.iter().try_for_each(forget).context("clear the peak")
    }

    /// SIGTERM, the broker first, which takes leave of the controller, and waits for clean ends.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.processes.iter_mut().rev().try_for_each(Process::stop)
    }

    /// Sends a signal to all processes.
    pub(crate) fn signal(&self, name: &str) -> anyhow::Result<()> {
        self.processes.iter().try_for_each(|process| process::signal(name, &process.child))
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            process.child.kill()?;
            process.child.wait()?;
        }
        Ok(())
    }
}

impl Process {
    fn await_answer(&mut self) -> anyhow::Result<()> {
        const PAUSE: Duration = Duration::from_millis(5);
        let mut left = START_LIMIT;
        while !ports::answers(&self.host, self.port) {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}: {}", self.last_words());
            }
            if left.is_zero() {
                bail!("the server did not answer within {START_LIMIT:?}: {}", self.last_words());
            }
            std::thread::sleep(PAUSE);
            left = left.saturating_sub(PAUSE);
        }
        Ok(())
    }

    fn memory(&self, name: &str) -> anyhow::Result<u64> {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).context("the server's status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a line of the status")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().context("kilobytes")?;
        Ok(kilobytes << 10)
    }

    fn last_words(&self) -> String {
        text::end_of(&String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()), 15)
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status().context("kill -TERM")?;
        if !status.success() {
            bail!("the server was gone before it was stopped: {}", self.last_words());
        }
        let code = process::wait(&mut self.child, STOP_LIMIT)?;
        // A JVM ends with 143 after its shutdown hooks.
        if code == 0 || code == 143 {
            return Ok(());
        }
        bail!("the server did not stop cleanly ({code}): {}", self.last_words())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
