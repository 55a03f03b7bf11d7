//! The table of live API keys, from the requests and their responses.

use std::fmt::Write;

use crate::model::{Unit, intersect};
use crate::naming::screaming;
use crate::notation::Versions;

/// Constants of `ApiKey`, `TABLE`, and the lookup by number.
pub(crate) fn render(units: &[Unit]) -> Result<String, String> {
    let mut requests: Vec<&Unit> = units.iter().filter(|unit| unit.message.kind == "request").collect();
    requests.sort_by_key(|unit| unit.message.api_key);
    let mut constants = String::from("impl ApiKey {\n");
    let mut table =
        String::from("/// Every live API key, by ascending number.\npub static TABLE: &[ApiKeyInfo] = &[\n");
    let mut lookup = String::from(
        "#[allow(clippy::too_many_lines, reason = \"a table\")]\nfn index(key: ApiKey) -> Option<usize> {\n    match key.0 {\n",
    );
    for (at, unit) in requests.iter().enumerate() {
        let message = &unit.message;
        let name = message.name.trim_end_matches("Request");
        let key = message.api_key.ok_or("a request has a key")?;
        let response = units
            .iter()
            .find(|other| other.message.kind == "response" && other.message.api_key == message.api_key)
            .ok_or_else(|| format!("{name} has no response"))?;
        let listeners: Vec<String> = message
            .listeners
            .iter()
            .map(|listener| format!("Listener::{}{}", listener[..1].to_uppercase(), &listener[1..]))
            .collect();
        let _ = writeln!(constants, "    /// `{name}`.\n    pub const {}: ApiKey = ApiKey({key});", screaming(name));
        let _ = writeln!(
            table,
            "    ApiKeyInfo {{ key: ApiKey({key}), name: {name:?}, min_version: {}, max_version: {}, \
             latest_version_unstable: {}, flexible_from: {}, response_flexible_from: {}, listeners: &[{}] }},",
            message.versions.min,
            message.versions.max,
            message.latest_version_unstable,
            first(intersect(message.flexible, message.versions)),
            first(intersect(response.message.flexible, response.message.versions)),
            listeners.join(", ")
        );
        let _ = writeln!(lookup, "        {key} => Some({at}),");
    }
    Ok(format!("{constants}}}\n\n{table}];\n\n{lookup}        _ => None,\n    }}\n}}\n"))
}

fn first(versions: Versions) -> String {
    if versions.is_empty() { "None".to_owned() } else { format!("Some({})", versions.min) }
}
