//! Builds Milena and the conformance runner, installs what the runner needs, and runs it.

use std::path::PathBuf;

use crate::{process, setup};

/// The newest of each series of Apache Kafka that Milena trades places with.
const SWAP_RELEASES: &str = "3.9.2,4.0.2,4.1.2,4.2.1,4.3.1";

/// `cargo xtask conformance [flags]`: flags go to the runner (`milena-conformance --help`).
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    drive("run", args)
}

/// `cargo xtask kill [--rounds N]`.
pub(crate) fn kill(args: &[String]) -> anyhow::Result<()> {
    drive("kill", args)
}

/// `cargo xtask kill-calls`, `fail-syncs` and `corrupt`, each with `[--rounds N]`.
pub(crate) fn faults(task: &str, args: &[String]) -> anyhow::Result<()> {
    drive(task, args)
}

/// `cargo xtask full-disk [--cycles N]`.
pub(crate) fn full_disk(args: &[String]) -> anyhow::Result<()> {
    drive("full-disk", args)
}

/// `cargo xtask swap [--rounds N] [--seed N] [--versions A,B]`.
pub(crate) fn swap(args: &[String]) -> anyhow::Result<()> {
    let named = args.windows(2).find_map(|pair| match pair {
        [flag, versions] if flag == "--versions" => Some(versions.as_str()),
        _ => None,
    });
    let mut all = args.to_vec();
    if named.is_none() {
        all.extend(["--versions", SWAP_RELEASES].map(str::to_owned));
    }
    setup::run()?;
    setup::releases(&named.unwrap_or(SWAP_RELEASES).split(',').collect::<Vec<_>>())?;
    drive("swap", &all)
}

/// `cargo xtask gigabyte [--gigabytes N]`: a little more than the gigabyte, since ends of lines do not count.
pub(crate) fn gigabyte(args: &[String]) -> anyhow::Result<()> {
    let mut all = ["--parts", "clients", "--gigabytes", "1.2"].map(str::to_owned).to_vec();
    all.extend_from_slice(args);
    drive("run", &all)
}

/// `cargo xtask restart [--partitions N] [--gigabytes N]`.
pub(crate) fn restart(args: &[String]) -> anyhow::Result<()> {
    drive("restart", args)
}

/// `cargo xtask abuse [flags]`.
pub(crate) fn abuse(args: &[String]) -> anyhow::Result<()> {
    drive("abuse", args)
}

/// `cargo xtask lab [flags]`, `cargo xtask lab gaps [flags]`, `cargo xtask lab bank [flags]`.
pub(crate) fn lab(args: &[String]) -> anyhow::Result<()> {
    setup::for_lab()?;
    match args.split_first() {
        Some((what, flags)) if what == "gaps" => drive("lab-gaps", flags),
        Some((what, flags)) if what == "bank" => drive("lab-bank", flags),
        _ => drive("lab", args),
    }
}

/// `cargo xtask chaos groups [flags]`.
pub(crate) fn chaos(args: &[String]) -> anyhow::Result<()> {
    match args.split_first() {
        Some((what, flags)) if what == "groups" => drive("chaos-groups", flags),
        _ => anyhow::bail!(
            "usage: cargo xtask chaos groups [--minutes N] [--members N] [--partitions N] [--brokers 3] [--seed N] [--server NAME]"
        ),
    }
}

/// `cargo xtask bench groups|transactions|cluster|upkeep [flags]`.
pub(crate) fn bench(name: &str, args: &[String]) -> anyhow::Result<()> {
    drive(&format!("bench-{name}"), args)
}

fn drive(task: &str, args: &[String]) -> anyhow::Result<()> {
    let mut command = process::cargo();
    setup::run()?;
    let kafka_only =
        args.windows(2).any(|pair| matches!(pair, [flag, value] if flag == "--servers" && !value.contains("milena")));
    command.args(["run", "--quiet", "--release", "-p", "milena-conformance", "--", task]);
    if !kafka_only {
        command.arg("--milena").arg(build_milena()?);
    }
    process::run(command.args(args))
}

/// Builds the release binary and says where it is.
pub(crate) fn build_milena() -> anyhow::Result<PathBuf> {
    process::run(process::cargo().args(["build", "--quiet", "--release", "-p", "milena-cli"]))?;
    Ok(process::cargo_target().join("release").join("milena"))
}
