//! The `milena` binary: starts a node, and the commands of Kafka's storage tool.

mod args;
mod logging;
mod start;
mod storage;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let command = args::Arguments::parse().command.unwrap_or_default();
    let done = match command {
        args::Command::Start(start) => start::start(&start),
        args::Command::Format(format) => storage::format(&format),
        args::Command::Info(info) => storage::info(&info),
        args::Command::RandomUuid => storage::random_uuid(),
        args::Command::VersionMapping { release_version } => storage::version_mapping(release_version.as_deref()),
        args::Command::Version => storage::version(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            // One line, the cause last: what a person or a supervisor's log needs.
            eprintln!("milena: {error:#}");
            ExitCode::FAILURE
        }
    }
}
