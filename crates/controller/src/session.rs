//! Sessions of brokers: when each was last heard of, and how far it replayed the metadata (`BrokerHeartbeatManager`).

use std::collections::BTreeMap;
use std::time::Duration;

use milena_types::{BrokerId, Offset};

/// What is known of one broker since this controller leads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) is_fenced: bool,
    pub(crate) last_contact: Duration,
    pub(crate) metadata_offset: Offset,
    /// The offset after which the broker's leaderships are gone; set while it shuts down in a controlled way.
    pub(crate) controlled_shutdown_offset: Option<Offset>,
}

/// All sessions.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    timeout: Duration,
    brokers: BTreeMap<BrokerId, Session>,
}

impl Sessions {
    pub(crate) fn new(timeout: Duration) -> Sessions {
        Sessions { timeout, brokers: BTreeMap::new() }
    }

    pub(crate) fn get(&self, broker: BrokerId) -> Option<&Session> {
        self.brokers.get(&broker)
    }

    /// Notes a registration.
    pub(crate) fn register(&mut self, broker: BrokerId, is_fenced: bool, now: Duration) {
        let offset = self.brokers.get(&broker).map_or(Offset::NONE, |session| session.metadata_offset);
        self.touch(broker, is_fenced, offset, now);
    }

    /// Notes a sign of life. A fenced broker is no longer shutting down in a controlled way.
    pub(crate) fn touch(&mut self, broker: BrokerId, is_fenced: bool, metadata_offset: Offset, now: Duration) {
        let before = self.brokers.get(&broker).and_then(|session| session.controlled_shutdown_offset);
        let controlled_shutdown_offset = if is_fenced { None } else { before };
        self.brokers
            .insert(broker, Session { is_fenced, last_contact: now, metadata_offset, controlled_shutdown_offset });
    }

    pub(crate) fn fence(&mut self, broker: BrokerId) {
        if let Some(session) = self.brokers.get_mut(&broker) {
            session.is_fenced = true;
            session.controlled_shutdown_offset = None;
        }
    }

    pub(crate) fn remove(&mut self, broker: BrokerId) {
        self.brokers.remove(&broker);
    }

    /// Sets, once, the offset that all active brokers must have replayed before the broker may stop.
    pub(crate) fn begin_controlled_shutdown(&mut self, broker: BrokerId, offset: Offset) {
        if let Some(session) = self.brokers.get_mut(&broker) {
            session.controlled_shutdown_offset.get_or_insert(offset);
        }
    }

    /// Whether the broker was heard of within the session timeout.
    pub(crate) fn is_valid(&self, broker: BrokerId, now: Duration) -> bool {
        self.brokers
            .get(&broker)
            .is_some_and(|session| !session.is_fenced && session.last_contact + self.timeout >= now)
    }

    /// The unfenced broker that has been silent for longest, when its session has expired.
    pub(crate) fn first_stale(&self, now: Duration) -> Option<BrokerId> {
        let (broker, session) = self.oldest()?;
        (session.last_contact + self.timeout < now).then_some(broker)
    }

    /// When the next session expires, if nothing is heard before.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.oldest().map(|(_, session)| session.last_contact + self.timeout + Duration::from_nanos(1))
    }

    /// The lowest metadata offset of the brokers that are unfenced and not shutting down.
    pub(crate) fn lowest_active_offset(&self) -> Option<Offset> {
        self.brokers
            .values()
            .filter(|session| !session.is_fenced && session.controlled_shutdown_offset.is_none())
            .map(|session| session.metadata_offset)
            .min()
    }

    fn oldest(&self) -> Option<(BrokerId, &Session)> {
        self.brokers
            .iter()
            .filter(|(_, session)| !session.is_fenced)
            .map(|(broker, session)| (*broker, session))
            .min_by_key(|(_, session)| session.last_contact)
    }
}
