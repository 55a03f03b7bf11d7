//! `%020d.snapshot`: the producers of a log at an offset. Version 1 (int16), CRC-32C of what follows it, the number of
//! entries, fixed-size entries (`ProducerSnapshot`). Only the last batch of each producer is saved.

use std::ops::Range;

use milena_records::crc32c;
use milena_types::ProducerEpoch;

use crate::producer_entry::{ProducerBatch, ProducerEntry};

/// File name suffix.
pub(crate) const SNAPSHOT_SUFFIX: &str = "snapshot";

const VERSION: i16 = 1;
const CRC_BYTES: Range<usize> = 2..6;
/// Version, CRC, number of entries.
const HEAD_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;

/// The file's bytes; of at most `count_max` entries.
pub(crate) fn encode<'a>(entries: impl Iterator<Item = (i64, &'a ProducerEntry)>, count_max: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + ENTRY_BYTES * count_max);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.resize(HEAD_BYTES, 0);
    let mut count: i32 = 0;
    for (producer_id, entry) in entries {
        count += 1;
        let last = entry.last_batch();
        bytes.extend_from_slice(&producer_id.to_be_bytes());
        bytes.extend_from_slice(&entry.epoch.0.to_be_bytes());
        bytes.extend_from_slice(&entry.last_sequence().to_be_bytes());
        bytes.extend_from_slice(&last.map_or(-1, |batch| batch.last_offset).to_be_bytes());
        bytes.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        bytes.extend_from_slice(&entry.last_timestamp.to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.current_transaction_first_offset().unwrap_or(-1).to_be_bytes());
    }
    put(&mut bytes, CRC_BYTES.end, &count.to_be_bytes());
    let crc = crc32c(bytes.get(CRC_BYTES.end..).unwrap_or_default());
    put(&mut bytes, CRC_BYTES.start, &crc.to_be_bytes());
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    let places = bytes.iter_mut().skip(at).zip(value);
    places.for_each(|(place, byte)| *place = *byte);
}

/// The producers of a snapshot, read one by one: there may be very many.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    bytes: Vec<u8>,
}

impl Saved {
    pub(crate) fn entries(&self) -> impl Iterator<Item = (i64, ProducerEntry)> {
        self.bytes.get(HEAD_BYTES..).unwrap_or_default().chunks_exact(ENTRY_BYTES).filter_map(decode_entry)
    }
}

/// Checks the file's bytes; the reason if they are not a snapshot.
pub(crate) fn decode(bytes: Vec<u8>) -> Result<Saved, &'static str> {
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
    Ok(Saved { bytes })
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
        let entries = [(1, entry), (2, silent)];
        let bytes = encode(entries.iter().map(|(id, entry)| (*id, entry)), 2);
        assert_eq!(bytes.len(), 10 + 2 * ENTRY_BYTES);
        assert_eq!(decode(bytes.clone()).unwrap().entries().collect::<Vec<_>>(), entries);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode(damaged).is_err(), "byte {at}");
            assert!(decode(bytes[..at].to_vec()).is_err(), "cut at {at}");
        }
    }
}
