//! `Scrape`: puts a page together. It runs on the endpoint's thread and takes one lock after the other, each for as long as
//! it takes to copy a few numbers.

use super::controller::{self, ControllerView};
use super::{groups, names, partitions, process, requests, traffic};
use crate::broker::Broker;
use milena_metrics::{Page, Source};
use milena_network::{Memory, QuotaHandle};
use std::fmt;
use std::sync::Arc;

/// Lines about single groups and their offsets on one page: who has more is told how many were left out.
const GROUP_LINES_MAX: usize = 50_000;

/// The state that `BrokerState` has while a broker serves.
const RUNNING: i32 = 3;

/// Everything a page is made from.
pub(crate) struct Scrape(ScrapeParts);

/// What of a node is asked.
pub(crate) struct ScrapeParts {
    pub(crate) broker: Option<Arc<Broker>>,
    pub(crate) controller: Option<ControllerView>,
    /// Of its servers.
    pub(crate) connections: Vec<QuotaHandle>,
    /// For requests.
    pub(crate) memory: Memory,
}

impl Scrape {
    /// Of one node.
    pub(crate) fn new(parts: ScrapeParts) -> Self {
        Self(parts)
    }

    fn write_network(&self, page: &mut Page<'_>) -> fmt::Result {
        page.family(&names::CONNECTIONS, |family| {
            let listeners = self.0.connections.iter().flat_map(QuotaHandle::connections);
            listeners
                .into_iter()
                .try_for_each(|(listener, count)| family.number(&[("listener", listener.as_str())], count))
        })?;
        let (available, total) = (self.0.memory.available_bytes(), self.0.memory.total_bytes());
        page.number(&names::MEMORY_AVAILABLE, available)?;
        page.number(&names::MEMORY_USED, total.saturating_sub(available))
    }
}

impl Source for Scrape {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        process::write(page)?;
        self.write_network(page)?;
        if let Some(view) = &self.0.controller {
            controller::write(page, view)?;
        }
        let Some(broker) = &self.0.broker else { return Ok(()) };
        page.number(&names::BROKER_STATE, RUNNING)?;
        let partitions = partitions::look(broker);
        partitions::write(page, broker, &partitions)?;
        traffic::write(page, &partitions)?;
        if let Some(cells) = broker.cells() {
            requests::write(page, &cells.requests)?;
            page.family(&names::LOG_FLUSH, |family| family.histogram(&[], &cells.log_flush.counts()))?;
        }
        groups::write(page, broker, &partitions, GROUP_LINES_MAX)
    }
}
