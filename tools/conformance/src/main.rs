//! The conformance run: the same scripts on Milena and on Apache Kafka, compared; the clients of other languages; exchanged disks; kills.
//!
//! `milena-conformance run|kill|swap|kill-calls|fail-syncs|corrupt|full-disk|restart|abuse|bench-groups|bench-transactions|bench-cluster|bench-upkeep|chaos-groups|lab|lab-bank|lab-gaps [flags]`; each closes with `N passed, N failed[, N skipped]`. What
//! is needed (jars, clients) `cargo xtask setup` has put under `target/`; what is missing there is skipped by name, on CI it fails.
#![expect(clippy::print_stdout, reason = "a command-line tool speaks through its standard output")]

use std::process::ExitCode;

mod abuse;
mod abuse_consumers;
mod abuse_groups;
mod abuse_producers;
mod bench;
mod bombs;
mod chaos;
mod chaos_check;
mod chaos_log;
mod chaos_units;
mod chaos_watch;
mod clients;
mod cluster;
mod controller_questions;
mod controllers;
mod corrupt;
mod cpu;
mod damage;
mod data;
mod disks;
mod fail_syncs;
mod failover;
mod flags;
mod fourth;
mod full_disk;
mod group_clients;
mod injector;
mod kafka;
mod kill;
mod kill_calls;
mod lab;
mod lab_bank;
mod lab_bank_check;
mod lab_clients;
mod lab_faults;
mod lab_gaps;
mod layout;
mod ledger;
mod load;
mod matrix;
mod member_program;
mod members;
mod metrics;
mod mixed;
mod namespaces;
mod no_controller;
mod ports;
mod power;
mod presence;
mod probe;
mod process;
mod programs;
mod quorum;
mod random;
mod report;
mod restart;
mod scripts;
mod segment;
mod server;
mod swap;
mod swap_rolling;
mod text;
mod tools;
mod tour;
mod transactions;
mod wire;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(report) => report.close(),
        Err(error) => {
            println!("error: {error:#}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> anyhow::Result<report::Report> {
    let flags = flags::Flags::parse(args)?;
    let mut report = report::Report::default();
    match flags.task {
        flags::Task::Run => parts(&flags, &mut report)?,
        flags::Task::Kill => kill::run(&flags, &mut report)?,
        flags::Task::Swap => swap::run(&flags, &mut report)?,
        flags::Task::Abuse => abuse::run(&flags, &mut report)?,
        flags::Task::Corrupt => corrupt::run(&flags, &mut report)?,
        flags::Task::FailSyncs => fail_syncs::run(&flags, &mut report)?,
        flags::Task::KillCalls => kill_calls::run(&flags, &mut report)?,
        flags::Task::FullDisk => full_disk::run(&flags, &mut report)?,
        flags::Task::Restart => restart::run(&flags, &mut report)?,
        flags::Task::BenchGroups => bench::run(&flags, &mut report)?,
        flags::Task::Lab => lab::run(&flags, &mut report)?,
        flags::Task::LabBank => lab_bank::run(&flags, &mut report)?,
        flags::Task::LabGaps => lab_gaps::run(&flags, &mut report)?,
        flags::Task::ChaosGroups => chaos::run(&flags, &mut report)?,
        flags::Task::BenchTransactions => bench::transactions::run(&flags, &mut report)?,
        flags::Task::BenchCluster => bench::replicated::run(&flags, &mut report)?,
        flags::Task::BenchUpkeep => bench::upkeep::run(&flags, &mut report)?,
    }
    Ok(report)
}

/// A part of the conformance run: its name, whether it is run unless others are named, what it does.
type Part = (&'static str, bool, fn(&flags::Flags, &mut report::Report) -> anyhow::Result<()>);

const PARTS: [Part; 19] = [
    ("scripts", true, scripts::run),
    ("separate", true, scripts::run_separate),
    ("tools", true, tools::run),
    ("transactions", true, transactions::run),
    ("programs", false, programs::run),
    ("clients", true, matrix::run),
    ("members", true, group_clients::run),
    ("metrics", true, metrics::run),
    ("disks", true, disks::run),
    ("failover", true, failover::run),
    ("swap", true, swap::slice),
    ("mixed", true, mixed::run),
    ("cluster", true, cluster::run),
    ("damage", true, damage::run),
    ("tour", false, tour::run),
    ("fourth", false, fourth::run),
    ("no-controller", false, no_controller::run),
    ("elections", true, quorum::slice),
    ("quorum", false, quorum::run),
];

fn parts(flags: &flags::Flags, report: &mut report::Report) -> anyhow::Result<()> {
    for (name, is_default, run) in PARTS {
        if !flags.wants(name, is_default) {
            continue;
        }
        let begin = std::time::Instant::now();
        run(flags, report)?;
        println!("     part {name} took {:.1} s", begin.elapsed().as_secs_f64());
    }
    Ok(())
}
