//! The form most checkpoint files share: a version line (`0`), a line with the number of entries, one line per entry,
//! words parted by one space (`CheckpointFile`), and `leader-epoch-checkpoint` in it.

use std::path::Path;

use milena_types::{LeaderEpoch, Offset};

use crate::disk::{Disk, read_whole, write_atomic, write_atomic_unsynced};
use crate::epochs::EpochEntry;
use crate::error::{At, Result, corrupt};

/// The file of a partition's epochs.
pub(crate) const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";

/// Reads a checkpoint file of version 0, `None` if it does not exist. `parse` takes the words of a line.
pub(super) fn read_lines<D: Disk, T>(
    disk: &D,
    path: &Path,
    parse: impl Fn(&[&str]) -> Option<T>,
) -> Result<Option<Vec<T>>> {
    let Some(contents) = read_whole(disk, path).at("read", path)? else { return Ok(None) };
    let text = String::from_utf8(contents).map_err(|_| corrupt(path, 0, "not UTF-8"))?;
    // Kafka makes the file before it has something to say.
    if text.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let mut lines = text.lines();
    if lines.next().map(str::trim) != Some("0") {
        return Err(corrupt(path, 0, "expected version 0 on the first line"));
    }
    let count: Option<usize> = lines.next().and_then(|line| line.trim().parse().ok());
    let count = count.ok_or_else(|| corrupt(path, 2, "expected the number of entries on the second line"))?;
    let mut entries = Vec::new();
    let mut position = 0;
    for line in lines {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let entry = parse(&words).ok_or_else(|| corrupt(path, position, format!("malformed line {line:?}")))?;
        entries.push(entry);
        position += line.len() as u64 + 1;
    }
    if entries.len() != count {
        return Err(corrupt(path, 2, format!("expected {count} entries and found {}", entries.len())));
    }
    Ok(Some(entries))
}

/// The text of a checkpoint file of version 0.
pub(super) fn format_lines(lines: &[String]) -> String {
    let mut text = format!("0\n{}\n", lines.len());
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// Reads the epochs of the partition in `directory`; none if there is no file.
///
/// # Errors
/// IO and malformed lines.
pub fn read_epochs<D: Disk>(disk: &D, directory: &Path) -> Result<Vec<EpochEntry>> {
    let path = directory.join(LEADER_EPOCH_CHECKPOINT);
    let entries = read_lines(disk, &path, |words| match words {
        [epoch, start] => {
            Some(EpochEntry { epoch: LeaderEpoch(epoch.parse().ok()?), start_offset: Offset(start.parse().ok()?) })
        }
        _ => None,
    })?;
    Ok(entries.unwrap_or_default())
}

/// Replaces the epochs of the partition in `directory` durably.
///
/// # Errors
/// IO.
pub fn write_epochs<D: Disk>(disk: &D, directory: &Path, entries: &[EpochEntry]) -> Result<()> {
    let path = directory.join(LEADER_EPOCH_CHECKPOINT);
    write_atomic(disk, &path, epochs_text(entries).as_bytes()).at("write", &path)
}

/// As `write_epochs`, but durable only after the next sync of the file system.
pub(crate) fn write_epochs_unsynced<D: Disk>(disk: &D, directory: &Path, entries: &[EpochEntry]) -> Result<()> {
    let path = directory.join(LEADER_EPOCH_CHECKPOINT);
    write_atomic_unsynced(disk, &path, epochs_text(entries).as_bytes()).at("write", &path)
}

fn epochs_text(entries: &[EpochEntry]) -> String {
    let lines: Vec<String> = entries.iter().map(|entry| format!("{} {}", entry.epoch, entry.start_offset)).collect();
    format_lines(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimulatedDisk;

    #[test]
    fn epochs_are_written_as_kafka_writes_them_and_read_back() {
        let disk = SimulatedDisk::new(1);
        let root = Path::new("/");
        let entries = [
            EpochEntry { epoch: LeaderEpoch(0), start_offset: Offset(0) },
            EpochEntry { epoch: LeaderEpoch(7), start_offset: Offset(1234) },
        ];
        write_epochs(&disk, root, &entries).unwrap();
        let path = root.join(LEADER_EPOCH_CHECKPOINT);
        assert_eq!(read_whole(&disk, &path).unwrap().unwrap(), b"0\n2\n0 0\n7 1234\n");
        assert_eq!(read_epochs(&disk, root).unwrap(), entries);
    }

    #[test]
    fn damaged_checkpoints_are_refused() {
        let disk = SimulatedDisk::new(1);
        let path = Path::new("/leader-epoch-checkpoint");
        for text in ["1\n0\n", "0\nx\n", "0\n2\n1 2\n", "0\n1\n1 2 3\n", "0\n1\none 2\n"] {
            write_atomic(&disk, path, text.as_bytes()).unwrap();
            assert!(read_epochs(&disk, Path::new("/")).is_err(), "{text:?}");
        }
    }
}
