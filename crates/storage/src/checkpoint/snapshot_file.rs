//! Snapshots of the metadata log, `<end offset>-<epoch>.checkpoint`, as files of bytes: written beside under a
//! `.part` name, sealed by sync, rename and directory sync, so that a name without `.part` is a whole snapshot
//! (`FileRawSnapshotWriter`, `Snapshots`).

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_types::{LeaderEpoch, Offset};

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{At, Result};

const SUFFIX: &str = ".checkpoint";

/// What a snapshot covers: all records below `end_offset`, the last of them of `epoch`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SnapshotId {
    /// Offset after the last record covered.
    pub end_offset: Offset,
    /// Epoch of the last record covered.
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    /// `00000000000000000123-0000000004.checkpoint`.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{:020}-{:010}{SUFFIX}", self.end_offset.0, self.epoch.0)
    }

    /// The reverse of `file_name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<SnapshotId> {
        let (end_offset, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        Some(SnapshotId { end_offset: Offset(end_offset.parse().ok()?), epoch: LeaderEpoch(epoch.parse().ok()?) })
    }
}

/// A snapshot being written. Dropped unsealed it leaves a `.part` file that the next start removes.
#[derive(Debug)]
pub struct SnapshotWriter<D: Disk> {
    disk: D,
    directory: PathBuf,
    id: SnapshotId,
    file: Arc<D::File>,
    len: u64,
}

impl<D: Disk> SnapshotWriter<D> {
    /// Begins snapshot `id` in the metadata log's directory.
    ///
    /// # Errors
    /// IO.
    pub fn create(disk: &D, directory: &Path, id: SnapshotId) -> Result<SnapshotWriter<D>> {
        let path = part_path(directory, id);
        let file = disk.open(&path, OpenMode::CreateEmpty).at("create", &path)?;
        Ok(SnapshotWriter { disk: disk.clone(), directory: directory.to_owned(), id, file, len: 0 })
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// IO.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let path = part_path(&self.directory, self.id);
        self.file.write_vectored_at(&[IoSlice::new(bytes)], self.len).at("write", &path)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes the snapshot durable and visible.
    ///
    /// # Errors
    /// IO; the snapshot may then exist or not, never in part.
    pub fn seal(self) -> Result<()> {
        let part = part_path(&self.directory, self.id);
        let whole = self.directory.join(self.id.file_name());
        self.file.sync_data().at("sync", &part)?;
        self.disk.rename(&part, &whole).at("rename", &part)?;
        self.disk.sync_directory(&self.directory).at("sync", &self.directory)
    }
}

/// The sealed snapshots of a directory, oldest first; leftovers of unsealed and deleted ones are removed.
///
/// # Errors
/// IO.
pub fn list_snapshots<D: Disk>(disk: &D, directory: &Path) -> Result<Vec<SnapshotId>> {
    let mut ids = Vec::new();
    for entry in disk.list(directory).at("list", directory)? {
        if let Some(id) = SnapshotId::parse(&entry.name) {
            ids.push(id);
        } else if entry.name.contains(SUFFIX) && (entry.name.ends_with(".part") || entry.name.ends_with(".deleted")) {
            let path = directory.join(&entry.name);
            disk.remove(&path).at("remove", &path)?;
        }
    }
    ids.sort();
    Ok(ids)
}

/// Opens a sealed snapshot; also its length in bytes. `None` if there is none of this id.
///
/// # Errors
/// IO.
pub fn open_snapshot<D: Disk>(disk: &D, directory: &Path, id: SnapshotId) -> Result<Option<(Arc<D::File>, u64)>> {
    let path = directory.join(id.file_name());
    let file = match disk.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).at("open", &path),
    };
    let len = file.len().at("look at", &path)?;
    Ok(Some((file, len)))
}

/// Removes a sealed snapshot.
///
/// # Errors
/// IO.
pub fn remove_snapshot<D: Disk>(disk: &D, directory: &Path, id: SnapshotId) -> Result<()> {
    let path = directory.join(id.file_name());
    disk.remove(&path).at("remove", &path)
}

fn part_path(directory: &Path, id: SnapshotId) -> PathBuf {
    directory.join(format!("{}.part", id.file_name()))
}

#[cfg(test)]
mod tests {
    use milena_protocol::FileSource;

    use super::*;
    use crate::disk::SimulatedDisk;

    #[test]
    fn only_sealed_snapshots_are_listed_and_power_cuts_never_leave_half_of_one() {
        for seed in 0..100 {
            let disk = SimulatedDisk::new(seed);
            let root = Path::new("/");
            let id = SnapshotId { end_offset: Offset(123), epoch: LeaderEpoch(4) };
            let mut writer = SnapshotWriter::create(&disk, root, id).unwrap();
            disk.fail_call(disk.calls() + 1 + seed % 6, true);
            let sealed = writer.append(b"one").and_then(|()| writer.append(b"two")).and_then(|()| writer.seal());
            disk.fail_call(0, false);
            let after = disk.cut_power();
            let found = list_snapshots(&after, root).unwrap();
            assert!(sealed.is_err() || found == [id], "seed {seed}");
            if let Some((file, len)) = open_snapshot(&after, root, id).unwrap() {
                let mut bytes = vec![0; len as usize];
                file.read_exact_at(&mut bytes, 0).unwrap();
                assert_eq!(bytes, b"onetwo");
            }
        }
        assert_eq!(
            SnapshotId { end_offset: Offset(123), epoch: LeaderEpoch(4) }.file_name(),
            "00000000000000000123-0000000004.checkpoint"
        );
    }
}
