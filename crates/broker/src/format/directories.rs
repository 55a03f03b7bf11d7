//! The log directories of a node: which are formatted, and whether they agree.
//!
//! Kafka: `MetaPropertiesEnsemble`.

use std::path::{Path, PathBuf};

use milena_storage::checkpoint::MetaProperties;
use milena_storage::disk::RealDisk;
use milena_types::{BrokerId, Uuid};

use super::FormatError;
use crate::config::ServerConfig;

/// A log directory and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirIdentity {
    pub path: PathBuf,
    pub id: Uuid,
}

/// All log directories of a config, in its order; the metadata log's own directory is among them.
#[derive(Debug)]
pub(super) struct Directories {
    pub(super) entries: Vec<(PathBuf, Option<MetaProperties>)>,
    /// Those whose `meta.properties` cannot be read, or whose path is no directory, and why.
    pub(super) unreadable: Vec<(PathBuf, String)>,
}

impl Directories {
    /// Reads the `meta.properties` of every directory.
    pub(super) fn read(config: &ServerConfig) -> Self {
        let mut paths = config.node.log_dirs.clone();
        if config.node.is_controller && !paths.contains(&config.node.metadata_log_dir) {
            paths.push(config.node.metadata_log_dir.clone());
        }
        let mut entries = Vec::with_capacity(paths.len());
        let mut unreadable = Vec::new();
        for path in paths {
            match MetaProperties::read(&RealDisk, &path) {
                Ok(meta) => entries.push((path, meta)),
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "the log directory cannot be used");
                    unreadable.push((path, error.to_string()));
                }
            }
        }
        Self { entries, unreadable }
    }

    pub(super) fn formatted(&self) -> impl Iterator<Item = (&Path, &MetaProperties)> {
        self.entries.iter().filter_map(|(path, meta)| Some((path.as_path(), meta.as_ref()?)))
    }

    pub(super) fn unformatted(&self) -> impl Iterator<Item = &Path> {
        self.entries.iter().filter(|(_, meta)| meta.is_none()).map(|(path, _)| path.as_path())
    }

    /// Checks what is there against `cluster_id`, if one is expected, and `node_id`, and that no two
    /// directories have one id.
    pub(super) fn verify(&self, cluster_id: Option<&str>, node_id: BrokerId) -> Result<(), FormatError> {
        let wrong = |text: String| Err(FormatError::Inconsistent(text));
        let mut expected = cluster_id.map(str::to_owned);
        let mut ids: Vec<(&Path, Uuid)> = Vec::new();
        for (path, meta) in self.formatted() {
            let file = path.join("meta.properties");
            let file = file.display();
            match &expected {
                Some(cluster_id) if *cluster_id != meta.cluster_id => {
                    let found = &meta.cluster_id;
                    return wrong(format!("Invalid cluster.id in: {file}. Expected {cluster_id}, but read {found}"));
                }
                _ => expected = Some(meta.cluster_id.clone()),
            }
            if meta.node_id != node_id {
                return wrong(format!(
                    "Stored node id {} doesn't match previous node id {node_id} in {file}. If you moved your data, make \
                     sure your configured node id matches. If you intend to create a new node, you should remove all \
                     data in your data directories.",
                    meta.node_id
                ));
            }
            let Some(id) = meta.directory_id else { continue };
            if let Some((other, _)) = ids.iter().find(|(_, other)| *other == id) {
                return wrong(format!(
                    "Duplicate directory ID {id} found. It was the ID of {}, but also of {}",
                    other.display(),
                    path.display()
                ));
            }
            ids.push((path, id));
        }
        Ok(())
    }
}
