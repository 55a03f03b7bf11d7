//! `partition.metadata`: the topic id of a partition's directory (`PartitionMetadataFile`).

use std::io::IoSlice;
use std::path::Path;

use milena_types::Uuid;

use crate::disk::{Disk, DiskFile, OpenMode, read_whole};
use crate::error::{At, Result, corrupt};

/// The file's name.
pub const PARTITION_METADATA: &str = "partition.metadata";

/// Bytes of the file: fixed words and 22 characters of id.
const FILE_BYTES: usize = 43;

/// Reads the topic id; `None` if there is no file, or only the beginning of one as a power cut may leave it: the
/// metadata log knows the id and the broker writes it again.
///
/// # Errors
/// IO, or a file of another form.
pub fn read_topic_id<D: Disk>(disk: &D, directory: &Path) -> Result<Option<Uuid>> {
    let path = directory.join(PARTITION_METADATA);
    let Some(contents) = read_whole(disk, &path).at("read", &path)? else { return Ok(None) };
    if contents.len() < FILE_BYTES || contents.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let text = String::from_utf8(contents).map_err(|_| corrupt(&path, 0, "not UTF-8"))?;
    let mut lines = text.lines();
    if lines.next().map(str::trim) != Some("version: 0") {
        return Err(corrupt(&path, 0, "expected version 0 on the first line"));
    }
    let id = lines.next().and_then(|line| line.strip_prefix("topic_id: ")).and_then(|id| id.trim().parse().ok());
    match id {
        Some(Uuid::ZERO) | None => Err(corrupt(&path, 11, "expected a topic id on the second line")),
        id => Ok(id),
    }
}

/// Writes the topic id into a new directory. Not synced: the log's first flush does that, and until then its loss is
/// repaired from the metadata log.
///
/// # Errors
/// IO.
pub fn write_topic_id<D: Disk>(disk: &D, directory: &Path, topic_id: Uuid) -> Result<()> {
    let path = directory.join(PARTITION_METADATA);
    let text = format!("version: 0\ntopic_id: {topic_id}");
    let file = disk.open(&path, OpenMode::CreateEmpty).at("create", &path)?;
    file.write_vectored_at(&[IoSlice::new(text.as_bytes())], 0).at("write", &path)
}

/// Whether `found` is what became of `expected` when a few characters of it were damaged: two ids that were drawn share
/// hardly any.
#[must_use]
pub fn is_damaged_id(found: Uuid, expected: Uuid) -> bool {
    let (found, expected) = (found.to_string(), expected.to_string());
    found != expected && found.bytes().zip(expected.bytes()).filter(|(left, right)| left == right).count() >= ALIKE_MIN
}

/// Characters of 22 that two ids have in common if one was the other. Of two that were drawn so many are the same once in
/// 10^13 times.
const ALIKE_MIN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimulatedDisk;

    #[test]
    fn a_damaged_id_is_told_from_that_of_another_topic() {
        let drawn = |seed: u128| Uuid((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_be_bytes());
        let id = drawn(3);
        for bit in 0..128 {
            let mut other = id;
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert!(is_damaged_id(other, id), "bit {bit}");
        }
        assert!(!is_damaged_id(id, id));
        for other in (1..2000).map(drawn).filter(|other| *other != id) {
            assert!(!is_damaged_id(other, id), "{other}");
        }
    }

    #[test]
    fn the_topic_id_reads_back_and_an_empty_file_counts_as_none() {
        let disk = SimulatedDisk::new(1);
        let root = Path::new("/");
        assert_eq!(read_topic_id(&disk, root).unwrap(), None);
        write_topic_id(&disk, root, Uuid::ONE).unwrap();
        let path = root.join(PARTITION_METADATA);
        assert_eq!(read_whole(&disk, &path).unwrap().unwrap(), b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(read_topic_id(&disk, root).unwrap(), Some(Uuid::ONE));
        disk.open(&path, OpenMode::CreateEmpty).unwrap();
        assert_eq!(read_topic_id(&disk, root).unwrap(), None);
    }
}
