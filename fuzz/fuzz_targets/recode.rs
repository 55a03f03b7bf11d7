//! Picks a message and a version by the first bytes and recodes the rest.

use bytes::Bytes;
use milena_protocol::EncodeError;
use milena_protocol::random::{MESSAGES, MessageEntry, RecodeError};

/// Bytes that pick the message and its version.
const PICK_BYTES: usize = 3;

/// Panics when what decodes does not survive.
pub fn check(kind: &str, data: &[u8]) {
    let Some((&[high, low, version], body)) = data.split_first_chunk::<PICK_BYTES>() else {
        return;
    };
    let messages: Vec<&MessageEntry> = MESSAGES.iter().filter(|entry| entry.kind == kind).collect();
    let picked = usize::from(u16::from_be_bytes([high, low])) % messages.len();
    let Some(entry) = messages.get(picked) else {
        return;
    };
    let span = entry.max_version - entry.min_version + 1;
    let version = entry.min_version + i16::from(version) % span;
    match (entry.recode)(Bytes::copy_from_slice(body), version) {
        // Bytes that are not canonical (a bool of 2, a varint with a long zero) become canonical once, then stay.
        Ok(once) => {
            let twice = (entry.recode)(once.clone(), version);
            assert_eq!(twice, Ok(once), "{} version {version}", entry.name);
        }
        Err(RecodeError::Decode(_)) => {}
        // The same tag twice, or an unknown one that collides: Kafka cannot write those either.
        Err(RecodeError::Encode(EncodeError::TagCollision { .. })) => {}
        Err(RecodeError::Encode(why)) => panic!("{} version {version}: {why}", entry.name),
    }
}
