//! milena-broker.
pub mod config;
pub mod format;
