//! The checks behind [`Validator`].
//!
//! Kafka: `ConfigDef.Range`, `ValidString`, `CaseInsensitiveValidString`, `ValidList`,
//! `CompressionType.GZIP.levelValidator`, `ThrottledReplicaListValidator`, `QuorumConfig`'s two
//! validators and `ShareGroupAutoOffsetResetStrategy.Validator`.

use super::definition::Validator;
use super::value::{ConfigError, ConfigValue, java_double_to_string};

impl Validator {
    /// Passes `value` on if it is allowed. A list loses its duplicates on the way, as in Kafka.
    pub(super) fn check(&self, name: &str, value: ConfigValue) -> Result<ConfigValue, ConfigError> {
        match self {
            Self::Any | Self::NonNull => {}
            Self::Range { min, max } => check_range(name, &value, *min, *max)?,
            Self::DoubleRange { min, max } => check_double_range(name, &value, *min, *max)?,
            Self::OneOf(allowed) => check_one_of(name, value.as_str().unwrap_or_default(), allowed)?,
            Self::OneOfIgnoreCase(allowed) => {
                let text = value.as_str().unwrap_or_default();
                if !allowed.iter().any(|entry| entry.eq_ignore_ascii_case(text)) {
                    let reason = format!("String must be one of (case insensitive): {}", allowed.join(", "));
                    return Err(ConfigError::invalid(name, text, reason));
                }
            }
            Self::Entries { allowed, may_be_empty } => {
                let mut entries = value.as_list().unwrap_or_default().to_vec();
                let mut seen = std::collections::BTreeSet::new();
                entries.retain(|entry| seen.insert(entry.clone()));
                check_entries(name, &entries, allowed, *may_be_empty)?;
                return Ok(ConfigValue::List(entries));
            }
            Self::NonEmptyString => {
                if value.as_str().is_some_and(str::is_empty) {
                    return Err(ConfigError::invalid(name, "", "String must be non-empty"));
                }
            }
            Self::GzipLevel => {
                if !value.as_i64().is_some_and(|level| level == -1 || (1..=9).contains(&level)) {
                    let reason = "Value must be between 1 and 9 or equal to -1";
                    return Err(ConfigError::invalid(name, value.to_text(), reason));
                }
            }
            Self::ThrottledReplicas => check_throttled_replicas(name, value.as_list().unwrap_or_default())?,
            Self::QuorumVoters => check_voters(name, value.as_list().unwrap_or_default())?,
            Self::QuorumBootstrapServers => {
                check_bootstrap_servers(name, value.as_list().unwrap_or_default())?;
            }
            Self::ShareAutoOffsetReset => check_share_reset(name, value.as_str().unwrap_or_default())?,
        }
        Ok(value)
    }

    /// The allowed values in Kafka's notation, empty where anything goes.
    pub fn describe(&self) -> String {
        match self {
            Self::Any => String::new(),
            Self::NonNull => "non-null string".to_owned(),
            Self::Range { min, max: None } => format!("[{min},...]"),
            Self::Range { min, max: Some(max) } => format!("[{min},...,{max}]"),
            Self::DoubleRange { min, max } => format!("[{min},...,{max}]"),
            Self::OneOf(allowed) => format!("[{}]", allowed.join(", ")),
            Self::OneOfIgnoreCase(allowed) => format!("(case insensitive) [{}]", allowed.join(", ")),
            Self::Entries { allowed: [], .. } => String::new(),
            Self::Entries { allowed, .. } => format!("[{}]", allowed.join(", ")),
            Self::NonEmptyString => "non-empty string".to_owned(),
            Self::GzipLevel => "[1,...,9] or -1".to_owned(),
            Self::ThrottledReplicas => THROTTLED_FORMAT.to_owned(),
            Self::QuorumVoters | Self::QuorumBootstrapServers => "non-empty list".to_owned(),
            Self::ShareAutoOffsetReset => "[latest, earliest, by_duration:PnDTnHnMn.nS]".to_owned(),
        }
    }
}

fn check_range(name: &str, value: &ConfigValue, min: i64, max: Option<i64>) -> Result<(), ConfigError> {
    let Some(number) = value.as_i64() else {
        // A fraction under a range of whole numbers: only the ends are whole.
        let top = max.map_or(f64::MAX, |max| max as f64);
        return check_double_range(name, value, min as f64, top);
    };
    if number < min {
        return Err(ConfigError::invalid(name, number, format_args!("Value must be at least {min}")));
    }
    match max {
        Some(max) if number > max => {
            Err(ConfigError::invalid(name, number, format_args!("Value must be no more than {max}")))
        }
        _ => Ok(()),
    }
}

