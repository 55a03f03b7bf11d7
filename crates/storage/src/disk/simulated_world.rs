//! The state behind `SimulatedDisk`: what a program sees now, and what a power cut would leave. File contents carry a
//! list of changes since the last sync; names carry one ordered list of changes since the last directory sync, as in
//! a journal.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// Number of a file's contents, kept through renames.
pub(super) type Inode = u64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Node {
    Directory,
    File(Inode),
}

#[derive(Clone, Debug)]
enum Change {
    Write { position: u64, bytes: Vec<u8> },
    Truncate(u64),
}

#[derive(Clone, Debug, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(PathBuf, Node),
    Move(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl NameChange {
    /// The directory whose sync makes it durable.
    fn directory(&self) -> Option<&Path> {
        match self {
            NameChange::Add(path, _) | NameChange::Move(_, path) | NameChange::Remove(path) => path.parent(),
        }
    }

    /// A directory has another name now.
    fn follow(&mut self, from: &Path, to: &Path) {
        let renamed = |path: &mut PathBuf| match path.strip_prefix(from) {
            Ok(rest) if !rest.as_os_str().is_empty() => *path = to.join(rest),
            _ => {}
        };
        match self {
            NameChange::Add(path, _) | NameChange::Remove(path) => renamed(path),
            NameChange::Move(one, other) => [one, other].into_iter().for_each(renamed),
        }
    }
}

/// When calls fail.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// The call with this 1-based number fails; 0 never.
    pub(super) fail_call: u64,
    /// All calls after it fail, too: a dead device.
    pub(super) fail_all_after: bool,
    /// Bytes the device holds; 0 is without limit.
    pub(super) capacity_bytes: u64,
    /// Files whose path has this in it are said to be synced and are not.
    pub(super) unsynced_files: Option<String>,
    /// Names are said to be synced and are not.
    pub(super) unsynced_names: bool,
}

