//! Whether Milena acts on a broker key, and if not, why.
//!
//! A key that is set and has no effect is named in the log when the broker starts. The same rows make
//! the table of `docs/COMPATIBILITY.md`.

use std::fmt::Write as _;

use super::BROKER_CONFIGS;
use super::broker_status::BROKER_STATUS;
use KeyStatus::{Honoured, NoEffectYet, Refused};

/// Whether a key does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStatus {
    /// The key does what Apache Kafka's does.
    Honoured,
    /// The value is checked and shown, and nothing else; the reason is meant for a person.
    NoEffectYet(&'static str),
    /// To ignore the key would endanger data or security: with any value but its default the node
    /// refuses to start; the reason is meant for a person.
    Refused(&'static str),
}

/// The status of a key, `None` for a name that is no broker key.
pub fn broker_key_status(name: &str) -> Option<KeyStatus> {
    let index = BROKER_STATUS.binary_search_by(|(key, _)| (*key).cmp(name)).ok()?;
    BROKER_STATUS.get(index).map(|(_, status)| *status)
}

/// Every broker key as a Markdown table, for `docs/COMPATIBILITY.md`.
pub fn compatibility_table() -> String {
    let mut table = String::from("| key | type | default | change | in Milena |\n|---|---|---|---|---|\n");
    for key in BROKER_CONFIGS.keys() {
        let status = match broker_key_status(key.name) {
            Some(Honoured) => "honoured".to_owned(),
            Some(NoEffectYet(reason)) => reason.to_owned(),
            Some(Refused(reason)) => format!("refuses to start: {reason}"),
            None => "unknown".to_owned(),
        };
        let default = match key.default {
            super::DefaultValue::Required => "required".to_owned(),
            super::DefaultValue::Null => "none".to_owned(),
            super::DefaultValue::Value("") => String::new(),
            super::DefaultValue::Value(text) => format!("`{text}`"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| `{}` | {} | {default} | {} | {status} |",
            key.name,
            key.value_type.name().to_lowercase(),
            key.update_mode.name()
        );
    }
    table
}

// Why keys have no effect.
pub(super) const TLS: &str = "TLS listeners are not built yet: a listener that asks for SSL refuses to start";
pub(super) const SASL: &str = "SASL listeners are not built yet: a listener that asks for SASL refuses to start";
pub(super) const TOKENS: &str = "delegation tokens need SASL listeners, which are not built yet";
pub(super) const AUTHORIZER: &str = "authorization is not built yet";
pub(super) const OPEN_TO_ALL: &str = "authorization is not built yet: everybody could do everything";
pub(super) const POLICY: &str = "Milena loads no Java classes: the policy would not be enforced";
pub(super) const QUOTA_CLASS: &str = "Milena loads no Java classes: the quotas would not be enforced";
pub(super) const NO_TIERS: &str =
    "tiered storage is not built yet: records that lie in the remote tier could not be read";
pub(super) const SHARE_GROUPS: &str = "share groups are not built yet";
pub(super) const STREAMS_GROUPS: &str = "streams groups are not built yet";
pub(super) const TWO_PHASE: &str = "no stable version of InitProducerId can ask for two-phase commit";
pub(super) const TIERED: &str = "tiered storage is not built yet";
pub(super) const FETCHERS: &str = "one connection copies from each leader, with the buffers of the system";
pub(super) const LEAVING: &str = "a broker that stops always hands over what it leads";
pub(super) const QUORUM: &str = "the times of requests to other nodes are fixed";
pub(super) const QUOTAS: &str = "quotas are not built yet";
pub(super) const METRICS: &str = "metrics are not built yet";
pub(super) const TELEMETRY: &str = "client telemetry is not built yet";
pub(super) const THREADS: &str = "Milena runs on one pool with a worker thread per core";
pub(super) const PURGATORY: &str =
    "a request that waits is forgotten when it completes, so nothing piles up to be purged";
pub(super) const MOVES: &str =
    "one thread moves replicas between log directories, and waits after each piece for as long as it may take";
pub(super) const PREALLOCATE: &str = "segments are not preallocated yet";
pub(super) const PROVIDERS: &str = "they are Java classes, and Milena loads none: write the values themselves";
pub(super) const UNSTABLE: &str = "Milena serves stable versions only";
pub(super) const INTERNAL: &str = "tunes the inside of Apache Kafka; Milena has nothing that corresponds to it";
pub(super) const BYTES_BOUND: &str =
    "a request is handled when it is read, so none are queued; their bytes are bounded";
pub(super) const LINGER: &str = "records of the metadata log are written as soon as they come";
