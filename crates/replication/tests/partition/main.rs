//! One partition over three replicas on one thread, from a seed: the real cores, a small controller, a network that delays and
//! drops, kills, power cuts, fencing, clients. Checked after every step: nobody leads without what was acknowledged, high
//! watermarks neither fall nor tell different records, nothing below one is cut off. Then mistakes are planted, and each
//! must be found.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail by panicking")]

mod controller;
mod log;
mod node;
mod random;
mod world;

use world::{Mistake, World};

const STEPS: u32 = 3_000;

fn run(seed: u64, mistake: Option<Mistake>) -> Result<world::Coverage, String> {
    let mut world = World::new(seed, mistake);
    for _ in 0..STEPS {
        world.step()?;
    }
    world.heal()?;
    Ok(world.coverage)
}

#[test]
fn nothing_acknowledged_is_lost_and_replicas_end_up_the_same() {
    let mut total = world::Coverage::default();
    for seed in 0..300 {
        match run(seed, None) {
            Ok(coverage) => total.add(&coverage),
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    println!("{total:?}");
    assert!(total.acknowledged > 5_000, "{total:?}");
    for count in [total.elections, total.truncations, total.shrinks, total.expansions, total.power_cuts, total.kills] {
        assert!(count > 100, "{total:?}");
    }
}

#[test]
fn every_planted_mistake_is_found() {
    for mistake in Mistake::ALL {
        let found = (0..600).find_map(|seed| run(seed, Some(mistake)).err().map(|error| (seed, error)));
        let (seed, error) = found.unwrap_or_else(|| panic!("{mistake:?} was not found"));
        println!("{mistake:?}: seed {seed}: {error}");
    }
}
