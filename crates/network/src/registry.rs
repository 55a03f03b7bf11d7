//! All open connections: counts them against the limits, closes the idle ones, ends them all at shutdown. Kafka's
//! counterparts are `ConnectionQuotas` and `Selector.IdleExpiryManager`.

use crate::admission::Memory;
use crate::limits::{ConnectionLimits, ConnectionQuotas, ListenerQuotas};
use crate::rate::Rate;
use crate::replies::Shared;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often idle connections are looked for, at most and at least.
const SWEEP_MAX: Duration = Duration::from_secs(10);
const SWEEP_MIN: Duration = Duration::from_millis(20);

pub(crate) struct Registry {
    limits: ConnectionLimits,
    started: Instant,
    open: Mutex<Open>,
    /// Told whenever a connection ends or the quotas change.
    ended: Notify,
    next: AtomicU64,
}

struct Open {
    quotas: ConnectionQuotas,
    rate: Rate,
    rate_by_listener: BTreeMap<String, Rate>,
    connections: HashMap<u64, Arc<Shared>>,
    by_address: BTreeMap<IpAddr, usize>,
    by_listener: BTreeMap<String, usize>,
}

/// One connection's place; given back when dropped.
pub(crate) struct Place {
    registry: Arc<Registry>,
    number: u64,
    address: IpAddr,
    listener: Arc<str>,
}

/// Changes the quotas of a server that runs.
#[derive(Clone)]
pub struct QuotaHandle {
    registry: Arc<Registry>,
}

impl QuotaHandle {
    pub(crate) fn new(registry: &Arc<Registry>) -> Self {
        Self { registry: Arc::clone(registry) }
    }

    /// Puts other quotas into force. Connections above a lower bound stay; no new ones are accepted until some end.
    pub fn set(&self, quotas: ConnectionQuotas) {
        self.registry.open().quotas = quotas;
        self.registry.ended.notify_waiters();
    }

    /// How many connections each listener has.
    #[must_use]
    pub fn connections(&self) -> Vec<(String, usize)> {
        self.registry.open().by_listener.iter().map(|(listener, count)| (listener.clone(), *count)).collect()
    }

    /// What is in force.
    #[must_use]
    pub fn get(&self) -> ConnectionQuotas {
        self.registry.open().quotas.clone()
    }
}

impl std::fmt::Debug for QuotaHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.get())
    }
}

/// What an acceptor waits for.
enum Turn {
    /// Accept.
    Now,
    /// Until a connection ends.
    Place,
    /// Until the rate allows one more.
    After(Duration),
}

impl Open {
    fn turn(&mut self, listener: &str) -> Turn {
        let bounds = self.quotas.listeners.get(listener).copied().unwrap_or_default();
        let here = self.by_listener.get(listener).copied().unwrap_or(0);
        if self.connections.len() >= self.quotas.max_connections || here >= bounds.max_connections {
            return Turn::Place;
        }
        match self.wait_for_rate(listener, bounds) {
            Duration::ZERO => Turn::Now,
            wait => Turn::After(wait),
        }
    }

    fn wait_for_rate(&mut self, listener: &str, bounds: ListenerQuotas) -> Duration {
        let now = Instant::now();
        let of_all = self.rate.wait(self.quotas.max_connection_creation_rate, now);
        let own = self.rate_by_listener.entry(listener.to_owned()).or_insert_with(|| Rate::new(now));
        of_all.max(own.wait(bounds.max_connection_creation_rate, now))
    }
}

