//! Loading: threads that read the logs of coordinators that begin, a few at a time. They end when there is nothing left.

use super::Hosted;
use super::host::Host;
use crate::broker::Broker;
use milena_coordinator::runtime::Phase;
use milena_records::Scratch;
use milena_types::{ErrorCode, Offset};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

/// How many logs are read at once.
const THREADS_MAX: usize = 4;

/// Coordinators that wait to be loaded.
pub(super) struct Loader<M: Hosted> {
    state: Mutex<LoaderState<M>>,
}

struct LoaderState<M: Hosted> {
    waiting: VecDeque<Arc<Host<M>>>,
    threads: usize,
}

impl<M: Hosted> Default for Loader<M> {
    fn default() -> Self {
        Loader { state: Mutex::new(LoaderState { waiting: VecDeque::new(), threads: 0 }) }
    }
}

impl<M: Hosted> Loader<M> {
    fn state(&self) -> MutexGuard<'_, LoaderState<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads `host` when a thread is free.
    pub(super) fn add(self: &Arc<Self>, broker: &Arc<Broker>, host: Arc<Host<M>>) {
        let mut state = self.state();
        state.waiting.push_back(host);
        if state.threads >= THREADS_MAX {
            return;
        }
        state.threads += 1;
        drop(state);
        let (loader, broker) = (Arc::clone(self), Arc::downgrade(broker));
        let spawned =
            std::thread::Builder::new().name(format!("{}-loader", M::SUBJECT)).spawn(move || loader.run(&broker));
        if let Err(error) = spawned {
            tracing::error!(%error, "cannot start a thread; {} are not available", M::SUBJECT);
            self.state().threads -= 1;
        }
    }

    fn run(&self, broker: &Weak<Broker>) {
        loop {
            let mut state = self.state();
            let Some(host) = state.waiting.pop_front() else {
                state.threads -= 1;
                return;
            };
            drop(state);
            let Some(broker) = broker.upgrade() else { continue };
            load(&broker, &host);
        }
    }
}

/// Reads the whole log of a coordinator, then lets it serve.
fn load<M: Hosted>(broker: &Broker, host: &Arc<Host<M>>) {
    let began = Instant::now();
    let max_bytes = M::load_buffer_bytes(&broker.settings);
    let mut scratch = Scratch::new();
    let (mut from, mut records, mut unknown) = (Offset(0), 0i64, 0);
    loop {
        let piece = match host.partition.read_coordinated(from, max_bytes, host.epoch) {
            Ok(piece) => piece,
            Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) => return host.end(ErrorCode::NOT_COORDINATOR),
            Err(error) => {
                tracing::error!(partition = %host.partition, %error, "{} cannot be loaded", M::SUBJECT);
                return host.end(ErrorCode::NOT_COORDINATOR);
            }
        };
        let mut core = host.lock();
        if core.coordinator.phase() != Phase::Loading {
            return;
        }
        if piece.batches.is_empty() {
            core.coordinator.set_steady_ahead(broker.steady_ahead_ms());
            core.coordinator.activate(piece.log_end_offset, broker.now());
            core.coordinator.handle(M::now_is(broker), broker.now());
            drop(core);
            host.await_commit(piece.log_end_offset);
            host.catch_up();
            let took = began.elapsed();
            if let Some(cells) = M::cells(broker) {
                cells.partition_load.record(took);
            }
            let took_ms = took.as_millis();
            if records > 0 {
                tracing::info!(partition = %host.partition, records, unknown, took_ms, "{} are loaded", M::SUBJECT);
            }
            return;
        }
        for batch in &piece.batches {
            match core.coordinator.load(batch, piece.high_watermark, &mut scratch) {
                Ok(passed_over) => unknown += passed_over,
                Err(error) => {
                    drop(core);
                    tracing::error!(partition = %host.partition, %error, "{} cannot be loaded", M::SUBJECT);
                    return host.end(ErrorCode::NOT_COORDINATOR);
                }
            }
            records += i64::from(batch.header.record_count);
            from = batch.header.next_offset();
        }
        drop(core);
        // Requests are told to come again meanwhile.
        host.catch_up();
    }
}
