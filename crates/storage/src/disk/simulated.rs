//! A file system in memory for tests and the simulator, deterministic from a seed. It counts calls so that a model
//! test can fail each of them in turn, loses what was not synced at a power cut, tears the last write, and can be full.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use milena_protocol::FileSource;

use super::simulated_world::{Inode, Node, World};
use super::{Disk, DiskFile, Entry, Metadata, OpenMode};

/// A file system in memory. Clones share it.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    world: Arc<Mutex<World>>,
}

/// An open file of a `SimulatedDisk`; useless after its power cut.
#[derive(Debug)]
pub struct SimulatedFile {
    world: Arc<Mutex<World>>,
    inode: Inode,
    locked: Option<PathBuf>,
}

impl SimulatedDisk {
    /// An empty disk with a root directory; `seed` decides what power cuts keep.
    #[must_use]
    pub fn new(seed: u64) -> SimulatedDisk {
        SimulatedDisk { world: Arc::new(Mutex::new(World::new(seed))) }
    }

    /// Calls made so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.world().calls
    }

    /// Makes the call with number `call` (1-based, counted from the disk's beginning) fail, and all later ones if
    /// `all_after`. 0 heals the disk.
    pub fn fail_call(&self, call: u64, all_after: bool) {
        let mut world = self.world();
        world.faults.fail_call = call;
        world.faults.fail_all_after = all_after;
    }

    /// Sets how many bytes fit on the device; 0 lifts the limit.
    pub fn set_capacity(&self, bytes: u64) {
        self.world().faults.capacity_bytes = bytes;
    }

    /// Makes it lie from now on: files whose path has `files` in it, and names if `names`, are said to be synced and are
    /// not. Bugs are planted with it.
    pub fn ignore_syncs(&self, files: Option<&str>, names: bool) {
        let mut world = self.world();
        world.faults.unsynced_files = files.map(str::to_owned);
        world.faults.unsynced_names = names;
    }

    /// Bytes all files hold now.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.world().used_bytes()
    }

    /// Cuts the power: this disk and its files fail from now on, and the returned one holds what survived.
    #[must_use]
    pub fn cut_power(&self) -> SimulatedDisk {
        let survived = self.world().after_power_cut();
        SimulatedDisk { world: Arc::new(Mutex::new(survived)) }
    }

    /// Damages one byte of a file, as a failing medium does.
    pub fn flip_byte(&self, path: &Path, position: u64) {
        self.world().flip(path, position);
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stepped(&self) -> io::Result<MutexGuard<'_, World>> {
        let mut world = self.world();
        world.step()?;
        Ok(world)
    }
}

impl SimulatedFile {
    fn stepped(&self) -> io::Result<MutexGuard<'_, World>> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.step()?;
        Ok(world)
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        if let Some(path) = self.locked.take() {
            self.world.lock().unwrap_or_else(PoisonError::into_inner).locks.remove(&path);
        }
    }
}

