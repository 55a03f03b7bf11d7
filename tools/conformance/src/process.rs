//! Running programs with a time limit: a client that hangs on a server's silence must not hang the run.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::layout;

/// How a program ended.
pub(crate) struct Ended {
    /// Its exit code; -1 if it was killed or ran out of time.
    pub(crate) code: i32,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// A Java program with our classes and Kafka's jars; made for short runs.
pub(crate) fn java(class: &str) -> Command {
    java_of_heap(class, "256m")
}

/// As `java`, with another bound of its heap.
pub(crate) fn java_of_heap(class: &str, heap: &str) -> Command {
    java_with(class, heap, &layout::class_path())
}

/// As `java`, with the jars of a release of Apache Kafka.
pub(crate) fn java_of_release(class: &str, release: &str) -> Command {
    java_with(class, "256m", &layout::class_path_of(release))
}

fn java_with(class: &str, heap: &str, class_path: &str) -> Command {
    let mut command = Command::new("java");
    command.arg(format!("-Xmx{heap}"));
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]);
    command.arg(format!("-Dlog4j2.configurationFile={}", layout::source("log4j2.properties").display()));
    command.arg(format!("-Dlog4j.configuration=file:{}", layout::source("log4j.properties").display()));
    command.arg("-cp").arg(class_path).arg(class);
    command
}

/// Runs a program with `input` as its standard input; its streams go through files `<at>.out` and `<at>.err`.
pub(crate) fn run(command: &mut Command, input: Option<&Path>, at: &Path, limit: Duration) -> anyhow::Result<Ended> {
    let (out, err) = (at.with_extension("out"), at.with_extension("err"));
    let input = match input {
        Some(path) => Stdio::from(File::open(path).with_context(|| format!("open {}", path.display()))?),
        None => Stdio::null(),
    };
    let mut child = command
        .stdin(input)
        .stdout(File::create(&out)?)
        .stderr(File::create(&err)?)
        .spawn()
        .with_context(|| format!("start {:?}", command.get_program()))?;
    let code = wait(&mut child, limit)?;
    Ok(Ended { code, output: read(&out)?, errors: read(&err)? })
}

/// Runs a program that must succeed; an error carries the end of what it wrote.
pub(crate) fn succeed(command: &mut Command, at: &Path, limit: Duration) -> anyhow::Result<String> {
    let ended = run(command, None, at, limit)?;
    if ended.code != 0 {
        bail!(
            "{:?} ended with {}: {}",
            command.get_program(),
            ended.code,
            crate::text::end_of(&(ended.output + &ended.errors), 12)
        );
    }
    Ok(ended.output)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits until the program has ended; at the limit it is killed and counts as -1. What was waited here counts, not the time of day:
/// a machine may stand still.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> anyhow::Result<i32> {
    const PAUSE: Duration = Duration::from_millis(10);
    let mut left = limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code().unwrap_or(-1));
        }
        if left.is_zero() {
            child.kill()?;
            child.wait()?;
            return Ok(-1);
        }
        std::thread::sleep(PAUSE);
        left = left.saturating_sub(PAUSE);
    }
}

/// Sends a signal.
pub(crate) fn signal(name: &str, child: &Child) -> anyhow::Result<()> {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    anyhow::ensure!(status.context("kill")?.success(), "kill -{name}");
    Ok(())
}
