//! Values: parsed from text, and written back as text.
//!
//! Kafka: `ConfigDef.parseType`, `ConfigDef.convertToString`, `ConfigException`.

use std::fmt;

use super::definition::ValueType;

/// A value that cannot be used. The text is what Kafka's `ConfigException` says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    message: String,
}

impl ConfigError {
    /// An error with a text of its own.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    /// Kafka: `ConfigException(name, value, message)`.
    pub fn invalid(name: &str, value: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self::new(format!("Invalid value {value} for configuration {name}: {reason}"))
    }

    /// A key that has no default and was not set.
    pub fn missing(name: &str) -> Self {
        Self::new(format!("Missing required configuration \"{name}\" which has no default value."))
    }

    /// What Kafka would say.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// A value of the type its key asks for.
#[derive(Clone, PartialEq)]
pub enum ConfigValue {
    Boolean(bool),
    Text(String),
    Int(i32),
    Short(i16),
    Long(i64),
    Double(f64),
    List(Vec<String>),
    Class(String),
    Password(String),
}

impl ConfigValue {
    /// Parses `text` as the value of `name`.
    pub fn parse(name: &str, value_type: ValueType, text: &str) -> Result<Self, ConfigError> {
        // Java's String.trim cuts everything up to and including the blank.
        let trimmed = text.trim_matches(|c: char| c <= ' ');
        let not_a_number =
            || ConfigError::invalid(name, text, format_args!("Not a number of type {}", value_type.name()));
        Ok(match value_type {
            ValueType::Boolean => Self::Boolean(
                parse_boolean(trimmed)
                    .ok_or_else(|| ConfigError::invalid(name, text, "Expected value to be either true or false"))?,
            ),
            ValueType::Text => Self::Text(trimmed.to_owned()),
            ValueType::Int => Self::Int(trimmed.parse().map_err(|_| not_a_number())?),
            ValueType::Short => Self::Short(trimmed.parse().map_err(|_| not_a_number())?),
            ValueType::Long => Self::Long(trimmed.parse().map_err(|_| not_a_number())?),
            ValueType::Double => Self::Double(parse_double(trimmed).ok_or_else(not_a_number)?),
            ValueType::List => Self::List(parse_list(trimmed)),
            ValueType::Class => Self::Class(trimmed.to_owned()),
            ValueType::Password => Self::Password(trimmed.to_owned()),
        })
    }

    /// The value as Kafka writes it back. A password comes out in the clear: callers that show values
    /// to a person or a client ask [`super::ConfigKey::is_sensitive`] first.
    pub fn to_text(&self) -> String {
        match self {
            Self::Boolean(value) => value.to_string(),
            Self::Text(value) | Self::Class(value) | Self::Password(value) => value.clone(),
            Self::Int(value) => value.to_string(),
            Self::Short(value) => value.to_string(),
            Self::Long(value) => value.to_string(),
            Self::Double(value) => java_double_to_string(*value),
            Self::List(values) => values.join(","),
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Boolean(value) = self { Some(*value) } else { None }
    }

    /// Any whole number, widened.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(i64::from(*value)),
            Self::Short(value) => Some(i64::from(*value)),
            Self::Long(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        if let Self::Double(value) = self { Some(*value) } else { None }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(value) | Self::Class(value) | Self::Password(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[String]> {
        if let Self::List(values) = self { Some(values) } else { None }
    }
}

impl fmt::Debug for ConfigValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password(_) => f.write_str("[hidden]"),
            other => f.write_str(&other.to_text()),
        }
    }
}

fn parse_boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Java's `Double.parseDouble` but for hexadecimal floats.
fn parse_double(text: &str) -> Option<f64> {
    let digits = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    let magnitude = digits.trim_start_matches(['+', '-']);
    match magnitude {
        "NaN" | "Infinity" => digits.parse().ok(),
        _ if magnitude.starts_with(|c: char| c.is_ascii_digit() || c == '.') => digits.parse().ok(),
        _ => None,
    }
}

fn parse_list(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|entry| entry.trim().to_owned()).collect()
}

/// A number as Java's `Double.toString` writes it: `0.5`, `1.0`, `1.0E20`.
pub fn java_double_to_string(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    let scientific = format!("{value:e}");
    match scientific.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
        Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
        None => scientific,
    }
}

/// Host and port of `host:port`, `[v6]:port` or `PROTOCOL://host:port`, as Kafka's `Utils.getHost`
/// and `Utils.getPort` read them.
pub fn split_address(text: &str) -> Option<(&str, u16)> {
    let address = match text.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => rest,
        Some(_) => return None,
        None => text,
    };
    let (host, port) = address.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-%:".contains(&byte);
    if bare.is_empty() || !bare.bytes().all(host_byte) {
        return None;
    }
    Some((bare, port.parse().ok()?))
}
