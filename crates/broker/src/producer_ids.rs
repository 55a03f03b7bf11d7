//! Ids for idempotent producers, from blocks the controller hands out; the next block is asked for before the one at
//! hand is used up. Kafka's counterpart is `RPCProducerIdManager`.

use crate::broker::Broker;
use milena_protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use milena_types::{ErrorCode, ProducerId};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Gets an id, or the reason why there is none.
pub(crate) type ProducerIdDone = Box<dyn FnOnce(Result<ProducerId, ErrorCode>) + Send>;

/// Requests that may wait for a block; more are told to come again.
const WAITING_MAX: usize = 10_000;

/// The blocks at hand.
#[derive(Default)]
pub(crate) struct ProducerIds {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Range<i64>,
    next: Option<Range<i64>>,
    is_asking: bool,
    waiting: VecDeque<ProducerIdDone>,
}

impl State {
    fn take(&mut self) -> Option<ProducerId> {
        if self.current.is_empty() {
            self.current = self.next.take()?;
        }
        self.current.next().map(ProducerId)
    }

    /// Whether it is time for another block: a tenth of one is left.
    fn wants_block(&self) -> bool {
        let left = self.current.end - self.current.start;
        self.next.is_none() && !self.is_asking && left < BLOCK_SIZE / 10
    }
}

/// Ids in a block (`ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
const BLOCK_SIZE: i64 = 1000;

impl ProducerIds {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `done` an id, now or when the controller has answered. `broker_epoch` is that of the registration.
    pub(crate) fn generate(&self, broker: &Arc<Broker>, done: ProducerIdDone) {
        let mut state = self.state();
        let id = if state.waiting.is_empty() { state.take() } else { None };
        let ask = state.wants_block();
        state.is_asking |= ask;
        let now = match id {
            Some(id) => Some((done, Ok(id))),
            None if state.waiting.len() >= WAITING_MAX => Some((done, Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS))),
            None => {
                state.waiting.push_back(done);
                None
            }
        };
        drop(state);
        if let Some((done, result)) = now {
            done(result);
        }
        if ask {
            ask_controller(broker);
        }
    }

    fn answered(&self, result: Result<AllocateProducerIdsResponse, ErrorCode>) {
        let block = result.and_then(|response| match ErrorCode(response.error_code) {
            ErrorCode::NONE => {
                Ok(response.producer_id_start..response.producer_id_start + i64::from(response.producer_id_len))
            }
            error => Err(error),
        });
        let mut state = self.state();
        state.is_asking = false;
        let failed = block.is_err();
        match block {
            Ok(block) if state.current.is_empty() => state.current = block,
            Ok(block) => state.next = Some(block),
            Err(error) => tracing::warn!(%error, "the controller gave no producer ids"),
        }
        let mut served = Vec::new();
        while let Some(done) = state.waiting.pop_front() {
            match state.take() {
                Some(id) => served.push((done, Ok(id))),
                // The client comes again; by then a block may be here.
                None if failed || state.current.is_empty() => {
                    served.push((done, Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)));
                }
                None => {}
            }
        }
        drop(state);
        for (done, result) in served {
            done(result);
        }
    }
}

fn ask_controller(broker: &Arc<Broker>) {
    let node = broker.settings.node_id;
    let broker_epoch = broker.image().cluster.broker(node).map_or(-1, |registration| registration.epoch);
    let request = AllocateProducerIdsRequest { broker_id: node.0, broker_epoch, ..Default::default() };
    let weak = Arc::downgrade(broker);
    broker.submit(request, move |result| {
        if let Some(broker) = weak.upgrade() {
            broker.producer_ids().answered(result);
        }
    });
}
