//! `cargo xtask test`: everything CI runs, in the order in which it is cheapest to fail.
//!
//! Flags: `--only NAME[,NAME]` runs the named steps. The last line is `N passed, N failed[, N skipped]`; the exit code is not zero if
//! anything failed. Logs: `target/test-logs/NN-<step>.log`.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::steps::{Counts, Steps, count_cargo_test, count_closing_line};
use crate::{conformance, fuzz, layers, process, schemas, setup, sim, tidy};

/// How many kill rounds CI runs; `cargo xtask kill` runs more.
const KILL_ROUNDS: &str = "10";

/// A slice of what `cargo xtask chaos groups` does.
const CHAOS: [&str; 7] = ["chaos-groups", "--seconds", "20", "--members", "6", "--partitions", "12"];

/// How many rounds of each kind of fault CI runs.
const FAULTS: [(&str, &str); 3] = [("kill-calls", "20"), ("fail-syncs", "8"), ("corrupt", "40")];

/// How many cycles of a full disk CI runs, half of them without a reserve; `cargo xtask full-disk` runs more.
const FULL_DISK_CYCLES: &str = "10";

/// How long CI fuzzes each target; `cargo xtask fuzz` runs longer.
const FUZZ_SECONDS: u32 = 5;

/// The task.
pub(crate) fn run(args: &[String]) -> ExitCode {
    match run_steps(args) {
        Ok(total) => {
            println!("{total}");
            if total.failed == 0 && total.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            println!("error: {error:#}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn run_steps(args: &[String]) -> anyhow::Result<Counts> {
    let mut steps = Steps::new(only(args))?;
    steps.run("fmt", |log| check(process::cargo().args(["fmt", "--all", "--check"]), log));
    steps.run("tidy", |_| tidy::run(&[]).map(|()| Counts::one(true)));
    steps.run("layers", |_| layers::run().map(|()| Counts::one(true)));
    steps.run("clippy", |log| {
        check(
            process::cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
            log,
        )
    });
    // Before the unit tests: those that hold our bytes against Kafka's Java classes need the jars.
    let mut absent = Vec::new();
    steps.run("setup", |_| {
        absent = setup::install_all().into_iter().filter_map(|part| Some((part.name, part.missing?))).collect();
        Ok(Counts::default())
    });
    for (name, reason) in &absent {
        steps.absent(name, reason);
    }
    steps.run("unit", unit_tests);
    if !absent.iter().any(|(name, _)| *name == "kafka-jars") {
        steps.run("schemas", |_| {
            let jars = setup::jar_folder().display().to_string();
            schemas::run(&["--jars".to_owned(), jars, "--check".to_owned()]).map(|()| Counts::one(true))
        });
    }
    steps.run("fuzz", |log| fuzz::slice(FUZZ_SECONDS, log));
    let mut milena = None;
    steps.run("build", |_| {
        milena = Some(conformance::build_milena()?);
        Ok(Counts::one(true))
    });
    steps.run("sim", |log| {
        let ended = sim::slice(log);
        let mut counts = count_closing_line(&read(log)).unwrap_or_default();
        counts.add(count_closing_line(&read(&log.with_extension("planted.log"))).unwrap_or_default());
        counted(ended, counts)
    });
    if let Some(milena) = milena {
        steps.run("conformance", |log| conformance_lanes(&milena, log));
        steps.run("chaos", |log| runner(&CHAOS, &milena, log));
        steps.run("kill", |log| runner(&["kill", "--rounds", KILL_ROUNDS], &milena, log));
        for (task, rounds) in FAULTS {
            steps.run(task, |log| runner(&[task, "--rounds", rounds], &milena, log));
        }
        steps.run("full-disk", |log| runner(&["full-disk", "--cycles", FULL_DISK_CYCLES], &milena, log));
    }
    Ok(steps.close())
}

fn only(args: &[String]) -> Vec<String> {
    let named = args.iter().skip_while(|arg| *arg != "--only").nth(1);
    named.map(|names| names.split(',').map(str::to_owned).collect()).unwrap_or_default()
}

/// A command that either succeeds or not.
fn check(command: &mut Command, log: &Path) -> anyhow::Result<Counts> {
    process::run_logged(command, log).map(|()| Counts::one(true))
}

/// Every test of the workspace; the counts come from the closing lines of the test binaries.
fn unit_tests(log: &Path) -> anyhow::Result<Counts> {
    let mut command = process::cargo();
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    if setup::jar_folder().is_dir() {
        // With Kafka's jars at hand the tests that ask Kafka's own classes run too.
        command.env("MILENA_KAFKA_JARS", setup::jar_folder());
    }
    let ended = process::run_logged(&mut command, log);
    counted(ended, count_cargo_test(&read(log)))
}

/// The parts of the conformance run, in lanes beside each other: most of each part's time is waiting. What the others
/// do not do is the last one's.
const LANES: [[&str; 2]; 3] = [
    ["--parts", "scripts"],
    ["--parts", "separate,mixed,cluster,failover,members"],
    ["--without", "scripts,separate,mixed,cluster,failover,members"],
];

/// The conformance run in lanes. The logs of all but the first have names of their own.
fn conformance_lanes(milena: &Path, log: &Path) -> anyhow::Result<Counts> {
    // One build before the lanes, which would wait for each other's.
    process::run_logged(process::cargo().args(["build", "--quiet", "--release", "-p", "milena-conformance"]), log)?;
    let lane = |index: usize, [flag, parts]: [&str; 2]| {
        let log = if index == 0 { log.to_owned() } else { log.with_extension(format!("{index}.log")) };
        runner(&["run", flag, parts], milena, &log)
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> =
            LANES.iter().enumerate().map(|(index, parts)| scope.spawn(move || lane(index, *parts))).collect();
        let mut total = Counts::default();
        for lane in lanes {
            total.add(lane.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a lane panicked")))?);
        }
        Ok(total)
    })
}

/// A task of the conformance runner.
fn runner(args: &[&str], milena: &Path, log: &Path) -> anyhow::Result<Counts> {
    let mut command = process::cargo();
    command.args(["run", "--quiet", "--release", "-p", "milena-conformance", "--"]).args(args);
    let ended = process::run_logged(command.arg("--milena").arg(milena), log);
    counted(ended, count_closing_line(&read(log)).unwrap_or_default())
}

/// A run that failed without a counted failure (it did not compile, it was killed) is a failure all the same.
fn counted(ended: anyhow::Result<()>, mut counts: Counts) -> anyhow::Result<Counts> {
    if counts.failed == 0 && (ended.is_err() || counts.passed == 0) {
        counts.failed = 1;
    }
    Ok(counts)
}

fn read(log: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Counts, counted};

    #[test]
    fn a_run_that_broke_off_is_a_failure_even_if_nothing_was_counted() {
        let broken = counted(Err(anyhow::anyhow!("killed")), Counts { passed: 3, failed: 0, skipped: 0 });
        assert_eq!(broken.expect("counts"), Counts { passed: 3, failed: 1, skipped: 0 });
        let empty = counted(Ok(()), Counts::default());
        assert_eq!(empty.expect("counts").failed, 1);
    }
}
