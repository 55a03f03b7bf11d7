//! A real file system through std and rustix. Files are never preallocated and never memory-mapped: a short log is a
//! short file, and a full device is an error instead of a signal.

use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use milena_protocol::FileSource;

use super::{Disk, DiskFile, Entry, Metadata, OpenMode};

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// Room of a file system, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Of all of it.
    pub total_bytes: u64,
    /// What this process may still fill.
    pub free_bytes: u64,
}

impl RealDisk {
    /// The room of the file system that `path` is on (`statvfs`).
    ///
    /// # Errors
    /// What the system says.
    pub fn space(self, path: &Path) -> io::Result<Space> {
        let told = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
        Ok(Space { total_bytes: bytes(told.f_blocks), free_bytes: bytes(told.f_bavail) })
    }
}

/// An open file of the machine, and whether bytes of it could not be sent.
#[derive(Debug)]
pub struct RealFile(fs::File, AtomicBool);

impl AsFd for RealFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl FileSource for RealFile {
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, position)
    }

    fn raw_fd(&self) -> Option<i32> {
        Some(self.0.as_raw_fd())
    }

    fn note_failed_read(&self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

/// The most pieces Linux takes in one call (`UIO_MAXIOV`).
const PIECES_MAX: usize = 1024;

impl DiskFile for RealFile {
    fn take_failed_read(&self) -> bool {
        // Nearly always only looked at.
        self.1.load(Ordering::Relaxed) && self.1.swap(false, Ordering::Relaxed)
    }

    fn read_at(&self, mut buffer: &mut [u8], mut position: u64) -> io::Result<usize> {
        let mut total = 0;
        while !buffer.is_empty() {
            match self.0.read_at(buffer, position) {
                Ok(0) => break,
                Ok(read) => {
                    total += read;
                    position += read as u64;
                    buffer = buffer.get_mut(read..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], mut position: u64) -> io::Result<()> {
        for pieces in slices.chunks(PIECES_MAX) {
            let wanted: usize = pieces.iter().map(|piece| piece.len()).sum();
            let mut written = match rustix::io::pwritev(&self.0, pieces, position) {
                Ok(written) => written,
                Err(rustix::io::Errno::INTR) => 0,
                Err(error) => return Err(error.into()),
            };
            position += written as u64;
            if written == wanted {
                continue;
            }
            // A short write is rare (a nearly full device): the rest goes piece by piece.
            for piece in pieces {
                let skipped = written.min(piece.len());
                written -= skipped;
                let rest = piece.get(skipped..).unwrap_or_default();
                self.0.write_all_at(rest, position)?;
                position += rest.len() as u64;
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn set_modified(&self, modified_ms: i64) -> io::Result<()> {
        let since = Duration::from_millis(u64::try_from(modified_ms).unwrap_or(0));
        self.0.set_modified(UNIX_EPOCH + since)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }
}

impl Disk for RealDisk {
    type File = RealFile;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<RealFile>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::Create => {
                options.write(true).create(true).truncate(false);
            }
            OpenMode::CreateEmpty => {
                options.write(true).create(true).truncate(true);
            }
        }
        Ok(Arc::new(RealFile(options.open(path)?, AtomicBool::new(false))))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = entry.file_type()?;
            // A log directory may be a link to another volume.
            let is_directory = kind.is_dir() || kind.is_symlink() && fs::metadata(entry.path())?.is_dir();
            entries.push(Entry { name, is_directory });
        }
        entries.sort();
        Ok(entries)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        match fs::metadata(path) {
            Ok(metadata) => {
                let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
                Ok(Some(Metadata {
                    len: if metadata.is_dir() { 0 } else { metadata.len() },
                    is_directory: metadata.is_dir(),
                    modified_ms: i64::try_from(modified.as_millis()).unwrap_or(i64::MAX),
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Arc<RealFile>>> {
        let file = self.open(path, OpenMode::Create)?;
        // Java's FileChannel.tryLock takes an fcntl record lock; only the same kind keeps a running Kafka out.
        match rustix::fs::fcntl_lock(&*file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // Record locks do not exclude a second opener in this process; flock does.
        match rustix::fs::flock(&*file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
