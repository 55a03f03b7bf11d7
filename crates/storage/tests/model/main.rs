//! The log against a model of it, on a simulated disk that fails a call, loses power or is full. A run of operations is
//! repeated from a seed; what the log says afterwards must be what the model allows.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod each_call_fails;
mod full_device;
mod power_cuts;
mod run;
