//! One connection: reads what is there, cuts all complete requests out of it, hands them to the service at once, and
//! writes the answers that are ready with one call. It stops reading while a peer does not take its answers, while
//! too many of them are owed, and while memory for a large request is not granted. Answers that a peer does not take
//! are counted against the same memory; where that is used up, the peer is disconnected.

use crate::admission::{Memory, Permit};
use crate::buffers::{self, BUFFER_BYTES};
use crate::outgoing::{Outgoing, Progress};
use crate::registry::Registry;
use crate::replies::{Orders, Replies, Shared, Slots};
use crate::service::{Peer, Service};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Half a request up to this size is kept without asking for memory, in a buffer of its own size.
const SMALL_BYTES_MAX: usize = 16 << 10;

/// With less room than this behind half a request, it moves to the start of another buffer.
const ROOM_BYTES_MIN: usize = 64 << 10;

/// Bytes of the size prefix.
const PREFIX_BYTES: usize = 4;

type Granting = Pin<Box<dyn Future<Output = Option<Permit>> + Send>>;

/// Why a connection ends.
enum End {
    /// The peer or an order closed it.
    Closed,
    /// The peer sent something that is no request.
    Misbehaved(i32),
    /// The peer does not take its answers, and there is no memory left to keep them.
    Starved,
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Io(error)
    }
}

/// What `wait` waited for.
enum Event {
    Orders(Orders),
    Writable,
    Read(usize),
    Granted(Option<Permit>),
}

/// What all connections of a server have in common.
pub(crate) struct Surroundings<S> {
    pub(crate) service: Arc<S>,
    pub(crate) memory: Memory,
    pub(crate) registry: Arc<Registry>,
}

pub(crate) struct Connection<S: Service> {
    stream: TcpStream,
    session: S::Session,
    shared: Arc<Shared>,
    surroundings: Arc<Surroundings<S>>,
    slots: Slots,
    outgoing: Outgoing,
    /// What was read and is not a whole request yet.
    buffer: BytesMut,
    /// Whole requests that were not handled yet: while there are any, nothing is read.
    frames: Vec<Bytes>,
    /// The size of the last request with its prefix: the next one is likely as large.
    last_size: usize,
    /// The memory granted for `buffer`.
    permit: Option<Permit>,
    granting: Option<Granting>,
    /// The memory granted for answers that the peer does not take.
    untaken: Option<(usize, Permit)>,
    blocked: bool,
    closing: bool,
}

impl<S: Service> Connection<S> {
    pub(crate) fn new(stream: TcpStream, peer: &Peer, shared: Arc<Shared>, surroundings: Arc<Surroundings<S>>) -> Self {
        let session = surroundings.service.open(peer);
        Self {
            stream,
            session,
            shared,
            surroundings,
            slots: Slots::default(),
            outgoing: Outgoing::default(),
            buffer: BytesMut::new(),
            frames: Vec::new(),
            last_size: 0,
            permit: None,
            granting: None,
            untaken: None,
            blocked: false,
            closing: false,
        }
    }

    /// Serves the connection to its end.
    pub(crate) async fn run(mut self, peer: Peer) {
        match self.serve().await {
            Ok(()) | Err(End::Closed) => {}
            Err(End::Misbehaved(size)) => {
                tracing::debug!(peer = %peer.remote, size, "closed: the size of the request is out of range");
            }
            Err(End::Starved) => {
                tracing::warn!(peer = %peer.remote, "closed: it does not take its answers, and the memory for requests is used up");
            }
            Err(End::Io(error)) => tracing::debug!(peer = %peer.remote, %error, "connection lost"),
        }
    }

    async fn serve(&mut self) -> Result<(), End> {
        loop {
            self.send()?;
            if self.closing && self.outgoing.is_empty() {
                return Ok(());
            }
            if !self.frames.is_empty() && !self.blocked && !self.is_full() {
                self.answer();
                continue;
            }
            match std::future::poll_fn(|cx| self.poll_event(cx)).await? {
                Event::Orders(orders) => self.obey(orders)?,
                Event::Writable => self.blocked = false,
                Event::Granted(permit) => self.permit = permit,
                Event::Read(0) => return Err(End::Closed),
                Event::Read(_) => self.handle()?,
            }
        }
    }

