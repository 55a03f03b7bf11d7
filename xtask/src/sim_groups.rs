//! `cargo xtask sim groups`: the group coordinator simulated from many seeds (`crates/coordinator/tests/simulation`).

use anyhow::{Context as _, bail};

use crate::process;

/// As many as the issue of groups asks for.
const SEEDS: &str = "10000";

/// The task: `--seeds N` seeds from `--from S` on; with `--story` the first of them tells what happens.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let (mut seeds, mut from, mut tells) = (SEEDS.to_owned(), "0".to_owned(), false);
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--story" => tells = true,
            "--seeds" => words.next().context("--seeds wants a number")?.clone_into(&mut seeds),
            "--from" => words.next().context("--from wants a number")?.clone_into(&mut from),
            other => bail!("sim groups does not know {other}"),
        }
    }
    let mut command = process::cargo();
    command.args([
        "test",
        "--quiet",
        "--release",
        "--locked",
        "-p",
        "milena-coordinator",
        "--test",
        "simulation",
        "--",
    ]);
    command.args(["--nocapture", "--exact"]);
    if tells {
        command.arg("one_seed").env("MILENA_SIM_STORY", from);
    } else {
        command.arg("groups_keep_their_promises_whatever_happens");
        command.env("MILENA_SIM_SEEDS", seeds).env("MILENA_SIM_FROM", from);
    }
    process::run(&mut command)
}
