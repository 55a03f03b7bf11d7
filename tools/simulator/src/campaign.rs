//! Many seeds on a few threads: failures as they come, figures at the end.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use milena_simulator::{Planted, run};

use crate::figures::Figures;

/// One seed in so many is run twice: both must leave the same trace.
const REPLAYED: u64 = 50;

/// What is to be run.
#[derive(Clone, Debug)]
pub(crate) struct Campaign {
    pub(crate) seeds: u64,
    /// Where to begin; where the record ends, if it is not said.
    pub(crate) from: Option<u64>,
    pub(crate) jobs: usize,
    pub(crate) record: Option<PathBuf>,
    pub(crate) mistake: Option<Planted>,
}

impl Default for Campaign {
    fn default() -> Self {
        let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Campaign { seeds: 300, from: None, jobs, record: None, mistake: None }
    }
}

impl Campaign {
    /// Runs all; whether nothing was wrong.
    pub(crate) fn run(&self) -> anyhow::Result<bool> {
        let before = self.record.as_deref().map_or(Ok(Figures::default()), Figures::read)?;
        let from = self.from.unwrap_or(before.next);
        let begun = Instant::now();
        let total = Mutex::new(Figures::default());
        self.each(from, |seed| {
            let ran = run(seed, self.mistake, false);
            let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(failure) = &ran.failure {
                println!("seed {seed}: {failure}");
            }
            if seed % REPLAYED == 0 {
                let again = run(seed, self.mistake, false);
                total.replays += 1;
                if again.trace != ran.trace {
                    println!("seed {seed}: {:016x} at first, {:016x} again", ran.trace, again.trace);
                    total.different += 1;
                }
            }
            total.add(&ran);
            true
        });
        let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
        total.next = from + self.seeds;
        total.cpu_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(0) * self.jobs as u64;
        let all = before.and(&total);
        if let Some(path) = &self.record {
            all.write(path)?;
        }
        println!("{all}");
        // A simulation in which something hardly ever happens proves nothing of it.
        let rare = if self.mistake.is_some() { Vec::new() } else { all.too_rare() };
        rare.iter().for_each(|name| println!("too few seeds: {name}"));
        let failed = total.failures + total.different + rare.len() as u64;
        println!("{} passed, {failed} failed", total.seeds - total.failures);
        Ok(failed == 0)
    }

    /// The first seed that fails, and how.
    pub(crate) fn first_failure(&self) -> Option<(u64, String)> {
        let found: Mutex<Option<(u64, String)>> = Mutex::new(None);
        self.each(self.from.unwrap_or(0), |seed| {
            let failure = run(seed, self.mistake, false).failure;
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(failure) = failure
                && found.as_ref().is_none_or(|(known, _)| seed < *known)
            {
                *found = Some((seed, failure));
            }
            found.is_none()
        });
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with every seed until it says that this is enough.
    fn each(&self, from: u64, act: impl Fn(u64) -> bool + Sync) {
        let next = AtomicU64::new(from);
        let end = from + self.seeds;
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= end {
                            break;
                        }
                        if !act(seed) {
                            next.store(end, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
    }
}
