//! Cutting frames out of what a connection received: never more than was received, and all of it is accounted for.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use milena_protocol::frame;

fuzz_target!(|data: &[u8]| {
    let mut received = BytesMut::from(data);
    let mut taken = 0;
    while let Ok(Some(cut)) = frame::split(&mut received, 1 << 20) {
        taken += cut.len() + frame::SIZE_PREFIX_BYTES;
        assert_eq!(taken + received.len(), data.len());
    }
    assert_eq!(taken + received.len(), data.len());
});
