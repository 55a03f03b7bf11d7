//! Long comparisons with Apache Kafka's own classes, of which the tests run a slice: `cargo xtask oracle compaction`.

use anyhow::{Context as _, bail};

use crate::{process, setup};

/// The task.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let [what, flags @ ..] = args else { bail!("say which: compaction") };
    if what != "compaction" {
        bail!("no oracle named {what}; there is compaction");
    }
    let jars = setup::jar_folder();
    if std::env::var_os("MILENA_KAFKA_JARS").is_none() && !jars.is_dir() {
        bail!("Kafka's jars are not there: cargo xtask setup, or name their folder in MILENA_KAFKA_JARS");
    }
    let mut command = process::cargo();
    command.args(["test", "--locked", "-p", "milena-storage", "--test", "compaction", "oracle", "--", "--nocapture"]);
    command.env("MILENA_KAFKA_JARS", std::env::var_os("MILENA_KAFKA_JARS").unwrap_or_else(|| jars.into()));
    command.env("MILENA_LOGS", "1000");
    let mut flags = flags.iter();
    while let Some(flag) = flags.next() {
        let variable = match flag.as_str() {
            "--logs" => "MILENA_LOGS",
            "--seed" => "MILENA_SEED",
            other => bail!("no flag {other}"),
        };
        command.env(variable, flags.next().with_context(|| format!("{flag} needs a number"))?);
    }
    process::run(&mut command)
}