impl FileSource for SimulatedFile {
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let read = self.stepped()?.read(self.inode, buffer, position);
        if read == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn raw_fd(&self) -> Option<i32> {
        None
    }
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        Ok(self.stepped()?.read(self.inode, buffer, position))
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.stepped()?.write(self.inode, position, &bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.stepped()?.len(self.inode))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.stepped()?.truncate(self.inode, len);
        Ok(())
    }

    /// Here all files are of 1970.
    fn set_modified(&self, _modified_ms: i64) -> io::Result<()> {
        self.stepped().map(|_| ())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.stepped()?.sync_file(self.inode);
        Ok(())
    }

    fn sync_file_system(&self) -> io::Result<()> {
        self.stepped()?.sync_all();
        Ok(())
    }
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<SimulatedFile>> {
        let mut world = self.stepped()?;
        let inode = match (world.node(path), mode) {
            (Some(Node::Directory), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Node::File(inode)), OpenMode::CreateEmpty) => {
                world.truncate(inode, 0);
                inode
            }
            (Some(Node::File(inode)), _) => inode,
            (None, OpenMode::Read | OpenMode::ReadWrite) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::Create | OpenMode::CreateEmpty) => world.create_file(path)?,
        };
        Ok(Arc::new(SimulatedFile { world: Arc::clone(&self.world), inode, locked: None }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.stepped()?.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.stepped()?.remove(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.stepped()?.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let children = self.stepped()?.children(path)?;
        Ok(children.into_iter().map(|(name, node)| Entry { name, is_directory: node == Node::Directory }).collect())
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.stepped()?.create_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.stepped()?.sync_names(path);
        Ok(())
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        let world = self.stepped()?;
        Ok(world.node(path).map(|node| match node {
            Node::Directory => Metadata { len: 0, is_directory: true, modified_ms: 0 },
            Node::File(inode) => Metadata { len: world.len(inode), is_directory: false, modified_ms: 0 },
        }))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Arc<SimulatedFile>>> {
        let file = self.open(path, OpenMode::Create)?;
        if !self.world().locks.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Arc::new(SimulatedFile {
            world: Arc::clone(&self.world),
            inode: file.inode,
            locked: Some(path.to_owned()),
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{read_whole, write_atomic};

    #[test]
    fn an_atomic_write_survives_every_power_cut_once_it_returned() {
        for seed in 0..200 {
            let disk = SimulatedDisk::new(seed);
            let path = Path::new("/state");
            write_atomic(&disk, path, b"old").unwrap();
            disk.fail_call(disk.calls() + 1 + seed % 5, true);
            let outcome = write_atomic(&disk, path, b"new contents");
            disk.fail_call(0, false);
            let after = read_whole(&disk.cut_power(), path).unwrap().unwrap();
            if outcome.is_ok() {
                assert_eq!(after, b"new contents", "seed {seed}");
            } else {
                assert!(after == b"old" || after == b"new contents", "seed {seed}: {after:?}");
            }
        }
    }

    #[test]
    fn unsynced_bytes_are_lost_in_some_worlds_and_kept_in_others() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let disk = SimulatedDisk::new(seed);
            let file = disk.open(Path::new("/file"), OpenMode::Create).unwrap();
            disk.sync_directory(Path::new("/")).unwrap();
            file.write_vectored_at(&[IoSlice::new(b"synced")], 0).unwrap();
            file.sync_data().unwrap();
            file.write_vectored_at(&[IoSlice::new(b"and more")], 6).unwrap();
            let after = read_whole(&disk.cut_power(), Path::new("/file")).unwrap().unwrap();
            assert!(b"syncedand more".starts_with(&after) && after.len() >= 6);
            lengths.insert(after.len());
        }
        assert!(lengths.len() > 3, "{lengths:?}");
    }

    #[test]
    fn names_that_are_not_durable_go_with_their_directory() {
        for seed in 0..50 {
            let disk = SimulatedDisk::new(seed);
            let (root, old, new) = (Path::new("/"), Path::new("/log"), Path::new("/log-delete"));
            disk.create_directory(old).unwrap();
            disk.open(&old.join("old"), OpenMode::Create).unwrap();
            disk.rename(old, new).unwrap();
            disk.sync_directory(root).unwrap();
            disk.create_directory(old).unwrap();
            disk.open(&old.join("new"), OpenMode::Create).unwrap();
            disk.sync_directory(root).unwrap();
            let after = disk.cut_power();
            let in_place = after.list(old).unwrap();
            assert!(in_place.iter().all(|entry| entry.name == "new"), "seed {seed}: {in_place:?}");
        }
    }

    #[test]
    fn a_full_device_keeps_the_part_that_fitted_and_says_so() {
        let disk = SimulatedDisk::new(1);
        disk.set_capacity(4);
        let file = disk.open(Path::new("/file"), OpenMode::Create).unwrap();
        let error = file.write_vectored_at(&[IoSlice::new(b"123456")], 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.len().unwrap(), 4);
    }
}
