//! How fast replication may go (KIP-73): the rate over a sliding window against a bound (`ReplicationQuotaManager`,
//! `SimpleRate`). Bytes count when they were sent or came; whoever asks waits while the rate is above the bound.

use std::collections::VecDeque;

use milena_types::Timestamp;

/// A bound in bytes per second, and what went lately.
#[derive(Clone, Debug)]
pub struct Throttle {
    window_ms: i64,
    windows: i64,
    bytes_per_second_max: f64,
    /// When each window began, and its bytes.
    samples: VecDeque<(i64, u64)>,
}

impl Throttle {
    /// No bound yet. `replication.quota.window.num` windows of `replication.quota.window.size.seconds`.
    #[must_use]
    pub fn new(windows: i32, window_seconds: i32) -> Throttle {
        Throttle {
            window_ms: i64::from(window_seconds.max(1)) * 1000,
            windows: i64::from(windows.max(1)),
            bytes_per_second_max: f64::INFINITY,
            samples: VecDeque::new(),
        }
    }

    /// Changes the bound; `None` lifts it.
    pub fn set_rate(&mut self, bytes_per_second_max: Option<i64>) {
        self.bytes_per_second_max = bytes_per_second_max.map_or(f64::INFINITY, |rate| rate as f64);
    }

    /// So many bytes went.
    pub fn record(&mut self, bytes: u64, now: Timestamp) {
        self.forget(now);
        match self.samples.back_mut() {
            Some((began, sum)) if now.0 - *began < self.window_ms => *sum += bytes,
            _ => self.samples.push_back((now.0, bytes)),
        }
    }

    /// Whether more went than may.
    pub fn is_exceeded(&mut self, now: Timestamp) -> bool {
        if self.bytes_per_second_max.is_infinite() {
            return false;
        }
        self.forget(now);
        let Some((first, _)) = self.samples.front() else { return false };
        let elapsed_ms = (now.0 - first).max(self.window_ms);
        let bytes: u64 = self.samples.iter().map(|(_, bytes)| bytes).sum();
        bytes as f64 * 1000.0 / elapsed_ms as f64 > self.bytes_per_second_max
    }

    fn forget(&mut self, now: Timestamp) {
        let oldest = now.0.saturating_sub(self.windows.saturating_mul(self.window_ms));
        while self.samples.front().is_some_and(|(began, _)| *began < oldest) {
            self.samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_holds_over_the_windows_and_is_forgotten_after_them() {
        let mut throttle = Throttle::new(11, 1);
        let at = Timestamp;
        throttle.record(1 << 40, at(0));
        assert!(!throttle.is_exceeded(at(0)), "without a bound nothing is too much");
        throttle.set_rate(Some(1000));
        assert!(throttle.is_exceeded(at(10)));
        let mut throttle = Throttle::new(11, 1);
        throttle.set_rate(Some(1000));
        throttle.record(3000, at(0));
        assert!(throttle.is_exceeded(at(500)) && throttle.is_exceeded(at(2_900)));
        assert!(!throttle.is_exceeded(at(3_000)), "3,000 bytes in 3 s are what may go");
        throttle.record(9_000, at(3_500));
        assert!(throttle.is_exceeded(at(10_000)));
        assert!(!throttle.is_exceeded(at(15_000)), "all of it is longer ago than the windows");
    }

    #[test]
    fn what_is_sent_when_the_rate_allows_it_keeps_to_the_rate() {
        let mut throttle = Throttle::new(11, 1);
        throttle.set_rate(Some(10_000));
        let mut sent = 0;
        for now in (0..60_000).step_by(20) {
            if !throttle.is_exceeded(Timestamp(now)) {
                throttle.record(3_000, Timestamp(now));
                sent += 3_000;
            }
        }
        assert!((570_000..=640_000).contains(&sent), "{sent} in a minute");
    }
}