fn check_double_range(name: &str, value: &ConfigValue, min: f64, max: f64) -> Result<(), ConfigError> {
    let number = value.as_f64().unwrap_or_default();
    let shown = || java_double_to_string(number);
    if number < min {
        return Err(ConfigError::invalid(name, shown(), format_args!("Value must be at least {min}")));
    }
    if number > max {
        return Err(ConfigError::invalid(name, shown(), format_args!("Value must be no more than {max}")));
    }
    Ok(())
}

fn check_one_of(name: &str, text: &str, allowed: &[&str]) -> Result<(), ConfigError> {
    if allowed.contains(&text) {
        return Ok(());
    }
    Err(ConfigError::invalid(name, text, format_args!("String must be one of: {}", allowed.join(", "))))
}

fn check_entries(name: &str, entries: &[String], allowed: &[&str], may_be_empty: bool) -> Result<(), ConfigError> {
    if entries.is_empty() && !may_be_empty {
        let valid = match allowed {
            [] => "any non-empty value".to_owned(),
            allowed => format!("[{}]", allowed.join(", ")),
        };
        return Err(ConfigError::new(format!(
            "Configuration '{name}' must not be empty. Valid values include: {valid}"
        )));
    }
    for entry in entries {
        if entry.is_empty() {
            return Err(ConfigError::new(format!("Configuration '{name}' values must not be empty.")));
        }
        if !allowed.is_empty() {
            check_one_of(name, entry, allowed)?;
        }
    }
    Ok(())
}

const THROTTLED_FORMAT: &str = "[partitionId]:[brokerId],[partitionId]:[brokerId],...";

fn check_throttled_replicas(name: &str, entries: &[String]) -> Result<(), ConfigError> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_pair = |entry: &String| {
        entry.split_once(':').is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
    };
    let wildcard = matches!(entries, [only] if only == "*");
    if wildcard || entries.join(",").is_empty() || entries.iter().all(is_pair) {
        return Ok(());
    }
    Err(ConfigError::invalid(
        name,
        format_args!("[{}]", entries.join(", ")),
        format_args!(
            "{name} must be the literal '*' or a list of replicas in the following format: {THROTTLED_FORMAT}"
        ),
    ))
}

fn check_voters(name: &str, entries: &[String]) -> Result<(), ConfigError> {
    for entry in entries {
        let mut parts = entry.split('@');
        let (Some(id), Some(address), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ConfigError::new(format!(
                "Invalid configuration value for {name}. Each entry should be in the form `{{id}}@{{host}}:{{port}}`."
            )));
        };
        if id.parse::<i32>().is_err() {
            return Err(ConfigError::new(format!("Failed to parse voter ID as an integer from {id}")));
        }
        if super::value::split_address(address).is_none() {
            return Err(ConfigError::new(format!(
                "Failed to parse host name from entry {entry} for the configuration {name}. Each entry should be in the form `{{id}}@{{host}}:{{port}}`."
            )));
        }
    }
    Ok(())
}

fn check_bootstrap_servers(name: &str, entries: &[String]) -> Result<(), ConfigError> {
    for entry in entries {
        if super::value::split_address(entry).is_none() {
            return Err(ConfigError::new(format!(
                "Failed to parse host name from {entry} for the configuration {name}. Each entry should be in the form \"{{host}}:{{port}}\""
            )));
        }
    }
    Ok(())
}

fn check_share_reset(name: &str, text: &str) -> Result<(), ConfigError> {
    let valid = match text.strip_prefix("by_duration:") {
        Some(duration) => is_iso_duration(duration),
        None => matches!(text, "earliest" | "latest"),
    };
    if valid {
        return Ok(());
    }
    Err(ConfigError::invalid(
        name,
        text,
        format_args!(
            "Invalid value `{text}` for configuration {name}. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
        ),
    ))
}

/// Whether Java's `Duration.parse` reads the text and the result is not negative: `PnDTnHnMn.nS`.
fn is_iso_duration(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let Some(body) = upper.strip_prefix("+P").or_else(|| upper.strip_prefix('P')) else {
        return false;
    };
    let (days, time) = match body.split_once('T') {
        Some((days, time)) => (days, Some(time)),
        None => (body, None),
    };
    let days_valid = days.is_empty() || days.strip_suffix('D').is_some_and(|number| is_digits(number, false));
    let time_valid = time.is_none_or(|time| !time.is_empty() && is_time(time));
    days_valid && time_valid && !(days.is_empty() && time.is_none())
}

fn is_time(text: &str) -> bool {
    let mut rest = text;
    for unit in ['H', 'M', 'S'] {
        if let Some((number, after)) = rest.split_once(unit) {
            if !is_digits(number, unit == 'S') {
                return false;
            }
            rest = after;
        }
    }
    rest.is_empty()
}

fn is_digits(text: &str, fraction: bool) -> bool {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (whole, part) = match text.split_once(['.', ',']) {
        Some((whole, part)) if fraction => (whole, part),
        Some(_) => return false,
        None => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !whole.is_empty() && whole.len() <= 18 && digits(whole) && part.len() <= 9 && digits(part)
}