impl Registry {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        let started = Instant::now();
        let open = Open {
            quotas: limits.quotas.clone(),
            rate: Rate::new(started),
            rate_by_listener: BTreeMap::new(),
            connections: HashMap::new(),
            by_address: BTreeMap::new(),
            by_listener: BTreeMap::new(),
        };
        Self { limits, started, open: Mutex::new(open), ended: Notify::new(), next: AtomicU64::new(0) }
    }

    pub(crate) fn limits(&self) -> &ConnectionLimits {
        &self.limits
    }

    /// Milliseconds since the registry was made.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self) -> usize {
        self.open().connections.len()
    }

    /// Waits until the broker and the listener have a place for one more and the rates allow it.
    pub(crate) async fn place_free(&self, listener: &str) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            // Registered before looking, so that no end is missed.
            ended.as_mut().enable();
            let turn = self.open().turn(listener);
            match turn {
                Turn::Now => return,
                Turn::Place => ended.await,
                Turn::After(wait) => {
                    let _ = tokio::time::timeout(wait, ended).await;
                }
            }
        }
    }

    /// A place for a connection, or `None` if its address has as many as it may.
    pub(crate) fn enter(
        self: &Arc<Self>,
        remote: SocketAddr,
        listener: &Arc<str>,
        shared: &Arc<Shared>,
    ) -> Option<Place> {
        let address = remote.ip().to_canonical();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open();
        let overrides = &open.quotas.max_connections_per_ip_overrides;
        let max = overrides.get(&address).copied().unwrap_or(open.quotas.max_connections_per_ip);
        open.rate.take();
        if let Some(rate) = open.rate_by_listener.get_mut(&**listener) {
            rate.take();
        }
        let count = open.by_address.get(&address).copied().unwrap_or(0);
        if count >= max {
            return None;
        }
        open.by_address.insert(address, count + 1);
        *open.by_listener.entry(listener.to_string()).or_default() += 1;
        shared.last_active_ms.store(self.now_ms(), Ordering::Relaxed);
        open.connections.insert(number, Arc::clone(shared));
        drop(open);
        Some(Place { registry: Arc::clone(self), number, address, listener: Arc::clone(listener) })
    }

    /// Closes idle connections, for ever.
    pub(crate) async fn sweep(self: Arc<Self>) {
        let Some(idle) = self.limits.connections_max_idle else { return };
        let mut ticks = tokio::time::interval((idle / 4).clamp(SWEEP_MIN, SWEEP_MAX));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        loop {
            ticks.tick().await;
            let now = self.now_ms();
            self.order(|shared| {
                let last = shared.last_active_ms.load(Ordering::Relaxed);
                if now.saturating_sub(last) > idle_ms {
                    shared.order(|orders| orders.close_if_idle = true);
                }
            });
        }
    }

    /// Closes who was granted memory and sends nothing while others wait for some, for ever.
    pub(crate) async fn make_way(self: Arc<Self>, memory: Memory) {
        let stalled = self.limits.stalled_request_max;
        let stalled_ms = u64::try_from(stalled.as_millis()).unwrap_or(u64::MAX);
        let mut ticks = tokio::time::interval((stalled / 4).max(SWEEP_MIN));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !memory.is_wanted() {
                continue;
            }
            let now = self.now_ms();
            self.order(|shared| {
                let quiet_ms = now.saturating_sub(shared.last_active_ms.load(Ordering::Relaxed));
                if shared.holds_memory.load(Ordering::Relaxed) && quiet_ms > stalled_ms {
                    tracing::debug!(quiet_ms, "closed: it holds memory that others wait for and sends nothing");
                    shared.order(|orders| orders.close = true);
                }
            });
        }
    }

    fn order(&self, each: impl FnMut(&Arc<Shared>)) {
        let all: Vec<Arc<Shared>> = {
            let open = self.open();
            open.connections.values().cloned().collect()
        };
        all.iter().for_each(each);
    }

    /// Ends all connections: what is ready is sent, then they close; those that do not within the grace are cut.
    pub(crate) async fn finish(&self) {
        self.order(|shared| shared.order(|orders| orders.finish = true));
        if tokio::time::timeout(self.limits.shutdown_grace, self.emptied()).await.is_err() {
            self.order(|shared| shared.order(|orders| orders.close = true));
            let _ = tokio::time::timeout(self.limits.shutdown_grace, self.emptied()).await;
        }
    }

    async fn emptied(&self) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.registry.open();
        open.connections.remove(&self.number);
        if let Some(count) = open.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&self.address);
            }
        }
        if let Some(count) = open.by_listener.get_mut(&*self.listener) {
            *count -= 1;
        }
        drop(open);
        self.registry.ended.notify_waiters();
    }
}
