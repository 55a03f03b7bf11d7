//! Produce requests that wait until the coordinator of their transaction has said that their partitions are in it. What a
//! connection sends after one waits behind it, so that everything is appended in the order it was sent, and so does what comes
//! during a pause (`write_pause`). Kafka: `ReplicaManager.handleProduceAppend`, `maybeSendPartitionsToTransactionCoordinator`.

use super::append::{AppendGroup, Part};
use super::pending_produce::PendingProduce;
use crate::broker::Broker;
use crate::call::Later;
use crate::hosts::{Query, Verified, ask_coordinator};
use milena_coordinator::runtime::Producer;
use milena_coordinator::transaction::PartitionKey;
use milena_protocol::Text;
use milena_records::BatchHeader;
use milena_storage::VerificationGuard;
use milena_types::{ErrorCode, Offset};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// From this version of Produce on a write adds its partition to the transaction (KIP-890).
const ADDS_FROM_VERSION: i16 = 12;
/// From this version of Produce on clients know `TRANSACTION_ABORTABLE`.
const ABORTABLE_FROM_VERSION: i16 = 11;

/// The transaction of a produce request.
pub(super) struct Transaction {
    id: Text,
    producer: Producer,
    version: i16,
}

impl Transaction {
    fn adds(&self) -> bool {
        self.version >= ADDS_FROM_VERSION
    }
}

/// The requests of one connection that wait, oldest first.
#[derive(Default)]
pub(crate) struct HeldProduces {
    state: Mutex<HeldState>,
    /// How many there are.
    count: AtomicUsize,
}

#[derive(Default)]
struct HeldState {
    queue: VecDeque<Held>,
    last_number: u64,
    /// A thread appends what is ready.
    is_busy: bool,
}

struct Held {
    number: u64,
    pending: PendingProduce,
    parts: Vec<Part>,
    later: Later,
    listener: Arc<str>,
    /// What it waits for.
    transaction: Option<Transaction>,
    /// How long a transaction that is still being ended is waited for.
    until: Instant,
}

impl std::fmt::Debug for HeldProduces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeldProduces({})", self.count.load(Ordering::Relaxed))
    }
}

impl HeldProduces {
    fn state(&self) -> MutexGuard<'_, HeldState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Keeps a request until everything before it is appended and `partitions` are known to be in its transaction.
    pub(super) fn hold(
        self: &Arc<Self>,
        broker: &Arc<Broker>,
        (pending, parts, later): (PendingProduce, Vec<Part>, Later),
        listener: &Arc<str>,
        waits_for: Option<(Transaction, BTreeSet<PartitionKey>)>,
    ) {
        let settings = &broker.settings.transactions;
        let wait_ms =
            settings.add_partitions_retry_backoff_max_ms.min(u64::try_from(settings.request_timeout_ms).unwrap_or(0));
        let mut state = self.state();
        state.last_number += 1;
        let number = state.last_number;
        let (transaction, partitions) = match waits_for {
            Some((transaction, partitions)) => (Some(transaction), partitions),
            None => (None, BTreeSet::new()),
        };
        let query = transaction.as_ref().map(|transaction| self.query(broker, number, transaction, partitions));
        let until = Instant::now() + Duration::from_millis(wait_ms);
        let listener = Arc::clone(listener);
        state.queue.push_back(Held { number, pending, parts, later, listener, transaction, until });
        self.count.store(state.queue.len(), Ordering::Release);
        drop(state);
        match query {
            Some(query) => ask_coordinator(broker, query),
            None => self.run(broker),
        }
    }

    fn query(
        self: &Arc<Self>,
        broker: &Arc<Broker>,
        number: u64,
        transaction: &Transaction,
        partitions: BTreeSet<PartitionKey>,
    ) -> Query {
        let (held, ours) = (Arc::clone(self), Arc::downgrade(broker));
        let done = Box::new(move |verified: Verified| {
            if let Some(broker) = ours.upgrade() {
                held.answered(&broker, number, verified);
            }
        });
        let (id, producer, adds) = (transaction.id.clone(), transaction.producer, transaction.adds());
        Query { id, producer, partitions, adds, done }
    }

    /// The coordinator has spoken.
    fn answered(self: &Arc<Self>, broker: &Arc<Broker>, number: u64, verified: Verified) {
        let mut state = self.state();
        let Some(held) = state.queue.iter_mut().find(|held| held.number == number) else { return };
        let Some(transaction) = &held.transaction else { return };
        let is_ending = verified.iter().any(|(_, error)| *error == ErrorCode::CONCURRENT_TRANSACTIONS);
        if is_ending && transaction.adds() && Instant::now() < held.until {
            drop(state);
            let backoff = Duration::from_millis(broker.settings.transactions.add_partitions_retry_backoff_ms);
            let (again, ours) = (Arc::clone(self), Arc::downgrade(broker));
            broker.deadlines().call_after(backoff, move || {
                if let Some(broker) = ours.upgrade() {
                    again.ask_again(&broker, number);
                }
            });
            return;
        }
        held.take_verified(broker, verified);
        held.transaction = None;
        drop(state);
        self.run(broker);
    }

    fn ask_again(self: &Arc<Self>, broker: &Arc<Broker>, number: u64) {
        let mut state = self.state();
        let Some(held) = state.queue.iter_mut().find(|held| held.number == number) else { return };
        let Some(transaction) = &held.transaction else { return };
        let partitions = start(broker, transaction, &mut held.pending, &mut held.parts);
        if partitions.is_empty() {
            held.transaction = None;
            drop(state);
            return self.run(broker);
        }
        let query = self.query(broker, number, transaction, partitions);
        drop(state);
        ask_coordinator(broker, query);
    }

