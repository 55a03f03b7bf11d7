//! Long comparisons with Apache Kafka's own classes, of which the tests run a slice: `cargo xtask oracle compaction`, and
//! how long both take: `cargo xtask oracle cleaner`.

use std::process::Command;

use anyhow::{Context as _, bail};

use crate::{process, setup};

/// Flags and the variables by which they reach the test or benchmark.
const FLAGS: [(&str, &str); 6] = [
    ("--logs", "MILENA_LOGS"),
    ("--seed", "MILENA_SEED"),
    ("--megabytes", "MILENA_MEGABYTES"),
    ("--rounds", "MILENA_ROUNDS"),
    ("--codec", "MILENA_CODEC"),
    ("--dir", "MILENA_DIR"),
];

/// The task.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let [what, flags @ ..] = args else { bail!("say which: compaction or cleaner") };
    let jars = std::env::var_os("MILENA_KAFKA_JARS").unwrap_or_else(|| setup::jar_folder().into());
    if !std::path::Path::new(&jars).is_dir() {
        bail!("Kafka's jars are not there: cargo xtask setup, or name their folder in MILENA_KAFKA_JARS");
    }
    let mut command = match what.as_str() {
        "compaction" => {
            let mut test = process::cargo();
            test.args([
                "test",
                "--locked",
                "-p",
                "milena-storage",
                "--test",
                "compaction",
                "oracle",
                "--",
                "--nocapture",
            ]);
            test.env("MILENA_LOGS", "1000");
            test
        }
        "cleaner" => {
            let mut bench = process::cargo();
            bench.args(["bench", "--locked", "-p", "milena-storage", "--bench", "cleaner"]);
            bench
        }
        other => bail!("no oracle named {other}; there are compaction and cleaner"),
    };
    command.env("MILENA_KAFKA_JARS", jars);
    pass_on(&mut command, flags)?;
    process::run(&mut command)
}

fn pass_on(command: &mut Command, flags: &[String]) -> anyhow::Result<()> {
    let mut flags = flags.iter();
    while let Some(flag) = flags.next() {
        let known = FLAGS.iter().find(|(name, _)| name == flag);
        let (_, variable) = known.with_context(|| format!("no flag {flag}"))?;
        command.env(variable, flags.next().with_context(|| format!("{flag} needs a value"))?);
    }
    Ok(())
}
