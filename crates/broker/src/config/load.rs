//! From bytes and overrides to a [`ServerConfig`], or a reason to refuse.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use milena_metadata::config::{BROKER_CONFIGS, ConfigError, KeyStatus, broker_key_status};

use super::properties::{MalformedProperties, parse_properties};
use super::server_config::ServerConfig;
use super::values::Values;
use super::{built_in_defaults, rules};

/// Where the keys come from.
#[derive(Clone, Debug)]
pub enum ConfigSource {
    /// One node on this machine, data in the current folder.
    BuiltIn,
    /// A `server.properties`.
    File(PathBuf),
}

/// Why a node must not start. The text is Kafka's where Kafka refuses too.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Malformed { path: PathBuf, source: MalformedProperties },
    #[error(transparent)]
    Value(#[from] ConfigError),
    #[error("{0}")]
    Rule(String),
    /// Apache Kafka would start; Milena must not pretend to.
    #[error("{0}")]
    Unsupported(String),
}

/// Reads the source, puts `overrides` on top, and checks everything.
///
/// # Errors
/// The first key or rule that is wrong.
pub fn load_config(source: &ConfigSource, overrides: &BTreeMap<String, String>) -> Result<ServerConfig, LoadError> {
    match source {
        ConfigSource::BuiltIn => {
            let mut config = ServerConfig::from_texts(built_in_defaults(overrides))?;
            config.chosen = overrides.keys().cloned().collect();
            Ok(config)
        }
        ConfigSource::File(path) => {
            let mut texts = read_file(path)?;
            texts.extend(overrides.iter().map(|(name, text)| (name.clone(), text.clone())));
            ServerConfig::from_texts(texts)
        }
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, LoadError> {
    let bytes = std::fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    parse_properties(&bytes).map_err(|source| LoadError::Malformed { path: path.to_owned(), source })
}

impl ServerConfig {
    /// Checks `texts`, keys and values as written, and makes them typed.
    ///
    /// # Errors
    /// The first key or rule that is wrong.
    pub fn from_texts(texts: BTreeMap<String, String>) -> Result<Self, LoadError> {
        let mut completed = texts.clone();
        copy_if_absent(&mut completed, "node.id", "broker.id");
        copy_if_absent(&mut completed, "broker.id", "node.id");
        let values = Values(BROKER_CONFIGS.parse_all(&completed)?);
        let mut config = Self::read(texts, &completed, &values)?;
        rules::check(&config, &values).map_err(LoadError::Rule)?;
        rules::check_supported(&config, &values).map_err(LoadError::Unsupported)?;
        config.warnings = rules::warnings(&config, &values);
        let unknown = rules::unknown_names(&config.texts);
        if !unknown.is_empty() {
            let text = format!("These configurations '[{}]' were supplied but are not used yet.", unknown.join(", "));
            config.warnings.push(text);
        }
        config.values = values.0;
        Ok(config)
    }

    /// The keys that a person set and that have no effect, each with the reason.
    pub fn keys_without_effect(&self) -> Vec<(&str, &'static str)> {
        self.chosen.iter().filter_map(|name| Some((name.as_str(), reason_without_effect(name)?))).collect()
    }
}

/// Why a key that is set does nothing, if so. Of the keys of single listeners only the bounds on connections do
/// something; the others belong to SSL and SASL.
pub(crate) fn reason_without_effect(name: &str) -> Option<&'static str> {
    let of_listener = name.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.'));
    let status = match of_listener {
        Some((_, "max.connections" | "max.connection.creation.rate")) => return None,
        Some((_, key)) => match broker_key_status(key)? {
            KeyStatus::Honoured => return Some("Apache Kafka has no such key for single listeners"),
            status => status,
        },
        None => broker_key_status(name)?,
    };
    match status {
        // A refused key that got this far has its default.
        KeyStatus::Honoured | KeyStatus::Refused(_) => None,
        KeyStatus::NoEffectYet(reason) => Some(reason),
    }
}

fn copy_if_absent(texts: &mut BTreeMap<String, String>, from: &str, to: &str) {
    if !texts.contains_key(to)
        && let Some(text) = texts.get(from).cloned()
    {
        texts.insert(to.to_owned(), text);
    }
}
