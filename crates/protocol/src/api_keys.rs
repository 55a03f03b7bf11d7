//! API keys and the table of what each of them has. Kafka's counterparts: `ApiKeys`, `ApiMessageType`.

use std::fmt;

/// The number that names an API in a request header. Any number may come from the wire; live ones are in `TABLE`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct ApiKey(pub i16);

/// A kind of listener that serves an API (`ApiMessageType.ListenerType`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Listener {
    /// Listeners of a broker.
    Broker,
    /// Listeners of a controller.
    Controller,
}

/// What the schemas say of one API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApiKeyInfo {
    /// The key.
    pub key: ApiKey,
    /// Kafka's name, as in `Produce`.
    pub name: &'static str,
    /// The oldest version of request and response.
    pub min_version: i16,
    /// The newest version, an unstable one included.
    pub max_version: i16,
    /// Whether the newest version is not stable yet.
    pub latest_version_unstable: bool,
    /// The first version whose request is flexible.
    pub flexible_from: Option<i16>,
    /// The first version whose response is flexible.
    pub response_flexible_from: Option<i16>,
    /// Who serves it.
    pub listeners: &'static [Listener],
}

impl ApiKeyInfo {
    /// The newest stable version (`ApiMessageType.highestSupportedVersion(false)`); below `min_version` when no
    /// version is stable.
    #[must_use]
    pub fn max_stable_version(&self) -> i16 {
        self.max_version - i16::from(self.latest_version_unstable)
    }

    /// Whether `version` is one of the schema's.
    #[must_use]
    pub fn has_version(&self, version: i16) -> bool {
        (self.min_version..=self.max_version).contains(&version)
    }

    /// Whether the listener serves this API.
    #[must_use]
    pub fn is_served_by(&self, listener: Listener) -> bool {
        self.listeners.contains(&listener)
    }
}

impl ApiKey {
    /// The row of `TABLE`; `None` when the key is not live.
    #[must_use]
    pub fn info(self) -> Option<&'static ApiKeyInfo> {
        TABLE.get(index(self)?)
    }

    /// Kafka's name, or `UNKNOWN`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.info().map_or("UNKNOWN", |info| info.name)
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.info() {
            Some(info) => f.write_str(info.name),
            None => write!(f, "UNKNOWN({})", self.0),
        }
    }
}

impl From<i16> for ApiKey {
    fn from(key: i16) -> ApiKey {
        ApiKey(key)
    }
}

include!(concat!(env!("OUT_DIR"), "/api_keys.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_kafkas_89_live_keys_in_order() {
        assert_eq!(TABLE.len(), 89);
        assert!(TABLE.windows(2).all(|pair| pair[0].key < pair[1].key));
        assert!(TABLE.iter().all(|row| row.key.info() == Some(row)));
        assert_eq!(ApiKey(4).info(), None);
        assert_eq!(ApiKey::PRODUCE.name(), "Produce");
        let init = ApiKey::INIT_PRODUCER_ID.info().unwrap();
        assert_eq!((init.max_version, init.max_stable_version()), (6, 5));
        assert_eq!(ApiKey::SASL_HANDSHAKE.info().unwrap().flexible_from, None);
    }
}
