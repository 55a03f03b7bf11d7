//! What the directories say about the cluster, put together from all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use milena_metadata::{ConfigResource, Delta, FEATURES, Image, KRAFT_VERSION, MetadataVersion};
use milena_protocol::messages::MetadataRecord;
use milena_raft::{ControlRecord, LogRecord, decode_batch};
use milena_records::Batch;
use milena_storage::checkpoint::{MetaProperties, SnapshotId};
use milena_types::{LeaderEpoch, Offset};

use super::batches::{End, each_batch};
use super::diagnosis::{Diagnosis, Verdict};

/// Everything the answers are made of.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The `meta.properties` of each formatted directory.
    pub(super) identities: Vec<(PathBuf, MetaProperties)>,
    /// `metadata.version` as its record says it, known to this node or not.
    pub(super) metadata_version: Option<i16>,
    /// The other features with a level above 0.
    pub(super) features: BTreeMap<String, i16>,
    /// What keeps every release of Apache Kafka from starting.
    pub(super) common_obstacles: Vec<String>,
    image: Image,
    /// The offset after what was replayed.
    next_offset: i64,
    has_metadata: bool,
}

impl Facts {
    #[cfg(test)]
    pub(super) fn of_levels(metadata_version: i16, features: &[(&str, i16)]) -> Self {
        let features = features.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect();
        Self { metadata_version: Some(metadata_version), features, ..Self::default() }
    }

    /// Reads the metadata log of a directory: the newest snapshot, then the log behind it.
    pub(super) fn read_metadata(&mut self, folder: &Path, is_deep: bool, diagnosis: &mut Diagnosis) {
        self.has_metadata = true;
        let mut names: Vec<String> = match std::fs::read_dir(folder) {
            Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect(),
            Err(error) => return diagnosis.stop(folder, format!("cannot be listed: {error}")),
        };
        names.sort();
        let newest = names.iter().rev().find_map(|name| SnapshotId::parse(name));
        if let Some(id) = newest {
            let path = folder.join(id.file_name());
            let last = Offset(id.end_offset.0 - 1);
            self.replay(&path, is_deep, Some((last, id.epoch)), diagnosis);
            self.next_offset = id.end_offset.0;
        }
        for name in names.iter().filter(|name| name.ends_with(".log")) {
            self.replay(&folder.join(name), is_deep, None, diagnosis);
        }
    }

    /// Replays a file; every record of a snapshot stands at its last offset.
    fn replay(&mut self, path: &Path, is_deep: bool, at: Option<(Offset, LeaderEpoch)>, diagnosis: &mut Diagnosis) {
        let mut wrong: Vec<String> = Vec::new();
        let outcome = each_batch(path, is_deep, |batch| {
            if let Err(reason) = self.replay_batch(batch, at) {
                wrong.push(format!("offset {}: {reason}", batch.header.base_offset));
            }
        });
        if let Some(first) = wrong.first() {
            let text = format!("{} batches cannot be understood; the first at {first}", wrong.len());
            diagnosis.stop(path, text);
        }
        match outcome {
            Ok(End::Whole) => {}
            Ok(End::Torn { position, left_bytes }) if at.is_none() => {
                diagnosis.note(
                    path,
                    format!("ends with {left_bytes} bytes at {position} that are no whole batch; a start cuts them"),
                );
            }
            Ok(end) => diagnosis.stop(path, format!("is damaged: {end:?}")),
            Err(error) => diagnosis.stop(path, format!("cannot be read: {error}")),
        }
    }

