//! Every response in every version, as in `request`.
#![no_main]

mod recode;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| recode::check("response", data));
