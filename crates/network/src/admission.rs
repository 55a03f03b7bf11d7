//! The byte budget for requests that are not complete yet: a peer gets memory for the rest of a request only after the
//! whole of it has been granted. Kafka's counterpart is `MemoryPool` under `queued.max.request.bytes`.
//!
//! A quarter of the budget is kept for requests of usual size, so that they do not stand in line behind a few huge ones. Who holds
//! memory and sends nothing has to make way while others wait (`Registry::make_way`).

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes counted as one unit of the budget.
const UNIT_BYTES: usize = 1 << 10;

/// A request of usual size: clients send no larger batches than this unless told to.
const USUAL_BYTES_MAX: usize = 1 << 20;

/// A budget below this has no part for requests of usual size only.
const DIVIDED_BYTES_MIN: usize = 16 << 20;

/// The budget of all connections together.
#[derive(Clone, Debug)]
pub struct Memory {
    units: Arc<Semaphore>,
    /// Units of the part for all requests.
    total: u32,
    /// The part for requests of usual size.
    usual: Arc<Semaphore>,
    usual_total: u32,
    waiting: Arc<AtomicUsize>,
}

/// Memory granted; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    _units: OwnedSemaphorePermit,
}

impl Memory {
    /// A budget of `bytes`. A single request that is larger is granted the whole budget instead of never.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let all = (bytes / UNIT_BYTES as u64).clamp(1, u64::from(u32::MAX >> 4)) as u32;
        let usual_total = if all as usize * UNIT_BYTES >= DIVIDED_BYTES_MIN { all / 4 } else { 0 };
        Self {
            units: Arc::new(Semaphore::new((all - usual_total) as usize)),
            total: all - usual_total,
            usual: Arc::new(Semaphore::new(usual_total as usize)),
            usual_total,
            waiting: Arc::default(),
        }
    }

    /// Bytes that could be granted now.
    #[must_use]
    pub fn available_bytes(&self) -> usize {
        (self.units.available_permits() + self.usual.available_permits()) * UNIT_BYTES
    }

    /// Bytes that could be granted if nobody had any.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        (self.total as usize + self.usual_total as usize) * UNIT_BYTES
    }

    /// Takes `bytes` if nobody has to wait for that.
    #[must_use]
    pub fn try_grant(&self, bytes: usize) -> Option<Permit> {
        let of = |part: &Arc<Semaphore>| Arc::clone(part).try_acquire_many_owned(self.units_of(bytes)).ok();
        let units = of(&self.units).or_else(|| if self.is_usual(bytes) { of(&self.usual) } else { None })?;
        Some(Permit { _units: units })
    }

    /// Waits for `bytes`, first come first served among those of usual size and among the others.
    pub fn grant(&self, bytes: usize) -> impl Future<Output = Option<Permit>> + Send + use<> {
        let part = if self.is_usual(bytes) { &self.usual } else { &self.units };
        let (units, count) = (Arc::clone(part), self.units_of(bytes));
        let waiter = Waiter::new(&self.waiting);
        async move {
            let granted = units.acquire_many_owned(count).await.ok();
            drop(waiter);
            Some(Permit { _units: granted? })
        }
    }

    /// Whether somebody waits for memory.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether so little is left that a peer should not be read from in large pieces.
    pub(crate) fn is_scarce(&self, piece_bytes: usize) -> bool {
        // A budget below one piece would otherwise always be scarce.
        self.available_bytes() < piece_bytes.min((self.total + self.usual_total) as usize * UNIT_BYTES)
    }

    fn is_usual(&self, bytes: usize) -> bool {
        bytes <= USUAL_BYTES_MAX && self.usual_total > 0
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).clamp(1, self.total)
    }
}

/// Counted as long as it lives.
struct Waiter(Arc<AtomicUsize>);

impl Waiter {
    fn new(waiting: &Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(waiting))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_is_missing_until_it_is_dropped() {
        let memory = Memory::new(1 << 20);
        let permit = memory.try_grant(600 << 10).expect("fits");
        assert_eq!(memory.available_bytes(), 424 << 10);
        assert!(memory.try_grant(600 << 10).is_none());
        drop(permit);
        assert!(memory.try_grant(600 << 10).is_some());
    }

    #[test]
    fn a_request_above_the_budget_is_granted_the_whole_of_it() {
        let memory = Memory::new(1 << 20);
        let permit = memory.try_grant(100 << 20).expect("the whole budget");
        assert_eq!(memory.available_bytes(), 0);
        drop(permit);
    }

    #[test]
    fn huge_requests_leave_a_part_to_those_of_usual_size() {
        let memory = Memory::new(64 << 20);
        let huge = memory.try_grant(100 << 20).expect("all that huge ones may have");
        assert!(memory.try_grant(2 << 20).is_none());
        let waiting = memory.grant(2 << 20);
        assert!(memory.is_wanted());
        let usual: Vec<Permit> = (0..16).map(|_| memory.try_grant(1 << 20).expect("of usual size")).collect();
        assert!(memory.try_grant(1 << 10).is_none());
        drop((huge, usual, waiting));
        assert!(!memory.is_wanted());
        assert_eq!(memory.available_bytes(), 64 << 20);
    }
}
