//! The shell's random numbers: ids that must differ between sessions and restarts, nothing secret.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// 64 random bits: the standard library seeds each `RandomState` apart.
fn bits() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A candidate for the id of a fetch session; the cache takes the first that is positive and free.
pub(crate) fn session_id() -> i32 {
    (bits() >> 33) as i32
}

/// A seed for a stream of random numbers.
pub(crate) fn seed() -> u64 {
    bits()
}

/// A version 4 UUID that Kafka would have made.
pub(crate) fn uuid() -> milena_types::Uuid {
    loop {
        let bytes = ((u128::from(bits()) << 64) | u128::from(bits())).to_be_bytes();
        if let Some(uuid) = milena_types::Uuid::from_random(bytes) {
            return uuid;
        }
    }
}
