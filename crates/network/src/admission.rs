//! The byte budget for requests that are not complete yet: a peer gets memory for the rest of a request only after the
//! whole of it has been granted. Kafka's counterpart is `MemoryPool` under `queued.max.request.bytes`.

use std::future::Future;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes counted as one unit of the budget.
const UNIT_BYTES: usize = 1 << 10;

/// The budget of all connections together.
#[derive(Clone, Debug)]
pub struct Memory {
    units: Arc<Semaphore>,
    total: u32,
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
        let units = (bytes / UNIT_BYTES as u64).clamp(1, u64::from(u32::MAX >> 4)) as u32;
        Self { units: Arc::new(Semaphore::new(units as usize)), total: units }
    }

    /// Bytes that could be granted now.
    #[must_use]
    pub fn available_bytes(&self) -> usize {
        self.units.available_permits() * UNIT_BYTES
    }

    /// Takes `bytes` if nobody has to wait for that.
    #[must_use]
    pub fn try_grant(&self, bytes: usize) -> Option<Permit> {
        let units = Arc::clone(&self.units).try_acquire_many_owned(self.units_of(bytes)).ok()?;
        Some(Permit { _units: units })
    }

    /// Waits for `bytes`, first come first served.
    pub fn grant(&self, bytes: usize) -> impl Future<Output = Option<Permit>> + Send + use<> {
        let (units, count) = (Arc::clone(&self.units), self.units_of(bytes));
        async move { Some(Permit { _units: units.acquire_many_owned(count).await.ok()? }) }
    }

    /// Whether so little is left that a peer should not be read from in large pieces.
    pub(crate) fn is_scarce(&self, piece_bytes: usize) -> bool {
        // A budget below one piece would otherwise always be scarce.
        self.available_bytes() < piece_bytes.min(self.total as usize * UNIT_BYTES)
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).clamp(1, self.total)
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
}