    /// Appends what waits for nothing, in order.
    pub(super) fn run(self: &Arc<Self>, broker: &Arc<Broker>) {
        if broker.partitions.write_pause.holds_back(self) {
            return;
        }
        let mut state = self.state();
        if state.is_busy {
            return;
        }
        state.is_busy = true;
        while let Some(held) = state.queue.pop_front_if(|held| held.transaction.is_none()) {
            drop(state);
            AppendGroup::append_held(broker, &held.listener, (held.pending, held.parts), held.later);
            state = self.state();
        }
        state.is_busy = false;
        self.count.store(state.queue.len(), Ordering::Release);
    }
}

impl Held {
    /// Takes out what may not be appended.
    fn take_verified(&mut self, broker: &Broker, verified: Verified) {
        let Some(transaction) = &self.transaction else { return };
        let errors: BTreeMap<PartitionKey, ErrorCode> = verified.into_iter().collect();
        let pending = &mut self.pending;
        self.parts.retain_mut(|part| {
            let error = match errors.get(&key_of(part)).copied() {
                None => return true,
                Some(ErrorCode::NONE) if !transaction.adds() => return true,
                // A marker of the transaction before may have taken the guard away; one of this transaction would have
                // raised the epoch.
                Some(ErrorCode::NONE) => match guard(broker, part, true) {
                    Ok(guard) => {
                        part.guard = guard;
                        return true;
                    }
                    Err(error) => (error, None),
                },
                Some(error) => for_client(error, transaction.version),
            };
            pending.refuse_unverified(part.place, error);
            false
        });
    }
}

/// The transaction of a request, if its partitions have to be in one: of a producer that tells its transactional id and
/// sends records of a transaction.
///
/// # Errors
/// `INVALID_PRODUCER_ID_MAPPING` for records of several producers.
pub(super) fn transaction_of(
    broker: &Broker,
    id: Option<&Text>,
    version: i16,
    parts: &[Part],
) -> Result<Option<Transaction>, ErrorCode> {
    let mut producer = None;
    for header in parts.iter().filter_map(transactional) {
        let this = Producer { id: header.producer_id, epoch: header.producer_epoch };
        if producer.is_some_and(|known| known != this) {
            return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        producer = Some(this);
    }
    let (Some(id), Some(producer)) = (id, producer) else { return Ok(None) };
    let transaction = Transaction { id: id.detached(), producer, version };
    Ok((transaction.adds() || broker.verifies_transactions()).then_some(transaction))
}

/// Begins to verify what is not known to be in the transaction, and says what that is.
pub(super) fn start(
    broker: &Broker,
    transaction: &Transaction,
    pending: &mut PendingProduce,
    parts: &mut Vec<Part>,
) -> BTreeSet<PartitionKey> {
    let mut partitions = BTreeSet::new();
    parts.retain_mut(|part| {
        if transactional(part).is_none() {
            return true;
        }
        match guard(broker, part, transaction.adds()) {
            Ok(guard) => {
                part.guard = guard;
                if guard.is_some() {
                    partitions.insert(key_of(part));
                }
                true
            }
            Err(error) => {
                pending.refuse_unverified(part.place, (error, None));
                false
            }
        }
    });
    partitions
}

fn transactional(part: &Part) -> Option<&BatchHeader> {
    part.batch.as_ref().ok().map(|batch| &batch.header).filter(|header| header.is_transactional())
}

fn key_of(part: &Part) -> PartitionKey {
    PartitionKey { topic: part.partition.topic.clone(), index: part.partition.index.0 }
}

fn guard(broker: &Broker, part: &Part, adds: bool) -> Result<Option<VerificationGuard>, ErrorCode> {
    let Some(header) = transactional(part) else { return Ok(None) };
    let mut inner = part.partition.lock();
    inner.state.check_append(1)?;
    inner.log.start_verification(header, adds, broker.now()).map_err(|rejected| rejected.error)
}

/// How a client that sent this version of Produce is told of a refusal, with Kafka's kind of message.
fn for_client(error: ErrorCode, version: i16) -> (ErrorCode, Option<String>) {
    let error = match error {
        ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
        ErrorCode::TRANSACTION_ABORTABLE if version < ABORTABLE_FROM_VERSION => ErrorCode::INVALID_TXN_STATE,
        error => error,
    };
    let comes_again = match error {
        ErrorCode::NETWORK_EXCEPTION
        | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
        | ErrorCode::COORDINATOR_NOT_AVAILABLE
        | ErrorCode::NOT_COORDINATOR => true,
        ErrorCode::CONCURRENT_TRANSACTIONS => version < ADDS_FROM_VERSION,
        _ => false,
    };
    if comes_again {
        let message =
            format!("Unable to verify the partition has been added to the transaction. Underlying error: {error}");
        return (ErrorCode::NOT_ENOUGH_REPLICAS, Some(message));
    }
    let is_missing = error == ErrorCode::INVALID_TXN_STATE;
    (error, is_missing.then(|| "Partition was not added to the transaction".to_owned()))
}

impl PendingProduce {
    /// Refuses one partition before its log was asked.
    pub(super) fn refuse_unverified(
        &mut self,
        place: super::waiting::Place,
        (error, message): (ErrorCode, Option<String>),
    ) {
        self.refuse(place, error, Offset(-1));
        if let (Some(answer), Some(message)) = (self.answer_at(place), message) {
            answer.error_message = Some(message.into());
        }
    }
}
