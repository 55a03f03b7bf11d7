//! Record batches from any bytes: iterating, decompressing under a cap, and validating a produce never panic, and what
//! validation lets through is a batch with a right CRC.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use milena_records::{Batches, ProduceRules, Scratch, crc32c, validate_produce, verify_crc};
use milena_types::Timestamp;

/// Output cap of one batch, in bytes.
const DECOMPRESSED_MAX: usize = 1 << 20;

/// Where the CRC lies, and what it covers from.
const CRC_AT: usize = 17;
const COVERED_FROM: usize = 21;

fuzz_target!(|data: &[u8]| {
    check(data);
    // Once more with the CRC put right, so that the fuzzer need not invent one to get further.
    let mut corrected = data.to_vec();
    let Some(crc) = corrected.get(COVERED_FROM..).map(crc32c) else {
        return;
    };
    if let Some(place) = corrected.get_mut(CRC_AT..COVERED_FROM) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
    check(&corrected);
});

fn check(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    for batch in Batches::new(bytes.clone()).flatten() {
        if let Ok(records) = batch.records(DECOMPRESSED_MAX) {
            for record in records {
                if record.is_err() {
                    break;
                }
            }
        }
    }
    let rules = ProduceRules { max_decompressed_bytes: DECOMPRESSED_MAX as u64, ..ProduceRules::default() };
    if let Ok(valid) = validate_produce(bytes, &rules, Timestamp(1_700_000_000_000), &mut Scratch::default()) {
        assert!(verify_crc(&valid.bytes).is_ok());
    }
}
