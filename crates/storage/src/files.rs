//! Names in a partition's directory: twenty digits of a base offset, a dot and a kind (`LogFileUtils`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::file_cache::FileCache;

/// Where a partition's files are and through what they are opened.
#[derive(Clone, Debug)]
pub(crate) struct Files<D: Disk> {
    pub(crate) cache: Arc<FileCache<D>>,
    pub(crate) directory: Arc<Path>,
    /// Behind every name: `.cleaned` for a segment that compaction writes, else nothing.
    pub(crate) suffix: &'static str,
}

impl<D: Disk> Files<D> {
    /// The file of `base_offset` with `suffix`.
    pub(crate) fn path(&self, base_offset: i64, suffix: &str) -> PathBuf {
        self.directory.join(file_name(base_offset, suffix) + self.suffix)
    }

    /// The disk.
    pub(crate) fn disk(&self) -> &D {
        self.cache.disk()
    }
}

/// `00000000000000000042.log`.
pub(crate) fn file_name(base_offset: i64, suffix: &str) -> String {
    format!("{base_offset:020}.{suffix}")
}

/// Splits `00000000000000000042.log` into 42 and `log`; names of another form give `None`.
pub(crate) fn parse_file_name(name: &str) -> Option<(i64, &str)> {
    let (digits, suffix) = name.split_once('.')?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, suffix))
}

/// Suffix of a segment file that waits for its deletion.
pub(crate) const DELETED: &str = ".deleted";
/// Suffix of a file that compaction is writing.
pub(crate) const CLEANED: &str = ".cleaned";
/// Suffix of a finished file of compaction that is taking its place.
pub(crate) const SWAP: &str = ".swap";
