//! The voters a quorum starts with, when they live in the log rather than in the config (KIP-853).
//!
//! Kafka: `DynamicVoter`, `DynamicVoters`.

use milena_raft::{Endpoint, ReplicaKey, Voter, VoterSet};
use milena_types::{BrokerId, Uuid};

use super::FormatError;
use crate::config::ServerConfig;

/// The highest `kraft.version` this node can take part in.
const KRAFT_VERSION_MAX: i16 = 1;

fn voter(id: BrokerId, directory_id: Uuid, endpoint: Endpoint) -> Voter {
    Voter {
        key: ReplicaKey { id, directory_id },
        endpoints: vec![endpoint],
        kraft_version_min: 0,
        kraft_version_max: KRAFT_VERSION_MAX,
    }
}

/// This node alone (`--standalone`), its metadata log in the directory of this id.
pub(super) fn standalone(config: &ServerConfig, directory_id: Uuid) -> Result<VoterSet, FormatError> {
    let listener = config
        .listeners
        .advertised_controller
        .first()
        .ok_or_else(|| FormatError::refused("No controller listeners found."))?;
    let host = if listener.host.is_empty() { "localhost" } else { &listener.host };
    let endpoint = Endpoint { listener: listener.name.clone(), host: host.to_owned(), port: listener.port };
    Ok(VoterSet::new(vec![voter(config.node.node_id, directory_id, endpoint)]))
}

/// The voters of `--initial-controllers`: `id@host:port:directory`, divided by commas.
pub(super) fn parse(text: &str, listener: &str) -> Result<VoterSet, FormatError> {
    let mut voters: Vec<Voter> = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let parsed = parse_one(entry, listener).map_err(FormatError::refused)?;
        if voters.iter().any(|other| other.key.id == parsed.key.id) {
            return Err(FormatError::refused(format!("Node id {} was specified more than once.", parsed.key.id)));
        }
        voters.push(parsed);
    }
    if voters.is_empty() {
        return Err(FormatError::refused("No voters given."));
    }
    Ok(VoterSet::new(voters))
}

fn parse_one(entry: &str, listener: &str) -> Result<Voter, String> {
    let (id, rest) = entry.split_once('@').ok_or("No @ found in dynamic voter string.")?;
    if id.is_empty() {
        return Err("Invalid @ at beginning of dynamic voter string.".to_owned());
    }
    let id: i32 = id.parse().map_err(|_| "Failed to parse node id in dynamic voter string.")?;
    if id < 0 {
        return Err(format!("Invalid negative node id {id} in dynamic voter string."));
    }
    if rest.is_empty() {
        return Err("No hostname found after node id.".to_owned());
    }
    let (host, after_host) = match rest.strip_prefix('[') {
        Some(inner) => {
            inner.split_once(']').ok_or("Hostname began with left bracket, but no right bracket was found.")?
        }
        None => {
            let at = rest.find(':').ok_or("No colon following hostname could be found.")?;
            rest.split_at_checked(at).ok_or("No colon following hostname could be found.")?
        }
    };
    let after_host = after_host.strip_prefix(':').ok_or("Port section must start with a colon.")?;
    let (port, directory) = after_host.split_once(':').ok_or("No colon following port could be found.")?;
    let port: i32 = port.parse().map_err(|_| "Failed to parse port in dynamic voter string.")?;
    let port = u16::try_from(port).map_err(|_| format!("Invalid port {port} in dynamic voter string."))?;
    let directory_id: Uuid = directory.parse().map_err(|_| "Failed to parse directory ID in dynamic voter string.")?;
    let endpoint = Endpoint { listener: listener.to_owned(), host: host.to_owned(), port };
    Ok(voter(BrokerId(id), directory_id, endpoint))
}
