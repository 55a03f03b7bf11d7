//! The steps of `cargo xtask test`: each runs, writes a log of its own under `target/test-logs`, and is counted.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;

use crate::{failures, process};

/// How many checks passed, failed, were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// One check.
    pub(crate) fn one(passed: bool) -> Self {
        Self { passed: u64::from(passed), failed: u64::from(!passed), skipped: 0 }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(out, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// Runs steps one after another; a failed one does not stop the rest.
pub(crate) struct Steps {
    folder: PathBuf,
    total: Counts,
    started: u32,
    only: Vec<String>,
    failed: Vec<String>,
}

impl Steps {
    /// `only`: names of the steps wanted, all if empty.
    pub(crate) fn new(only: Vec<String>) -> anyhow::Result<Self> {
        let folder = process::root().join("target").join("test-logs");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).context("clear the old logs")?;
        }
        std::fs::create_dir_all(&folder).context("make the folder of logs")?;
        Ok(Self { folder, total: Counts::default(), started: 0, only, failed: Vec::new() })
    }

    /// Runs one step. It is given its log and says what it counted; an error is one failure more.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce(&Path) -> anyhow::Result<Counts>) -> Counts {
        if !self.only.is_empty() && !self.only.iter().any(|wanted| wanted == name) {
            return Counts::default();
        }
        self.started += 1;
        let log = self.folder.join(format!("{:02}-{name}.log", self.started));
        println!("== {name}");
        let begin = Instant::now();
        let counts = step(&log).unwrap_or_else(|error| {
            self.failed.push(format!("-- {name}: {error:#}"));
            Counts::one(false)
        });
        if counts.failed > 0 {
            self.failed.push(format!("-- {name}, {}:\n{}", log.display(), failures::of_step(&log)));
        }
        println!("== {name}: {counts} in {:.1} s", begin.elapsed().as_secs_f64());
        self.total.add(counts);
        counts
    }

    /// A step that cannot run here: a skip by name, a failure on CI.
    pub(crate) fn absent(&mut self, name: &str, reason: &str) {
        let counts = if process::is_ci() { Counts::one(false) } else { Counts { skipped: 1, ..Counts::default() } };
        println!("== {name}: {} ({reason})", if process::is_ci() { "failed, not installed" } else { "skipped" });
        self.total.add(counts);
    }

    /// Everything counted; says first what failed, at the end, where it is found.
    pub(crate) fn close(&self) -> Counts {
        for failed in &self.failed {
            println!("{failed}");
        }
        self.total
    }
}

/// Adds up the `test result:` lines of `cargo test`.
pub(crate) fn count_cargo_test(log: &str) -> Counts {
    let mut counts = Counts::default();
    for line in log.lines().filter_map(|line| line.strip_prefix("test result:")) {
        counts.passed += number_before(line, "passed");
        counts.failed += number_before(line, "failed");
        counts.skipped += number_before(line, "ignored");
    }
    counts
}

/// Reads the last `N passed, N failed[, N skipped]` line.
pub(crate) fn count_closing_line(log: &str) -> Option<Counts> {
    let line = log.lines().rev().find(|line| line.contains(" passed, ") && line.contains(" failed"))?;
    Some(Counts {
        passed: number_before(line, "passed"),
        failed: number_before(line, "failed"),
        skipped: number_before(line, "skipped"),
    })
}

fn number_before(line: &str, word: &str) -> u64 {
    let before = line.split_once(word).map_or("", |(before, _)| before);
    before.split_whitespace().next_back().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Counts, count_cargo_test, count_closing_line};

    #[test]
    fn the_results_of_several_test_binaries_are_added_up() {
        let log = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\nrunning 2 tests\n\
                   test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured\n";
        assert_eq!(count_cargo_test(log), Counts { passed: 4, failed: 2, skipped: 1 });
    }

    #[test]
    fn the_last_closing_line_counts() {
        let log = "1 passed, 1 failed\nnoise\n12 passed, 0 failed, 3 skipped\n";
        assert_eq!(count_closing_line(log), Some(Counts { passed: 12, failed: 0, skipped: 3 }));
        assert_eq!(count_closing_line("nothing"), None);
    }
}
