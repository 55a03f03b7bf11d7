//! Runs of seeds: that none fails, that a seed replays, that the runs reach what they are meant to reach, and that each
//! planted bug is found.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::checker::Coverage;
use super::world::{Bug, World};
use crate::planted::Plant;

/// How many seeds a plain `cargo test` runs.
const SEEDS: u64 = 60;

/// How many seeds may pass until a planted bug is found.
const SEEDS_TO_FIND: u64 = 2000;

fn play(seed: u64, bug: Option<Bug>) -> Result<(Coverage, u64), String> {
    catch_unwind(AssertUnwindSafe(|| World::new(seed, bug).play())).map_err(|failure| {
        let text = failure.downcast_ref::<String>().cloned();
        text.or_else(|| failure.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

fn wanted() -> Range<u64> {
    let text = std::env::var("MILENA_RAFT_SEEDS").unwrap_or_default();
    let parsed = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed.unwrap_or(0..SEEDS)
}

#[test]
fn no_seed_breaks_an_invariant_or_fails_to_heal() {
    let (mut sum, mut seen) = (Coverage::default(), [0_u64; 6]);
    let mut failed = Vec::new();
    for seed in wanted() {
        match play(seed, None) {
            Ok((run, _)) => {
                let counts = [
                    run.elections,
                    run.truncations,
                    run.snapshot_loads,
                    run.voter_changes,
                    run.crashes,
                    run.lost_tails,
                ];
                seen.iter_mut().zip(counts).for_each(|(seen, count)| *seen += u64::from(count > 0));
                sum.elections += run.elections;
                sum.commits += run.commits;
            }
            Err(why) => failed.push(format!("MILENA_RAFT_SEEDS={seed}..{}: {why}", seed + 1)),
        }
    }
    assert!(failed.is_empty(), "{} seeds failed:\n{}", failed.len(), failed.join("\n"));
    let seeds = wanted().end - wanted().start;
    let [elections, truncations, loads, changes, crashes, tails] = seen;
    eprintln!(
        "{seeds} seeds {:?}; of them with elections {elections}, truncations {truncations}, snapshot loads {loads}, voter \
         changes {changes}, crashes {crashes}, lost tails {tails}; {} elections and {} commits in all",
        wanted(),
        sum.elections,
        sum.commits
    );
    if seeds >= SEEDS {
        assert!(seen.iter().all(|seen| seen * 100 >= seeds), "the runs do not reach everything: {seen:?}");
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 17] {
        assert_eq!(play(seed, None), play(seed, None), "seed {seed}");
    }
}

fn found(bug: Bug) {
    for seed in 0..SEEDS_TO_FIND {
        if let Err(why) = play(seed, Some(bug)) {
            eprintln!("{bug:?} found by seed {seed}: {}", why.lines().next().unwrap_or_default());
            return;
        }
    }
    panic!("{bug:?} was not found in {SEEDS_TO_FIND} seeds");
}

macro_rules! planted_bugs {
    ($($name:ident: $bug:expr;)*) => {
        $(#[test] fn $name() { found($bug); })*
    };
}

planted_bugs! {
    a_vote_for_a_log_that_is_behind_is_found: Bug::Core(Plant::VoteWithoutLogCheck);
    a_second_vote_is_found: Bug::Core(Plant::VoteTwice);
    a_vote_forgotten_by_a_restart_is_found: Bug::Core(Plant::ForgetVoteOnRestart);
    a_count_of_what_is_not_synced_is_found: Bug::Core(Plant::CountUnflushed);
    a_commit_of_an_old_epoch_by_counting_is_found: Bug::Core(Plant::CommitOldEpochByCount);
    a_truncation_left_out_is_found: Bug::Core(Plant::SkipTruncation);
    a_leader_that_forgets_it_led_is_found: Bug::Core(Plant::LeaderForgetsItLed);
    a_stale_fetch_answer_taken_is_found: Bug::Core(Plant::TakeStaleFetchAnswer);
    a_leader_that_nobody_hears_is_found: Bug::Core(Plant::NoCheckQuorum);
    two_changes_of_voters_at_once_are_found: Bug::Core(Plant::ChangeVotersUncommitted);
    voters_kept_after_a_truncation_are_found: Bug::Core(Plant::KeepVotersAfterTruncation);
    a_high_watermark_past_the_end_is_found: Bug::Core(Plant::HighWatermarkPastEnd);
    half_taken_for_a_majority_is_found: Bug::Core(Plant::HalfIsMajority);
    a_directory_that_is_ignored_is_found: Bug::Core(Plant::IgnoreDirectory);
    a_fetch_before_the_sync_is_found: Bug::FollowerFetchesBeforeSync;
    a_quorum_state_that_is_not_synced_is_found: Bug::QuorumStateUnsynced;
    an_answer_before_its_effects_is_found: Bug::AnswerBeforeEffects;
}
