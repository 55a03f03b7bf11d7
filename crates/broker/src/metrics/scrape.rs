//! `Scrape`: puts a page together. It runs on the endpoint's thread and takes one lock after the other, each for as long as
//! it takes to copy a few numbers.

use super::{groups, names, partitions, process};
use crate::broker::Broker;
use milena_metrics::{Page, Source};
use std::fmt;
use std::sync::Arc;

/// Lines about single groups and their offsets on one page: who has more is told how many were left out.
const GROUP_LINES_MAX: usize = 50_000;

/// The state that `BrokerState` has while a broker serves.
const RUNNING: i32 = 3;

/// Everything a page is made from.
pub(crate) struct Scrape {
    broker: Option<Arc<Broker>>,
}

impl Scrape {
    /// Of a node, with its broker if it is one.
    pub(crate) fn new(broker: Option<Arc<Broker>>) -> Self {
        Self { broker }
    }
}

impl Source for Scrape {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        process::write(page)?;
        let Some(broker) = &self.broker else { return Ok(()) };
        page.number(&names::BROKER_STATE, RUNNING)?;
        let partitions = partitions::look(broker);
        partitions::write(page, broker, &partitions)?;
        groups::write(page, broker, &partitions, GROUP_LINES_MAX)
    }
}
