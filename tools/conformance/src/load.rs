//! The loads of kill rounds (`java/KillLoad.java`) and of groups whose coordinator dies (`java/GroupLoad.java`): a process that
//! works without pause, and checks when it is asked.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, bail};

use crate::process;

/// The load's process and its answers.
pub(crate) struct Load {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Load {
    /// Starts it; its topics get `replicas` replicas, each of its three producers writes `pace` records a second or, with 0, as
    /// many as it can; its errors go to a file.
    pub(crate) fn start(bootstrap: &str, replicas: u32, pace: u32, errors: &Path) -> anyhow::Result<Self> {
        // It remembers every record until it has been read.
        let mut command = process::java_of_heap("KillLoad", "1g");
        command.args([bootstrap, &replicas.to_string(), &pace.to_string()]);
        Self::of(command, errors)
    }

    /// Groups: with `place`, the only partition of `__consumer_offsets` lies on these brokers.
    pub(crate) fn of_groups(
        bootstrap: &str,
        replicas: u32,
        place: Option<&str>,
        errors: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = process::java("GroupLoad");
        command.args([bootstrap, &replicas.to_string()]).args(place);
        Self::of(command, errors)
    }

    /// The load of servers that trade places (`java/SwapLoad.java`), with its random choices from a seed.
    pub(crate) fn swap(bootstrap: &str, seed: u64, replicas: u32, errors: &Path) -> anyhow::Result<Self> {
        let mut command = process::java_of_heap("SwapLoad", "1g");
        command.args([bootstrap, &seed.to_string(), &replicas.to_string()]);
        Self::of(command, errors)
    }

    fn of(mut command: Command, errors: &Path) -> anyhow::Result<Self> {
        let log = File::create(errors)?;
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().context("start the load")?;
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

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, command: &str) -> anyhow::Result<String> {
        writeln!(self.commands, "{command}")?;
        self.answer()
    }

    /// How many requests are on their way now.
    pub(crate) fn flight(&mut self) -> anyhow::Result<u64> {
        let answer = self.ask("flight")?;
        answer.strip_prefix("flight ").and_then(|count| count.parse().ok()).with_context(|| answer.clone())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
