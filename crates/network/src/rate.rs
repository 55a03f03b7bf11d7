//! How fast connections may be accepted: a bucket that fills at the allowed rate and holds what one second brings.
//! Kafka's counterpart is the rate sensor of `ConnectionQuotas`, which averages over `quota.window.num` seconds and so
//! lets a listener that was quiet take that many seconds' worth at once; here it is one second's.

use std::time::{Duration, Instant};

/// From this rate on there is no bound: Kafka's default.
const UNBOUNDED: u32 = i32::MAX as u32;

#[derive(Debug)]
pub(crate) struct Rate {
    /// Connections that may be accepted now.
    tokens: f64,
    filled: Instant,
}

impl Rate {
    pub(crate) fn new(now: Instant) -> Self {
        Self { tokens: 1.0, filled: now }
    }

    /// How long to wait until one more may be accepted; zero says now.
    pub(crate) fn wait(&mut self, per_second: u32, now: Instant) -> Duration {
        if per_second >= UNBOUNDED {
            return Duration::ZERO;
        }
        // A rate of 0 accepts nobody; it is looked at again, as it may change.
        if per_second == 0 {
            return Duration::from_secs(1);
        }
        let rate = f64::from(per_second);
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * rate).min(rate.max(1.0));
        self.filled = now;
        if self.tokens >= 1.0 { Duration::ZERO } else { Duration::from_secs_f64((1.0 - self.tokens) / rate) }
    }

    /// One was accepted. Those accepted while there was no bound do not count against a later one.
    pub(crate) fn take(&mut self) {
        self.tokens = (self.tokens - 1.0).max(-1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_rate_is_let_in_over_time() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let (mut now, mut accepted) = (start, 0);
        while now < start + Duration::from_secs(10) {
            let wait = rate.wait(20, now);
            if wait.is_zero() {
                rate.take();
                accepted += 1;
            }
            now += wait.max(Duration::from_micros(10));
        }
        assert!((195..=201).contains(&accepted), "{accepted}");
    }

    #[test]
    fn a_quiet_second_is_made_up_for_and_no_more() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let later = start + Duration::from_secs(60);
        let burst = (0..100).take_while(|_| {
            let now = rate.wait(5, later).is_zero();
            rate.take();
            now
        });
        assert_eq!(burst.count(), 5);
    }

    #[test]
    fn the_default_bounds_nothing() {
        let mut rate = Rate::new(Instant::now());
        for _ in 0..1000 {
            assert!(rate.wait(UNBOUNDED, Instant::now()).is_zero());
            rate.take();
        }
    }
}
