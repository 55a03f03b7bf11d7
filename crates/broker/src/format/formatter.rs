//! The `format` command.
//!
//! Kafka: `StorageTool.runFormatCommand`, `Formatter.run`. Its order of checks decides which refusal a
//! person sees.

use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use milena_protocol::messages::UserScramCredentialRecord;
use milena_raft::VoterSet;
use milena_storage::checkpoint::MetaProperties;
use milena_storage::disk::{RealDisk, write_atomic};
use milena_types::{Timestamp, Uuid};

use super::bootstrap::{bootstrap_checkpoint, bootstrap_records, describe, voters_checkpoint};
use super::date::java_date;
use super::directories::Directories;
use super::features::FeatureLevels;
use super::random::random_uuid;
use super::{FormatError, scram, voters};
use crate::config::ServerConfig;

/// Where the first voters of the quorum come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InitialVoters {
    /// `controller.quorum.voters`, or nothing on a broker.
    #[default]
    Unspecified,
    /// `--standalone`: this controller alone.
    Standalone,
    /// `--no-initial-controllers`: a controller that will be added to a quorum.
    None,
    /// `--initial-controllers`: `id@host:port:directory`, divided by commas.
    List(String),
}

/// What to format.
#[derive(Clone, Debug, Default)]
pub struct FormatRequest {
    pub cluster_id: String,
    /// Skip what is formatted already rather than fail.
    pub ignore_formatted: bool,
    /// Such as `4.0` or `4.0-IV3`; the newest without it.
    pub release_version: Option<String>,
    /// `name=level`.
    pub features: Vec<String>,
    pub initial_voters: InitialVoters,
    /// `MECHANISM=[name=...,password=...]`.
    pub scram: Vec<String>,
}

const METADATA_DIRECTORY: &str = "__cluster_metadata-0";
const BOOTSTRAP_SNAPSHOT: &str = "00000000000000000000-0000000000.checkpoint";
const BOOTSTRAP_CHECKPOINT: &str = "bootstrap.checkpoint";

/// Formats every log directory of `config` and tells `out` about it, line by line.
///
/// # Errors
/// The request contradicts the config or what is in the directories, or a file cannot be written;
/// directories that were formatted before the error stay formatted.
pub fn format(config: &ServerConfig, request: &FormatRequest, out: &mut dyn Write) -> Result<(), FormatError> {
    if request.cluster_id.is_empty() {
        return Err(FormatError::refused("You must specify the cluster id."));
    }
    check_voters_flag(config, &request.initial_voters)?;
    let dynamic_quorum = config.quorum.voters.is_empty() && request.initial_voters != InitialVoters::Unspecified;
    let metadata_directory_id = random_uuid()?;
    let voters = initial_voters(config, &request.initial_voters, metadata_directory_id)?;
    let levels = FeatureLevels::choose(request.release_version.as_deref(), &request.features, dynamic_quorum)?;
    let credentials = credentials(&request.scram, &levels)?;
    let directories = Directories::read(config);
    directories.verify(Some(&request.cluster_id), config.node.node_id)?;
    if let Some((path, _)) = directories.formatted().next()
        && !request.ignore_formatted
    {
        return Err(FormatError::refused(format!(
            "Log directory {} is already formatted. Use --ignore-formatted to ignore this directory and format the others.",
            path.display()
        )));
    }
    for (path, _) in &directories.unreadable {
        say(out, &format!("I/O error trying to read log directory {}. Ignoring...", path.display()))?;
    }
    if directories.entries.is_empty() {
        return Err(FormatError::refused("No available log directories to format."));
    }
    if directories.unformatted().next().is_none() {
        return say(out, "All of the log directories are already formatted.");
    }
    let records = bootstrap_records(&levels, credentials);
    say(out, &describe(&records, &levels))?;
    let now = now();
    let work = Work {
        config,
        cluster_id: &request.cluster_id,
        voters: voters.as_ref(),
        metadata_directory_id,
        checkpoint: bootstrap_checkpoint(&records, now)?,
        release: levels.metadata_version.name(),
        now,
    };
    // The metadata directory last: until it is formatted the node counts as not formatted at all.
    let is_metadata = |path: &&Path| **path == *config.node.metadata_log_dir;
    for path in directories.unformatted().filter(|path| !is_metadata(path)) {
        work.format_directory(path, out)?;
    }
    for path in directories.unformatted().filter(is_metadata) {
        work.format_directory(path, out)?;
    }
    Ok(())
}

