//! Which servers there are, and what each needs to run.

use std::path::Path;

use anyhow::bail;

use crate::flags::Flags;
use crate::layout;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Apache Kafka, the oracle.
    Kafka,
    /// Milena.
    Milena,
}

impl Kind {
    pub(crate) fn parse(name: &str) -> anyhow::Result<Self> {
        match name {
            "kafka" => Ok(Self::Kafka),
            "milena" => Ok(Self::Milena),
            other => bail!("no server named {other}"),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Milena => "milena",
        }
    }
}

/// Why a server cannot be run here, if it cannot.
pub(crate) fn missing(kind: Kind, flags: &Flags) -> Option<String> {
    if kind == Kind::Milena {
        let binary = flags.milena.clone().unwrap_or_else(layout::milena);
        return (!binary.is_file()).then(|| format!("{} is not there", binary.display()));
    }
    missing_java()
}

/// Why Java programs cannot be run here, if they cannot.
pub(crate) fn missing_java() -> Option<String> {
    let is_there = |path: &Path| path.is_dir() && std::fs::read_dir(path).is_ok_and(|mut files| files.next().is_some());
    if !is_there(&layout::jars()) {
        return Some("Apache Kafka's jars are not installed".to_owned());
    }
    (!is_there(&layout::installed("classes"))).then(|| "the Java programs are not compiled".to_owned())
}
