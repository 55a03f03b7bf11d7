//! `cargo xtask fuzz`: coverage-guided fuzzing of everything that reads bytes of others, with libFuzzer.
//!
//! The targets live in `fuzz/`, a workspace of its own. They are built by the toolchain that is there: the coverage counters
//! libFuzzer steers by are a pass of LLVM that stable takes as well, so no nightly and no `cargo-fuzz` is needed. The corpus
//! of a target stays under `target/fuzz/corpus/<target>`; an input that fails is written beside it and named.
//!
//! Flags: `--seconds N` for each target (default 60), `--target NAME` for one of them, `--input FILE` to run one input again.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::process;
use crate::steps::Counts;

/// One file in `fuzz/fuzz_targets` each.
const TARGETS: [&str; 5] = ["frame", "header", "request", "response", "record_batch"];
/// The counters of `cargo fuzz`, without a sanitizer; arithmetic that overflows and broken assertions end a run.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions -Coverflow-checks";
/// The largest input; more than any of the checks needs to be reached.
const INPUT_BYTES_MAX: u32 = 8192;
/// What one run may take: an input of a few KiB that makes us allocate more is a finding.
const ALLOCATION_MIB_MAX: u32 = 256;

/// What the flags ask for.
struct Flags {
    seconds: u32,
    targets: Vec<&'static str>,
    input: Option<PathBuf>,
}

/// The task.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let flags = parse(args)?;
    let built = build(None)?;
    let mut failed = 0;
    for target in &flags.targets {
        let mut command = fuzzer(&built, target, flags.seconds)?;
        if let Some(input) = &flags.input {
            command = Command::new(built.join(target));
            command.arg(input);
        }
        let ended = process::run(&mut command);
        println!("{} fuzz {target}", if ended.is_ok() { "ok  " } else { "FAIL" });
        failed += u32::from(ended.is_err());
    }
    println!("{} passed, {failed} failed", flags.targets.len() as u32 - failed);
    if failed > 0 {
        bail!("an input failed; `--target NAME --input FILE` runs it again");
    }
    Ok(())
}

/// The slice of `cargo xtask test`: each target for `seconds`.
pub(crate) fn slice(seconds: u32, log: &Path) -> anyhow::Result<Counts> {
    let built = build(Some(log))?;
    let mut counts = Counts::default();
    for target in TARGETS {
        let ended = process::run_logged(&mut fuzzer(&built, target, seconds)?, log);
        counts.passed += u64::from(ended.is_ok());
        counts.failed += u64::from(ended.is_err());
    }
    Ok(counts)
}

fn parse(args: &[String]) -> anyhow::Result<Flags> {
    let mut flags = Flags { seconds: 60, targets: TARGETS.to_vec(), input: None };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let value = rest.next().with_context(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--seconds" => flags.seconds = value.parse().context("--seconds takes a number")?,
            "--input" => flags.input = Some(PathBuf::from(value)),
            "--target" => {
                let known = TARGETS.into_iter().find(|target| target == value);
                flags.targets = vec![known.with_context(|| format!("no target {value}; there are {TARGETS:?}"))?];
            }
            other => bail!("no flag {other}"),
        }
    }
    if flags.input.is_some() && flags.targets.len() != 1 {
        bail!("--input needs --target");
    }
    Ok(flags)
}

/// Builds all targets; the folder they are in.
fn build(log: Option<&Path>) -> anyhow::Result<PathBuf> {
    let host = host()?;
    let target_folder = process::cargo_target().join("fuzz");
    let mut command = process::cargo();
    command
        .current_dir(process::root().join("fuzz"))
        // A target of its own name keeps the counters out of build scripts.
        .args(["build", "--release", "--locked", "--target", &host])
        .env("RUSTFLAGS", COVERAGE)
        .env("CARGO_TARGET_DIR", &target_folder);
    match log {
        Some(log) => process::run_logged(&mut command, log)?,
        None => process::run(&mut command)?,
    }
    Ok(target_folder.join(host).join("release"))
}

/// The machine's own target triple.
fn host() -> anyhow::Result<String> {
    let said = Command::new("rustc").arg("-vV").output().context("start rustc")?;
    let text = String::from_utf8_lossy(&said.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say its host")
}

fn fuzzer(built: &Path, target: &str, seconds: u32) -> anyhow::Result<Command> {
    let folder = process::cargo_target().join("fuzz");
    let corpus = folder.join("corpus").join(target);
    let findings = folder.join("findings").join(target);
    for made in [&corpus, &findings] {
        std::fs::create_dir_all(made).with_context(|| format!("make {}", made.display()))?;
    }
    let mut command = Command::new(built.join(target));
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-malloc_limit_mb={ALLOCATION_MIB_MAX}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(["-timeout=10", "-verbosity=0", "-print_final_stats=1"])
        .arg(corpus);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_a_file_and_every_file_of_a_target_is_one() {
        let folder = process::root().join("fuzz/fuzz_targets");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .filter(|name| name != "recode")
            .collect();
        files.sort();
        let mut known = TARGETS.map(str::to_owned).to_vec();
        known.sort();
        assert_eq!(files, known);
    }

    #[test]
    fn an_input_needs_its_target() {
        assert!(parse(&["--input".into(), "x".into()]).is_err());
        assert!(parse(&["--target".into(), "nothing".into()]).is_err());
        assert_eq!(
            parse(&["--target".into(), "frame".into(), "--input".into(), "x".into()]).unwrap().targets,
            ["frame"]
        );
    }
}
