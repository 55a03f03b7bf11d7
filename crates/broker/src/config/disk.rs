//! The keys of the room that records leave free, `milena.disk.*`, and of the scrub, `milena.scrub.*`; there is nothing like them in Apache Kafka.

use std::collections::BTreeMap;

use milena_metadata::config::ConfigError;

use crate::settings::DiskSettings;

pub(super) const RESERVE_PERCENT_KEY: &str = "milena.disk.reserve.percent";
pub(super) const RESERVE_BYTES_MAX_KEY: &str = "milena.disk.reserve.max.bytes";
pub(super) const SCRUB_INTERVAL_KEY: &str = "milena.scrub.interval.ms";
pub(super) const SCRUB_RATE_KEY: &str = "milena.scrub.max.bytes.per.second";

/// What the keys say, or their defaults.
pub(super) fn disk_settings(texts: &BTreeMap<String, String>) -> Result<DiskSettings, ConfigError> {
    let default = DiskSettings::default();
    let percent = own_number(texts, RESERVE_PERCENT_KEY, 50)?.and_then(|percent| u32::try_from(percent).ok());
    Ok(DiskSettings {
        reserve_percent: percent.unwrap_or(default.reserve_percent),
        reserve_bytes_max: own_number(texts, RESERVE_BYTES_MAX_KEY, u64::MAX)?.unwrap_or(default.reserve_bytes_max),
        scrub_interval_ms: own_number(texts, SCRUB_INTERVAL_KEY, u64::MAX)?.unwrap_or(default.scrub_interval_ms),
        scrub_bytes_per_second: own_number(texts, SCRUB_RATE_KEY, u64::MAX)?.unwrap_or(default.scrub_bytes_per_second),
    })
}

/// A number from 0 to `max`, if the key is set.
fn own_number(texts: &BTreeMap<String, String>, key: &str, max: u64) -> Result<Option<u64>, ConfigError> {
    let Some(text) = texts.get(key).map(|text| text.trim()) else { return Ok(None) };
    let number: i64 = text.parse().map_err(|_| ConfigError::invalid(key, text, "Not a number of type LONG"))?;
    match u64::try_from(number) {
        Err(_) => Err(ConfigError::invalid(key, text, "Value must be at least 0")),
        Ok(number) if number > max => Err(ConfigError::invalid(key, text, format!("Value must be no more than {max}"))),
        Ok(number) => Ok(Some(number)),
    }
}
