//! Groups of both kinds simulated from a seed: the real runtime and the real groups on a log that replicas share, members as
//! client libraries are, a network, disks that are slow or refuse, coordinators that crash or are deposed, topics that come,
//! grow and go. The invariants are in `checks`, one file each; what is planted to see that they see is in `mistakes`.
//!
//! `cargo xtask sim groups` runs many seeds; a seed that failed is a constant of `REGRESSIONS`.
#![expect(clippy::print_stdout, reason = "a campaign tells what it covered")]

mod checks;
mod classic;
mod cluster;
mod consumer;
mod coordination;
mod host;
mod log;
mod member;
mod members;
mod mistakes;
mod outside;
mod random;
mod reader;
mod shape;
mod trouble;
mod wire;
mod world;

use std::time::Instant;

use mistakes::{Mistake, plant};
use world::{Coverage, World};

/// How many seeds every test run sees.
const SLICE: u64 = 300;

/// Seeds that have failed once.
const REGRESSIONS: [u64; 8] = [290, 1410, 1451, 2858, 2995, 3235, 3489, 5441];

/// How a seed ended.
struct Ended {
    fault: Option<String>,
    coverage: Coverage,
    trace: u64,
    story: Option<Vec<String>>,
}

fn run(seed: u64, mistake: Option<Mistake>, tells: bool) -> Ended {
    plant(mistake);
    let mut world = World::new(seed, tells);
    let fault = world.run().err();
    plant(None);
    Ended { fault, coverage: world.coverage, trace: world.trace, story: world.story }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn add(all: &mut Coverage, more: Coverage) {
    for (what, count) in more {
        *all.entry(what).or_default() += count;
    }
}

/// What every slice must have seen.
const MUST_SEE: [&str; 12] = [
    "healed",
    "coordinator crashes",
    "leaderships lost without a word",
    "elections that lost records",
    "loads with records that are not committed",
    "appends that failed",
    "requests lost",
    "pauses longer than a session",
    "topics deleted",
    "topics grown",
    "replays",
    "compactions",
];

fn campaign(from: u64, count: u64) {
    let mut coverage = Coverage::new();
    let begin = Instant::now();
    let mut failed = Vec::new();
    for seed in from..from + count {
        let ended = run(seed, None, false);
        add(&mut coverage, ended.coverage);
        if let Some(fault) = ended.fault {
            println!("seed {seed} failed: {fault}\n  again: cargo xtask sim groups --from {seed} --seeds 1 --story");
            failed.push(seed);
        }
    }
    let took = begin.elapsed();
    for (what, count) in &coverage {
        println!("{count:>12} {what}");
    }
    let each = took.as_secs_f64() * 1e3 / count.max(1) as f64;
    println!("{count} seeds in {:.1} s, {each:.1} ms each, {} failed {failed:?}", took.as_secs_f64(), failed.len());
    assert!(failed.is_empty(), "seeds {failed:?} failed");
    if count >= 60 {
        let unseen: Vec<&&str> = MUST_SEE.iter().filter(|what| !coverage.contains_key(**what)).collect();
        assert!(unseen.is_empty(), "the seeds did not see {unseen:?}");
    }
}

#[test]
fn groups_keep_their_promises_whatever_happens() {
    match number("MILENA_SIM_SEEDS") {
        Some(count) => campaign(number("MILENA_SIM_FROM").unwrap_or(0), count),
        None => campaign(0, SLICE / 2),
    }
}

#[test]
fn groups_keep_their_promises_in_other_worlds() {
    if number("MILENA_SIM_SEEDS").is_none() {
        campaign(SLICE / 2, SLICE / 2);
    }
}

#[test]
fn seeds_that_failed_once_do_not_fail_again() {
    for seed in REGRESSIONS {
        assert_eq!(run(seed, None, false).fault, None, "seed {seed}");
    }
}

#[test]
fn a_seed_tells_one_story() {
    for seed in 0..3 {
        assert_eq!(run(seed, None, false).trace, run(seed, None, true).trace);
    }
}

#[test]
fn every_planted_mistake_is_found() {
    for mistake in Mistake::ALL {
        let found = (0..400).find_map(|seed| Some((seed, run(seed, Some(mistake), false).fault?)));
        let Some((seed, fault)) = found else { panic!("nothing found {mistake:?}") };
        let fault: String = fault.chars().take(160).collect();
        println!("{mistake:?}: seed {seed}: {fault}");
    }
}

/// Tells the story of the seed of `MILENA_SIM_STORY`.
#[test]
fn one_seed() {
    let Some(seed) = number("MILENA_SIM_STORY") else { return };
    let ended = run(seed, None, true);
    for line in ended.story.into_iter().flatten() {
        println!("{line}");
    }
    assert_eq!(ended.fault, None);
}
