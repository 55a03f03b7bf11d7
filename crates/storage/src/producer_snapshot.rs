//! `%020d.snapshot`: the producers of a log at an offset. Version 1 (int16), CRC-32C of what follows it, the number of
//! entries, fixed-size entries (`ProducerSnapshot`). Only the last batch of each producer is saved.

use std::collections::BTreeMap;

use milena_records::crc32c;
use milena_types::ProducerEpoch;

use crate::producers::{ProducerBatch, ProducerEntry};

/// File name suffix.
pub(crate) const SNAPSHOT_SUFFIX: &str = "snapshot";

const VERSION: i16 = 1;
const ENTRY_BYTES: usize = 46;

/// The file's bytes.
pub(crate) fn encode(entries: &BTreeMap<i64, ProducerEntry>) -> Vec<u8> {
    let mut body = Vec::with_capacity(4 + entries.len() * ENTRY_BYTES);
    body.extend_from_slice(&(entries.len() as i32).to_be_bytes());
    for (producer_id, entry) in entries {
        let last = entry.batches().last().copied();
        body.extend_from_slice(&producer_id.to_be_bytes());
        body.extend_from_slice(&entry.epoch.0.to_be_bytes());
        body.extend_from_slice(&last.map_or(-1, |batch| batch.last_sequence).to_be_bytes());
        body.extend_from_slice(&last.map_or(-1, |batch| batch.last_offset).to_be_bytes());
        body.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        body.extend_from_slice(&entry.last_timestamp.to_be_bytes());
        body.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        body.extend_from_slice(&entry.current_transaction_first_offset.unwrap_or(-1).to_be_bytes());
    }
    let mut bytes = Vec::with_capacity(6 + body.len());
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&crc32c(&body).to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// Reads the file's bytes; the reason if they are not a snapshot.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<(i64, ProducerEntry)>, &'static str> {
    let (version, rest) = bytes.split_first_chunk().ok_or("too short")?;
    if i16::from_be_bytes(*version) != VERSION {
        return Err("unknown version");
    }
    let (crc, body) = rest.split_first_chunk().ok_or("too short")?;
    if u32::from_be_bytes(*crc) != crc32c(body) {
        return Err("CRC is corrupt");
    }
    let (count, rest) = body.split_first_chunk().ok_or("too short")?;
    let count = usize::try_from(i32::from_be_bytes(*count)).map_err(|_| "negative count")?;
    if rest.len() != count * ENTRY_BYTES {
        return Err("length does not fit the number of entries");
    }
    rest.chunks_exact(ENTRY_BYTES).map(|entry| decode_entry(entry).ok_or("malformed entry")).collect()
}

fn decode_entry(bytes: &[u8]) -> Option<(i64, ProducerEntry)> {
    let (producer_id, rest) = bytes.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (last_sequence, rest) = rest.split_first_chunk()?;
    let (last_offset, rest) = rest.split_first_chunk()?;
    let (offset_delta, rest) = rest.split_first_chunk()?;
    let (timestamp, rest) = rest.split_first_chunk()?;
    let (coordinator_epoch, rest) = rest.split_first_chunk()?;
    let first_offset = i64::from_be_bytes(*rest.first_chunk()?);
    let mut entry = ProducerEntry::saved(
        ProducerEpoch(i16::from_be_bytes(*epoch)),
        i32::from_be_bytes(*coordinator_epoch),
        i64::from_be_bytes(*timestamp),
        (first_offset >= 0).then_some(first_offset),
    );
    let last_offset = i64::from_be_bytes(*last_offset);
    if last_offset >= 0 {
        entry.push(ProducerBatch {
            last_sequence: i32::from_be_bytes(*last_sequence),
            last_offset,
            offset_delta: i32::from_be_bytes(*offset_delta),
            timestamp: entry.last_timestamp,
        });
    }
    Some((i64::from_be_bytes(*producer_id), entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_read_back_and_damage_is_seen() {
        let mut entry = ProducerEntry::saved(ProducerEpoch(3), 7, 1000, Some(55));
        entry.push(ProducerBatch { last_sequence: 9, last_offset: 60, offset_delta: 5, timestamp: 1000 });
        let silent = ProducerEntry::saved(ProducerEpoch(0), -1, 5, None);
        let entries = BTreeMap::from([(1, entry), (2, silent)]);
        let bytes = encode(&entries);
        assert_eq!(bytes.len(), 10 + 2 * ENTRY_BYTES);
        assert_eq!(decode(&bytes).unwrap(), entries.into_iter().collect::<Vec<_>>());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_err(), "byte {at}");
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
