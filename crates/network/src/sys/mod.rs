//! The only place of this crate where `unsafe` is allowed.

mod send_file;

pub(crate) use send_file::send_file;
