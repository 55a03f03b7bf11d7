//! What many seeds came to, and the file in which runs of one commit are added up.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Context as _;
use milena_simulator::{Coverage, Ran};

/// Fewer seeds say nothing of how often something happens.
const ENOUGH_SEEDS: u64 = 300;

/// Sums over seeds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) seeds: u64,
    pub(crate) failures: u64,
    /// Seeds that were run twice, and those whose traces differed.
    pub(crate) replays: u64,
    pub(crate) different: u64,
    events: u64,
    simulated_ms: u64,
    /// Wall time by the number of threads.
    pub(crate) cpu_ms: u64,
    /// The seed after the last.
    pub(crate) next: u64,
    /// By counter: in how many seeds it was counted, and how often.
    coverage: BTreeMap<String, (u64, u64)>,
}

impl Figures {
    pub(crate) fn add(&mut self, ran: &Ran) {
        self.seeds += 1;
        self.failures += u64::from(ran.failure.is_some());
        self.events += ran.events;
        self.simulated_ms += u64::try_from(ran.simulated_ms).unwrap_or(0);
        for (name, count) in ran.coverage.iter().filter(|(_, count)| *count > 0) {
            let (seeds, times) = self.coverage.entry(name.to_owned()).or_default();
            *seeds += 1;
            *times += count;
        }
    }

    pub(crate) fn and(mut self, other: &Figures) -> Figures {
        self.seeds += other.seeds;
        self.failures += other.failures;
        self.replays += other.replays;
        self.different += other.different;
        self.events += other.events;
        self.simulated_ms += other.simulated_ms;
        self.cpu_ms += other.cpu_ms;
        self.next = self.next.max(other.next);
        for (name, (seeds, times)) in &other.coverage {
            let known = self.coverage.entry(name.clone()).or_default();
            known.0 += seeds;
            known.1 += times;
        }
        self
    }

    /// What was demanded and happened in fewer than one of a hundred seeds, once there are enough of them to say.
    pub(crate) fn too_rare(&self) -> Vec<&'static str> {
        if self.seeds < ENOUGH_SEEDS {
            return Vec::new();
        }
        let seen = |name: &str| self.coverage.get(name).map_or(0, |(seeds, _)| *seeds);
        Coverage::DEMANDED.into_iter().filter(|name| seen(name) * 100 < self.seeds).collect()
    }

    /// Reads what earlier runs wrote; nothing if there were none.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Figures> {
        let mut figures = Figures::default();
        let Ok(text) = std::fs::read_to_string(path) else { return Ok(figures) };
        for line in text.lines() {
            let mut words = line.split('\t');
            let name = words.next().unwrap_or_default();
            let mut number = || -> anyhow::Result<u64> { Ok(words.next().context("a number is missing")?.parse()?) };
            let first = number()?;
            match name {
                "seeds" => figures.seeds = first,
                "failures" => figures.failures = first,
                "replays" => figures.replays = first,
                "different" => figures.different = first,
                "events" => figures.events = first,
                "simulated_ms" => figures.simulated_ms = first,
                "cpu_ms" => figures.cpu_ms = first,
                "next" => figures.next = first,
                counter => _ = figures.coverage.insert(counter.to_owned(), (first, number()?)),
            }
        }
        Ok(figures)
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let singles = [
            ("seeds", self.seeds),
            ("failures", self.failures),
            ("replays", self.replays),
            ("different", self.different),
            ("events", self.events),
            ("simulated_ms", self.simulated_ms),
            ("cpu_ms", self.cpu_ms),
            ("next", self.next),
        ];
        let mut text: String = singles.iter().map(|(name, value)| format!("{name}\t{value}\n")).collect();
        text.extend(self.coverage.iter().map(|(name, (seeds, times))| format!("{name}\t{seeds}\t{times}\n")));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds = self.seeds.max(1);
        writeln!(
            f,
            "{} seeds to {}, {} failed; {} ms a seed, {} events a seed, {} h simulated; {} run twice, {} of them differed",
            self.seeds,
            self.next,
            self.failures,
            self.cpu_ms / seeds,
            self.events / seeds,
            self.simulated_ms / 3_600_000,
            self.replays,
            self.different,
        )?;
        for (name, (in_seeds, times)) in &self.coverage {
            #[expect(clippy::cast_precision_loss, reason = "a percentage for a person")]
            let percent = *in_seeds as f64 * 100.0 / seeds as f64;
            writeln!(f, "  {name}: in {percent:.1} % of the seeds, {times} in all")?;
        }
        Ok(())
    }
}
