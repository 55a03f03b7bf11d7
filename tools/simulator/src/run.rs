//! One seed from beginning to end.

use std::panic::AssertUnwindSafe;

use crate::coverage::Coverage;
use crate::history::Operation;
use crate::planted::Planted;
use crate::world::World;

/// What became of a seed.
pub struct Ran {
    pub seed: u64,
    /// What was wrong, if anything was.
    pub failure: Option<String>,
    pub coverage: Coverage,
    /// A hash over everything that happened.
    pub trace: u64,
    pub events: u64,
    /// Simulated time, milliseconds.
    pub simulated_ms: i64,
    pub history: Vec<Operation>,
}

/// Runs a seed, with a mistake planted or without; `tell` prints what happens.
#[must_use]
pub fn run(seed: u64, planted: Option<Planted>, tell: bool) -> Ran {
    let mut world = World::new(seed, planted, tell);
    world.tell(|| format!("{:?}", world.draw));
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| world.run()));
    let failure = match outcome {
        Ok(outcome) => outcome.err(),
        Err(cause) => {
            let text = cause.downcast_ref::<String>().cloned();
            let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("at {} ms: panic: {}", world.now, text.unwrap_or_default()))
        }
    };
    Ran {
        seed,
        failure,
        trace: world.trace,
        events: world.events_done,
        simulated_ms: world.now,
        history: std::mem::take(&mut world.history),
        coverage: world.coverage,
    }
}
