//! What is on its way to one socket. Small pieces are gathered into one buffer, pieces of files go by `sendfile`
//! unless they are so small that reading them and sending them with their neighbours costs one call less.

use crate::sys;
use bytes::{Buf, Bytes};
use milena_protocol::{FileSlice, Segment};
use rustix::net::{SendAncillaryBuffer, SendFlags};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Pieces up to this size are copied next to each other.
const COPIED_BYTES_MAX: usize = 1 << 10;

/// A gathering buffer is not grown past this.
const GATHERED_BYTES_MAX: usize = 64 << 10;

/// Slices of files up to this size are read and sent from memory.
const READ_FILE_BYTES_MAX: usize = 32 << 10;

/// What one call may be given: pieces, and bytes read from files for it.
const PIECES_MAX: usize = 64;
const READ_AHEAD_BYTES_MAX: usize = 256 << 10;

/// A gathering buffer up to this size is kept for the next answers.
const KEPT_BYTES_MAX: usize = 4 << 10;

enum Piece {
    /// Bytes of someone else.
    Shared(Bytes),
    /// Bytes of our own, of which some are sent.
    Own { bytes: Vec<u8>, sent: usize },
    /// A slice of a file, of which some is sent.
    File { slice: FileSlice, sent: usize },
}

/// Whether everything was handed to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    Done,
    /// The socket takes no more for now.
    Blocked,
}

/// The queue of one connection.
#[derive(Default)]
pub(crate) struct Outgoing {
    queue: VecDeque<Piece>,
    spare: Vec<u8>,
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes in memory that wait for the socket; slices of files cost none.
    pub(crate) fn memory_bytes(&self) -> usize {
        let bytes = |piece: &Piece| match piece {
            Piece::Shared(bytes) => bytes.len(),
            Piece::Own { bytes, .. } => bytes.capacity(),
            Piece::File { .. } => 0,
        };
        self.queue.iter().map(bytes).sum()
    }

    /// Adds one answer.
    pub(crate) fn push(&mut self, segments: Vec<Segment>) {
        for segment in segments {
            match segment {
                Segment::Bytes(bytes) => self.push_bytes(bytes),
                Segment::File(slice) if slice.len == 0 => {}
                Segment::File(slice) => self.queue.push_back(Piece::File { slice, sent: 0 }),
            }
        }
    }

    fn push_bytes(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let small = bytes.len() <= COPIED_BYTES_MAX;
        match self.queue.back_mut() {
            Some(Piece::Own { bytes: own, .. }) if small && own.len() < GATHERED_BYTES_MAX => {
                own.extend_from_slice(&bytes);
            }
            Some(Piece::Shared(last)) if small && last.len() <= COPIED_BYTES_MAX => {
                let mut own = std::mem::take(&mut self.spare);
                own.extend_from_slice(last);
                own.extend_from_slice(&bytes);
                self.queue.pop_back();
                self.queue.push_back(Piece::Own { bytes: own, sent: 0 });
            }
            _ => self.queue.push_back(Piece::Shared(bytes)),
        }
    }

    /// Hands over as much as the socket takes.
    ///
    /// # Errors
    /// The socket's or the file's; the connection is of no use after either.
    pub(crate) fn write(&mut self, stream: &TcpStream) -> io::Result<Progress> {
        while !self.queue.is_empty() {
            self.read_small_files()?;
            let sent = match self.queue.front() {
                Some(Piece::File { slice, sent }) => send_file(stream, slice, *sent),
                _ => self.send_memory(stream),
            };
            match sent {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Blocked),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.queue.shrink_to(8);
        Ok(Progress::Done)
    }

    /// Replaces the small slices of files at the head of the queue by their bytes.
    fn read_small_files(&mut self) -> io::Result<()> {
        let mut read_bytes = 0;
        for piece in self.queue.iter_mut().take(PIECES_MAX) {
            let Piece::File { slice, sent } = piece else { continue };
            let len = slice.len as usize - *sent;
            let real = slice.source.raw_fd().is_some();
            if (real && len > READ_FILE_BYTES_MAX) || read_bytes > READ_AHEAD_BYTES_MAX {
                return Ok(());
            }
            let mut bytes = vec![0; len];
            slice.source.read_exact_at(&mut bytes, slice.position + *sent as u64)?;
            read_bytes += len;
            *piece = Piece::Own { bytes, sent: 0 };
        }
        Ok(())
    }

    /// Sends the bytes at the head of the queue, up to the first slice of a file.
    fn send_memory(&self, stream: &TcpStream) -> io::Result<usize> {
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let mut count = 0;
        let mut flags = SendFlags::NOSIGNAL;
        for (place, piece) in pieces.iter_mut().zip(&self.queue) {
            *place = match piece {
                Piece::Shared(bytes) => IoSlice::new(bytes),
                Piece::Own { bytes, sent } => IoSlice::new(bytes.get(*sent..).unwrap_or_default()),
                Piece::File { .. } => {
                    // The file's bytes follow at once: the kernel need not send a packet of its own for the header.
                    flags |= SendFlags::MORE;
                    break;
                }
            };
            count += 1;
        }
        let pieces = pieces.get(..count).unwrap_or_default();
        stream.try_io(Interest::WRITABLE, || {
            rustix::net::sendmsg(stream, pieces, &mut SendAncillaryBuffer::default(), flags).map_err(io::Error::from)
        })
    }

    /// Forgets `count` bytes that were sent.
    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let Some(piece) = self.queue.front_mut() else { return };
            let (left, sent) = match piece {
                Piece::Shared(bytes) => {
                    let now = count.min(bytes.len());
                    bytes.advance(now);
                    (bytes.len(), now)
                }
                Piece::Own { bytes, sent } => {
                    let now = count.min(bytes.len() - *sent);
                    *sent += now;
                    (bytes.len() - *sent, now)
                }
                Piece::File { slice, sent } => {
                    let now = count.min(slice.len as usize - *sent);
                    *sent += now;
                    (slice.len as usize - *sent, now)
                }
            };
            count -= sent;
            if left > 0 {
                return;
            }
            if let Some(Piece::Own { mut bytes, .. }) = self.queue.pop_front()
                && bytes.capacity() <= KEPT_BYTES_MAX
            {
                bytes.clear();
                self.spare = bytes;
            }
        }
    }
}

fn send_file(stream: &TcpStream, slice: &FileSlice, sent: usize) -> io::Result<usize> {
    let (position, len) = (slice.position + sent as u64, slice.len as usize - sent);
    let sent = stream.try_io(Interest::WRITABLE, || {
        sys::send_file(stream, &slice.source, position, len).unwrap_or_else(|| Err(io::ErrorKind::Unsupported.into()))
    });
    // EIO is the device's, never a socket's.
    let is_unreadable = match &sent {
        Ok(sent) => *sent == 0 && len > 0,
        Err(error) => error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()),
    };
    if is_unreadable {
        slice.source.note_failed_read();
    }
    sent
}
