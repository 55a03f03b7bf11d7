//! Read buffers belong to the worker threads, not to the connections: a connection that has nothing half read holds
//! none, and a buffer that was just used is still in the cache.

use bytes::BytesMut;
use std::cell::RefCell;

/// Room of a read buffer: what one read may bring.
pub(crate) const BUFFER_BYTES: usize = 256 << 10;

/// Buffers a thread keeps for later.
const KEPT_MAX: usize = 4;

thread_local! {
    static KEPT: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with `BUFFER_BYTES` of room.
pub(crate) fn take() -> BytesMut {
    KEPT.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(BUFFER_BYTES))
}

/// Keeps `buffer` for the next reader, unless someone still holds a view of it or its size is not the usual one.
pub(crate) fn give_back(mut buffer: BytesMut) {
    buffer.clear();
    if !buffer.try_reclaim(BUFFER_BYTES) || buffer.capacity() > 2 * BUFFER_BYTES {
        return;
    }
    KEPT.with_borrow_mut(|kept| {
        if kept.len() < KEPT_MAX {
            kept.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_only_when_no_view_of_it_is_left() {
        let mut buffer = take();
        buffer.extend_from_slice(b"0123456789");
        let view = buffer.split_to(4).freeze();
        let place = view.as_ptr();
        drop(view);
        give_back(buffer);
        let mut again = take();
        assert_eq!(again.as_ptr(), place);
        assert!(again.is_empty() && again.capacity() >= BUFFER_BYTES);
        again.extend_from_slice(b"0123456789");
        let held = again.split_to(4).freeze();
        give_back(again);
        assert_ne!(take().as_ptr(), held.as_ptr());
    }
}
