//! The seam between the log and a file system: a few calls, each of which may fail. Above it nothing names `std::fs`;
//! beneath it is a real file system (`RealDisk`) or one in memory that forgets what was not synced (`SimulatedDisk`).

mod atomic;
mod real;
mod simulated;
mod simulated_world;

pub use atomic::{read_whole, write_atomic, write_atomic_unsynced};
pub use real::{RealDisk, RealFile, Space};
pub use simulated::{SimulatedDisk, SimulatedFile};

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use milena_protocol::FileSource;

/// What a path is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// Length in bytes; 0 for directories.
    pub len: u64,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Last change, milliseconds since 1970.
    pub modified_ms: i64,
}

/// A name in a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry {
    /// File name without its directory. Names that are not UTF-8 are not listed: Kafka writes none.
    pub name: String,
    /// Whether it is a directory.
    pub is_directory: bool,
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// Read only; absent is an error.
    Read,
    /// Read and write; absent is an error.
    ReadWrite,
    /// Read and write; made if absent, never emptied.
    Create,
    /// Read and write; made if absent, emptied if present.
    CreateEmpty,
}

/// An open file. Offsets are absolute: there is no cursor, so that readers and the writer never meet.
pub trait DiskFile: FileSource + 'static {
    /// Reads at most `buffer.len()` bytes at `position`; fewer only at the end of the file.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Whether somebody met bytes of it that cannot be read (`FileSource::note_failed_read`) since this was last asked.
    fn take_failed_read(&self) -> bool {
        false
    }

    /// Writes all of `slices` from `position` on, in one system call where the system takes it in one.
    ///
    /// # Errors
    /// What the system says; some prefix may have been written.
    fn write_vectored_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether there is not a byte in it.
    ///
    /// # Errors
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or extends (with zeros) to `len` bytes.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Sets when it was last changed, milliseconds since 1970.
    ///
    /// # Errors
    /// What the system says.
    fn set_modified(&self, modified_ms: i64) -> io::Result<()>;

    /// Returns when the contents and the length survive a power cut (`fdatasync`). After an error nothing is known
    /// about the contents: never call it again and hope.
    ///
    /// # Errors
    /// What the system says.
    fn sync_data(&self) -> io::Result<()>;

    /// Returns when everything written so far to the file system this file is on survives a power cut (`syncfs`),
    /// names included. It reports what failed since this file was opened: open it before what it shall vouch for.
    ///
    /// # Errors
    /// What the system says; as for `sync_data`.
    fn sync_file_system(&self) -> io::Result<()>;
}

/// A file system. Cloning is cheap and yields the same one.
pub trait Disk: Clone + Debug + Send + Sync + 'static {
    /// Its open files.
    type File: DiskFile;

    /// Opens a file.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<Self::File>>;
    /// Moves a file or directory, replacing a file at `to`.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all beneath it.
    ///
    /// # Errors
    /// What the system says.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, sorted.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// Makes a directory; one that exists is an error.
    ///
    /// # Errors
    /// What the system says.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes names created, moved and removed in `path` survive a power cut.
    ///
    /// # Errors
    /// What the system says.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// What `path` is, `None` if it does not exist.
    ///
    /// # Errors
    /// What the system says.
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>>;
    /// Takes an exclusive lock on `path` (made if absent) that lasts as long as the file is held; `None` if another
    /// process or caller holds it.
    ///
    /// # Errors
    /// What the system says.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Arc<Self::File>>>;
}
