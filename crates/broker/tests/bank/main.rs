//! A bank: transfers between accounts in different partitions, each a transaction, over the real transaction coordinator and
//! the real logs, from a seed. Messages are delayed, reordered, lost and repeated; clients die and others take over their
//! transactional ids; coordinators die with or without their last records, or go on beside the next one; brokers die, and with them
//! replicas of all partitions; leaders move; logs are opened again as after a crash.
//!
//! After healing, of each transfer both sides are there for a `read_committed` reader or none; what was told to be
//! committed is there, what was told to be aborted is not, nothing is there twice, and the sum over all accounts is what
//! it was. Meanwhile no reader sees what is not committed, and what it saw stays.
//!
//! `traces.rs` has the known faults of Kafka's protocol, each as a fixed sequence of messages.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

mod client;
mod coordinators;
mod history;
mod partition;
mod random;
mod traces;
mod world;

use world::{Planted, World};

/// Seeds of the ordinary run; `MILENA_SEEDS` runs more.
const SEEDS: u64 = 60;

fn seeds() -> u64 {
    std::env::var("MILENA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

#[test]
fn the_sum_of_all_accounts_never_changes() {
    let (mut committed, mut aborted, mut unknown) = (0, 0, 0);
    for seed in 0..seeds() {
        let outcome = World::run(seed, None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        committed += outcome.committed;
        aborted += outcome.aborted;
        unknown += outcome.unknown;
    }
    assert!(committed > 10 * seeds() && aborted > seeds(), "{committed} committed, {aborted} aborted");
    println!("{committed} committed, {aborted} aborted, {unknown} unknown");
}

#[test]
fn a_run_is_the_same_each_time() {
    assert_eq!(World::run(7, None), World::run(7, None));
}

/// Each mistake is found within these seeds.
#[test]
fn the_bank_notices_planted_mistakes() {
    for planted in Planted::ALL {
        let found = (0..400).find(|seed| World::run(*seed, Some(planted)).is_err());
        assert!(found.is_some(), "{planted:?} is not noticed");
    }
}

#[test]
fn a_seed_to_look_at() {
    World::run(1, None).unwrap();
}
