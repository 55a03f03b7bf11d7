//! A simulated disk that keeps its word, or not in one way: bugs planted beneath the metadata log.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use milena_protocol::FileSource;
use milena_storage::disk::{Disk, DiskFile, Entry, Metadata, OpenMode, SimulatedDisk, SimulatedFile};

/// What is said to be done and is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lie {
    None,
    LogIsNotSynced,
    SnapshotsAreNotSynced,
    NamesAreNotSynced,
}

#[derive(Clone, Debug)]
pub(super) struct LyingDisk {
    pub(super) truth: SimulatedDisk,
    lie: Lie,
}

#[derive(Debug)]
pub(super) struct LyingFile {
    truth: Arc<SimulatedFile>,
    lies: bool,
}

impl LyingDisk {
    pub(super) fn new(truth: SimulatedDisk, lie: Lie) -> LyingDisk {
        LyingDisk { truth, lie }
    }

    pub(super) fn cut_power(&self) -> LyingDisk {
        LyingDisk { truth: self.truth.cut_power(), lie: self.lie }
    }

    fn file(&self, truth: Arc<SimulatedFile>, path: &Path) -> Arc<LyingFile> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let lies = match self.lie {
            Lie::LogIsNotSynced => name.ends_with(".log"),
            Lie::SnapshotsAreNotSynced => name.contains(".checkpoint"),
            Lie::None | Lie::NamesAreNotSynced => false,
        };
        Arc::new(LyingFile { truth, lies })
    }
}

impl FileSource for LyingFile {
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.truth.read_exact_at(buffer, position)
    }

    fn raw_fd(&self) -> Option<i32> {
        None
    }
}

impl DiskFile for LyingFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.truth.read_at(buffer, position)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.truth.write_vectored_at(slices, position)
    }

    fn len(&self) -> io::Result<u64> {
        self.truth.len()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.truth.truncate(len)
    }

    fn set_modified(&self, modified_ms: i64) -> io::Result<()> {
        self.truth.set_modified(modified_ms)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.lies { Ok(()) } else { self.truth.sync_data() }
    }

    fn sync_file_system(&self) -> io::Result<()> {
        if self.lies { Ok(()) } else { self.truth.sync_file_system() }
    }
}

impl Disk for LyingDisk {
    type File = LyingFile;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<LyingFile>> {
        Ok(self.file(self.truth.open(path, mode)?, path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.truth.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.truth.remove(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.truth.remove_directory(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.truth.list(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.truth.create_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        if self.lie == Lie::NamesAreNotSynced { Ok(()) } else { self.truth.sync_directory(path) }
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        self.truth.metadata(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Arc<LyingFile>>> {
        Ok(self.truth.try_lock(path)?.map(|file| self.file(file, path)))
    }
}
