//! The simulator: a whole cluster on one thread from a seed (`tools/simulator`). Figures of runs on the same commit are
//! added up under `target/sim/`, and a run goes on where the last one ended unless `--from` says where to begin.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::process;

/// How many seeds CI runs.
const SEEDS: &str = "300";

/// The task. Flags go to the simulator as they are.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let simulator = build()?;
    let mut command = Command::new(simulator);
    let special = ["--one", "--history", "--planted", "--record"];
    if !args.iter().any(|arg| special.contains(&arg.as_str())) {
        let record = process::root().join("target/sim").join(format!("{}.tsv", commit()?));
        command.arg("--record").arg(record);
    }
    process::run(command.args(args))
}

/// What CI sees of it: the first seeds of a campaign, and every planted mistake found.
pub(crate) fn slice(log: &Path) -> anyhow::Result<()> {
    let simulator = build()?;
    process::run_logged(Command::new(&simulator).args(["--from", "0", "--seeds", SEEDS]), log)?;
    process::run_logged(Command::new(simulator).arg("--planted"), &log.with_extension("planted.log"))
}

fn build() -> anyhow::Result<std::path::PathBuf> {
    process::run(process::cargo().args(["build", "--quiet", "--release", "--locked", "-p", "milena-simulator"]))?;
    Ok(process::cargo_target().join("release/milena-simulator"))
}

/// The commit that is checked out, marked if files differ from it.
fn commit() -> anyhow::Result<String> {
    let git = |args: &[&str]| -> anyhow::Result<String> {
        let output = Command::new("git").args(args).current_dir(process::root()).output().context("start git")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed = if git(&["status", "--porcelain"])?.is_empty() { "" } else { "-changed" };
    Ok(format!("{}{changed}", git(&["rev-parse", "--short=12", "HEAD"])?))
}
