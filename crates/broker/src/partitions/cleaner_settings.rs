//! What of the broker's configuration compaction obeys, as it is now: all of it may change while the broker runs
//! (`CleanerConfig`). And the throttle its threads share (`Throttler`).

use super::settings::broker_texts;
use crate::broker::Broker;
use milena_storage::CleanerLimits;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Rates above are no limit.
const UNLIMITED_FROM: f64 = 1e15;

/// The longest sleep before a thread looks whether it is to end.
const SLEEP_MAX: Duration = Duration::from_millis(200);

/// The settings of one cleaner thread.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct CleanerSettings {
    /// `log.cleaner.enable`.
    pub(super) is_enabled: bool,
    /// `log.cleaner.threads`.
    pub(super) threads: usize,
    /// `log.cleaner.backoff.ms`.
    pub(super) backoff_ms: u64,
    /// `log.cleaner.io.max.bytes.per.second`, of all threads.
    pub(super) bytes_per_second: f64,
    /// One thread's part of the buffers.
    pub(super) limits: CleanerLimits,
}

impl CleanerSettings {
    /// As the file and the cluster's dynamic configuration say.
    pub(super) fn of(broker: &Broker) -> Self {
        Self::parse(&broker_texts(&broker.settings, &broker.image()))
    }

    fn parse(texts: &BTreeMap<String, String>) -> Self {
        let text = |key: &str| texts.get(key).map(|text| text.trim());
        let number = |key: &str, default: f64| text(key).and_then(|text| text.parse().ok()).unwrap_or(default);
        let threads = number("log.cleaner.threads", 1.0) as usize;
        let share = threads.max(1);
        Self {
            is_enabled: text("log.cleaner.enable") != Some("false"),
            threads,
            backoff_ms: number("log.cleaner.backoff.ms", 15_000.0) as u64,
            bytes_per_second: number("log.cleaner.io.max.bytes.per.second", f64::MAX),
            limits: CleanerLimits {
                map_bytes: number("log.cleaner.dedupe.buffer.size", 134_217_728.0) as u64 / share as u64,
                load_factor: number("log.cleaner.io.buffer.load.factor", 0.9),
                // Half of it is for reading.
                buffer_bytes: number("log.cleaner.io.buffer.size", 524_288.0) as usize / share / 2,
            },
        }
    }
}

/// Slows threads down to a rate together.
#[derive(Default)]
pub(super) struct Throttle {
    /// When what was let through so far would have passed at the rate.
    free_at: Mutex<Option<Instant>>,
}

impl Throttle {
    /// Lets `bytes` through; sleeps as long as they are early.
    pub(super) fn pass(&self, bytes: u64, bytes_per_second: f64, stopping: &AtomicBool) {
        if bytes_per_second >= UNLIMITED_FROM {
            return;
        }
        let takes =
            Duration::try_from_secs_f64(bytes as f64 / bytes_per_second.max(1.0)).unwrap_or(Duration::from_secs(3600));
        let until = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let until = free_at.map_or(now, |free_at| free_at.max(now)) + takes;
            *free_at = Some(until);
            until
        };
        while !stopping.load(Ordering::Relaxed) {
            let early = until.saturating_duration_since(Instant::now());
            if early.is_zero() {
                return;
            }
            std::thread::sleep(early.min(SLEEP_MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_kafkas_and_threads_share_the_buffers() {
        let settings = CleanerSettings::parse(&BTreeMap::new());
        assert!(settings.is_enabled && settings.threads == 1 && settings.backoff_ms == 15_000);
        assert_eq!(settings.limits.map_bytes, 128 << 20);
        let texts = [
            ("log.cleaner.threads", "4"),
            ("log.cleaner.io.max.bytes.per.second", "1048576"),
            ("log.cleaner.enable", "false"),
        ];
        let texts = texts.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let settings = CleanerSettings::parse(&texts);
        assert!(!settings.is_enabled && settings.threads == 4);
        assert_eq!((settings.limits.map_bytes, settings.limits.buffer_bytes), (32 << 20, 64 << 10));
        assert!((settings.bytes_per_second - 1_048_576.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_throttle_spreads_bytes_over_time_and_ends_with_the_broker() {
        let (throttle, stopping) = (Throttle::default(), AtomicBool::new(false));
        let began = Instant::now();
        for _ in 0..10 {
            throttle.pass(1000, 100_000.0, &stopping);
        }
        assert!(began.elapsed() >= Duration::from_millis(99));
        stopping.store(true, Ordering::Relaxed);
        throttle.pass(u64::MAX, 1.0, &stopping);
    }
}