    fn replay_batch(&mut self, batch: &Batch, at: Option<(Offset, LeaderEpoch)>) -> Result<(), String> {
        for (offset, record) in decode_batch(batch).map_err(|error| error.to_string())? {
            let (offset, epoch) = match at {
                Some(at) => at,
                None if offset.0 < self.next_offset => continue,
                None => (offset, batch.header.partition_leader_epoch),
            };
            match record {
                LogRecord::Control(ControlRecord::KRaftVersion(level)) => {
                    self.features.insert(KRAFT_VERSION.to_owned(), level);
                }
                LogRecord::Metadata(value) => {
                    let record = MetadataRecord::decode(value).map_err(|error| error.to_string())?;
                    self.note_level(&record);
                    let mut delta = Delta::default();
                    self.image.replay(&record, offset, epoch, &mut delta).map_err(|error| error.to_string())?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Levels are noted before they are replayed: one that this node does not know is an answer, too.
    fn note_level(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::FeatureLevel(level) if level.name == milena_metadata::METADATA_VERSION => {
                self.metadata_version = Some(level.feature_level);
            }
            MetadataRecord::FeatureLevel(level) if level.feature_level == 0 => {
                self.features.remove(level.name.as_ref() as &str);
            }
            MetadataRecord::FeatureLevel(level) => {
                self.features.insert(level.name.to_string(), level.feature_level);
            }
            MetadataRecord::ZkMigrationState(state) if matches!(state.zk_migration_state, 1 | 2) => {
                let text = "a migration from ZooKeeper is under way";
                if !self.common_obstacles.iter().any(|obstacle| obstacle.ends_with(text)) {
                    self.common_obstacles.push(format!("before 3.9 has finished it, {text}"));
                }
            }
            MetadataRecord::ZkMigrationState(_) => self.common_obstacles.retain(|text| !text.contains("ZooKeeper")),
            _ => {}
        }
    }

    /// Which partition a directory of that name is, as the metadata have it; `None` if they were not read.
    pub(super) fn knows(&self, topic: &str) -> Option<bool> {
        self.has_metadata.then(|| self.image.topics.named(topic).is_some())
    }

    /// What follows from all directories together.
    pub(super) fn judge(&mut self, diagnosis: &mut Diagnosis) {
        self.compare_identities(diagnosis);
        let subject = || "metadata".to_owned();
        if !self.has_metadata {
            diagnosis.add(Verdict::Note, subject(), "no metadata log among these directories".to_owned());
            return;
        }
        for obstacle in self.common_obstacles.iter().filter(|text| text.contains("ZooKeeper")) {
            diagnosis.add(Verdict::Stop, subject(), obstacle.clone());
        }
        match self.metadata_version.map(|level| (level, MetadataVersion::from_level(level))) {
            None => diagnosis.add(Verdict::Note, subject(), "no metadata.version yet: never started".to_owned()),
            Some((level, None)) => {
                let (low, high) = (MetadataVersion::MINIMUM, MetadataVersion::LATEST);
                let text = format!("metadata.version {level} is none that Milena knows ({low} to {high})");
                diagnosis.add(Verdict::Stop, subject(), text);
            }
            Some((level, Some(version))) => {
                let text = format!("metadata.version {version} ({level}), which Milena keeps{}", self.other_levels());
                diagnosis.add(Verdict::Fine, subject(), text);
            }
        }
        for (name, level) in &self.features {
            let highest = FEATURES.iter().find(|feature| feature.name == name).map_or(0, |feature| feature.max_level());
            if *level > highest {
                let text = format!("{name} {level} is above what Milena knows ({highest})");
                diagnosis.add(Verdict::Stop, subject(), text);
            }
        }
        self.tell_content(diagnosis);
    }

    fn other_levels(&self) -> String {
        self.features.iter().map(|(name, level)| format!(", {name} {level}")).collect()
    }

    fn tell_content(&self, diagnosis: &mut Diagnosis) {
        let security = &self.image.security;
        let text = format!(
            "{} topics with {} partitions, {} ACLs, {} quotas, {} SCRAM credentials",
            self.image.topics.len(),
            self.image.topics.partition_count(),
            security.acls.len(),
            security.client_quotas.len(),
            security.scram.len()
        );
        diagnosis.add(Verdict::Fine, "metadata".to_owned(), text);
        for topic in self.image.topics.iter() {
            let config = self.image.configs.get(&ConfigResource::topic(topic.name.clone()));
            let is_remote =
                config.and_then(|config| config.get("remote.storage.enable")).is_some_and(|value| *value == "true");
            if is_remote {
                let text = "keeps records in tiered storage, which Milena cannot read".to_owned();
                diagnosis.add(Verdict::Stop, format!("topic {}", topic.name), text);
            }
        }
    }

    fn compare_identities(&mut self, diagnosis: &mut Diagnosis) {
        let Some((first_path, first)) = self.identities.first() else { return };
        for (path, other) in self.identities.iter().skip(1) {
            let mut differs = |what: &str| {
                diagnosis.stop(path, format!("{what} is another than in {}", first_path.display()));
                self.common_obstacles.push(format!("{what} differs between the directories"));
            };
            if first.cluster_id != other.cluster_id {
                differs("cluster.id");
            }
            if first.node_id != other.node_id {
                differs("node.id");
            }
            if first.directory_id.is_some() && first.directory_id == other.directory_id {
                diagnosis.stop(path, format!("directory.id is the same as in {}", first_path.display()));
            }
        }
    }
}
