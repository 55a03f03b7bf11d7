//! The project's one tool: `cargo xtask <task>`.
//!
//! Every check a machine can make of this repository is a task here, so that a developer, a hook and CI run the same thing.
//! A task prints for people; the last line of `test` is for machines: `N passed, N failed`.
#![expect(clippy::print_stdout, reason = "a command-line tool speaks through its standard output")]

use std::process::ExitCode;

mod bench;
mod conformance;
mod failures;
mod fuzz;
mod layers;
mod oracle;
mod process;
mod schemas;
mod setup;
mod sim;
mod sim_groups;
mod source;
mod steps;
mod test;
mod tidy;

const USAGE: &str = "usage: cargo xtask <task>

  test                    everything CI runs; closes with `N passed, N failed`
  tidy [--shrink]         rules of docs/STYLE.md a machine can hold; --shrink lowers the ratchet
  layers                  who may depend on whom
  conformance [flags]     the same scripts on Milena and on Apache Kafka (see docs/TESTING.md)
  kill [--rounds N] [--power-cut]  kill -9 under load, restart, verify (default 200)
  kill-calls [--rounds N]  kill before the nth system call that changes a file, restart, verify (default 500)
  fail-syncs [--rounds N]  a sync of one log directory fails; nothing is acknowledged there any more (default 200)
  corrupt [--rounds N]    damage a file, start, read everything (default 1000)
  full-disk [--cycles N]  a tmpfs is filled and emptied; nothing lost, taken again within 5 s (default 50)
  swap [--rounds N] [--seed N] [--versions A,B]  Apache Kafka and Milena in turn on one directory (default 20)
  gigabyte [--gigabytes N]  real files through every client and back (default 1.2)
  lab [--runs N] [--seconds N] [--server milena|kafka|mixed] [--seed N]  clusters in network namespaces, under faults (root)
  lab bank [--runs N] [--seconds N] [--server NAME] [--seed N]  transfers in transactions there, clients killed as well (root)
  lab gaps [--runs N]     how long nothing is acknowledged when a leader is killed or stopped, beside Apache Kafka (root)
  chaos groups [--minutes N] [--members N] [--brokers 3] [--seed N]  members of groups killed, stopped, coming and going
  restart [--partitions N] [--gigabytes N]  kill -9 with much data, and how long until it is served (default 2000, 10)
  abuse [flags]           hostile peers: memory, answers, and another client's latency meanwhile
  fuzz [--seconds N] [--target NAME] [--input FILE]  libFuzzer on frames, headers, requests, responses, batches (default 60 s each)
  bench groups [--rounds N]  large groups and offset commits, beside Apache Kafka
  bench transactions [--rounds N]  transactions a second, beside Apache Kafka
  bench cluster [--rounds N]  three replicas, beside three nodes of Apache Kafka
  bench upkeep [--seconds N]  a load with retention and compaction at work, and without
  bench [--side-by-side PATH] [flags]  drive an external side-by-side benchmark
  oracle compaction [--logs N] [--seed N]  random logs cleaned by Kafka's cleaner and by ours (default 1000)
  oracle cleaner [--megabytes N] [--rounds N] [--codec C]  how long Kafka's cleaner and ours take (default 1000, 3, none)
  sim groups [--seeds N] [--from S] [--story]  the group coordinator simulated from seeds (default 10000)
  sim [--seeds N] [--from S] [--one S] [--planted]  a whole cluster on one thread from seeds, under faults
  schemas [--check]       import the message schemas from Kafka's jars, or compare with them
  setup                   install what the tests need (jars, clients) under target/
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let outcome = match task.as_str() {
        "test" => return test::run(&rest),
        "tidy" => tidy::run(&rest),
        "layers" => layers::run(),
        "conformance" => conformance::run(&rest),
        "kill" => conformance::kill(&rest),
        "kill-calls" | "fail-syncs" | "corrupt" => conformance::faults(&task, &rest),
        "full-disk" => conformance::full_disk(&rest),
        "swap" => conformance::swap(&rest),
        "gigabyte" => conformance::gigabyte(&rest),
        "lab" => conformance::lab(&rest),
        "chaos" => conformance::chaos(&rest),
        "abuse" => conformance::abuse(&rest),
        "restart" => conformance::restart(&rest),
        "oracle" => oracle::run(&rest),
        "bench" => bench::run(&rest),
        "fuzz" => fuzz::run(&rest),
        "sim" => match rest.split_first() {
            Some((what, flags)) if what == "groups" => sim_groups::run(flags),
            _ => sim::run(&rest),
        },
        "setup" => setup::run(),
        "schemas" => schemas::run(&rest),
        "" | "help" | "--help" | "-h" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        other => Err(anyhow::anyhow!("no task named {other}\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
