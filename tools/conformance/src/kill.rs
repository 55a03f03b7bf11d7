//! Kill rounds: idempotent producers write without pause, the server is killed (SIGKILL) at a random moment and started again on the same
//! disk, and everything that was acknowledged must be there once, in order, with no gap. The load is `java/KillLoad.java`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};

use crate::flags::Flags;
use crate::process;
use crate::report::Report;
use crate::server::{self, Kind, Node};

/// The load runs for this long at least, and at most, before the kill.
const LOAD_MS: (u64, u64) = (50, 900);

/// The load's process and its answers.
struct Load {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Load {
    fn start(node: &Node) -> anyhow::Result<Self> {
        let log = std::fs::File::create(node.at("load.err"))?;
        let mut command = process::java("KillLoad");
        let mut child = command
            .arg(node.bootstrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("start the load")?;
        let commands = child.stdin.take().context("the load's input")?;
        let answers = BufReader::new(child.stdout.take().context("the load's output")?);
        let mut load = Self { child, commands, answers };
        let first = load.answer()?;
        if first != "ready" {
            bail!("the load says {first}");
        }
        Ok(load)
    }

    fn answer(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.is_empty() {
            bail!("the load ended");
        }
        Ok(line.trim_end().to_owned())
    }

    fn verify(&mut self) -> anyhow::Result<String> {
        writeln!(self.commands, "verify")?;
        self.answer()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The task: each round is one check.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kind = flags.servers.1;
    if let Some(reason) = server::missing(kind, flags).or_else(server::missing_java) {
        report.skip("kill", &reason);
        return Ok(());
    }
    let node = Node::new("kill", flags)?;
    let outcome = rounds(&node, kind, flags, report);
    if outcome.is_ok() {
        node.remove(flags);
    }
    outcome
}

fn rounds(node: &Node, kind: Kind, flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |time| time.as_micros());
    println!("seed {seed}");
    let mut moments = Moments(u64::try_from(seed % u128::from(u64::MAX)).unwrap_or(1) | 1);
    let mut server = node.format_and_start(kind)?;
    let mut load = Load::start(node)?;
    let mut acknowledged = 0;
    for round in 1..=flags.rounds {
        std::thread::sleep(moments.next());
        server.kill()?;
        let begin = Instant::now();
        server = node.start(kind).context("start after a kill")?;
        let started = begin.elapsed();
        let answer = load.verify()?;
        let told = answer
            .strip_prefix("verified ")
            .and_then(|rest| rest.split(' ').next())
            .and_then(|count| count.parse::<u64>().ok());
        acknowledged += told.unwrap_or(0);
        let name = format!("kill {round}: serving after {} ms, {answer}", started.as_millis());
        report.check(&name, told.is_none().then(|| format!("     seed {seed}; {}", server.last_words())));
    }
    report.check(&format!("kill rounds acknowledged {acknowledged} records"), (acknowledged == 0).then(String::new));
    drop(load);
    server.stop()
}

/// Random moments; xorshift, so that a seed gives the same ones.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(LOAD_MS.0 + self.0 % (LOAD_MS.1 - LOAD_MS.0))
    }
}
