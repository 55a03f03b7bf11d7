//! How far the exploration goes in a plain test run and on demand, and the proof that it sees.

use super::exploration::{Bounds, explore};
use crate::planted::Plant;

fn bounds(plant: Option<Plant>) -> Bounds {
    let states = std::env::var("MILENA_RAFT_STATES").ok().and_then(|text| text.parse().ok());
    let states = states.unwrap_or(20_000);
    Bounds { states, epochs: 2, records: 1, crashes: 1, timeouts: 4, messages: 3, plant }
}

#[test]
fn no_state_within_bounds_breaks_an_invariant() {
    let (states, whole) = explore(bounds(None));
    eprintln!("{states} states{}", if whole { ", all there are within the bounds" } else { "" });
    assert!(states >= 20_000 || whole);
}

/// The exploration sees: a bug that two votes in one epoch can bring to light is met within few states.
#[test]
fn a_second_vote_is_met_by_the_exploration() {
    let bounds = Bounds { states: 150_000, ..bounds(Some(Plant::VoteTwice)) };
    let met = std::panic::catch_unwind(|| explore(bounds)).is_err();
    assert!(met, "two leaders in one epoch are within the bounds");
}
