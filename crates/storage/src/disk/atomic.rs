//! Replacing a small file so that a reader, and a machine that lost power, sees the old or the new contents and never
//! half of them: write a temporary file, sync it, rename it, sync the directory (`Utils.atomicMoveWithFallback`,
//! `CheckpointFile.write`).

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use super::{Disk, DiskFile, OpenMode};

/// Replaces `path` durably.
///
/// # Errors
/// What the system says; `path` then holds the old or the new contents.
pub fn write_atomic<D: Disk>(disk: &D, path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path);
    let file = disk.open(&temporary, OpenMode::CreateEmpty)?;
    file.write_vectored_at(&[IoSlice::new(contents)], 0)?;
    file.sync_data()?;
    disk.rename(&temporary, path)?;
    match path.parent() {
        // Whatever the reason is, names may be lost: not one for which to wait for room.
        Some(directory) => disk.sync_directory(directory).map_err(io::Error::other),
        None => Ok(()),
    }
}

/// Replaces `path` for other processes at once but leaves durability to a later sync.
///
/// # Errors
/// What the system says; `path` then holds the old or the new contents.
pub fn write_atomic_unsynced<D: Disk>(disk: &D, path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path);
    let file = disk.open(&temporary, OpenMode::CreateEmpty)?;
    file.write_vectored_at(&[IoSlice::new(contents)], 0)?;
    disk.rename(&temporary, path)
}

/// The whole file, `None` if it does not exist.
///
/// # Errors
/// What the system says.
pub fn read_whole<D: Disk>(disk: &D, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let len = usize::try_from(file.len()?).map_err(|_| io::Error::other("file too large"))?;
    let mut contents = vec![0; len];
    let read = file.read_at(&mut contents, 0)?;
    contents.truncate(read);
    Ok(Some(contents))
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
