//! What a node does about its log directories when it starts.
//!
//! Kafka: `KafkaRaftServer.initializeLogDirs`. Where that refuses a node that was never formatted, Milena
//! formats it, as long as no other node could have a say in the cluster id.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::directories::Directories;
use super::formatter::{create_directory, now, write_meta};
use super::random::random_uuid;
use super::{FormatError, FormatRequest, InitialVoters, LogDirIdentity, format};
use crate::config::ServerConfig;

/// The directories of a node that may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formatted {
    pub cluster_id: String,
    /// Those that can be used, in the order of `log.dirs`.
    pub log_dirs: Vec<LogDirIdentity>,
    /// Those of `log.dirs` that cannot.
    pub unusable_log_dirs: Vec<PathBuf>,
    /// The one that holds the metadata log.
    pub metadata_log_dir: LogDirIdentity,
    /// Whether the node was formatted just now.
    pub is_new: bool,
}

/// Checks the directories of `config`, formats a node that is alone and was never formatted, and gives
/// an identity to directories that were added to a formatted node. `out` is told of a formatting.
///
/// # Errors
/// The directories contradict the config or each other, the node is part of something larger and was
/// not formatted, or a file cannot be read or written.
pub fn ensure_formatted(config: &ServerConfig, out: &mut dyn Write) -> Result<Formatted, FormatError> {
    let before = Directories::read(config);
    if let Some((path, why)) = before.unreadable.iter().find(|(path, _)| *path == config.node.metadata_log_dir) {
        let path = path.display();
        let why = format!("Encountered I/O error in metadata log directory {path}. Cannot continue. {why}");
        return Err(FormatError::Inconsistent(why));
    }
    before.verify(None, config.node.node_id)?;
    let is_new = before.formatted().next().is_none();
    if is_new {
        refuse_data(&before)?;
        let request = FormatRequest {
            cluster_id: random_uuid()?.to_string(),
            initial_voters: alone(config)?,
            ..FormatRequest::default()
        };
        format(config, &request, out)?;
    } else {
        identify_new(config, &before)?;
    }
    let directories = Directories::read(config);
    directories.verify(None, config.node.node_id)?;
    let mut cluster_id = String::new();
    let mut log_dirs = Vec::new();
    for (path, meta) in directories.formatted() {
        cluster_id.clone_from(&meta.cluster_id);
        let id = meta.directory_id.ok_or_else(|| {
            FormatError::Inconsistent(format!("directory.id is missing in {}", path.join("meta.properties").display()))
        })?;
        log_dirs.push(LogDirIdentity { path: path.to_owned(), id });
    }
    let metadata_log_dir =
        log_dirs.iter().find(|dir| dir.path == config.node.metadata_log_dir).cloned().ok_or_else(|| {
            FormatError::Inconsistent(format!(
                "No readable meta.properties found in the metadata log directory {}",
                config.node.metadata_log_dir.display()
            ))
        })?;
    log_dirs.retain(|dir| config.node.log_dirs.contains(&dir.path));
    let is_unusable = |path: &&PathBuf| !log_dirs.iter().any(|dir| dir.path == **path);
    let unusable_log_dirs = config.node.log_dirs.iter().filter(is_unusable).cloned().collect();
    Ok(Formatted { cluster_id, log_dirs, unusable_log_dirs, metadata_log_dir, is_new })
}

/// The voters of a controller that is a quorum by itself.
fn alone(config: &ServerConfig) -> Result<InitialVoters, FormatError> {
    let quorum = &config.quorum;
    let only_voter = matches!(quorum.voters.as_slice(), [voter] if voter.id == config.node.node_id);
    let own_port = config.listeners.controller().next().map(|listener| listener.port);
    let only_server = match quorum.bootstrap_servers.as_slice() {
        [(_, port)] => quorum.voters.is_empty() && own_port == Some(*port),
        _ => false,
    };
    match (config.node.is_controller, only_voter, only_server) {
        (true, true, _) => Ok(InitialVoters::Unspecified),
        (true, false, true) => Ok(InitialVoters::Standalone),
        _ => Err(FormatError::refused(
            "No readable meta.properties files found. This node belongs to a cluster of several nodes, which must share \
             one cluster id: make one with `milena random-uuid` and give it to `milena format` on every node.",
        )),
    }
}

/// Directories that joined `log.dirs` after the node was formatted. The metadata log's directory is
/// never made up: without it the node has lost its memory.
fn identify_new(config: &ServerConfig, directories: &Directories) -> Result<(), FormatError> {
    let Some((_, meta)) = directories.formatted().next() else { return Ok(()) };
    for path in directories.unformatted() {
        if path == config.node.metadata_log_dir {
            return Err(FormatError::Inconsistent(format!(
                "No `meta.properties` found in {} (have you run `milena format` to format the directory?)",
                path.display()
            )));
        }
        refuse_data_in(path)?;
        let id = random_uuid()?;
        let made = create_directory(path).and_then(|()| write_meta(path, &meta.cluster_id, config, id, now()));
        // The node runs without a directory that cannot be made.
        if let Err(error) = made {
            tracing::error!(path = %path.display(), %error, "the log directory cannot be made");
        }
    }
    // Directories formatted before KIP-858 have none; Kafka gives them one at the next start, too.
    for (path, meta) in directories.formatted().filter(|(_, meta)| meta.directory_id.is_none()) {
        write_meta(path, &meta.cluster_id, config, random_uuid()?, now())?;
    }
    Ok(())
}

/// A directory that holds partitions but not whose they are has lost its `meta.properties`: a new identity would make
/// strays of them.
fn refuse_data(directories: &Directories) -> Result<(), FormatError> {
    directories.unformatted().try_for_each(refuse_data_in)
}

fn refuse_data_in(path: &Path) -> Result<(), FormatError> {
    let failed = |source| FormatError::Io { path: path.to_owned(), source };
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if is_data(&entry.path()).map_err(failed)? {
            return Err(FormatError::refused(format!(
                "{} has no meta.properties but holds {}: put its meta.properties back, or move the data away. Nothing was \
                 changed.",
                path.display(),
                entry.file_name().to_string_lossy()
            )));
        }
    }
    Ok(())
}

/// Whether this is the directory of a partition with a log. What a format that did not end has left of the metadata log's
/// directory is none.
fn is_data(path: &Path) -> std::io::Result<bool> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_partition = name.rsplit_once('-').is_some_and(|(_, index)| index.parse::<u32>().is_ok());
    if !is_partition || !path.is_dir() {
        return Ok(false);
    }
    for file in std::fs::read_dir(path)? {
        if file?.path().extension().is_some_and(|extension| extension == "log") {
            return Ok(true);
        }
    }
    Ok(false)
}
