//! What passed, failed and was skipped.

use std::process::ExitCode;

/// The counts of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Report {
    /// One check; `difference` says why it failed.
    pub(crate) fn check(&mut self, name: &str, difference: Option<String>) {
        match difference {
            None => {
                self.passed += 1;
                println!("ok   {name}");
            }
            Some(difference) => {
                self.failed += 1;
                println!("FAIL {name}\n{difference}");
            }
        }
    }

    /// One check whose outcome is a result.
    pub(crate) fn outcome(&mut self, name: &str, outcome: anyhow::Result<()>) {
        self.check(name, outcome.err().map(|error| format!("     {error:#}")));
    }

    /// Something that cannot run here; on CI, where everything is to be installed, that is a failure.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        if std::env::var("CI").is_ok_and(|value| value == "true" || value == "1") {
            self.check(name, Some(format!("     cannot run: {reason}")));
        } else {
            self.skipped += 1;
            println!("skip {name}: {reason}");
        }
    }

    /// How many checks failed until now.
    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    /// Prints the closing line and gives the exit code.
    pub(crate) fn close(&self) -> ExitCode {
        let skipped = if self.skipped > 0 { format!(", {} skipped", self.skipped) } else { String::new() };
        println!("{} passed, {} failed{skipped}", self.passed, self.failed);
        if self.failed == 0 && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
