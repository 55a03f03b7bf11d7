//! `Lease`: until when a leader may acknowledge alone. A controller elects a successor when it has not heard of a broker for a
//! session (`broker.session.timeout.ms`); a broker that was not answered for most of one takes it that this may have happened.
//!
//! Invariant (INV-26): a lease has ended before the session of the same heartbeat has, at the controller that answered it and at one that was
//! elected since. It begins when the heartbeat was sent, the session when it came. A deposed controller answers until no majority has
//! fetched from it for one and a half times `controller.quorum.fetch.timeout.ms`; its successor was elected after one such time at the
//! earliest, and begins a session for every broker: half of that time is lost, and another quarter is left for clocks of different
//! speed. At least a quarter of the session is left for what lies between looking at the lease and the client.
//!
//! A lease that had ended does not begin again with the next answer: the broker may have been fenced and unfenced meanwhile,
//! and not know yet who leads instead. It begins with a heartbeat that was sent with newer metadata than there were at the first
//! answer, or, where nothing happens in the cluster, so long after that that a fetch of metadata which hung has been sent again.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use milena_types::{Offset, Timestamp};

/// A heartbeat to which the controller answered that the broker is not fenced. Times are of a clock that is never set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blessing {
    pub sent: Timestamp,
    /// How far the broker had published metadata when it was sent.
    pub metadata_offset: Offset,
    pub answered: Timestamp,
}

/// An answer has come after the lease had ended.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Timestamp,
    metadata_offset: Offset,
    /// The lease as it would be without the doubt.
    until_ms: i64,
}

/// One broker's.
#[derive(Debug)]
pub struct Lease {
    length_ms: i64,
    /// After so long without newer metadata there are none.
    quiet_ms: i64,
    until_ms: AtomicI64,
    doubt: Mutex<Option<Doubt>>,
}

impl Lease {
    /// A lease that is not held yet, of a broker with sessions of `session_ms` in a quorum with this fetch timeout. Where the timeout
    /// is more than the session, nothing can be promised, and the lease is a quarter of a session.
    #[must_use]
    pub fn new(session_ms: i64, fetch_timeout_ms: i64) -> Lease {
        let length_ms = (session_ms - fetch_timeout_ms / 4 * 3).clamp(session_ms / 4, session_ms / 4 * 3);
        let quiet_ms = session_ms.max(fetch_timeout_ms * 3);
        Lease { length_ms, quiet_ms, until_ms: AtomicI64::new(i64::MIN), doubt: Mutex::new(None) }
    }

    /// A lease that never ends.
    #[must_use]
    pub fn endless() -> Lease {
        Lease { length_ms: 0, quiet_ms: 0, until_ms: AtomicI64::new(i64::MAX), doubt: Mutex::new(None) }
    }

    /// Takes note of a heartbeat. One that is answered after a later one changes nothing.
    pub fn renew(&self, blessing: Blessing) {
        let Blessing { sent, metadata_offset, answered } = blessing;
        let mut doubt = self.doubt.lock().unwrap_or_else(PoisonError::into_inner);
        let lasts_to = sent.0.saturating_add(self.length_ms);
        let until_ms = doubt.map_or_else(|| self.until_ms.load(Ordering::Acquire), |doubt| doubt.until_ms);
        if until_ms != i64::MIN && answered.0 >= until_ms {
            *doubt = Some(Doubt { since: answered, metadata_offset, until_ms: lasts_to });
            return;
        }
        if let Some(doubt) = &mut *doubt
            && metadata_offset <= doubt.metadata_offset
            && sent.0.saturating_sub(doubt.since.0) < self.quiet_ms
        {
            doubt.until_ms = doubt.until_ms.max(lasts_to);
            return;
        }
        *doubt = None;
        self.until_ms.fetch_max(lasts_to, Ordering::AcqRel);
    }

    /// How long one lasts, milliseconds.
    #[must_use]
    pub fn length_ms(&self) -> i64 {
        self.length_ms
    }

    /// Whether nobody else can have been elected yet because this broker was silent.
    #[must_use]
    pub fn is_held(&self, now: Timestamp) -> bool {
        now.0 < self.until_ms.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blessing(sent: i64, offset: i64, answered: i64) -> Blessing {
        Blessing { sent: Timestamp(sent), metadata_offset: Offset(offset), answered: Timestamp(answered) }
    }

    #[test]
    fn a_lease_lasts_three_quarters_of_a_session_from_when_the_heartbeat_was_sent() {
        let lease = Lease::new(9_000, 2_000);
        assert!(!lease.is_held(Timestamp(0)), "before the first answer");
        lease.renew(blessing(1_000, 5, 1_900));
        assert!(lease.is_held(Timestamp(7_749)));
        assert!(!lease.is_held(Timestamp(7_750)));
        lease.renew(blessing(3_000, 5, 3_001));
        lease.renew(blessing(2_000, 5, 3_002));
        assert!(lease.is_held(Timestamp(9_749)), "an answer that comes late takes nothing back");
    }

    #[test]
    fn a_lease_that_had_ended_waits_for_newer_metadata_or_a_session() {
        let lease = Lease::new(9_000, 2_000);
        lease.renew(blessing(0, 5, 1));
        lease.renew(blessing(8_000, 5, 8_001));
        assert!(!lease.is_held(Timestamp(8_002)), "the broker may have been fenced and not know it");
        lease.renew(blessing(10_000, 5, 10_001));
        assert!(!lease.is_held(Timestamp(10_002)), "still the metadata of then");
        lease.renew(blessing(12_000, 6, 12_001));
        assert!(lease.is_held(Timestamp(12_002)));

        for at in (30_000..39_000).step_by(3_000) {
            lease.renew(blessing(at, 6, at + 1));
            assert!(!lease.is_held(Timestamp(at + 2)));
        }
        lease.renew(blessing(39_001, 6, 39_002));
        assert!(lease.is_held(Timestamp(39_003)), "nothing happens in the cluster");

        lease.renew(blessing(50_000, 6, 50_001));
        lease.renew(blessing(60_000, 7, 60_001));
        assert!(!lease.is_held(Timestamp(60_002)), "it had ended again meanwhile");
    }

    #[test]
    fn an_answer_that_comes_when_the_lease_of_its_own_heartbeat_is_over_renews_nothing() {
        let lease = Lease::new(1_000, 100);
        lease.renew(blessing(0, 5, 1));
        lease.renew(blessing(700, 6, 1_500));
        assert!(!lease.is_held(Timestamp(1_500)));
    }

    #[test]
    fn a_quorum_that_is_slow_to_depose_makes_leases_shorter() {
        assert_eq!(Lease::new(2_500, 2_000).length_ms(), 1_000);
        assert_eq!(Lease::new(2_500, 20_000).length_ms(), 625);
    }

    #[test]
    fn an_endless_lease_is_always_held() {
        assert!(Lease::endless().is_held(Timestamp(i64::MAX - 1)));
    }
}
