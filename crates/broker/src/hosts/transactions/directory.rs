//! `TransactionCoordinators`: which coordinator has which transactional id, and what becomes of coordinators when the
//! cluster changes.

use super::errands::Errands;
use super::marking;
use crate::broker::Broker;
use crate::hosts::coordinators::{self, Done, Gather, Host, Hosted, Led};
use crate::partitions::Partition;
use crate::settings::BrokerSettings;
use milena_coordinator::runtime::{RuntimeConfig, Ticket};
use milena_coordinator::transaction::{
    Action, ListFilter, Transaction, TransactionEvent, TransactionMachine, TransactionReply, TransactionRequest,
};
use milena_metadata::{Delta, Image, TRANSACTION_VERSION};
use milena_protocol::Text;
use milena_records::Codec;
use milena_types::{ErrorCode, ProducerId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The topic of transactions.
pub(crate) const TRANSACTION_TOPIC: &str = "__transaction_state";

/// Records are collected as long as events are at hand, and then appended.
const NO_LINGER: i64 = -1;

/// Gets the answer, from any thread.
pub(crate) type TransactionDone = Done<TransactionMachine>;

/// One coordinator.
pub(super) type TransactionHost = Host<TransactionMachine>;

impl Hosted for TransactionMachine {
    const TOPIC: &'static str = TRANSACTION_TOPIC;
    const SUBJECT: &'static str = "transactions";
    type Request = TransactionRequest;
    type Action = Action;

    fn asked(ticket: Ticket, request: TransactionRequest) -> TransactionEvent {
        TransactionEvent::Request { ticket, request }
    }

    fn now_is(broker: &Broker) -> TransactionEvent {
        TransactionEvent::Version(broker.image().features.level(TRANSACTION_VERSION))
    }

    fn take_actions(&mut self) -> Vec<Action> {
        TransactionMachine::take_actions(self)
    }

    fn act(broker: &Arc<Broker>, host: &Arc<Host<Self>>, action: Action) {
        match action {
            Action::Mark(marking) => marking::mark(broker, host, marking),
            Action::GetProducerId { id } => {
                let host = Arc::clone(host);
                let take = Box::new(move |result| {
                    // Without one the transaction is looked at again later.
                    if let Ok(producer_id) = result {
                        host.event(TransactionEvent::GotProducerId { id, producer_id });
                    }
                });
                broker.producer_ids().generate(broker, take);
            }
        }
    }

    fn load_buffer_bytes(settings: &BrokerSettings) -> u32 {
        settings.transactions.state_log_load_buffer_size
    }

    fn partitions_if_new(settings: &BrokerSettings) -> i32 {
        settings.transactions.state_log_num_partitions
    }
}

/// One line of a list.
pub(crate) type Listed = (Text, ProducerId, &'static str);
/// One transactional id that was asked for.
pub(crate) type Described = (Text, Result<Transaction, ErrorCode>);

/// Every transaction coordinator of this broker.
#[derive(Default)]
pub(crate) struct TransactionCoordinators {
    led: Led<TransactionMachine>,
    errands: Errands,
}

impl TransactionCoordinators {
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
        match self.led.on(partition) {
            Some(host) => host.request(request, done),
            None => done(request.refused(ErrorCode::NOT_COORDINATOR)),
        }
    }

    /// All transactional ids here that pass the filter. One coordinator that loads makes the list incomplete.
    pub(crate) fn list(&self, filter: &ListFilter, done: impl FnOnce(Result<Vec<Listed>, ErrorCode>) + Send + 'static) {
        let hosts = self.led.all();
        let gather = Gather::new(hosts.len(), Box::new(move |replies| done(listed(replies))));
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
        let described = |reply| if let TransactionReply::Describe(all) = reply { all } else { Vec::new() };
        let all = move |replies: Vec<TransactionReply>| done(replies.into_iter().flat_map(described).collect());
        let gather = Gather::new(by_partition.len(), Box::new(all));
        for (partition, ids) in by_partition {
            let request = TransactionRequest::Describe(ids);
            let gather = Arc::clone(&gather);
            match self.led.on(partition) {
                Some(host) => host.request(request, Box::new(move |reply| gather.add(reply))),
                None => gather.add(request.refused(ErrorCode::NOT_COORDINATOR)),
            }
        }
    }

    /// Follows the leaderships of the transactions' topic and the protocol's version. The partitions have followed the
    /// image already, and it is the broker's.
    pub(crate) fn follow(&self, broker: &Arc<Broker>, image: &Image, delta: Option<&Delta>) {
        self.led.follow(broker, (image, delta), |partition| begin(broker, image, partition));
        if delta.is_some_and(|delta| delta.features) {
            let version = image.features.level(TRANSACTION_VERSION);
            self.led.all().iter().for_each(|host| host.event(TransactionEvent::Version(version)));
        }
    }

    /// The broker stops: whoever waits is told to look elsewhere.
    pub(crate) fn stop(&self) {
        self.led.stop();
    }
}

fn begin(broker: &Broker, image: &Image, partition: &Partition) -> (TransactionMachine, RuntimeConfig) {
    let settings = &broker.settings.transactions;
    let config = RuntimeConfig {
        max_batch_bytes: partition.max_batch_bytes(),
        append_linger_ms: NO_LINGER,
        write_timeout_ms: settings.request_timeout_ms,
        codec: Codec::NONE,
    };
    (TransactionMachine::new(settings.config, image.features.level(TRANSACTION_VERSION)), config)
}

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
    coordinators::partition_of::<TransactionMachine>(broker, id)
}
