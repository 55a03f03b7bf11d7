//! `sendfile(2)` from a file known by its number.

use milena_protocol::FileSource;
use rustix::fd::{AsFd, BorrowedFd};
use std::io;
use std::sync::Arc;

/// Sends up to `len` bytes of `source` from `position` into `socket` and returns how many went; 0 is the end of the
/// file. `None` if the source is no real file.
pub(crate) fn send_file(
    socket: impl AsFd,
    source: &Arc<dyn FileSource>,
    position: u64,
    len: usize,
) -> Option<io::Result<usize>> {
    let number = source.raw_fd()?;
    #[expect(unsafe_code, reason = "the descriptor comes as a number because protocol names no files")]
    // SAFETY: `source` promises that the number is its own open file for as long as it lives, and the borrowed `Arc`
    // keeps it alive until after the call.
    let file = unsafe { BorrowedFd::borrow_raw(number) };
    let mut at = position;
    Some(rustix::fs::sendfile(socket, file, Some(&mut at), len).map_err(io::Error::from))
}
