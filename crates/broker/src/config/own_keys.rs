//! Keys of Milena's own that are not about disks.

use std::collections::BTreeMap;

use milena_metadata::config::{ConfigError, split_address};
use milena_replication::Durability;

pub(super) const DURABILITY_KEY: &str = "milena.durability";
pub(super) const METRICS_KEY: &str = "milena.metrics.listener";
pub(super) const LEASE_KEY: &str = "milena.leader.lease.enable";

/// What must have happened to a record before it is acknowledged.
pub(super) fn durability(texts: &BTreeMap<String, String>) -> Result<Durability, ConfigError> {
    match texts.get(DURABILITY_KEY).map(|text| text.trim()) {
        None | Some("os") => Ok(Durability::Os),
        Some("fsync") => Ok(Durability::Fsync),
        Some(other) => Err(ConfigError::invalid(DURABILITY_KEY, other, "String must be one of: os, fsync")),
    }
}

/// Whether leaders that are cut off stop acknowledging alone.
pub(super) fn leader_lease(texts: &BTreeMap<String, String>) -> Result<bool, ConfigError> {
    match texts.get(LEASE_KEY).map_or("true", |text| text.trim()) {
        text if text.eq_ignore_ascii_case("true") => Ok(true),
        text if text.eq_ignore_ascii_case("false") => Ok(false),
        other => Err(ConfigError::invalid(LEASE_KEY, other, "Expected value to be either true or false")),
    }
}

/// Where metrics are served: empty is off; a port of 0 lets the system choose.
pub(super) fn metrics_listener(texts: &BTreeMap<String, String>) -> Result<Option<(String, u16)>, ConfigError> {
    let text = texts.get(METRICS_KEY).map_or("", |text| text.trim());
    if text.is_empty() {
        return Ok(None);
    }
    match split_address(text) {
        Some((host, port)) if !text.contains("://") => Ok(Some((host.to_owned(), port))),
        _ => Err(ConfigError::invalid(METRICS_KEY, text, "must be host:port")),
    }
}
