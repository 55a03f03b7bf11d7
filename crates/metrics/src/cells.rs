//! What is counted while the broker works: plain relaxed additions, no lock and no allocation. Cells that many threads
//! touch are there once for a few threads each (`PerThread`) and added up when somebody looks.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// What was added so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The upper bounds of a histogram's buckets in milliseconds; what is longer is in one more.
pub(crate) const BOUNDS_MS: [f64; 16] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 10_000.0, 30_000.0];

/// The same in microseconds.
const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000, 30_000_000,
];

const BUCKETS: usize = BOUNDS_US.len() + 1;

/// How long things took.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
    max_us: AtomicU64,
}

impl Histogram {
    /// One more that took this long.
    pub fn record(&self, took: Duration) {
        self.record_many(took, 1);
    }

    /// As many that took this long each.
    pub fn record_many(&self, took: Duration, count: u64) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(count, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us.saturating_mul(count), Ordering::Relaxed);
        if us > self.max_us.load(Ordering::Relaxed) {
            self.max_us.fetch_max(us, Ordering::Relaxed);
        }
    }

    /// What it holds now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        counts.add(self);
        counts
    }
}

/// What a histogram held when somebody looked, or several together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    buckets: [u64; BUCKETS],
    sum_us: u64,
    max_us: u64,
}

impl Counts {
    /// Adds what `histogram` holds.
    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        self.sum_us += histogram.sum_us.load(Ordering::Relaxed);
        self.max_us = self.max_us.max(histogram.max_us.load(Ordering::Relaxed));
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How long all took together, milliseconds.
    #[must_use]
    pub fn sum_ms(&self) -> f64 {
        Duration::from_micros(self.sum_us).as_secs_f64() * 1000.0
    }

    /// The longest, milliseconds.
    #[must_use]
    pub fn max_ms(&self) -> f64 {
        Duration::from_micros(self.max_us).as_secs_f64() * 1000.0
    }

    /// Bounds and what lies below each and above the one before.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS_MS.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.buckets).collect()
    }
}

/// Says how long something took, if that is wanted: where nobody looks, time is not asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stopwatch(Option<Instant>);

impl Stopwatch {
    /// Begins now if `is_wanted`.
    #[must_use]
    pub fn start_if(is_wanted: bool) -> Self {
        Self(is_wanted.then(Instant::now))
    }

    /// The time since it began; `None` if nobody wants to know.
    #[must_use]
    pub fn elapsed(&self) -> Option<Duration> {
        self.0.map(|began| began.elapsed())
    }
}

/// How many copies there are.
const COPIES: usize = 8;

/// Cells that threads do not take from each other: each thread has one of a few copies, for as long as it lives.
#[derive(Debug, Default)]
pub struct PerThread<T> {
    copies: [Aligned<T>; COPIES],
}

/// On cache lines of its own; two, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Aligned<T>(T);

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COPY: usize = THREADS.fetch_add(1, Ordering::Relaxed) % COPIES;
}

impl<T> PerThread<T> {
    /// This thread's copy.
    #[must_use]
    pub fn mine(&self) -> &T {
        let at = COPY.with(|copy| *copy);
        match self.copies.get(at) {
            Some(Aligned(cells)) => cells,
            // `at` is below the number of copies.
            None => unreachable!("a thread's copy is one of those there are"),
        }
    }

    /// All copies, to be added up.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.copies.iter().map(|copy| &copy.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_as_long_as_a_bound_is_below_it() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_micros(100));
        histogram.record(Duration::from_micros(101));
        histogram.record_many(Duration::from_secs(60), 2);
        let counts = histogram.counts();
        assert_eq!(counts.count(), 4);
        assert_eq!(counts.max_ms(), 60_000.0);
        assert!((counts.sum_ms() - 120_000.201).abs() < 0.001);
        let filled: Vec<(f64, u64)> = counts.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.1, 1), (0.25, 1), (f64::INFINITY, 2)]);
    }

    #[test]
    fn bounds_are_the_same_in_both_units_and_ascend() {
        for (ms, us) in BOUNDS_MS.iter().zip(BOUNDS_US) {
            assert!((ms * 1000.0 - us as f64).abs() < 0.001);
        }
        assert!(BOUNDS_US.is_sorted());
    }

    #[test]
    fn what_threads_count_is_there_when_they_are_gone() {
        let cells: PerThread<Counter> = PerThread::default();
        std::thread::scope(|scope| {
            for _ in 0..3 * COPIES {
                scope.spawn(|| (0..1000).for_each(|_| cells.mine().add(1)));
            }
        });
        assert_eq!(cells.all().map(Counter::get).sum::<u64>(), 3 * COPIES as u64 * 1000);
    }

    #[test]
    fn nobody_asks_for_the_time_where_nobody_looks() {
        assert_eq!(Stopwatch::start_if(false).elapsed(), None);
        assert!(Stopwatch::start_if(true).elapsed().is_some());
    }
}
