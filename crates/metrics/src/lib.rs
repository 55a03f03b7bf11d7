//! Metrics: cells that count at the cost of an addition, pages of them in the text format of Prometheus (OpenMetrics), and
//! the HTTP endpoint that hands the pages out. What is counted, and by which name, is the broker's business. Nothing here
//! is global: two brokers of one process have their own.

mod cells;
mod endpoint;
mod page;

pub use cells::{Counter, Counts, Histogram, PerThread, Stopwatch};
pub use endpoint::{Endpoint, Listening};
pub use page::{Family, Kind, Metric, Page, Source};
