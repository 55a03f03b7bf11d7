//! `milena.committed`, beside the metadata log: up to where that log is committed and on disk. What a crash tears is behind it;
//! a log that ends or is damaged before it has lost what was promised. The file is overwritten in place and not synced: a
//! kill loses nothing of it, and after a power cut it says less or is torn, which its checksum tells. Kafka has no such
//! file and passes over this one.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use milena_records::crc32c;
use milena_types::Offset;

use crate::disk::{Disk, DiskFile, OpenMode, read_whole};
use crate::error::{At, Result};

/// The file's name.
pub const COMMITTED: &str = "milena.committed";

/// The file.
#[derive(Debug)]
pub struct Committed<D: Disk> {
    file: Arc<D::File>,
    saved: Option<Offset>,
}

impl<D: Disk> Committed<D> {
    /// Opens the file in `directory`, or makes it.
    ///
    /// # Errors
    /// IO.
    pub fn open(disk: &D, directory: &Path) -> Result<Self> {
        let path = directory.join(COMMITTED);
        let contents = read_whole(disk, &path).at("read", &path)?;
        let saved = contents.as_deref().and_then(parse);
        if saved.is_none() && contents.is_some_and(|contents| !contents.is_empty()) {
            tracing::warn!(path = %path.display(), "the file is torn or damaged; it is written anew");
        }
        let file = disk.open(&path, OpenMode::Create).at("open", &path)?;
        Ok(Self { file, saved })
    }

    /// What it says; `None` if it was not there, or is torn.
    #[must_use]
    pub fn offset(&self) -> Option<Offset> {
        self.saved
    }

    /// Notes that everything below `offset` is committed and on disk. It is never taken back. That it cannot be written
    /// loses no record, and whatever else is wrong with the device shows elsewhere.
    pub fn note(&mut self, offset: Offset) {
        if self.saved.is_some_and(|saved| saved >= offset) {
            return;
        }
        match self.file.write_vectored_at(&[IoSlice::new(line(offset).as_bytes())], 0) {
            Ok(()) => self.saved = Some(offset),
            Err(error) => tracing::warn!(%error, "{COMMITTED} cannot be written"),
        }
    }
}

/// As long as any other, so that it is replaced by one write.
fn line(offset: Offset) -> String {
    let text = format!("version: 0\ncommitted: {:020}\n", offset.0);
    format!("{text}crc: {:08x}\n", crc32c(text.as_bytes()))
}

fn parse(contents: &[u8]) -> Option<Offset> {
    let text = std::str::from_utf8(contents).ok()?;
    let offset = Offset(text.lines().nth(1)?.strip_prefix("committed: ")?.parse().ok()?);
    (text == line(offset)).then_some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimulatedDisk;

    #[test]
    fn what_was_noted_is_read_again_and_a_torn_file_says_nothing() {
        let disk = SimulatedDisk::new(1);
        let root = Path::new("/");
        let mut committed = Committed::open(&disk, root).unwrap();
        assert_eq!(committed.offset(), None);
        committed.note(Offset(7));
        committed.note(Offset(5));
        assert_eq!(Committed::open(&disk, root).unwrap().offset(), Some(Offset(7)));
        committed.note(Offset(123_456));
        assert_eq!(Committed::open(&disk, root).unwrap().offset(), Some(Offset(123_456)));
        for byte in 0..line(Offset(0)).len() as u64 {
            disk.flip_byte(&root.join(COMMITTED), byte);
            assert_eq!(Committed::open(&disk, root).unwrap().offset(), None, "byte {byte}");
            disk.flip_byte(&root.join(COMMITTED), byte);
        }
        assert_eq!(Committed::open(&disk, root).unwrap().offset(), Some(Offset(123_456)));
    }
}
