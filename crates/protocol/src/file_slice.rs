//! Pieces of an encoded message: bytes in memory, or a stretch of a file that is sent without being read here.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;

/// A file that slices point into: a log segment. Implemented by the log, real or simulated.
pub trait FileSource: Any + Debug + Send + Sync {
    /// Fills `buffer` from `position`.
    ///
    /// # Errors
    /// Those of the device; `UnexpectedEof` past the end.
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> std::io::Result<()>;

    /// The descriptor, for sendfile and pread; `None` when there is no real file.
    fn raw_fd(&self) -> Option<i32>;

    /// Whoever sent from it through `raw_fd` was told that the device cannot read what was asked for, or found it shorter than it
    /// was: the log looks through it.
    fn note_failed_read(&self) {}
}

/// `len` bytes of a file from `position` on. Keeps the file alive.
#[derive(Clone, Debug)]
pub struct FileSlice {
    /// The file.
    pub source: Arc<dyn FileSource>,
    /// First byte.
    pub position: u64,
    /// Bytes.
    pub len: u32,
}

impl PartialEq for FileSlice {
    fn eq(&self, other: &FileSlice) -> bool {
        Arc::ptr_eq(&self.source, &other.source) && self.position == other.position && self.len == other.len
    }
}

/// One piece of an encoded message.
#[derive(Clone, Debug, PartialEq)]
pub enum Segment {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A stretch of a file.
    File(FileSlice),
}

impl Segment {
    /// Bytes of this piece.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Segment::Bytes(bytes) => bytes.len(),
            Segment::File(slice) => slice.len as usize,
        }
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Record batches of a Produce or Fetch: opaque here.
#[derive(Clone, Debug, PartialEq)]
pub enum Records {
    /// Batches in memory: a view of the received frame, or a read.
    Bytes(Bytes),
    /// Batches in a log segment.
    File(FileSlice),
}

impl Records {
    /// No batches.
    pub const EMPTY: Records = Records::Bytes(Bytes::new());

    /// Bytes of the batches.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Records::Bytes(bytes) => bytes.len(),
            Records::File(slice) => slice.len as usize,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they are in memory.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Records::Bytes(bytes) => Some(bytes),
            Records::File(_) => None,
        }
    }
}

impl Default for Records {
    fn default() -> Records {
        Records::EMPTY
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Records {
        Records::Bytes(bytes)
    }
}

impl From<FileSlice> for Records {
    fn from(slice: FileSlice) -> Records {
        Records::File(slice)
    }
}
