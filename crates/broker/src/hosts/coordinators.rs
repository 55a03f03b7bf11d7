//! What the coordinators of groups and of transactions have in common: one for each partition of their topic that this
//! broker leads.
//!
//! `led.rs` makes and ends them as leaderships come and go; `host.rs` runs one on the threads that bring its events;
//! `loader.rs` reads the log of one that begins; `gather.rs` puts the answers of several together. What differs is in
//! `Hosted`. Kafka: `CoordinatorRuntime` and its threads.

mod cells;
mod gather;
mod host;
mod led;
mod loader;

pub(crate) use cells::RuntimeCells;
pub(super) use gather::{Gather, GatherDone};
pub(super) use host::{Done, Host};
pub(super) use led::{Led, partition_of};

use crate::broker::Broker;
use crate::settings::BrokerSettings;
use milena_coordinator::runtime::{Machine, Ticket};
use std::sync::Arc;

/// A state machine that is hosted here.
pub(super) trait Hosted:
    Machine<State: Send, Event: Send, Reply: Send, After: Send> + Sized + Send + 'static
{
    /// The topic its logs are the partitions of.
    const TOPIC: &'static str;
    /// What it is about, for people.
    const SUBJECT: &'static str;
    /// What is asked of it.
    type Request: Send;
    /// What it wants done beside the log.
    type Action: Send;

    /// A request that waits for its answer.
    fn asked(ticket: Ticket, request: Self::Request) -> Self::Event;

    /// What it is told once it is loaded: the image may have changed since it was made.
    fn now_is(broker: &Broker) -> Self::Event;

    /// What is to be done since the last time, in order.
    fn take_actions(&mut self) -> Vec<Self::Action>;

    /// Does it. Nothing is locked.
    fn act(broker: &Arc<Broker>, host: &Arc<Host<Self>>, action: Self::Action);

    /// How much of a log is read at once while it is loaded.
    fn load_buffer_bytes(settings: &BrokerSettings) -> u32;

    /// What is counted of them, if somebody may ask.
    fn cells(_broker: &Broker) -> Option<&RuntimeCells> {
        None
    }

    /// Partitions of the topic as long as there is none.
    fn partitions_if_new(settings: &BrokerSettings) -> i32;
}
