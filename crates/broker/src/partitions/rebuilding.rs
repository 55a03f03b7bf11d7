//! Checking a batch, and writing it anew where its topic wants another codec. What is written anew is held whole, so how
//! much of it there can be at a time is bounded: batches that inflate to little run side by side, one for each core; the
//! others, which are few, run one after the other. Apache Kafka has no such bound.

use bytes::Bytes;
use milena_records::{
    Error, ProduceRules, Reject, RejectReason, Scratch, TargetCompression, ValidBatch, validate_produce,
};
use milena_types::Timestamp;
use std::cell::RefCell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

thread_local! {
    /// Decompression windows and contexts, one for each worker.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// Compressed batches of at least this size are checked aside: going aside costs some microseconds.
const CHECKED_ASIDE_BYTES_MIN: usize = 32 << 10;
/// Batches that inflate to no more are written anew side by side.
const SIDE_BY_SIDE_BYTES_MAX: u64 = 4 << 20;
/// Where the codec is in a batch: the low bits of its attributes' second byte.
const CODEC_AT: usize = 22;
const CODEC_MASK: u8 = 0x07;

/// Who may write batches anew now.
#[derive(Debug)]
pub(crate) struct Rebuilding {
    free: Mutex<usize>,
    released: Condvar,
    large: Mutex<()>,
}

impl Default for Rebuilding {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { free: Mutex::new(cores), released: Condvar::new(), large: Mutex::new(()) }
    }
}

/// A turn; given back when dropped.
struct Turn<'a>(&'a Rebuilding);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free() += 1;
        self.0.released.notify_one();
    }
}

impl Rebuilding {
    fn free(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until there is a turn.
    fn turn(&self) -> Turn<'_> {
        let free = self.free();
        let mut free = self.released.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Turn(self)
    }

    /// Checks one partition's records. What may inflate to much is checked while another thread serves this one's other
    /// connections: a megabyte of zeroes keeps a core busy for a second.
    pub(super) fn validate(
        &self,
        bytes: Bytes,
        rules: &ProduceRules,
        now: Timestamp,
    ) -> Result<ValidBatch, RejectReason> {
        let compressed = bytes.get(CODEC_AT).is_some_and(|attributes| attributes & CODEC_MASK != 0);
        let is_aside = compressed && bytes.len() >= CHECKED_ASIDE_BYTES_MIN;
        let check = |bytes, rules: &ProduceRules| {
            SCRATCH.with_borrow_mut(|scratch| validate_produce(bytes, rules, now, scratch))
        };
        if !compressed || rules.compression == TargetCompression::Producer {
            return if is_aside { tokio::task::block_in_place(|| check(bytes, rules)) } else { check(bytes, rules) };
        }
        let little = ProduceRules { max_rebuilt_bytes: rules.max_rebuilt_bytes.min(SIDE_BY_SIDE_BYTES_MAX), ..*rules };
        let checked = if is_aside {
            tokio::task::block_in_place(|| {
                let _turn = self.turn();
                check(bytes.clone(), &little)
            })
        } else {
            check(bytes.clone(), &little)
        };
        if little.max_rebuilt_bytes == rules.max_rebuilt_bytes || !checked.as_ref().is_err_and(passes_limit) {
            return checked;
        }
        tokio::task::block_in_place(|| {
            let _turn = self.large.lock().unwrap_or_else(PoisonError::into_inner);
            check(bytes, rules)
        })
    }
}

fn passes_limit(reason: &RejectReason) -> bool {
    matches!(reason.reject, Reject::Malformed(Error::DecompressedTooLarge { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_records::{BatchBuilder, BuilderConfig, Compression};
    use milena_types::{ErrorCode, LeaderEpoch, Offset};

    fn inflating_to(bytes: usize) -> Bytes {
        let config = BuilderConfig { codec: Compression::Zstd.into(), ..BuilderConfig::default() };
        let mut builder = BatchBuilder::new(config);
        builder.append(1, None, Some(&vec![0; bytes]), &[]).unwrap();
        builder.build(Offset(0), LeaderEpoch::NONE).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_inflates_to_much_is_written_anew_up_to_the_bound() {
        let rebuilding = Rebuilding::default();
        let rules = ProduceRules {
            compression: TargetCompression::Codec(Compression::Lz4.into()),
            max_rebuilt_bytes: 16 << 20,
            ..ProduceRules::default()
        };
        let check = |bytes| rebuilding.validate(inflating_to(bytes), &rules, Timestamp(1));
        for bytes in [1 << 10, 3 << 20, 12 << 20] {
            assert!(check(bytes).is_ok(), "{bytes}");
        }
        assert_eq!(check(17 << 20).unwrap_err().error, ErrorCode::MESSAGE_TOO_LARGE);
        let cores = *rebuilding.free();
        let turn = rebuilding.turn();
        assert_eq!(*rebuilding.free(), cores - 1);
        drop(turn);
        assert_eq!(*rebuilding.free(), cores);
    }
}
