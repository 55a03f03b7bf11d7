//! milena-metadata.
pub mod config;
