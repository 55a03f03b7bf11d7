//! A node in this process, spoken to over a socket with requests built by hand: every key in every version, the data
//! path, what parks, and what no client should send.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

mod bad_input;
mod client;
mod configs;
mod fetch;
mod groups;
mod log_dirs;
mod metrics;
mod offsets;
mod produce;
mod versions;
