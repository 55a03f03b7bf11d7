//! Every request in every version: the first three bytes pick them, the rest is the body. What decodes must encode,
//! and what was encoded must decode to the same bytes again.
#![no_main]

mod recode;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| recode::check("request", data));
