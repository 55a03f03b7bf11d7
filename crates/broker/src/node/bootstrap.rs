//! What a node knows of its cluster before it has read the metadata log: `bootstrap.checkpoint` and the static voters.

use std::path::Path;

use milena_metadata::VersionedRecord;
use milena_protocol::messages::MetadataRecord;
use milena_raft::{LogRecord, ReplicaKey, Voter, VoterSet, decode_batch};
use milena_records::Batches;
use milena_storage::disk::{RealDisk, read_whole};
use milena_storage::{Error, Result};
use milena_types::Uuid;

use crate::config::ServerConfig;

/// The records a new cluster begins with; none where the file is missing, as on nodes without the controller role.
pub(super) fn read(metadata_log_dir: &Path) -> Result<Vec<VersionedRecord>> {
    let path = metadata_log_dir.join("bootstrap.checkpoint");
    let contents = read_whole(&RealDisk, &path);
    let contents = contents.map_err(|source| Error::Io { operation: "read", path: path.clone(), source })?;
    let corrupt = |reason: String| Error::Corrupt { path: path.clone(), position: 0, reason };
    let mut records = Vec::new();
    for batch in Batches::new(contents.unwrap_or_default().into()) {
        let batch = batch.map_err(|error| corrupt(error.to_string()))?;
        batch.verify_crc().map_err(|error| corrupt(error.to_string()))?;
        for (_, record) in decode_batch(&batch).map_err(|error| corrupt(error.to_string()))? {
            if let LogRecord::Metadata(value) = record {
                let record = MetadataRecord::decode(value).map_err(|error| corrupt(error.to_string()))?;
                // Features, credentials and configs, all that format writes, have version 0 only.
                records.push((record, 0));
            }
        }
    }
    Ok(records)
}

/// `controller.quorum.voters`; empty when the voters are in the log.
pub(super) fn static_voters(config: &ServerConfig, listener: &str) -> VoterSet {
    let voter = |voter: &crate::config::Voter| Voter {
        key: ReplicaKey { id: voter.id, directory_id: Uuid::ZERO },
        endpoints: vec![milena_raft::Endpoint {
            listener: listener.to_owned(),
            host: voter.host.clone(),
            port: voter.port,
        }],
        kraft_version_min: 0,
        kraft_version_max: 1,
    };
    VoterSet::new(config.quorum.voters.iter().map(voter).collect())
}
