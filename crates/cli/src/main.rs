//! The `milena` binary: starts a node, the commands of Kafka's storage tool, and the doctor.

mod args;
mod doctor;
mod logging;
mod start;
mod storage;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keep_pages_small();
    let command = match args::Arguments::try_parse() {
        Ok(arguments) => arguments.command.unwrap_or_default(),
        Err(error) => {
            // What was asked for (help, version) goes to standard output; a mistake to standard error, with the exit
            // code of Kafka's tools.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let done = match command {
        args::Command::Start(start) => start::start(&start),
        args::Command::Format(format) => storage::format(&format),
        args::Command::Info(info) => storage::info(&info),
        args::Command::Doctor(doctor) => doctor::doctor(&doctor),
        args::Command::RandomUuid => storage::random_uuid(),
        args::Command::VersionMapping { release_version } => storage::version_mapping(release_version.as_deref()),
        args::Command::FeatureDependencies { feature } => storage::feature_dependencies(&feature),
        args::Command::Version => storage::version(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("milena: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// Asks the kernel for pages of 4 KiB only. The allocator marks its arenas for pages of 2 MiB, of which an idle node
/// touches a corner each: 8 MiB of resident memory for 1.5 MiB of objects. Where the kernel refuses, memory is all it costs.
fn keep_pages_small() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// The error and its causes in one line, the last cause last: what a person or a supervisor's log needs. A cause that is
/// part of the text before it is not said twice.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cause_is_said_twice() {
        let cause = std::io::Error::other("no space left");
        let error = anyhow::Error::new(cause).context("cannot write x: no space left").context("cannot start");
        assert_eq!(one_line(&error), "cannot start: cannot write x: no space left");
    }
}
