//! The files that pass between the two sides: entries of name, version, length and bytes, as Java's `DataOutputStream`
//! writes them. A negative length means that Kafka refused the message, with the reason after it.

use anyhow::{Context as _, Result};
use bytes::{Buf, BufMut, Bytes};

/// One serialized message, or why there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) version: i16,
    pub(crate) outcome: Result<Bytes, String>,
}

/// Reads a whole file.
pub(crate) fn parse(mut file: Bytes) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    while file.has_remaining() {
        let name = text(&mut file)?;
        let version = file.try_get_i16()?;
        let outcome = match usize::try_from(file.try_get_i32()?) {
            Ok(length) if length <= file.len() => Ok(file.split_to(length)),
            Ok(length) => anyhow::bail!("{name}: {length} bytes, {} left", file.len()),
            Err(_) => Err(text(&mut file)?),
        };
        entries.push(Entry { name, version, outcome });
    }
    Ok(entries)
}

/// Writes the entries that have bytes.
pub(crate) fn render(entries: &[Entry]) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    for entry in entries {
        if let Ok(bytes) = &entry.outcome {
            file.put_u16(u16::try_from(entry.name.len())?);
            file.put_slice(entry.name.as_bytes());
            file.put_i16(entry.version);
            file.put_i32(i32::try_from(bytes.len())?);
            file.put_slice(bytes);
        }
    }
    Ok(file)
}

fn text(file: &mut Bytes) -> Result<String> {
    let length = usize::from(file.try_get_u16()?);
    anyhow::ensure!(length <= file.len(), "a text of {length} bytes, {} left", file.len());
    String::from_utf8(file.split_to(length).to_vec()).context("text")
}
