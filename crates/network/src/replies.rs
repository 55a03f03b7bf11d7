//! The answers of one connection, in the order of its requests. An answer that is not ready holds its place; when it
//! comes, from whatever thread, it finds that place by its number.

use crate::admission::{Memory, Permit};
use milena_protocol::Segment;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// What a waiting request may hold without being counted.
const HELD_BYTES_FREE: usize = 4 << 10;

/// The place of one answer.
enum Slot {
    Ready(Vec<Segment>),
    Waiting,
}

/// The places of the answers not yet handed to the socket.
#[derive(Default)]
pub(crate) struct Slots {
    queue: VecDeque<Slot>,
    /// The number of the first place in `queue`.
    first: u64,
    /// Bytes in memory of the answers in `queue`.
    bytes: usize,
}

impl Slots {
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes in memory of the answers that are here; slices of files cost none.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn push_ready(&mut self, segments: Vec<Segment>) {
        self.bytes += inheld(&segments);
        self.queue.push_back(Slot::Ready(segments));
    }

    /// The next answer that may leave.
    pub(crate) fn pop_ready(&mut self) -> Option<Vec<Segment>> {
        if !matches!(self.queue.front(), Some(Slot::Ready(_))) {
            return None;
        }
        self.first += 1;
        match self.queue.pop_front() {
            Some(Slot::Ready(segments)) => {
                self.bytes -= inheld(&segments);
                Some(segments)
            }
            _ => None,
        }
    }

    /// Puts an answer that came late into its place.
    pub(crate) fn fill(&mut self, number: u64, segments: Vec<Segment>) {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = at.and_then(|at| self.queue.get_mut(at)) {
            self.bytes += inheld(&segments);
            *slot = Slot::Ready(segments);
        }
    }
}

fn inheld(segments: &[Segment]) -> usize {
    let bytes = |segment: &Segment| if let Segment::Bytes(bytes) = segment { bytes.len() } else { 0 };
    segments.iter().map(bytes).sum()
}

/// What other threads may touch of a connection.
#[derive(Default)]
pub(crate) struct Shared {
    /// Something below changed since the task last looked.
    changed: AtomicBool,
    arrived: Mutex<Arrived>,
    /// When bytes were last read or written, in milliseconds of the registry's clock.
    pub(crate) last_active_ms: AtomicU64,
    /// Memory was granted for a request whose bytes are waited for.
    pub(crate) holds_memory: AtomicBool,
}

/// Late answers and wishes for the connection's task.
#[derive(Default)]
struct Arrived {
    answers: Vec<(u64, Vec<Segment>)>,
    waker: Option<Waker>,
    orders: Orders,
}

/// What others want of a connection.
#[derive(Clone, Copy, Default)]
pub(crate) struct Orders {
    /// Close now, whatever waits.
    pub(crate) close: bool,
    /// Read no more, send what is ready, close.
    pub(crate) finish: bool,
    /// Close if nothing waits for an answer.
    pub(crate) close_if_idle: bool,
}

impl Shared {
    fn arrived(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is something to `take`; if not, the task is woken when there is.
    pub(crate) fn poll_changed(&self, cx: &Context<'_>) -> bool {
        if self.changed.load(Ordering::Acquire) {
            return true;
        }
        let mut arrived = self.arrived();
        if !arrived.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            arrived.waker = Some(cx.waker().clone());
        }
        drop(arrived);
        self.changed.load(Ordering::Acquire)
    }

    /// Takes the late answers into `slots` and returns the orders.
    pub(crate) fn take(&self, slots: &mut Slots) -> Orders {
        if !self.changed.swap(false, Ordering::AcqRel) {
            return Orders::default();
        }
        let mut arrived = self.arrived();
        for (number, segments) in arrived.answers.drain(..) {
            slots.fill(number, segments);
        }
        if arrived.answers.capacity() > 16 {
            arrived.answers = Vec::new();
        }
        std::mem::take(&mut arrived.orders)
    }

    /// Gives an order and wakes the task.
    pub(crate) fn order(&self, change: impl FnOnce(&mut Orders)) {
        self.change(|arrived| change(&mut arrived.orders));
    }

    fn change(&self, change: impl FnOnce(&mut Arrived)) {
        let mut arrived = self.arrived();
        change(&mut arrived);
        self.changed.store(true, Ordering::Release);
        let waker = arrived.waker.take();
        drop(arrived);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Where a service puts its answers, one for each frame, in order.
pub struct Replies<'a> {
    pub(crate) slots: &'a mut Slots,
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) close: bool,
    /// From how many answers, and from how many bytes of them, on no more requests are to be handled.
    pub(crate) count_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) memory: &'a Memory,
}