fn check_voters_flag(config: &ServerConfig, flag: &InitialVoters) -> Result<(), FormatError> {
    let static_voters = !config.quorum.voters.is_empty();
    match flag {
        InitialVoters::Standalone | InitialVoters::List(_) if static_voters => Err(FormatError::refused(
            "You cannot specify controller.quorum.voters and format the node with --initial-controllers or --standalone. \
             If you want to use dynamic quorum, please remove controller.quorum.voters and specify \
             controller.quorum.bootstrap.servers instead.",
        )),
        InitialVoters::Unspecified if config.node.is_controller && !static_voters => Err(FormatError::refused(
            "Because controller.quorum.voters is not set on this controller, you must specify one of the following: \
             --standalone, --initial-controllers, or --no-initial-controllers.",
        )),
        InitialVoters::Standalone if !config.node.is_controller => {
            Err(FormatError::refused("You can only use --standalone on a controller."))
        }
        _ => Ok(()),
    }
}

fn initial_voters(
    config: &ServerConfig,
    flag: &InitialVoters,
    directory_id: Uuid,
) -> Result<Option<VoterSet>, FormatError> {
    match flag {
        InitialVoters::Unspecified | InitialVoters::None => Ok(None),
        InitialVoters::Standalone => voters::standalone(config, directory_id).map(Some),
        InitialVoters::List(text) => {
            let listener = config.listeners.controller_listener_names.first().map_or("CONTROLLER", String::as_str);
            voters::parse(text, listener).map(Some)
        }
    }
}

fn credentials(arguments: &[String], levels: &FeatureLevels) -> Result<Vec<UserScramCredentialRecord>, FormatError> {
    if !arguments.is_empty() && !levels.metadata_version.is_scram_supported() {
        return Err(FormatError::refused("SCRAM is only supported in metadata.version 3.5-IV2 or later."));
    }
    arguments.iter().map(|argument| scram::credential(argument)).collect()
}

/// What one directory needs to be formatted.
struct Work<'a> {
    config: &'a ServerConfig,
    cluster_id: &'a str,
    voters: Option<&'a VoterSet>,
    metadata_directory_id: Uuid,
    checkpoint: Vec<u8>,
    release: &'a str,
    now: Timestamp,
}

impl Work<'_> {
    fn format_directory(&self, path: &Path, out: &mut dyn Write) -> Result<(), FormatError> {
        let node_id = self.config.node.node_id;
        let is_metadata = path == self.config.node.metadata_log_dir;
        let voter = self.voters.and_then(|voters| voters.get(node_id));
        let kind = match (is_metadata, self.voters, voter) {
            (false, ..) => "data directory",
            (true, None, _) => "metadata directory",
            (true, Some(_), None) => "dynamic metadata directory",
            (true, Some(_), Some(_)) => "dynamic metadata voter directory",
        };
        say(out, &format!("Formatting {kind} {} with metadata.version {}.", path.display(), self.release))?;
        let directory_id = match voter {
            Some(voter) if is_metadata => voter.key.directory_id,
            _ if is_metadata => self.metadata_directory_id,
            _ => random_uuid()?,
        };
        create_directory(path)?;
        write(&path.join(BOOTSTRAP_CHECKPOINT), &self.checkpoint)?;
        if let Some(voters) = self.voters.filter(|_| is_metadata) {
            let metadata_path = path.join(METADATA_DIRECTORY);
            create_directory(&metadata_path)?;
            write(&metadata_path.join(BOOTSTRAP_SNAPSHOT), &voters_checkpoint(voters.clone(), self.now)?)?;
        }
        // The last file: what has no meta.properties is not formatted.
        write_meta(path, self.cluster_id, self.config, directory_id, self.now)
    }
}

/// Writes `meta.properties` of a directory that exists.
pub(super) fn write_meta(
    path: &Path,
    cluster_id: &str,
    config: &ServerConfig,
    directory_id: Uuid,
    now: Timestamp,
) -> Result<(), FormatError> {
    let meta = MetaProperties {
        cluster_id: cluster_id.to_owned(),
        node_id: config.node.node_id,
        directory_id: Some(directory_id),
    };
    Ok(meta.write(&RealDisk, path, &java_date(now.get() / 1000))?)
}

pub(super) fn create_directory(path: &Path) -> Result<(), FormatError> {
    std::fs::create_dir_all(path).map_err(|source| FormatError::Io { path: path.to_owned(), source })
}

fn write(path: &Path, contents: &[u8]) -> Result<(), FormatError> {
    write_atomic(&RealDisk, path, contents).map_err(|source| FormatError::Io { path: path.to_owned(), source })
}

pub(super) fn say(out: &mut dyn Write, line: &str) -> Result<(), FormatError> {
    let written: io::Result<()> = writeln!(out, "{line}");
    written.map_err(|source| FormatError::Io { path: "standard output".into(), source })
}

/// Milliseconds since 1970; 0 on a clock that stands before it.
pub(super) fn now() -> Timestamp {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Timestamp(i64::try_from(millis).unwrap_or(i64::MAX))
}
