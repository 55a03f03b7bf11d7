//! Requests by key: how many, and how long they took. Kafka: `RequestMetrics`.

use super::{Cells, names};
use crate::api::apis;
use milena_metrics::{Counter, Counts, Histogram, Metric, Page, PerThread};
use milena_protocol::ApiKey;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The cells of all keys, for a few threads each.
#[derive(Debug, Default)]
pub(crate) struct RequestCells(PerThread<Rows>);

/// By the number of the key.
#[derive(Debug)]
struct Rows(Vec<Option<Box<Row>>>);

#[derive(Debug)]
struct Row {
    /// By version.
    versions: Box<[Counter]>,
    total: Histogram,
    local: Histogram,
    remote: Histogram,
}

impl Default for Rows {
    fn default() -> Self {
        let mut rows: Vec<Option<Box<Row>>> = Vec::new();
        for api in apis() {
            let at = usize::try_from(api.key.0).unwrap_or(0);
            rows.resize_with(rows.len().max(at + 1), || None);
            let versions = usize::try_from(*api.versions().end()).unwrap_or(0) + 1;
            let row = Row {
                versions: std::iter::repeat_with(Counter::default).take(versions).collect(),
                total: Histogram::default(),
                local: Histogram::default(),
                remote: Histogram::default(),
            };
            if let Some(slot) = rows.get_mut(at) {
                *slot = Some(Box::new(row));
            }
        }
        Rows(rows)
    }
}

impl Rows {
    fn row(&self, key: ApiKey) -> Option<&Row> {
        self.0.get(usize::try_from(key.0).ok()?)?.as_deref()
    }
}

impl RequestCells {
    /// A request came.
    pub(crate) fn came(&self, key: ApiKey, version: i16) {
        let row = self.0.mine().row(key);
        let at = usize::try_from(version).unwrap_or(usize::MAX);
        if let Some(count) = row.and_then(|row| row.versions.get(at)) {
            count.add(1);
        }
    }

    /// It was answered at once.
    pub(crate) fn answered(&self, key: ApiKey, took: Duration) {
        if let Some(row) = self.0.mine().row(key) {
            row.local.record(took);
            row.total.record(took);
        }
    }

    /// It was answered after it had waited.
    fn answered_late(&self, key: ApiKey, local: Duration, total: Duration) {
        if let Some(row) = self.0.mine().row(key) {
            row.local.record(local);
            row.remote.record(total.saturating_sub(local));
            row.total.record(total);
        }
    }
}

/// A request that waits, if somebody may ask how long.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waited(Option<(Arc<Cells>, Instant, Duration)>);

impl Waited {
    /// Begins to wait now; `began` is when it began to be worked on.
    pub(crate) fn since(cells: Option<&Arc<Cells>>, began: Option<Instant>) -> Self {
        Self(cells.zip(began).map(|(cells, began)| (Arc::clone(cells), began, began.elapsed())))
    }

    /// It is answered.
    pub(crate) fn is_over(&self, key: ApiKey) {
        if let Some((cells, began, local)) = &self.0 {
            cells.requests.answered_late(key, *local, began.elapsed());
        }
    }
}

pub(super) fn write(page: &mut Page<'_>, cells: &RequestCells) -> fmt::Result {
    page.family(&names::REQUESTS, |family| {
        for api in apis() {
            for version in api.versions() {
                let at = usize::try_from(version).unwrap_or(usize::MAX);
                let rows = cells.0.all().filter_map(|rows| rows.row(api.key)?.versions.get(at));
                let count: u64 = rows.map(Counter::get).sum();
                if count > 0 {
                    let version = version.to_string();
                    family.number(&[("request", api.key.name()), ("version", &version)], count)?;
                }
            }
        }
        Ok(())
    })?;
    times(page, &names::TOTAL_TIME, cells, |row| &row.total)?;
    times(page, &names::LOCAL_TIME, cells, |row| &row.local)?;
    times(page, &names::REMOTE_TIME, cells, |row| &row.remote)
}

/// A histogram of each key that was asked for.
fn times(
    page: &mut Page<'_>,
    metric: &'static Metric,
    cells: &RequestCells,
    of: fn(&Row) -> &Histogram,
) -> fmt::Result {
    page.family(metric, |family| {
        for api in apis() {
            let mut counts = Counts::default();
            cells.0.all().filter_map(|rows| rows.row(api.key)).for_each(|row| counts.add(of(row)));
            if counts.count() > 0 {
                family.histogram(&[("request", api.key.name())], &counts)?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_request_of_ours_is_not_counted_and_harms_nothing() {
        let cells = RequestCells::default();
        for (key, version) in [(-1, 0), (0, -1), (0, 99), (999, 0)] {
            cells.came(ApiKey(key), version);
            cells.answered(ApiKey(key), Duration::ZERO);
        }
        cells.came(ApiKey::PRODUCE, 9);
        let row = cells.0.mine().row(ApiKey::PRODUCE).unwrap();
        assert_eq!(row.versions.iter().map(Counter::get).sum::<u64>(), 1);
    }

    #[test]
    fn of_a_request_that_waited_both_parts_are_known() {
        let cells = Arc::new(Cells::default());
        let waited = Waited::since(Some(&cells), Some(Instant::now() - Duration::from_millis(20)));
        waited.is_over(ApiKey::FETCH);
        let row = cells.requests.0.mine().row(ApiKey::FETCH).unwrap();
        assert!(row.local.counts().sum_ms() >= 20.0);
        assert_eq!((row.remote.counts().count(), row.total.counts().count()), (1, 1));
        Waited::since(None, None).is_over(ApiKey::FETCH);
    }
}
