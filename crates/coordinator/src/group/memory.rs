//! `MemberMemory`: what the members of classic groups say of themselves is held in memory for as long as they are members, and
//! nothing in Kafka's protocol bounds it. Here one bound holds for all groups of a broker.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Members that say less than this are still let in while the bound is reached, up to twice as much: a few that say much
/// must not keep everyone else out.
const SMALL_BYTES: usize = 16 << 10;

/// The bytes that are held, and their bound. Clones share both.
#[derive(Clone, Debug)]
pub struct MemberMemory {
    max_bytes: usize,
    used_bytes: Arc<AtomicUsize>,
}

/// Bytes that are counted until the last view of them is gone.
struct Counted {
    bytes: Box<[u8]>,
    used_bytes: Arc<AtomicUsize>,
}

impl MemberMemory {
    /// Nothing is held yet.
    #[must_use]
    pub fn new(max_bytes: usize) -> MemberMemory {
        MemberMemory { max_bytes, used_bytes: Arc::default() }
    }

    /// What is held.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Whether a member may say this much.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let max = if bytes < SMALL_BYTES { self.max_bytes.saturating_mul(2) } else { self.max_bytes };
        self.used_bytes().saturating_add(bytes) <= max
    }

    /// A copy that is counted for as long as it lives.
    pub(crate) fn hold(&self, bytes: &[u8]) -> Bytes {
        self.used_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        Bytes::from_owner(Counted { bytes: bytes.into(), used_bytes: Arc::clone(&self.used_bytes) })
    }
}

impl Default for MemberMemory {
    /// Without a bound.
    fn default() -> Self {
        MemberMemory::new(usize::MAX)
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.used_bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{MemberMemory, SMALL_BYTES};

    #[test]
    fn bytes_count_until_their_last_view_is_gone() {
        let memory = MemberMemory::new(100_000);
        let held = memory.hold(&[7; 60_000]);
        let view = held.slice(..10);
        drop(held);
        assert_eq!((memory.used_bytes(), &view[..2]), (60_000, &[7, 7][..]));
        assert!(memory.has_room(40_000) && !memory.has_room(40_001));
        drop(view);
        assert_eq!(memory.used_bytes(), 0);
    }

    #[test]
    fn members_that_say_little_have_room_when_others_have_not() {
        let memory = MemberMemory::new(50_000);
        let _held = memory.hold(&[0; 50_000]);
        assert!(!memory.has_room(SMALL_BYTES) && memory.has_room(SMALL_BYTES - 1));
        let _more = memory.hold(&[0; 40_000]);
        assert!(!memory.has_room(SMALL_BYTES - 1));
    }
}
