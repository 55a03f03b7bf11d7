//! What was found, and the answer that follows from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::directory;
use super::facts::Facts;
use super::releases::{self, ReleaseAnswer};
use crate::config::{ConfigSource, ServerConfig, load_config};

/// What to look at.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Log directories; those of the config if empty.
    pub directories: Vec<PathBuf>,
    /// A `server.properties` the node is to start with.
    pub config: Option<PathBuf>,
    /// Reads every record and checks the checksum of every batch.
    pub is_deep: bool,
}

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// Somebody may want to know.
    Note,
    /// Stands in the way: Milena does not start, or something would be missing if it did.
    Stop,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Stop => "stop",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub verdict: Verdict,
    /// A path, or the name of a key.
    pub subject: String,
    pub text: String,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    pub findings: Vec<Finding>,
    /// For each release of Apache Kafka what stands in its way.
    pub releases: Vec<ReleaseAnswer>,
}

impl Diagnosis {
    /// Whether nothing stands in the way of Milena.
    #[must_use]
    pub fn can_start(&self) -> bool {
        self.findings.iter().all(|finding| finding.verdict != Verdict::Stop)
    }

    pub(super) fn fine(&mut self, subject: &Path, text: impl Into<String>) {
        self.add(Verdict::Fine, subject.display().to_string(), text.into());
    }

    pub(super) fn note(&mut self, subject: &Path, text: impl Into<String>) {
        self.add(Verdict::Note, subject.display().to_string(), text.into());
    }

    pub(super) fn stop(&mut self, subject: &Path, text: impl Into<String>) {
        self.add(Verdict::Stop, subject.display().to_string(), text.into());
    }

    pub(super) fn add(&mut self, verdict: Verdict, subject: String, text: String) {
        self.findings.push(Finding { verdict, subject, text });
    }
}

/// Looks at everything that was asked for.
#[must_use]
pub fn examine(request: &Request) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    let mut facts = Facts::default();
    let config = request.config.as_ref().and_then(|path| read_config(path, &mut diagnosis));
    let directories = match &config {
        Some(config) if request.directories.is_empty() => all_directories(config),
        _ => request.directories.clone(),
    };
    if directories.is_empty() {
        diagnosis.add(Verdict::Stop, "log.dirs".to_owned(), "no log directory is known".to_owned());
    }
    for path in &directories {
        directory::examine(path, request.is_deep, &mut facts, &mut diagnosis);
    }
    facts.judge(&mut diagnosis);
    if let Some(config) = &config {
        compare(config, &directories, &facts, &mut diagnosis);
    }
    diagnosis.releases = releases::answers(&facts);
    diagnosis
}

fn all_directories(config: &ServerConfig) -> Vec<PathBuf> {
    let mut paths = config.node.log_dirs.clone();
    if !paths.contains(&config.node.metadata_log_dir) {
        paths.push(config.node.metadata_log_dir.clone());
    }
    paths
}

/// Reads the file as a start does: what is refused there is said here.
fn read_config(path: &Path, diagnosis: &mut Diagnosis) -> Option<ServerConfig> {
    match load_config(&ConfigSource::File(path.to_owned()), &BTreeMap::new()) {
        Ok(config) => {
            diagnosis.fine(path, "every key is accepted");
            for (key, reason) in config.keys_without_effect() {
                diagnosis.add(Verdict::Note, key.to_owned(), format!("has no effect: {reason}"));
            }
            for warning in &config.warnings {
                diagnosis.note(path, warning.to_string());
            }
            Some(config)
        }
        Err(error) => {
            diagnosis.stop(path, error.to_string());
            None
        }
    }
}

/// What the config says and what the directories say.
fn compare(config: &ServerConfig, directories: &[PathBuf], facts: &Facts, diagnosis: &mut Diagnosis) {
    let named = |path: &PathBuf| all_directories(config).iter().any(|own| own == path || same(own, path));
    for path in directories.iter().filter(|path| !named(path)) {
        diagnosis.stop(path, "is not among log.dirs of the config");
    }
    for (path, identity) in &facts.identities {
        if identity.node_id != config.node.node_id {
            let text = format!("belongs to node {}, and node.id is {}", identity.node_id, config.node.node_id);
            diagnosis.stop(path, text);
        }
    }
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}
