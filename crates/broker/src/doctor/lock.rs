//! Who holds a log directory's `.lock`, asked of the kernel: taking the lock, even for a moment, could keep a node from starting.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The process that holds the lock of a log directory.
pub(super) fn holder(log_dir: &Path) -> Option<u32> {
    let inode = std::fs::metadata(log_dir.join(".lock")).ok()?.ino();
    parse(&std::fs::read_to_string("/proc/locks").ok()?, inode)
}

/// Lines are `1: POSIX  ADVISORY  WRITE 4711 fe:00:12345 0 EOF`; those that wait have `->` behind the number.
fn parse(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, "WRITE", process, file, ..] = words.as_slice() else { return None };
        let held: u64 = file.rsplit(':').next()?.parse().ok()?;
        (held == inode).then(|| process.parse().unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_lock_is_found_by_its_inode_and_one_that_waits_is_none() {
        let locks = "1: POSIX  ADVISORY  WRITE 4711 fe:00:99 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 4712 fe:00:98 0 EOF\n\
                     3: POSIX  ADVISORY  READ  4713 fe:00:97 0 EOF\n";
        assert_eq!(parse(locks, 99), Some(4711));
        assert_eq!(parse(locks, 98), None);
        assert_eq!(parse(locks, 97), None);
        assert_eq!(parse(locks, 9), None);
    }
}
