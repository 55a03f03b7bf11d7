//! A page: what is scraped, written family by family in the text format of OpenMetrics. The encoder is the Prometheus
//! project's; what is written has a `Metric`, of which the broker has one table, so that the documentation can be held
//! against it.

use crate::cells::Counts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows while the process lives; `_total` is part of its name on the page.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Grows, under a name of Kafka's that has no `_total`.
    Count,
    /// `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// One metric: its name and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Without the suffix of its kind.
    pub name: &'static str,
    pub kind: Kind,
    /// Separated by commas, `""` for none.
    pub labels: &'static str,
    /// The MBean and attribute of Apache Kafka it stands for, `""` if there is none.
    pub mbean: &'static str,
    pub help: &'static str,
}

impl Metric {
    /// The name on the page.
    #[must_use]
    pub fn full_name(&self) -> String {
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{}{suffix}", self.name)
    }
}

/// Writes a page. Called on the endpoint's own thread.
pub trait Source: Send + Sync + 'static {
    /// Everything there is, now.
    ///
    /// # Errors
    /// None of its own: those of the page are passed on.
    fn write(&self, page: &mut Page<'_>) -> fmt::Result;
}

/// A page that is being written.
pub struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
}

/// The lines of one metric.
pub struct Family<'a> {
    encoder: MetricEncoder<'a>,
    kind: Kind,
}

impl Page<'_> {
    /// One metric; `write` adds its lines. A metric has one place on a page.
    ///
    /// # Errors
    /// The writer's, which is memory and has none.
    pub fn family(
        &mut self,
        metric: &'static Metric,
        write: impl FnOnce(&mut Family<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let kind = match metric.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Count => MetricType::Unknown,
            Kind::Histogram => MetricType::Histogram,
        };
        let encoder = self.encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
        write(&mut Family { encoder, kind: metric.kind })
    }

    /// A metric of one line without labels.
    ///
    /// # Errors
    /// As `family`.
    pub fn number(&mut self, metric: &'static Metric, value: impl Number) -> fmt::Result {
        self.family(metric, |family| family.number(&[], value))
    }
}

/// What can be the value of a line.
pub trait Number: Copy {
    /// As a gauge has it.
    fn as_f64(self) -> f64;
    /// As an integer, if it is one.
    fn as_u64(self) -> Option<u64>;
}

macro_rules! integers {
    ($($integer:ty),*) => { $(
        impl Number for $integer {
            fn as_f64(self) -> f64 { self as f64 }
            fn as_u64(self) -> Option<u64> { u64::try_from(self).ok() }
        }
    )* };
}

integers!(u64, i64, usize, u32, i32);

impl Number for f64 {
    fn as_f64(self) -> f64 {
        self
    }

    fn as_u64(self) -> Option<u64> {
        None
    }
}

impl Number for bool {
    fn as_f64(self) -> f64 {
        f64::from(u8::from(self))
    }

    fn as_u64(self) -> Option<u64> {
        Some(u64::from(self))
    }
}

impl Family<'_> {
    /// One line.
    ///
    /// # Errors
    /// The writer's, which is memory and has none.
    pub fn number(&mut self, labels: &[(&str, &str)], value: impl Number) -> fmt::Result {
        if labels.is_empty() {
            return write_number(&mut self.encoder, self.kind, value);
        }
        write_number(&mut self.encoder.encode_family(&labels)?, self.kind, value)
    }

    /// The lines of one histogram.
    ///
    /// # Errors
    /// As `number`.
    pub fn histogram(&mut self, labels: &[(&str, &str)], counts: &Counts) -> fmt::Result {
        let write = |encoder: &mut MetricEncoder<'_>| {
            encoder.encode_histogram::<NoLabelSet>(counts.sum_ms(), counts.count(), &counts.buckets(), None)
        };
        if labels.is_empty() {
            return write(&mut self.encoder);
        }
        write(&mut self.encoder.encode_family(&labels)?)
    }
}

fn write_number(encoder: &mut MetricEncoder<'_>, kind: Kind, value: impl Number) -> fmt::Result {
    match (kind, value.as_u64()) {
        (Kind::Counter, Some(integer)) => encoder.encode_counter::<NoLabelSet, u64, u64>(&integer, None),
        (Kind::Counter, None) => encoder.encode_counter::<NoLabelSet, f64, f64>(&value.as_f64(), None),
        (_, Some(integer)) => encoder.encode_gauge(&integer),
        (_, None) => encoder.encode_gauge(&value.as_f64()),
    }
}

/// Asks a source for its page.
struct Asking(Arc<dyn Source>);

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asking")
    }
}

impl Collector for Asking {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.write(&mut Page { encoder })
    }
}

/// What a page is made with.
pub(crate) fn registry(source: Arc<dyn Source>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Asking(source)));
    registry
}

/// The page as text.
pub(crate) fn text(registry: &Registry) -> String {
    let mut text = String::new();
    // The only error there is would be a string's.
    let _ = text::encode(&mut text, registry);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Histogram;
    use std::time::Duration;

    static READS: Metric =
        Metric { name: "reads", kind: Kind::Counter, labels: "topic", mbean: "", help: "How much was read." };
    static AGE: Metric = Metric { name: "age", kind: Kind::Gauge, labels: "", mbean: "", help: "How old." };
    static MADE: Metric = Metric { name: "made_count", kind: Kind::Count, labels: "", mbean: "", help: "Made." };
    static TOOK: Metric = Metric { name: "took_ms", kind: Kind::Histogram, labels: "of", mbean: "", help: "How long." };

    struct Fixed;

    impl Source for Fixed {
        fn write(&self, page: &mut Page<'_>) -> fmt::Result {
            page.family(&READS, |family| {
                family.number(&[], 7_u64)?;
                family.number(&[("topic", "a\"b\\c\nd")], 7_u64)
            })?;
            page.number(&AGE, -1.5)?;
            page.number(&MADE, 3_i64)?;
            let histogram = Histogram::default();
            histogram.record(Duration::from_micros(400));
            page.family(&TOOK, |family| family.histogram(&[("of", "x")], &histogram.counts()))
        }
    }

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let text = text(&registry(Arc::new(Fixed)));
        let expected = "# HELP reads How much was read.\n# TYPE reads counter\nreads_total 7\n\
            reads_total{topic=\"a\\\"b\\\\c\\nd\"} 7\n# HELP age How old.\n# TYPE age gauge\nage -1.5\n\
            # HELP made_count Made.\n# TYPE made_count unknown\nmade_count 3\n\
            # HELP took_ms How long.\n# TYPE took_ms histogram\ntook_ms_sum{of=\"x\"} 0.4\ntook_ms_count{of=\"x\"} 1\n\
            took_ms_bucket{le=\"0.1\",of=\"x\"} 0\n";
        assert_eq!(text.get(..expected.len()), Some(expected), "{text}");
        assert!(text.contains("took_ms_bucket{le=\"0.5\",of=\"x\"} 1\n"), "{text}");
        assert!(text.ends_with("took_ms_bucket{le=\"+Inf\",of=\"x\"} 1\n# EOF\n"), "{text}");
    }

    #[test]
    fn a_counters_name_ends_as_it_must() {
        assert_eq!((READS.full_name(), MADE.full_name()), ("reads_total".to_owned(), "made_count".to_owned()));
    }
}
