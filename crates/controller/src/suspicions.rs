//! Brokers whose process may be gone: what a lost connection begins, and what it takes until that counts
//! ([decision 10](../../../docs/decisions/0010-fast-failover.md)). Kafka waits for the session.
//!
//! A lost connection is a hint and fences nobody. It has the host connect to all listeners of the broker: only where each of
//! them refuses, twice in a row and with no heartbeat in between, does nobody listen there, and the broker is fenced at
//! once. Who accepts lives, of who is silent nothing is known: both keep their sessions.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_metadata::Endpoint;
use milena_types::BrokerId;

use crate::{Controller, Decision};

/// Refusals in a row that confirm a hint.
const REFUSALS: u32 = 2;
/// Between a refusal and the next try; also before the first repetition where somebody accepted: a process that dies may
/// lose a connection before it loses its listeners.
const AGAIN: Duration = Duration::from_millis(40);
/// Tries that confirmed nothing, each after twice the time, until the hint is forgotten.
const TRIES: u32 = 6;
/// A new controller has heard of nobody yet. So long it waits before it looks who is there.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// Listeners to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub broker: BrokerId,
    pub broker_epoch: i64,
    pub endpoints: Vec<Endpoint>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// All listeners refused at once: nobody listens there.
    AllRefused,
    /// Anything else: somebody accepted, or did not answer.
    NotSo,
}

#[derive(Clone, Copy, Debug)]
struct Suspicion {
    broker_epoch: i64,
    due: Duration,
    in_flight: bool,
    refusals: u32,
    tries: u32,
}

/// The hints that are followed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspicions(BTreeMap<BrokerId, Suspicion>);

impl Suspicions {
    fn note(&mut self, broker: BrokerId, broker_epoch: i64, due: Duration) {
        let fresh = Suspicion { broker_epoch, due, in_flight: false, refusals: 0, tries: 0 };
        let known = self.0.entry(broker).or_insert(fresh);
        if known.broker_epoch != broker_epoch {
            *known = fresh;
        }
    }

    /// The broker was heard of.
    pub(crate) fn dispel(&mut self, broker: BrokerId) {
        self.0.remove(&broker);
    }

    /// When somebody must be looked at next.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.0.values().filter(|suspicion| !suspicion.in_flight).map(|suspicion| suspicion.due).min()
    }

    /// Whether it is confirmed now.
    fn on_probed(&mut self, broker: BrokerId, broker_epoch: i64, probed: Probed, now: Duration) -> bool {
        let Some(known) = self.0.get_mut(&broker).filter(|known| known.in_flight && known.broker_epoch == broker_epoch)
        else {
            return false;
        };
        known.in_flight = false;
        match probed {
            Probed::AllRefused => {
                known.refusals += 1;
                known.due = now + AGAIN;
            }
            Probed::NotSo => {
                known.refusals = 0;
                known.due = now + AGAIN * 2u32.saturating_pow(known.tries);
                known.tries += 1;
            }
        }
        let (confirmed, forgotten) = (known.refusals >= REFUSALS, known.tries >= TRIES);
        if confirmed || forgotten {
            self.0.remove(&broker);
        }
        confirmed
    }
}

impl Controller {
    /// A connection on which this broker sent heartbeats has ended.
    pub fn suspect(&mut self, broker: BrokerId, broker_epoch: i64, now: Duration) {
        if self.is_unfenced_with(broker, broker_epoch) {
            self.suspicions.note(broker, broker_epoch, now);
        }
    }

    /// At the beginning of its reign: whoever died with or before the last controller has no connection that could end.
    pub(crate) fn look_at_all(&mut self, now: Duration) {
        self.suspicions = Suspicions::default();
        for broker in self.image.cluster.brokers.values() {
            if !broker.is_fenced && broker.id != self.settings.node_id {
                self.suspicions.note(broker.id, broker.epoch, now + FIRST_LOOK);
            }
        }
    }

    /// The probes that are due; each must be answered with [`Controller::decide_probed`].
    pub fn due_probes(&mut self, now: Duration) -> Vec<Probe> {
        let due = self.suspicions.0.iter_mut().filter(|(_, known)| !known.in_flight && known.due <= now);
        let mut probes = Vec::new();
        for (broker, known) in due {
            known.in_flight = true;
            let endpoints = self.image.cluster.broker(*broker).map(|broker| broker.endpoints.clone());
            let endpoints = endpoints.unwrap_or_default();
            probes.push(Probe { broker: *broker, broker_epoch: known.broker_epoch, endpoints });
        }
        probes
    }

    /// The outcome of a probe. Fences the broker if that confirms the hint; the response says so.
    #[must_use]
    pub fn decide_probed(
        &mut self,
        broker: BrokerId,
        broker_epoch: i64,
        probed: Probed,
        now: Duration,
    ) -> Decision<bool> {
        let confirmed = self.suspicions.on_probed(broker, broker_epoch, probed, now);
        if confirmed && self.is_unfenced_with(broker, broker_epoch) {
            return Decision::of(self.fence_records(broker, broker_epoch), true);
        }
        Decision::of(Vec::new(), false)
    }

    fn is_unfenced_with(&self, broker: BrokerId, broker_epoch: i64) -> bool {
        let registration = self.image.cluster.broker(broker);
        registration.is_some_and(|known| known.epoch == broker_epoch && !known.is_fenced)
    }
}

#[cfg(test)]
#[path = "suspicions_tests.rs"]
mod tests;
