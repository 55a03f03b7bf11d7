//! The time of day and the time that passes, as something that can be given: handlers, partitions and the metadata thread
//! never read a clock of their own.

use milena_types::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells milliseconds since 1970, and milliseconds that pass evenly.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's; made by [`Clock::system`].
    System { begin: Instant, time_of_day: Timestamp },
    /// A test's: it stands still until it is set.
    Manual(Arc<ManualTime>),
}

/// What a test's clock shows.
#[derive(Debug, Default)]
pub struct ManualTime {
    time_of_day: AtomicI64,
    steady: AtomicI64,
}

impl ManualTime {
    /// A clock that begins at this time of day.
    #[must_use]
    pub fn new(begin: Timestamp) -> Arc<ManualTime> {
        Arc::new(ManualTime { time_of_day: AtomicI64::new(begin.0), steady: AtomicI64::new(begin.0) })
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        self.time_of_day.fetch_add(millis, Ordering::Relaxed);
        self.steady.fetch_add(millis, Ordering::Relaxed);
    }

    /// Somebody sets the time of day forward, or back; no time passes.
    pub fn jump(&self, millis: i64) {
        self.time_of_day.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Clock {
        Clock::System { begin: Instant::now(), time_of_day: time_of_day() }
    }

    /// The time of day. It can be set: what waits for it can wait for ever, or not at all.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System { .. } => time_of_day(),
            Clock::Manual(time) => Timestamp(time.time_of_day.load(Ordering::Relaxed)),
        }
    }

    /// Milliseconds for deadlines and sessions: never set, never back. It begins at the time of day.
    #[must_use]
    pub fn steady(&self) -> Timestamp {
        match self {
            Clock::System { begin, time_of_day } => {
                Timestamp(time_of_day.0.saturating_add(i64::try_from(begin.elapsed().as_millis()).unwrap_or(i64::MAX)))
            }
            Clock::Manual(time) => Timestamp(time.steady.load(Ordering::Relaxed)),
        }
    }
}

fn time_of_day() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
