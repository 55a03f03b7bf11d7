//! Metrics of this node: what is counted while it works (`cells.rs`), by which names it is told (`names.rs`), and how a page
//! is put together from both and from the state there is (`scrape.rs`, a file for each subject).
//!
//! Names are those that Apache Kafka's MBeans have under the configuration of the JMX exporter that most dashboards are
//! made for. Rates are not told: counters are, from which Prometheus makes rates.

mod cells;
mod controller;
mod groups;
mod names;
mod partitions;
mod process;
mod requests;
mod scrape;
#[cfg(test)]
mod table_tests;
mod traffic;

pub(crate) use cells::Cells;
pub(crate) use controller::ControllerView;
pub use names::METRICS;
pub(crate) use requests::Waited;
pub(crate) use scrape::{Scrape, ScrapeParts};
