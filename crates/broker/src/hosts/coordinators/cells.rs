//! `RuntimeCells`: how long coordinators of one kind take for things. Kafka: `CoordinatorRuntimeMetricsImpl`.

use milena_metrics::Histogram;

/// Of all coordinators of one kind here.
#[derive(Debug, Default)]
pub(crate) struct RuntimeCells {
    /// From being put into the box until it is worked on.
    pub(crate) event_queue: Histogram,
    /// Being worked on.
    pub(crate) event_processing: Histogram,
    /// From having been worked on until the answer leaves, most of it waiting for the high watermark.
    pub(crate) event_purgatory: Histogram,
    /// Writing a batch to the log.
    pub(crate) batch_flush: Histogram,
    /// From a batch's first record until it is written.
    pub(crate) batch_linger: Histogram,
    /// Reading a whole log.
    pub(crate) partition_load: Histogram,
}
