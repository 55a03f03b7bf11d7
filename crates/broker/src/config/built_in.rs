//! What `milena` runs on when nobody gives it a `server.properties`: one node, broker and controller,
//! on this machine only, with its data in the current folder.

use std::collections::BTreeMap;

const DEFAULTS: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
    ("controller.listener.names", "CONTROLLER"),
    ("log.dirs", "./milena-data"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
];

/// The built-in keys with `overrides` on top. The address of the quorum follows the controller's
/// listener unless it is set.
pub fn built_in_defaults(overrides: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut texts: BTreeMap<String, String> =
        DEFAULTS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    texts.extend(overrides.iter().map(|(name, text)| (name.clone(), text.clone())));
    let quorum_set = ["controller.quorum.voters", "controller.quorum.bootstrap.servers"]
        .iter()
        .any(|name| texts.contains_key(*name));
    if !quorum_set && let Some(address) = controller_address(&texts) {
        texts.insert("controller.quorum.bootstrap.servers".to_owned(), address);
    }
    texts
}

fn controller_address(texts: &BTreeMap<String, String>) -> Option<String> {
    let prefix = format!("{}://", texts.get("controller.listener.names")?.split(',').next()?.trim());
    let listener = texts.get("listeners")?.split(',').map(str::trim).find(|entry| entry.starts_with(&prefix))?;
    let address = listener.strip_prefix(&prefix)?;
    Some(if address.starts_with(':') { format!("localhost{address}") } else { address.to_owned() })
}
