//! `Lease`: until when a leader may acknowledge alone. A controller elects a successor when it has not heard of a broker for a
//! session (`broker.session.timeout.ms`); a broker that was not answered for most of one takes it that this may have happened.
//!
//! Invariant (INV-26): a lease has ended before the session of the same heartbeat has, at the controller that answered it and at one that was
//! elected since. It begins when the heartbeat was sent, the session when it came. A deposed controller answers until no majority has
//! fetched from it for one and a half times `controller.quorum.fetch.timeout.ms`; its successor was elected after one such time at the
//! earliest, and begins a session for every broker: half of that time is lost, and another quarter is left for clocks of different
//! speed. At least a quarter of the session is left for what lies between looking at the lease and the client.
//!
//! A lease that was not held when an answer came does not begin with it: the broker may have been fenced and unfenced before,
//! and not know yet who leads instead. It begins once the broker has all metadata that were committed when that answer came: those
//! of a fetch that was sent later. Newer metadata than before are not enough, they may have been on their way for long.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use milena_types::Timestamp;

/// A heartbeat to which the controller answered that the broker is not fenced. Times are of a clock that is never set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blessing {
    pub sent: Timestamp,
    pub answered: Timestamp,
}

/// An answer has come when the lease was not held.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Timestamp,
    /// The lease as it would be without the doubt.
    until_ms: i64,
}

/// One broker's.
#[derive(Debug)]
pub struct Lease {
    length_ms: i64,
    until_ms: AtomicI64,
    knowledge: Mutex<Knowledge>,
}

#[derive(Debug)]
struct Knowledge {
    doubt: Option<Doubt>,
    /// The broker has all metadata that were committed then.
    caught_up: Timestamp,
}

impl Lease {
    /// A lease that is not held yet, of a broker with sessions of `session_ms` in a quorum with this fetch timeout. Where the timeout
    /// is more than the session, nothing can be promised, and the lease is a quarter of a session.
    #[must_use]
    pub fn new(session_ms: i64, fetch_timeout_ms: i64) -> Lease {
        let length_ms = (session_ms - fetch_timeout_ms / 4 * 3).clamp(session_ms / 4, session_ms / 4 * 3);
        Self::until(length_ms, i64::MIN)
    }

    /// A lease that never ends.
    #[must_use]
    pub fn endless() -> Lease {
        Self::until(0, i64::MAX)
    }

    fn until(length_ms: i64, until_ms: i64) -> Lease {
        let knowledge = Mutex::new(Knowledge { doubt: None, caught_up: Timestamp(i64::MIN) });
        Lease { length_ms, until_ms: AtomicI64::new(until_ms), knowledge }
    }

    fn knowledge(&self) -> MutexGuard<'_, Knowledge> {
        self.knowledge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a heartbeat. One that is answered after a later one changes nothing.
    pub fn renew(&self, blessing: Blessing) {
        let Blessing { sent, answered } = blessing;
        let mut knowledge = self.knowledge();
        let lasts_to = sent.0.saturating_add(self.length_ms);
        let until_ms = knowledge.doubt.map_or_else(|| self.until_ms.load(Ordering::Acquire), |doubt| doubt.until_ms);
        if answered.0 >= until_ms {
            knowledge.doubt = Some(Doubt { since: answered, until_ms: lasts_to });
        } else if let Some(doubt) = &mut knowledge.doubt {
            doubt.until_ms = doubt.until_ms.max(lasts_to);
        } else {
            self.until_ms.fetch_max(lasts_to, Ordering::AcqRel);
        }
        self.settle(&mut knowledge);
    }

    /// The broker has all metadata that were committed at `as_of`.
    pub fn note_caught_up(&self, as_of: Timestamp) {
        let mut knowledge = self.knowledge();
        knowledge.caught_up = knowledge.caught_up.max(as_of);
        self.settle(&mut knowledge);
    }

    fn settle(&self, knowledge: &mut Knowledge) {
        let caught_up = knowledge.caught_up;
        if let Some(doubt) = knowledge.doubt.take_if(|doubt| doubt.since <= caught_up) {
            self.until_ms.fetch_max(doubt.until_ms, Ordering::AcqRel);
        }
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

    fn blessing(sent: i64, answered: i64) -> Blessing {
        Blessing { sent: Timestamp(sent), answered: Timestamp(answered) }
    }

    #[test]
    fn a_lease_lasts_three_quarters_of_a_session_from_when_the_heartbeat_was_sent() {
        let lease = Lease::new(9_000, 2_000);
        assert!(!lease.is_held(Timestamp(0)), "before the first answer");
        lease.renew(blessing(1_000, 1_900));
        assert!(
            !lease.is_held(Timestamp(1_901)),
            "an earlier answer may have been lost, and the broker be fenced since"
        );
        lease.note_caught_up(Timestamp(1_900));
        assert!(lease.is_held(Timestamp(7_749)));
        assert!(!lease.is_held(Timestamp(7_750)));
        lease.renew(blessing(3_000, 3_001));
        lease.renew(blessing(2_000, 3_002));
        assert!(lease.is_held(Timestamp(9_749)), "an answer that comes late takes nothing back");
    }

    #[test]
    fn a_lease_that_had_ended_waits_for_the_metadata_of_then() {
        let lease = Lease::new(9_000, 2_000);
        lease.note_caught_up(Timestamp(1));
        lease.renew(blessing(0, 1));
        assert!(lease.is_held(Timestamp(2)));
        lease.renew(blessing(8_000, 8_001));
        assert!(!lease.is_held(Timestamp(8_002)), "the broker may have been fenced and not know it");
        lease.note_caught_up(Timestamp(8_000));
        lease.renew(blessing(10_000, 10_001));
        assert!(!lease.is_held(Timestamp(10_002)), "the metadata were asked for before");
        lease.note_caught_up(Timestamp(8_001));
        assert!(lease.is_held(Timestamp(10_002)));

        lease.renew(blessing(30_000, 30_001));
        lease.renew(blessing(40_000, 40_001));
        lease.note_caught_up(Timestamp(40_000));
        assert!(!lease.is_held(Timestamp(40_002)), "it had ended again meanwhile");
        lease.note_caught_up(Timestamp(40_001));
        assert!(lease.is_held(Timestamp(40_002)));
    }

    #[test]
    fn an_answer_that_comes_when_the_lease_of_its_own_heartbeat_is_over_renews_nothing() {
        let lease = Lease::new(1_000, 100);
        lease.note_caught_up(Timestamp(1));
        lease.renew(blessing(0, 1));
        lease.renew(blessing(700, 1_500));
        lease.note_caught_up(Timestamp(1_500));
        assert!(!lease.is_held(Timestamp(1_500)));
        lease.renew(blessing(1_000, 1_501));
        assert!(!lease.is_held(Timestamp(1_501)), "of the time since its own had ended it says nothing");
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
