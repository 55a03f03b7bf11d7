//! The command line.
//!
//! `format` and its neighbours take the flags of `kafka-storage.sh`; `start` those of
//! `kafka-server-start.sh`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};
use milena_broker::config::{ConfigSource, ServerConfig, load_config};
use milena_broker::format::InitialVoters;

use crate::doctor::DoctorArguments;

/// Apache Kafka in one binary. Without a command: start one node on built-in defaults.
#[derive(Debug, Parser)]
#[command(name = "milena", version, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a node; one that is alone and was never formatted is formatted first
    Start(StartArguments),
    /// Format the log directories of this node
    Format(FormatArguments),
    /// Show what is in the log directories of this node
    Info(ConfigArgument),
    /// Say what stands in the way of starting on log directories, and of Apache Kafka starting there again; writes nothing
    Doctor(DoctorArguments),
    /// Print a new id for a cluster or a directory
    RandomUuid,
    /// Show the feature levels of a release
    VersionMapping {
        /// Such as 4.0 or 4.0-IV3; the newest without it
        #[arg(long, short = 'r')]
        release_version: Option<String>,
    },
    /// Show what the levels of features need
    FeatureDependencies {
        /// The level of one feature, as name=level
        #[arg(long, short = 'f', required = true)]
        feature: Vec<String>,
    },
    /// Print the version and the Apache Kafka release it follows
    Version,
}

impl Default for Command {
    fn default() -> Self {
        Self::Start(StartArguments::default())
    }
}

#[derive(Debug, Default, Args)]
pub(crate) struct StartArguments {
    /// A server.properties of Apache Kafka; built-in defaults and ./milena-data without it
    pub(crate) config: Option<PathBuf>,
    /// A key that wins over the file
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgument {
    /// The server.properties to use
    #[arg(long, short = 'c')]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct FormatArguments {
    #[command(flatten)]
    pub(crate) config: ConfigArgument,
    /// The cluster id to use
    #[arg(long, short = 't')]
    pub(crate) cluster_id: String,
    /// A credential, such as 'SCRAM-SHA-256=[name=alice,password=alice-secret]'
    #[arg(long, short = 'S')]
    pub(crate) add_scram: Vec<String>,
    /// Skip directories that are formatted already rather than fail
    #[arg(long, short = 'g')]
    pub(crate) ignore_formatted: bool,
    /// The release whose feature levels to start with, such as 4.0 or 4.0-IV3
    #[arg(long, short = 'r')]
    pub(crate) release_version: Option<String>,
    /// The level of one feature, as name=level
    #[arg(long, short = 'f')]
    pub(crate) feature: Vec<String>,
    #[command(flatten)]
    pub(crate) voters: VoterFlags,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct VoterFlags {
    /// This controller is a quorum by itself; controller.quorum.voters must not be set
    #[arg(long, short = 's')]
    pub(crate) standalone: bool,
    /// This node joins a quorum later; controller.quorum.voters should not be set
    #[arg(long, short = 'N')]
    pub(crate) no_initial_controllers: bool,
    /// The controllers the quorum starts with, as id@host:port:directory, divided by commas
    #[arg(long, short = 'I')]
    pub(crate) initial_controllers: Option<String>,
}

impl VoterFlags {
    pub(crate) fn initial_voters(&self) -> InitialVoters {
        match &self.initial_controllers {
            Some(list) => InitialVoters::List(list.clone()),
            None if self.standalone => InitialVoters::Standalone,
            None if self.no_initial_controllers => InitialVoters::None,
            None => InitialVoters::Unspecified,
        }
    }
}

impl ConfigArgument {
    pub(crate) fn load(&self) -> anyhow::Result<ServerConfig> {
        Ok(load_config(&source(self.config.as_ref()), &BTreeMap::new())?)
    }
}

impl StartArguments {
    pub(crate) fn load(&self) -> anyhow::Result<ServerConfig> {
        Ok(load_config(&source(self.config.as_ref()), &parse_overrides(&self.overrides)?)?)
    }
}

fn source(path: Option<&PathBuf>) -> ConfigSource {
    path.map_or(ConfigSource::BuiltIn, |path| ConfigSource::File(path.clone()))
}

/// `key=value` pairs; the first `=` divides.
fn parse_overrides(pairs: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut overrides = BTreeMap::new();
    for pair in pairs {
        match pair.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                overrides.insert(name.trim().to_owned(), value.to_owned());
            }
            _ => bail!("Invalid command line properties: {pair} is not of the form key=value"),
        }
    }
    Ok(overrides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_of_kafkas_storage_tool_are_understood() {
        let parsed =
            Arguments::try_parse_from(["milena", "format", "-t", "id", "-c", "f", "--standalone", "-g"]).unwrap();
        let Some(Command::Format(format)) = parsed.command else { panic!("not format") };
        assert_eq!(format.voters.initial_voters(), InitialVoters::Standalone);
        assert!(format.ignore_formatted);
        assert!(Arguments::try_parse_from(["milena", "format", "-t", "id", "-s", "-N"]).is_err());
        assert!(Arguments::try_parse_from(["milena", "format"]).is_err());
    }

    #[test]
    fn overrides_are_pairs_and_may_hold_equals_signs() {
        let pairs = parse_overrides(&["a=b=c".to_owned(), "d=".to_owned()]).unwrap();
        assert_eq!((pairs["a"].as_str(), pairs["d"].as_str()), ("b=c", ""));
        assert!(parse_overrides(&["nothing".to_owned()]).is_err());
    }
}
