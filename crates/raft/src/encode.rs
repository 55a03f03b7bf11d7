//! The quorum's batches as bytes, and back: control records are the protocol's messages (`ControlRecordUtils`), metadata
//! records are values without keys. Nothing is compressed, as Kafka does.

use bytes::Bytes;
use milena_protocol::messages::{
    KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord, VotersRecord,
    leader_change_message, voters_record,
};
use milena_protocol::{Message, Reader, Text, Writer};
use milena_records::{Batch, BatchBuilder, BuilderConfig, ControlType, control_batch, control_type};
use milena_types::{BrokerId, LeaderEpoch, Offset, Timestamp};

use crate::accumulator::{BatchContent, ControlRecord, LeaderBatch, MAX_BATCH_BYTES};
use crate::identity::{Endpoint, ReplicaKey};
use crate::voters::{Voter, VoterSet};

/// A batch of the metadata log that cannot be made or understood: what and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecError(pub String);

impl std::fmt::Display for CodecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecError {}

/// What one record of the metadata log or of a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogRecord {
    Control(ControlRecord),
    SnapshotHeader {
        last_contained_log_timestamp: Timestamp,
    },
    SnapshotFooter,
    /// The value, framed as `MetadataRecord::decode` reads it.
    Metadata(Bytes),
}

impl LeaderBatch {
    /// The batch with its offsets and epoch, ready for the log.
    ///
    /// # Errors
    /// When it would not fit into one batch.
    pub fn encode(&self) -> Result<Bytes, CodecError> {
        match &self.content {
            BatchContent::Control(records) => {
                let records = records.iter().map(control_value).collect::<Result<Vec<_>, _>>()?;
                control_batch(&records, self.timestamp.0, self.base_offset, self.epoch).map_err(failed)
            }
            BatchContent::Records(values) => data_batch(values, self.timestamp, self.base_offset, self.epoch),
        }
    }
}

pub(crate) fn data_batch(
    values: &[Bytes],
    timestamp: Timestamp,
    base_offset: Offset,
    epoch: LeaderEpoch,
) -> Result<Bytes, CodecError> {
    let bytes = values.iter().map(|value| value.len() + 24).sum();
    let mut builder = BatchBuilder::with_capacity(BuilderConfig::default(), bytes);
    for value in values {
        builder.append(timestamp.0, None, Some(value), &[]).map_err(failed)?;
    }
    builder.build(base_offset, epoch).map_err(failed)
}

pub(crate) fn header_value(last_contained: Timestamp) -> Result<(ControlType, Bytes), CodecError> {
    let record =
        SnapshotHeaderRecord { last_contained_log_timestamp: last_contained.0, ..SnapshotHeaderRecord::default() };
    Ok((ControlType::SnapshotHeader, encoded(&record)?))
}

pub(crate) fn footer_value() -> Result<(ControlType, Bytes), CodecError> {
    Ok((ControlType::SnapshotFooter, encoded(&SnapshotFooterRecord::default())?))
}

pub(crate) fn control_value(record: &ControlRecord) -> Result<(ControlType, Bytes), CodecError> {
    match record {
        ControlRecord::LeaderChange { leader, voters, granting } => {
            let list = |ids: &[BrokerId]| {
                let voter = |id: &BrokerId| leader_change_message::Voter { voter_id: id.0, ..Default::default() };
                ids.iter().map(voter).collect::<Vec<_>>()
            };
            let message = LeaderChangeMessage {
                leader_id: leader.0,
                voters: list(voters),
                granting_voters: list(granting),
                ..LeaderChangeMessage::default()
            };
            Ok((ControlType::LeaderChange, encoded(&message)?))
        }
        ControlRecord::KRaftVersion(version) => {
            let record = KRaftVersionRecord { kraft_version: *version, ..KRaftVersionRecord::default() };
            Ok((ControlType::KRaftVersion, encoded(&record)?))
        }
        ControlRecord::KRaftVoters(voters) => {
            let record =
                VotersRecord { voters: voters.voters().iter().map(voter_to_wire).collect(), ..VotersRecord::default() };
            Ok((ControlType::KRaftVoters, encoded(&record)?))
        }
    }
}

fn voter_to_wire(voter: &Voter) -> voters_record::Voter {
    let endpoint = |endpoint: &Endpoint| voters_record::Endpoint {
        name: Text::from(endpoint.listener.as_str()),
        host: Text::from(endpoint.host.as_str()),
        port: endpoint.port,
        ..Default::default()
    };
    voters_record::Voter {
        voter_id: voter.key.id.0,
        voter_directory_id: voter.key.directory_id,
        endpoints: voter.endpoints.iter().map(endpoint).collect(),
        kraft_version_feature: voters_record::KRaftVersionFeature {
            min_supported_version: voter.kraft_version_min,
            max_supported_version: voter.kraft_version_max,
            ..Default::default()
        },
        ..Default::default()
    }
}