impl Replies<'_> {
    /// The answer to the next frame, with its size prefix.
    pub fn ready(&mut self, segments: Vec<Segment>) {
        self.slots.push_ready(segments);
    }

    /// Whether the answers given so far are as many as one connection may hold. The frames left are to be left: they
    /// come again when the peer has taken some.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.slots.len() >= self.count_max || self.slots.bytes() >= self.bytes_max
    }

    /// The next frame wants no answer (`acks=0`).
    pub fn nothing(&mut self) {
        // Without anything ahead of it the place need not exist; behind a waiting answer it must not either, since
        // nothing has to be ordered against it.
    }

    /// The answer to the next frame comes later; it holds its place until then.
    pub fn park(&mut self) -> Reply {
        let number = self.slots.first + self.slots.queue.len() as u64;
        self.slots.queue.push_back(Slot::Waiting);
        Reply { shared: Some(Arc::clone(self.shared)), number, held: None }
    }

    /// As `park`, for a request that holds `bytes` until it is answered. `None` if there is no memory for that: the
    /// connection is to be closed.
    #[must_use]
    pub fn park_holding(&mut self, bytes: usize) -> Option<Reply> {
        let permit = if bytes > HELD_BYTES_FREE { Some(self.memory.try_grant(bytes)?) } else { None };
        let mut reply = self.park();
        reply.held = permit;
        Some(reply)
    }

    /// The peer misbehaved: what is ready is sent, then the connection is closed.
    pub fn close(&mut self) {
        self.close = true;
    }

    /// Whether the connection is to be closed; the frames left need no answer.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.close
    }
}

/// An answer that is owed. Dropping it without an answer closes the connection: the peer must not wait for ever.
#[must_use]
pub struct Reply {
    shared: Option<Arc<Shared>>,
    number: u64,
    /// For what the request holds; given back with the reply.
    held: Option<Permit>,
}

impl Reply {
    /// Answers, from any thread. `segments` carry the size prefix; none at all is no answer.
    pub fn send(mut self, segments: Vec<Segment>) {
        if let Some(shared) = self.shared.take() {
            shared.change(|arrived| arrived.answers.push((self.number, segments)));
        }
    }

    /// Closes the connection instead of answering.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.order(|orders| orders.close = true);
        }
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reply({})", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn text(segments: &[Segment]) -> String {
        let mut all = String::new();
        for segment in segments {
            match segment {
                Segment::Bytes(bytes) => all.push_str(std::str::from_utf8(bytes).unwrap()),
                Segment::File(_) => all.push_str("<file>"),
            }
        }
        all
    }

    static MEMORY: std::sync::LazyLock<Memory> = std::sync::LazyLock::new(|| Memory::new(1 << 20));

    fn replies<'a>(slots: &'a mut Slots, shared: &'a Arc<Shared>) -> Replies<'a> {
        Replies { slots, shared, close: false, count_max: 3, bytes_max: 10, memory: &MEMORY }
    }

    #[test]
    fn what_waiting_requests_hold_is_counted_until_they_are_answered() {
        let (mut slots, shared) = (Slots::default(), Arc::new(Shared::default()));
        let memory = Memory::new(1 << 20);
        let mut replies = Replies { memory: &memory, ..replies(&mut slots, &shared) };
        let small = replies.park_holding(100).unwrap();
        assert_eq!(memory.available_bytes(), 1 << 20);
        let large = replies.park_holding(700 << 10).unwrap();
        assert!(replies.park_holding(700 << 10).is_none(), "no memory for a second one");
        large.send(Vec::new());
        assert_eq!(memory.available_bytes(), 1 << 20);
        small.send(Vec::new());
    }

    #[test]
    fn answers_are_full_by_their_number_or_their_bytes() {
        let (mut slots, shared) = (Slots::default(), Arc::new(Shared::default()));
        let mut replies = replies(&mut slots, &shared);
        let late = replies.park();
        replies.ready(answer("12345678"));
        assert!(!replies.is_full());
        replies.ready(answer(""));
        assert!(replies.is_full(), "three");
        late.send(answer("12"));
        shared.take(&mut slots);
        assert_eq!(slots.bytes(), 10);
        slots.pop_ready();
        assert_eq!((slots.len(), slots.bytes()), (2, 8));
        let mut replies = Replies { bytes_max: 8, ..self::replies(&mut slots, &shared) };
        assert!(replies.is_full(), "eight bytes");
        replies.close();
    }

    fn answer(text: &'static str) -> Vec<Segment> {
        vec![Segment::Bytes(Bytes::from_static(text.as_bytes()))]
    }

    #[test]
    fn a_late_answer_keeps_the_later_ones_waiting() {
        let (mut slots, shared) = (Slots::default(), Arc::new(Shared::default()));
        let mut replies = replies(&mut slots, &shared);
        replies.ready(answer("first"));
        let late = replies.park();
        replies.ready(answer("third"));
        assert_eq!(text(&slots.pop_ready().unwrap()), "first");
        assert!(slots.pop_ready().is_none());
        late.send(answer("second"));
        assert!(!shared.take(&mut slots).close);
        assert_eq!(text(&slots.pop_ready().unwrap()), "second");
        assert_eq!(text(&slots.pop_ready().unwrap()), "third");
        assert!(slots.is_empty());
    }

    #[test]
    fn an_answer_that_is_dropped_closes_the_connection() {
        let (mut slots, shared) = (Slots::default(), Arc::new(Shared::default()));
        let mut replies = replies(&mut slots, &shared);
        drop(replies.park());
        assert!(shared.take(&mut slots).close);
    }
}
