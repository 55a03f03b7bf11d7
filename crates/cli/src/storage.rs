//! The commands of `kafka-storage.sh`, by the same names, with the same output.

use std::io::{Write, stdout};
use std::process::ExitCode;

use milena_broker::format::{self, FormatRequest, describe_directories};

use crate::args::{ConfigArgument, FormatArguments};

/// The release of Apache Kafka whose behaviour Milena follows.
pub(crate) const KAFKA_RELEASE: &str = "4.3.1";

pub(crate) fn format(arguments: &FormatArguments) -> anyhow::Result<ExitCode> {
    let config = arguments.config.load()?;
    let request = FormatRequest {
        cluster_id: arguments.cluster_id.clone(),
        ignore_formatted: arguments.ignore_formatted,
        release_version: arguments.release_version.clone(),
        features: arguments.feature.clone(),
        initial_voters: arguments.voters.initial_voters(),
        scram: arguments.add_scram.clone(),
    };
    format::format(&config, &request, &mut stdout())?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn info(argument: &ConfigArgument) -> anyhow::Result<ExitCode> {
    let info = describe_directories(&argument.load()?);
    write!(stdout(), "{}", info.text)?;
    Ok(if info.has_problems { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(crate) fn random_uuid() -> anyhow::Result<ExitCode> {
    writeln!(stdout(), "{}", format::random_uuid()?)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn version_mapping(release_version: Option<&str>) -> anyhow::Result<ExitCode> {
    write!(stdout(), "{}", format::version_mapping(release_version)?)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn feature_dependencies(features: &[String]) -> anyhow::Result<ExitCode> {
    for feature in features {
        write!(stdout(), "{}", format::feature_dependencies(feature)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn version() -> anyhow::Result<ExitCode> {
    writeln!(stdout(), "milena {} (Apache Kafka {KAFKA_RELEASE})", env!("CARGO_PKG_VERSION"))?;
    Ok(ExitCode::SUCCESS)
}
