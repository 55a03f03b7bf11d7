//! `Decision`: the records a request becomes, and the answer once they are committed (`ControllerResult`).

use milena_metadata::VersionedRecord;

/// What the controller decided. Nothing has changed yet: the host appends the records, replays them, and sends the
/// response when they are committed.
#[derive(Clone, PartialEq, Debug)]
pub struct Decision<R> {
    /// In order, each with the version to write it with.
    pub records: Vec<VersionedRecord>,
    pub response: R,
    /// The records must lie in one batch, so that all or none survive.
    pub atomic: bool,
}

impl<R> Decision<R> {
    /// A decision whose records may be split over batches.
    pub(crate) fn of(records: Vec<VersionedRecord>, response: R) -> Decision<R> {
        Decision { records, response, atomic: false }
    }

    /// A decision whose records belong together.
    pub(crate) fn atomic(records: Vec<VersionedRecord>, response: R) -> Decision<R> {
        Decision { records, response, atomic: true }
    }

    /// The same answer without its records, for requests that only want to be validated.
    #[must_use]
    pub fn without_records(self) -> Decision<R> {
        Decision { records: Vec::new(), ..self }
    }
}

/// The caller's random source: topic ids and placement come from it.
pub trait Random {
    /// 64 random bits.
    fn next_u64(&mut self) -> u64;
}

impl<F: FnMut() -> u64> Random for F {
    fn next_u64(&mut self) -> u64 {
        self()
    }
}

/// A number below `bound`, which is at least 1.
pub(crate) fn below(random: &mut dyn Random, bound: usize) -> usize {
    let bound = (bound as u64).max(1);
    usize::try_from(random.next_u64() % bound).unwrap_or(0)
}

/// Fisher and Yates.
pub(crate) fn shuffle<T>(items: &mut [T], random: &mut dyn Random) {
    for at in (1..items.len()).rev() {
        items.swap(at, below(random, at + 1));
    }
}
