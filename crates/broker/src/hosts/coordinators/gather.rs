//! `Gather`: the answers of several coordinators, put together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(in crate::hosts) type GatherDone<T> = Box<dyn FnOnce(Vec<T>) + Send>;

/// Collects the answers of several coordinators.
pub(in crate::hosts) struct Gather<T> {
    state: Mutex<(usize, Vec<T>, Option<GatherDone<T>>)>,
}

impl<T: Send> Gather<T> {
    /// `done` gets everything once `count` parts have come.
    pub(in crate::hosts) fn new(count: usize, done: GatherDone<T>) -> Arc<Self> {
        let gather = Arc::new(Gather { state: Mutex::new((count, Vec::new(), Some(done))) });
        gather.finish(gather.lock());
        gather
    }

    fn lock(&self) -> MutexGuard<'_, (usize, Vec<T>, Option<GatherDone<T>>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One part.
    pub(in crate::hosts) fn add(&self, part: T) {
        let mut state = self.lock();
        state.0 = state.0.saturating_sub(1);
        state.1.push(part);
        self.finish(state);
    }

    fn finish(&self, mut state: MutexGuard<'_, (usize, Vec<T>, Option<GatherDone<T>>)>) {
        if state.0 > 0 {
            return;
        }
        let parts = std::mem::take(&mut state.1);
        let done = state.2.take();
        drop(state);
        if let Some(done) = done {
            done(parts);
        }
    }
}
