//! Unmodified programs that promise exactly once, killed (SIGKILL) and started again in the midst of it: Apache Kafka's own
//! `TransactionalMessageCopier`, a loop that consumes, produces and commits its offsets in transactions, some of which it
//! aborts; and an application of Kafka Streams with `exactly_once_v2` (`java/StreamsApp.java`), whose output must be what
//! `java/StreamsCheck.java` computes by itself. `--rounds N` says how often each is killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::flags::Flags;
use crate::process;
use crate::random::Random;
use crate::report::Report;
use crate::server::{self, Node};
use crate::text;

const LIMIT: Duration = Duration::from_secs(300);
/// How often a program is killed if nobody says.
const KILLS: u32 = 1;
/// Orders an application gets meanwhile, for each kill and for the time after the last one, and how many a second.
const ORDERS: u32 = 800;
const ORDERS_RATE: u32 = 250;
const PARTITIONS: &str = "3";
/// What the copier copies, for each kill, and in one transaction.
const MESSAGES: u32 = 2000;
const MESSAGES_IN_TRANSACTION: u32 = 20;

/// The part of the conformance run.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kind = flags.servers.1;
    if let Some(reason) = server::missing(kind, flags).or_else(server::missing_java) {
        report.skip("programs", &reason);
        return Ok(());
    }
    let kills = flags.rounds.unwrap_or(KILLS);
    println!("     programs: seed {}", flags.seed);
    if flags.selects("copier") {
        report.outcome(&format!("programs: TransactionalMessageCopier, killed {kills} times"), copier(flags, kills));
    }
    if flags.selects("streams") {
        report
            .outcome(&format!("programs: Kafka Streams, exactly_once_v2, killed {kills} times"), streams(flags, kills));
    }
    Ok(())
}

/// A program that runs beside, and what it wrote so far.
struct Running {
    child: Child,
    output: PathBuf,
    errors: PathBuf,
}

impl Running {
    fn start(command: &mut Command, at: &Path) -> anyhow::Result<Self> {
        let (output, errors) = (at.with_extension("out"), at.with_extension("err"));
        command.stdin(Stdio::null()).stdout(File::create(&output)?).stderr(File::create(&errors)?);
        let child = command.spawn().context("start a program")?;
        Ok(Self { child, output, errors })
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    fn last_words(&self) -> String {
        let errors = std::fs::read(&self.errors).unwrap_or_default();
        text::end_of(&(self.said() + &String::from_utf8_lossy(&errors)), 15)
    }

    /// Waits until it has said a line of this kind so often.
    fn await_said(&mut self, what: &str, times: usize) -> anyhow::Result<()> {
        let end = Instant::now() + LIMIT;
        while self.said().lines().filter(|line| line.contains(what)).count() < times {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status} before it said {what:?}: {}", self.last_words());
            }
            ensure!(Instant::now() < end, "it does not say {what:?}: {}", self.last_words());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn is_over(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    fn succeed(&mut self) -> anyhow::Result<()> {
        let code = process::wait(&mut self.child, LIMIT)?;
        ensure!(code == 0, "it ended with {code}: {}", self.last_words());
        Ok(())
    }
}

impl Drop for Running {
    /// SIGKILL.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn create(node: &Node, partitions: &str, topics: &[&str]) -> anyhow::Result<()> {
    let mut create = process::java("Client");
    create.args(["create", &node.bootstrap(), partitions]).args(topics);
    process::succeed(&mut create, &node.at("create"), LIMIT).map(drop)
}

fn copier(flags: &Flags, kills: u32) -> anyhow::Result<()> {
    let node = Node::new("copier", flags)?;
    let server = node.format_and_start(flags.servers.1)?;
    let bootstrap = node.bootstrap();
    create(&node, "1", &["from", "to"])?;
    let messages = MESSAGES * (kills + 1);
    let input = node.at("messages");
    let lines: String = (0..messages).map(|number| format!("{number}\n")).collect();
    std::fs::write(&input, lines)?;
    let mut producer = process::java("org.apache.kafka.tools.ConsoleProducer");
    producer.args(["--bootstrap-server", &bootstrap, "--topic", "from"]);
    let produced = process::run(&mut producer, Some(&input), &node.at("produce"), LIMIT)?;
    ensure!(produced.code == 0, "the console producer ended with {}: {}", produced.code, produced.errors);
    let mut random = Random::new(flags.seed);
    let mut killed = 0;
    for round in 0..=kills {
        let mut copier = process::java("org.apache.kafka.tools.TransactionalMessageCopier");
        copier.args(["--broker-list", &bootstrap, "--input-topic", "from", "--input-partition", "0"]);
        copier.args(["--output-topic", "to", "--consumer-group", "copiers", "--transactional-id", "copier"]);
        copier.args(["--transaction-size", &MESSAGES_IN_TRANSACTION.to_string()]);
        copier.args(["--enable-random-aborts", "--use-group-metadata"]);
        let mut copier = Running::start(&mut copier, &node.at(&format!("copier-{round}")))?;
        if round == kills {
            copier.succeed()?;
        } else {
            copier.await_said("ProcessLoop", 10 + usize::try_from(random.below(60))?)?;
            std::thread::sleep(Duration::from_millis(random.below(10)));
            killed += u32::from(!copier.is_over()?);
        }
    }
    ensure!(killed == kills, "only {killed} of {kills} copiers were killed before their end");
    let mut read = process::java("Client");
    read.args(["committed", &bootstrap, "1", "to"]);
    let found = process::succeed(&mut read, &node.at("committed"), LIMIT)?;
    let expected: String = (0..messages).map(|number| format!("to 0 {number}\n")).collect();
    if found != expected {
        let at = found.lines().zip(expected.lines()).position(|(found, expected)| found != expected);
        bail!("{} messages are copied, {messages} were to be; the first that differs: {at:?}", found.lines().count());
    }
    server.stop()?;
    node.remove(flags);
    Ok(())
}

fn streams(flags: &Flags, kills: u32) -> anyhow::Result<()> {
    let node = Node::new("streams", flags)?;
    let server = node.format_and_start(flags.servers.1)?;
    let bootstrap = node.bootstrap();
    let topics = ["orders", "payments", "customers", "enriched", "windows", "totals", "paid"];
    create(&node, PARTITIONS, &topics)?;
    let orders = ORDERS * (kills + 2);
    let mut check = process::java("StreamsCheck");
    check.args([&bootstrap, PARTITIONS, &orders.to_string(), &ORDERS_RATE.to_string(), &flags.seed.to_string()]);
    let mut check = Running::start(&mut check, &node.at("check"))?;
    check.await_said("begun", 1)?;
    let mut random = Random::new(flags.seed);
    let state = node.at("state");
    let start = |round: u32| {
        let mut application = process::java_of_heap("StreamsApp", "512m");
        Running::start(application.arg(&bootstrap).arg(&state), &node.at(&format!("application-{round}")))
    };
    for round in 0..kills {
        let mut application = start(round)?;
        application.await_said("state RUNNING", 1)?;
        std::thread::sleep(Duration::from_millis(300 + random.below(1500)));
        ensure!(!application.is_over()?, "the application ended: {}", application.last_words());
    }
    let application = start(kills)?;
    check.succeed().with_context(|| format!("the application: {}", application.last_words()))?;
    drop(application);
    server.stop()?;
    node.remove(flags);
    Ok(())
}
