//! `milena-simulator`: runs seeds, one or many, with mistakes planted or without.
//!
//! `--seeds N` how many (300), `--from S` the first (0), `--jobs N` how many at once, `--record FILE` adds the figures up
//! over runs and goes on where the last one ended, `--one SEED` tells what happens in one, `--history SEED` prints its
//! operations, `--planted` looks for every planted mistake, `--mistake NAME` plants one in all of them.
#![expect(clippy::print_stdout, reason = "a command-line tool speaks through its standard output")]

mod campaign;
mod figures;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use milena_simulator::{Planted, run};

use campaign::Campaign;

/// Seeds in which a planted mistake must be found.
const PLANTED_SEEDS: u64 = 2000;

fn main() -> ExitCode {
    match start() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was wrong.
fn start() -> anyhow::Result<bool> {
    let mut campaign = Campaign::default();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--seeds" => campaign.seeds = value()?.parse()?,
            "--from" => campaign.from = Some(value()?.parse()?),
            "--jobs" => campaign.jobs = value()?.parse()?,
            "--record" => campaign.record = Some(value()?.into()),
            "--one" => return Ok(one(value()?.parse()?)),
            "--history" => return Ok(history(value()?.parse()?)),
            "--mistake" => campaign.mistake = Some(mistake(&value()?)?),
            "--planted" => return Ok(planted(&campaign)),
            other => bail!("no flag is named {other}"),
        }
    }
    campaign.run()
}

fn mistake(name: &str) -> anyhow::Result<Planted> {
    let named = Planted::ALL.into_iter().find(|planted| format!("{planted:?}") == name);
    named.with_context(|| format!("no mistake is named {name}"))
}

fn one(seed: u64) -> bool {
    let ran = run(seed, None, true);
    let again = run(seed, None, false);
    println!("seed {seed}: {} events, trace {:016x}, again {:016x}", ran.events, ran.trace, again.trace);
    println!("{}", ran.failure.as_deref().unwrap_or("nothing was wrong"));
    ran.failure.is_none() && ran.trace == again.trace
}

fn history(seed: u64) -> bool {
    let ran = run(seed, None, false);
    ran.history.iter().for_each(|operation| println!("{operation}"));
    ran.failure.is_none()
}

/// Every mistake must be found by some seed.
fn planted(campaign: &Campaign) -> bool {
    std::panic::set_hook(Box::new(|_| {}));
    let (mut found, mut missed) = (0, 0);
    for planted in Planted::ALL {
        let seeds = Campaign { seeds: PLANTED_SEEDS, mistake: Some(planted), ..campaign.clone() };
        match seeds.first_failure() {
            Some((seed, failure)) => {
                found += 1;
                println!("{planted:?}: seed {seed}: {failure}");
            }
            None => {
                missed += 1;
                println!("{planted:?}: NOT FOUND in {PLANTED_SEEDS} seeds");
            }
        }
    }
    println!("{found} passed, {missed} failed");
    missed == 0
}
