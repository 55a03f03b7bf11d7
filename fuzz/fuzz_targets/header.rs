//! A request header, of any key and version, from any bytes.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use milena_protocol::{DecodeError, Reader, frame};

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(Bytes::copy_from_slice(data));
    match frame::decode_request_header(&mut reader) {
        Ok(header) => assert!(header.api_key.info().is_some()),
        Err(DecodeError::UnknownApiKey { api_key, .. }) => assert!(api_key.info().is_none()),
        Err(_) => {}
    }
    assert!(reader.remaining() <= data.len());
});
