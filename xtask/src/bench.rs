//! Benchmarks. `bench groups`, `transactions`, `cluster` and `upkeep` are this repository's own: Milena and Apache Kafka in one run
//! (`tools/conformance/src/bench.rs`).
//! Everything else drives an external side-by-side benchmark with Milena as its candidate.
//!
//! That benchmark is not part of this repository: `--side-by-side PATH` or `MILENA_SIDE_BY_SIDE` says where it is. Further flags go
//! to it unchanged.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::process;

/// Those of this repository.
const OWN: [&str; 4] = ["groups", "transactions", "cluster", "upkeep"];

/// The task.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    if let Some((name, flags)) = args.split_first()
        && OWN.contains(&name.as_str())
    {
        return crate::conformance::bench(name, flags);
    }
    let mut program = std::env::var_os("MILENA_SIDE_BY_SIDE").map(PathBuf::from);
    let mut passed_on = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--side-by-side" {
            program = Some(PathBuf::from(rest.next().context("--side-by-side needs a path")?));
        } else {
            passed_on.push(arg.clone());
        }
    }
    let Some(program) = program else {
        bail!("say where the benchmark is: --side-by-side PATH or MILENA_SIDE_BY_SIDE");
    };
    let milena = crate::conformance::build_milena()?;
    let candidate = format!("milena={} start {{config}}", milena.display());
    process::run(Command::new(program).arg("--candidate").arg(candidate).args(passed_on))
}