#[derive(Debug)]
pub(super) struct World {
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    name_changes: Vec<NameChange>,
    files: BTreeMap<Inode, Contents>,
    next_inode: Inode,
    pub(super) faults: Faults,
    pub(super) calls: u64,
    pub(super) powered: bool,
    pub(super) locks: BTreeSet<PathBuf>,
    random: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let root = BTreeMap::from([(PathBuf::from("/"), Node::Directory)]);
        World {
            names: root.clone(),
            durable_names: root,
            name_changes: Vec::new(),
            files: BTreeMap::new(),
            next_inode: 1,
            faults: Faults::default(),
            calls: 0,
            powered: true,
            locks: BTreeSet::new(),
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        }
    }

    /// A number below `bound` (xorshift64*).
    pub(super) fn random_below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_F491_4F6C_DD1D).checked_rem(bound).unwrap_or(0)
    }

    /// Counts a call and fails it if it is its turn.
    pub(super) fn step(&mut self) -> io::Result<()> {
        if !self.powered {
            return Err(io::Error::other("the machine is off"));
        }
        self.calls += 1;
        let at = self.faults.fail_call;
        if at != 0 && (self.calls == at || self.faults.fail_all_after && self.calls > at) {
            // EIO, as a failing device says.
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }

    pub(super) fn node(&self, path: &Path) -> Option<Node> {
        self.names.get(path).copied()
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<Inode> {
        self.require_parent(path)?;
        let inode = self.next_inode;
        self.next_inode += 1;
        self.files.insert(inode, Contents::default());
        self.names.insert(path.to_owned(), Node::File(inode));
        self.name_changes.push(NameChange::Add(path.to_owned(), Node::File(inode)));
        Ok(inode)
    }

    pub(super) fn create_directory(&mut self, path: &Path) -> io::Result<()> {
        self.require_parent(path)?;
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.names.insert(path.to_owned(), Node::Directory);
        self.name_changes.push(NameChange::Add(path.to_owned(), Node::Directory));
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.require_parent(to)?;
        if !self.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let change = NameChange::Move(from.to_owned(), to.to_owned());
        apply_name_change(&mut self.names, &change);
        self.name_changes.push(change);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        if !self.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let change = NameChange::Remove(path.to_owned());
        apply_name_change(&mut self.names, &change);
        self.name_changes.push(change);
        Ok(())
    }

    pub(super) fn children(&self, path: &Path) -> io::Result<Vec<(String, Node)>> {
        match self.names.get(path) {
            Some(Node::Directory) => {}
            _ => return Err(io::ErrorKind::NotFound.into()),
        }
        let named = self.names.iter().filter(|(child, _)| child.parent() == Some(path));
        Ok(named.filter_map(|(child, node)| Some((child.file_name()?.to_str()?.to_owned(), *node))).collect())
    }

    pub(super) fn read(&self, inode: Inode, buffer: &mut [u8], position: u64) -> usize {
        let now = self.files.get(&inode).map(|file| file.now.as_slice()).unwrap_or_default();
        let rest = now.get(usize::try_from(position).unwrap_or(usize::MAX)..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        count
    }

    pub(super) fn len(&self, inode: Inode) -> u64 {
        self.files.get(&inode).map_or(0, |file| file.now.len() as u64)
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.files.values().map(|file| file.now.len() as u64).sum()
    }

    /// Writes what fits; a full device keeps the part that fitted and fails.
    pub(super) fn write(&mut self, inode: Inode, position: u64, bytes: &[u8]) -> io::Result<()> {
        let used = if self.faults.capacity_bytes == 0 { 0 } else { self.used_bytes() };
        let growth = (position + bytes.len() as u64).saturating_sub(self.len(inode));
        let capacity = self.faults.capacity_bytes;
        let lacking = if capacity == 0 { 0 } else { (used + growth).saturating_sub(capacity).min(growth) };
        let kept = bytes.len().saturating_sub(usize::try_from(lacking).unwrap_or(usize::MAX));
        let bytes = bytes.get(..kept).unwrap_or_default();
        if let Some(file) = self.files.get_mut(&inode) {
            let change = Change::Write { position, bytes: bytes.to_vec() };
            apply_change(&mut file.now, &change);
            file.unsynced.push(change);
        }
        if lacking > 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    pub(super) fn truncate(&mut self, inode: Inode, len: u64) {
        if let Some(file) = self.files.get_mut(&inode) {
            let change = Change::Truncate(len);
            apply_change(&mut file.now, &change);
            file.unsynced.push(change);
        }
    }

    pub(super) fn sync_file(&mut self, inode: Inode) {
        if self.faults.unsynced_files.as_ref().is_some_and(|part| self.is_named(inode, part)) {
            return;
        }
        if let Some(file) = self.files.get_mut(&inode) {
            for change in file.unsynced.drain(..) {
                apply_change(&mut file.durable, &change);
            }
        }
    }

    fn is_named(&self, inode: Inode, part: &str) -> bool {
        let is_this = |(path, node): (&PathBuf, &Node)| {
            *node == Node::File(inode) && path.to_str().is_some_and(|path| path.contains(part))
        };
        self.names.iter().any(is_this)
    }

    pub(super) fn sync_all(&mut self) {
        for file in self.files.values_mut() {
            file.durable.clone_from(&file.now);
            file.unsynced.clear();
        }
        self.durable_names.clone_from(&self.names);
        self.name_changes.clear();
    }

    /// Makes the names in `directory` durable, and no others: POSIX promises no more. A name is of no use after a power
    /// cut unless its directory has one.
    pub(super) fn sync_names(&mut self, directory: &Path) {
        if self.faults.unsynced_names {
            return;
        }
        let changes = std::mem::take(&mut self.name_changes);
        for change in changes {
            if change.directory() != Some(directory) {
                self.name_changes.push(change);
                continue;
            }
            apply_name_change(&mut self.durable_names, &change);
            // What is not durable of a directory's own names goes with it, not to the next one of its path.
            match &change {
                NameChange::Move(from, to) => self.name_changes.iter_mut().for_each(|waiting| waiting.follow(from, to)),
                NameChange::Remove(path) => {
                    self.name_changes.retain(|waiting| !waiting.directory().is_some_and(|of| of.starts_with(path)));
                }
                NameChange::Add(..) => {}
            }
        }
    }

    /// The durable names with some of the later changes: a prefix of all, as a journal leaves it, or a prefix of each
    /// directory's.
    fn names_after_power_cut(&mut self) -> BTreeMap<PathBuf, Node> {
        let mut names = self.durable_names.clone();
        let changes = std::mem::take(&mut self.name_changes);
        let journal = self.random_below(2) == 0;
        let mut left: BTreeMap<Option<PathBuf>, u64> = BTreeMap::new();
        for change in &changes {
            *left.entry(change.directory().filter(|_| !journal).map(Path::to_owned)).or_default() += 1;
        }
        for kept in left.values_mut() {
            *kept = self.random_below(*kept + 1);
        }
        for change in &changes {
            let kept = left.entry(change.directory().filter(|_| !journal).map(Path::to_owned)).or_default();
            if *kept > 0 {
                *kept -= 1;
                apply_name_change(&mut names, change);
            }
        }
        let is_directory = |path: &Path| matches!(names.get(path), Some(Node::Directory));
        let orphans: Vec<PathBuf> =
            names.keys().filter(|path| !path.ancestors().skip(1).all(is_directory)).cloned().collect();
        for orphan in &orphans {
            names.remove(orphan);
        }
        names
    }

    /// What a power cut leaves: the durable names and some of the later changes; of each file the durable
    /// contents and some of the later changes, the last of them torn.
    pub(super) fn after_power_cut(&mut self) -> World {
        let names = self.names_after_power_cut();
        let mut files = std::mem::take(&mut self.files);
        for file in files.values_mut() {
            let prefix = self.random_below(4) != 0;
            let count = self.random_below(file.unsynced.len() as u64 + 1) as usize;
            let mut contents = std::mem::take(&mut file.durable);
            let unsynced = std::mem::take(&mut file.unsynced);
            for (at, change) in unsynced.iter().enumerate() {
                if prefix && at == count {
                    let torn = self.torn(change);
                    apply_change(&mut contents, &torn);
                    break;
                }
                if prefix || self.random_below(2) == 0 {
                    apply_change(&mut contents, change);
                }
            }
            file.now = contents.clone();
            file.durable = contents;
        }
        let mut world = World::new(self.random_below(u64::MAX));
        world.durable_names = names.clone();
        world.names = names;
        world.files = files;
        world.next_inode = self.next_inode;
        self.powered = false;
        world
    }

    /// Changes one byte of the durable and visible contents.
    pub(super) fn flip(&mut self, path: &Path, position: u64) {
        let Some(Node::File(inode)) = self.node(path) else { return };
        let Some(file) = self.files.get_mut(&inode) else { return };
        for contents in [&mut file.now, &mut file.durable] {
            if let Some(byte) = contents.get_mut(usize::try_from(position).unwrap_or(usize::MAX)) {
                *byte ^= 0x40;
            }
        }
    }

    fn torn(&mut self, change: &Change) -> Change {
        match change {
            Change::Write { position, bytes } => {
                let kept = self.random_below(bytes.len() as u64 + 1) as usize;
                Change::Write { position: *position, bytes: bytes.get(..kept).unwrap_or_default().to_vec() }
            }
            Change::Truncate(len) => Change::Truncate(*len),
        }
    }

    fn require_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent().and_then(|parent| self.names.get(parent)) {
            Some(Node::Directory) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn apply_change(contents: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { position, bytes } if !bytes.is_empty() => {
            let start = usize::try_from(*position).unwrap_or(usize::MAX);
            let end = start.saturating_add(bytes.len());
            if contents.len() < end {
                contents.resize(end, 0);
            }
            if let Some(target) = contents.get_mut(start..end) {
                target.copy_from_slice(bytes);
            }
        }
        Change::Write { .. } => {}
        Change::Truncate(len) => contents.resize(usize::try_from(*len).unwrap_or(usize::MAX), 0),
    }
}

fn apply_name_change(names: &mut BTreeMap<PathBuf, Node>, change: &NameChange) {
    match change {
        NameChange::Add(path, node) => {
            names.insert(path.clone(), *node);
        }
        NameChange::Remove(path) => names.retain(|name, _| !name.starts_with(path)),
        NameChange::Move(from, to) => {
            let moved: Vec<(PathBuf, Node)> = names
                .iter()
                .filter_map(|(name, node)| {
                    let rest = name.strip_prefix(from).ok()?;
                    Some((if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) }, *node))
                })
                .collect();
            names.retain(|name, _| !name.starts_with(from) && !name.starts_with(to));
            names.extend(moved);
        }
    }
}