    /// Hands the answers that are ready to the socket.
    fn send(&mut self) -> Result<(), End> {
        while let Some(segments) = self.slots.pop_ready() {
            self.outgoing.push(segments);
        }
        if !self.outgoing.is_empty() && !self.blocked {
            self.blocked = self.outgoing.write(&self.stream)? == Progress::Blocked;
            self.touch();
        }
        if self.blocked {
            return self.account();
        }
        self.untaken = None;
        Ok(())
    }

    /// Counts what lies here because the peer does not take it.
    fn account(&mut self) -> Result<(), End> {
        let frames = if self.permit.is_some() { 0 } else { self.frames.iter().map(Bytes::len).sum() };
        let bytes = self.outgoing.memory_bytes() + self.slots.bytes() + frames;
        let counted = self.untaken.as_ref().map_or(SMALL_BYTES_MAX, |(counted, _)| *counted);
        if bytes > counted {
            self.untaken = None;
            let permit = self.surroundings.memory.try_grant(bytes).ok_or(End::Starved)?;
            self.untaken = Some((bytes, permit));
        }
        Ok(())
    }

    fn touch(&self) {
        self.shared.last_active_ms.store(self.surroundings.registry.now_ms(), Ordering::Relaxed);
    }

    fn obey(&mut self, orders: Orders) -> Result<(), End> {
        if orders.close || (orders.close_if_idle && self.slots.is_empty()) {
            return Err(End::Closed);
        }
        self.closing |= orders.finish;
        Ok(())
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, End>> {
        if self.shared.poll_changed(cx) {
            return Poll::Ready(Ok(Event::Orders(self.shared.take(&mut self.slots))));
        }
        if self.blocked && self.stream.poll_write_ready(cx)?.is_ready() {
            return Poll::Ready(Ok(Event::Writable));
        }
        if let Some(granting) = &mut self.granting {
            let Poll::Ready(permit) = granting.as_mut().poll(cx) else { return Poll::Pending };
            self.granting = None;
            return Poll::Ready(Ok(Event::Granted(permit)));
        }
        let reads = !(self.blocked || self.closing || !self.frames.is_empty() || self.is_full());
        let read = if reads { self.poll_read(cx) } else { Poll::Pending };
        self.await_peer(reads && read.is_pending());
        read
    }

    /// Says whether the rest of a request, for which memory was granted, is up to the peer alone, and since when.
    fn await_peer(&self, waits: bool) {
        let holds = waits && self.permit.is_some();
        if self.shared.holds_memory.swap(holds, Ordering::Relaxed) != holds && holds {
            self.touch();
        }
    }

    /// Whether as many answers are owed, or lie here, as one connection may hold.
    fn is_full(&self) -> bool {
        let limits = self.surroundings.registry.limits();
        self.slots.len() >= limits.pending_requests_max || self.slots.bytes() >= limits.pending_answer_bytes_max
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, End>> {
        if self.stream.poll_read_ready(cx)?.is_pending() {
            return Poll::Pending;
        }
        let scarce = self.permit.is_none() && self.surroundings.memory.is_scarce(BUFFER_BYTES);
        let room = if scarce { self.make_little_room() } else { self.make_room() };
        let Connection { stream, buffer, .. } = self;
        let mut buffer = buffer.limit(room);
        let read = pin!(stream.read_buf(&mut buffer)).poll(cx);
        if read.is_pending() {
            self.settle();
        }
        read.map(|count| Ok(Event::Read(count?)))
    }

    /// Makes `buffer` one into which a read can bring much: a thread's buffer with what is left of the last one, or,
    /// for a request that is larger, one that grows as its bytes arrive. Returns how much may be read.
    fn make_room(&mut self) -> usize {
        let room = self.buffer.capacity() - self.buffer.len();
        let missing = self.wanted().unwrap_or(0).saturating_sub(self.buffer.len());
        // With nothing in it another one costs no copy.
        let least = if self.buffer.is_empty() { self.last_size.min(BUFFER_BYTES) } else { missing.min(ROOM_BYTES_MIN) };
        if self.buffer.capacity() >= BUFFER_BYTES && room >= least.max(1) {
            return self.read_limit();
        }
        if self.buffer.len() + missing.min(ROOM_BYTES_MIN) > BUFFER_BYTES {
            // Doubling: no more is reserved than has arrived.
            self.buffer.reserve(missing.min(self.buffer.len()).max(ROOM_BYTES_MIN));
            return usize::MAX;
        }
        let mut fresh = buffers::take();
        fresh.extend_from_slice(&self.buffer);
        buffers::give_back(std::mem::replace(&mut self.buffer, fresh));
        self.read_limit()
    }

    /// Room for a small request only: what a connection may hold without having been granted anything. A larger one
    /// shows its length first and is then granted its memory.
    fn make_little_room(&mut self) -> usize {
        let room = SMALL_BYTES_MAX.saturating_sub(self.buffer.len()).max(1);
        self.buffer.reserve(room);
        room
    }

    /// How much the next read may bring: to the end of the last request that fits the room, if all are as large as the
    /// last one. Half a request behind it would only have to be moved to the next buffer.
    fn read_limit(&self) -> usize {
        let room = self.buffer.capacity() - self.buffer.len();
        if self.last_size < SMALL_BYTES_MAX {
            return room;
        }
        let missing = self.wanted().unwrap_or(self.last_size).saturating_sub(self.buffer.len());
        match room.checked_sub(missing) {
            Some(behind) if missing > 0 => missing + behind / self.last_size * self.last_size,
            _ => room,
        }
    }

    /// The length of the request at the head of the buffer, with its prefix.
    fn wanted(&self) -> Option<usize> {
        let (prefix, _) = self.buffer.split_first_chunk()?;
        usize::try_from(i32::from_be_bytes(*prefix)).ok().map(|size| size + PREFIX_BYTES)
    }

    /// Cuts the complete requests out of what was read and has them answered.
    fn handle(&mut self) -> Result<(), End> {
        self.touch();
        let mut misbehaved = None;
        let size_max = self.surroundings.registry.limits().socket_request_max_bytes;
        while let Some((prefix, _)) = self.buffer.split_first_chunk::<PREFIX_BYTES>() {
            let prefix = i32::from_be_bytes(*prefix);
            let Some(size) = u32::try_from(prefix).ok().filter(|size| *size <= size_max) else {
                misbehaved = Some(prefix);
                break;
            };
            if self.buffer.len() - PREFIX_BYTES < size as usize {
                break;
            }
            self.last_size = size as usize + PREFIX_BYTES;
            self.buffer.advance(PREFIX_BYTES);
            self.frames.push(self.buffer.split_to(size as usize).freeze());
        }
        self.answer();
        if let Some(size) = misbehaved {
            // What was asked before the nonsense is still answered.
            self.send()?;
            return Err(End::Misbehaved(size));
        }
        self.settle();
        Ok(())
    }

    /// Has the service handle what was cut out. It may leave some when there are enough answers.
    fn answer(&mut self) {
        if self.frames.is_empty() {
            return;
        }
        let limits = self.surroundings.registry.limits();
        let mut replies = Replies {
            slots: &mut self.slots,
            shared: &self.shared,
            close: false,
            count_max: limits.pending_requests_max,
            bytes_max: limits.pending_answer_bytes_max,
            memory: &self.surroundings.memory,
        };
        self.surroundings.service.handle(&mut self.session, &mut self.frames, &mut replies);
        if replies.close {
            self.closing = true;
            self.frames.clear();
        }
        if self.frames.is_empty() {
            self.frames.shrink_to(64);
            self.permit = None;
        }
    }

    /// Gives the read buffer back, or asks for the memory that the rest of a request takes.
    fn settle(&mut self) {
        let wanted = self.wanted().unwrap_or(0);
        if self.buffer.len() <= SMALL_BYTES_MAX {
            let small = BytesMut::from(&*self.buffer);
            buffers::give_back(std::mem::replace(&mut self.buffer, small));
        }
        if wanted > SMALL_BYTES_MAX && self.permit.is_none() {
            let bytes = wanted.max(BUFFER_BYTES);
            self.permit = self.surroundings.memory.try_grant(bytes);
            if self.permit.is_none() {
                self.granting = Some(Box::pin(self.surroundings.memory.grant(bytes)));
            }
        }
    }
}
