//! `TransactionCoordinators`: which coordinator has which transactional id, and what becomes of coordinators when the
//! cluster changes.

use super::errands::Errands;
use super::host::{Host, TransactionDone};
use super::loader::Loader;
use crate::broker::Broker;
use crate::partitions::LocalTopic;
use milena_coordinator::group::java;
use milena_coordinator::runtime::{Coordinator, RuntimeConfig};
use milena_coordinator::transaction::{
    ListFilter, Transaction, TransactionEvent, TransactionMachine, TransactionReply, TransactionRequest,
};
use milena_metadata::{Delta, Image, TRANSACTION_VERSION};
use milena_protocol::Text;
use milena_records::Codec;
use milena_types::{ErrorCode, ProducerId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The topic of transactions.
pub(crate) const TRANSACTION_TOPIC: &str = "__transaction_state";

/// One line of a list.
pub(crate) type Listed = (Text, ProducerId, &'static str);
/// One transactional id that was asked for.
pub(crate) type Described = (Text, Result<Transaction, ErrorCode>);

/// Every transaction coordinator of this broker.
#[derive(Default)]
pub(crate) struct TransactionCoordinators {
    /// By partition.
    hosts: RwLock<BTreeMap<i32, Arc<Host>>>,
    loader: Arc<Loader>,
    errands: Errands,
}

impl TransactionCoordinators {
    fn hosts(&self) -> RwLockReadGuard<'_, BTreeMap<i32, Arc<Host>>> {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn hosts_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<i32, Arc<Host>>> {
        self.hosts.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be asked of other brokers.
    pub(crate) fn errands(&self) -> &Errands {
        &self.errands
    }

    /// A request of one transactional id; `done` gets its answer, now or later.
    pub(crate) fn submit(&self, broker: &Arc<Broker>, request: TransactionRequest, done: TransactionDone) {
        let may_need_id = matches!(request, TransactionRequest::InitProducerId { .. } | TransactionRequest::End { .. });
        if !may_need_id {
            return self.submit_once(broker, request, done);
        }
        let (again, weak) = (request.clone(), Arc::downgrade(broker));
        let done = move |reply| match (reply, weak.upgrade()) {
            (TransactionReply::NeedsProducerId, Some(broker)) => with_producer_id(&broker, again, done),
            (TransactionReply::NeedsProducerId, None) => done(again.refused(ErrorCode::NOT_COORDINATOR)),
            (reply, _) => done(reply),
        };
        self.submit_once(broker, request, Box::new(done));
    }

    fn submit_once(&self, broker: &Broker, request: TransactionRequest, done: TransactionDone) {
        let partition = partition_of(broker, request.id().map_or("", |id| id));
        let host = self.hosts().get(&partition).cloned();
        match host {
            Some(host) => host.request(request, done),
            None => done(request.refused(ErrorCode::NOT_COORDINATOR)),
        }
    }

    /// All transactional ids here that pass the filter. One coordinator that loads makes the list incomplete.
    pub(crate) fn list(&self, filter: &ListFilter, done: impl FnOnce(Result<Vec<Listed>, ErrorCode>) + Send + 'static) {
        let hosts: Vec<_> = self.hosts().values().cloned().collect();
        let gather = Gather::new(hosts.len(), move |replies| done(listed(replies)));
        for host in hosts {
            let gather = Arc::clone(&gather);
            host.request(TransactionRequest::List(filter.clone()), Box::new(move |reply| gather.add(reply)));
        }
    }

    /// Describes each of `ids`, in any order.
    pub(crate) fn describe(&self, broker: &Broker, ids: Vec<Text>, done: impl FnOnce(Vec<Described>) + Send + 'static) {
        let mut by_partition: BTreeMap<i32, Vec<Text>> = BTreeMap::new();
        for id in ids {
            by_partition.entry(partition_of(broker, &id)).or_default().push(id);
        }
        let gather = Gather::new(by_partition.len(), move |replies: Vec<TransactionReply>| {
            let described = |reply| if let TransactionReply::Describe(all) = reply { all } else { Vec::new() };
            done(replies.into_iter().flat_map(described).collect());
        });
        for (partition, ids) in by_partition {
            let host = self.hosts().get(&partition).cloned();
            let request = TransactionRequest::Describe(ids);
            let gather = Arc::clone(&gather);
            match host {
                Some(host) => host.request(request, Box::new(move |reply| gather.add(reply))),
                None => gather.add(request.refused(ErrorCode::NOT_COORDINATOR)),
            }
        }
    }

    /// Follows the leaderships of the transactions' topic and the protocol's version. The partitions have followed the
    /// image already, and it is the broker's.
    pub(crate) fn follow(&self, broker: &Arc<Broker>, image: &Image, delta: Option<&Delta>) {
        let concerns_us = delta.is_none_or(|delta| {
            let topic = image.topics.id_of(TRANSACTION_TOPIC);
            topic.is_none() || topic.is_some_and(|topic| delta.changed_partitions.contains_key(&topic))
        });
        if concerns_us {
            let local = broker.partitions.named(TRANSACTION_TOPIC);
            self.follow_leaders(broker, image, local.as_deref());
        }
        if delta.is_some_and(|delta| delta.features) {
            let version = image.features.level(TRANSACTION_VERSION);
            let hosts: Vec<_> = self.hosts().values().cloned().collect();
            hosts.iter().for_each(|host| host.event(TransactionEvent::Version(version)));
        }
    }

    fn follow_leaders(&self, broker: &Arc<Broker>, image: &Image, local: Option<&LocalTopic>) {
        let led: BTreeMap<i32, _> = local
            .into_iter()
            .flat_map(|local| local.partitions.iter().flatten())
            .filter_map(|partition| Some((partition.index.0, (Arc::clone(partition), partition.led_epoch()?))))
            .collect();
        let (mut ended, mut begun) = (Vec::new(), Vec::new());
        let mut hosts = self.hosts_mut();
        hosts.retain(|index, host| {
            let goes_on = led
                .get(index)
                .is_some_and(|(partition, epoch)| *epoch == host.epoch && Arc::ptr_eq(partition, &host.partition));
            if !goes_on {
                ended.push(Arc::clone(host));
            }
            goes_on
        });
        let settings = &broker.settings.transactions;
        for (index, (partition, epoch)) in led {
            if hosts.contains_key(&index) {
                continue;
            }
            let machine = TransactionMachine::new(settings.config, image.features.level(TRANSACTION_VERSION));
            let config = RuntimeConfig {
                max_batch_bytes: partition.max_batch_bytes(),
                append_linger_ms: NO_LINGER,
                write_timeout_ms: settings.request_timeout_ms,
                codec: Codec::NONE,
            };
            let host = Host::new(broker, partition, epoch, Coordinator::new(machine, config, epoch));
            hosts.insert(index, Arc::clone(&host));
            begun.push(host);
        }
        drop(hosts);
        for host in ended {
            host.end(ErrorCode::NOT_COORDINATOR);
        }
        for host in begun {
            self.loader.add(broker, host);
        }
    }

    /// The broker stops: whoever waits is told to look elsewhere.
    pub(crate) fn stop(&self) {
        let hosts = std::mem::take(&mut *self.hosts_mut());
        for host in hosts.into_values() {
            host.end(ErrorCode::NOT_COORDINATOR);
        }
    }
}

/// Records are collected as long as events are at hand, and then appended.
const NO_LINGER: i64 = -1;

fn with_producer_id(broker: &Arc<Broker>, request: TransactionRequest, done: TransactionDone) {
    let ours = Arc::clone(broker);
    let take = Box::new(move |result: Result<ProducerId, ErrorCode>| match result {
        Ok(id) => ours.transactions().submit(&ours, request.with_producer_id(id), done),
        Err(error) => done(request.refused(error)),
    });
    broker.producer_ids().generate(broker, take);
}

fn listed(replies: Vec<TransactionReply>) -> Result<Vec<Listed>, ErrorCode> {
    let mut all = Vec::new();
    for reply in replies {
        match reply {
            TransactionReply::List(Ok(listed)) => all.extend(listed),
            // It has moved away, and tells nothing.
            TransactionReply::List(Err(ErrorCode::NOT_COORDINATOR)) => {}
            TransactionReply::List(Err(error)) => return Err(error),
            _ => return Err(ErrorCode::UNKNOWN_SERVER_ERROR),
        }
    }
    Ok(all)
}

/// The partition of the transactions' topic that a transactional id is on, whether the topic exists or not.
pub(crate) fn partition_of(broker: &Broker, id: &str) -> i32 {
    let existing = broker.image().topics.named(TRANSACTION_TOPIC).map(|topic| topic.partitions.len());
    let count = existing.and_then(|count| i32::try_from(count).ok());
    java::partition_for(id, count.unwrap_or(broker.settings.transactions.state_log_num_partitions))
}

type GatherDone = Box<dyn FnOnce(Vec<TransactionReply>) + Send>;

/// Collects the answers of several coordinators.
struct Gather {
    state: Mutex<(usize, Vec<TransactionReply>, Option<GatherDone>)>,
}

impl Gather {
    fn new(count: usize, done: impl FnOnce(Vec<TransactionReply>) + Send + 'static) -> Arc<Self> {
        let gather = Arc::new(Gather { state: Mutex::new((count, Vec::new(), Some(Box::new(done)))) });
        gather.finish();
        gather
    }

    fn add(&self, reply: TransactionReply) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = state.0.saturating_sub(1);
        state.1.push(reply);
        drop(state);
        self.finish();
    }

    fn finish(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 > 0 {
            return;
        }
        let (replies, done) = (std::mem::take(&mut state.1), state.2.take());
        drop(state);
        if let Some(done) = done {
            done(replies);
        }
    }
}