fn voter_from_wire(voter: &voters_record::Voter) -> Voter {
    let endpoint = |endpoint: &voters_record::Endpoint| Endpoint {
        listener: endpoint.name.to_string(),
        host: endpoint.host.to_string(),
        port: endpoint.port,
    };
    Voter {
        key: ReplicaKey { id: BrokerId(voter.voter_id), directory_id: voter.voter_directory_id },
        endpoints: voter.endpoints.iter().map(endpoint).collect(),
        kraft_version_min: voter.kraft_version_feature.min_supported_version,
        kraft_version_max: voter.kraft_version_feature.max_supported_version,
    }
}

/// The records of a batch with their offsets. Control records of unknown type are passed over, as Kafka does.
///
/// # Errors
/// A batch that was not written by a quorum.
pub fn decode_batch(batch: &Batch) -> Result<Vec<(Offset, LogRecord)>, CodecError> {
    let mut decoded = Vec::new();
    for record in batch.records(MAX_BATCH_BYTES).map_err(failed)? {
        let record = record.map_err(failed)?;
        let value = record.value.ok_or_else(|| CodecError(format!("record {} has no value", record.offset)))?;
        if !batch.header.is_control() {
            decoded.push((record.offset, LogRecord::Metadata(value)));
            continue;
        }
        let key = record.key.ok_or_else(|| CodecError(format!("control record {} has no key", record.offset)))?;
        if let Some(kind) = control_type(&key).map_err(failed)?
            && let Some(control) = decode_control(kind, value)?
        {
            decoded.push((record.offset, control));
        }
    }
    Ok(decoded)
}

fn decode_control(kind: ControlType, value: Bytes) -> Result<Option<LogRecord>, CodecError> {
    Ok(Some(match kind {
        ControlType::LeaderChange => {
            let message: LeaderChangeMessage = decoded(value)?;
            let list = |ids: &[leader_change_message::Voter]| ids.iter().map(|id| BrokerId(id.voter_id)).collect();
            LogRecord::Control(ControlRecord::LeaderChange {
                leader: BrokerId(message.leader_id),
                voters: list(&message.voters),
                granting: list(&message.granting_voters),
            })
        }
        ControlType::KRaftVersion => {
            let record: KRaftVersionRecord = decoded(value)?;
            LogRecord::Control(ControlRecord::KRaftVersion(record.kraft_version))
        }
        ControlType::KRaftVoters => {
            let record: VotersRecord = decoded(value)?;
            let voters = record.voters.iter().map(voter_from_wire).collect();
            LogRecord::Control(ControlRecord::KRaftVoters(VoterSet::new(voters)))
        }
        ControlType::SnapshotHeader => {
            let record: SnapshotHeaderRecord = decoded(value)?;
            LogRecord::SnapshotHeader { last_contained_log_timestamp: Timestamp(record.last_contained_log_timestamp) }
        }
        ControlType::SnapshotFooter => LogRecord::SnapshotFooter,
        ControlType::Abort | ControlType::Commit => return Ok(None),
    }))
}

fn encoded<M: Message>(message: &M) -> Result<Bytes, CodecError> {
    let mut writer = Writer::new();
    message.encode(&mut writer, 0).map_err(failed)?;
    writer.into_bytes().map_err(failed)
}

/// A message of a control record: its own first field says which version it is.
fn decoded<M: Message>(value: Bytes) -> Result<M, CodecError> {
    let version = value.first_chunk().map_or(0, |bytes| i16::from_be_bytes(*bytes));
    let newest = *M::VERSIONS.end();
    M::decode(&mut Reader::new(value), version.clamp(0, newest)).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> CodecError {
    CodecError(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voters::VoterSet;

    #[test]
    fn what_a_leader_writes_is_read_back() {
        let voters = VoterSet::parse_static("1@127.0.0.1:9093", "CONTROLLER").unwrap();
        let leader = BrokerId(1);
        let first = vec![
            ControlRecord::LeaderChange { leader, voters: vec![leader], granting: vec![leader] },
            ControlRecord::KRaftVersion(1),
            ControlRecord::KRaftVoters(voters),
        ];
        let batch = LeaderBatch {
            base_offset: Offset(7),
            epoch: LeaderEpoch(3),
            timestamp: Timestamp(99),
            content: BatchContent::Control(first.clone()),
        };
        let bytes = batch.encode().unwrap();
        // The size Kafka 4.3.1 writes for these three records.
        assert_eq!(bytes.len(), 174);
        let parsed = Batch::parse(&bytes).unwrap();
        assert_eq!(parsed.header.partition_leader_epoch, LeaderEpoch(3));
        let expected: Vec<_> =
            first.into_iter().zip(7..).map(|(record, offset)| (Offset(offset), LogRecord::Control(record))).collect();
        assert_eq!(decode_batch(&parsed).unwrap(), expected);
    }
}
