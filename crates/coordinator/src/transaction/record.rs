//! The records of `__transaction_state`: the transactional id as key, the whole state as value, nothing as value once the id
//! has expired. Kafka: `TransactionLog`.

use super::event::PartitionKey;
use super::state::{Status, Transaction};
use bytes::Bytes;
use milena_protocol::Message;
use milena_protocol::messages::transaction_log_value::PartitionsSchema;
use milena_protocol::messages::{TransactionLogKey, TransactionLogValue};
use milena_protocol::{DecodeError, EncodeError, Reader, Text, decode_versioned, encode_key, encode_versioned};
use milena_types::{ProducerEpoch, ProducerId, Timestamp};
use std::collections::BTreeSet;

/// The only type of key.
const KEY_TYPE: i16 = 0;

/// A change of one transactional id.
#[derive(Clone, PartialEq, Debug)]
pub struct TransactionRecord {
    pub id: Text,
    /// `None` for an id that expired.
    pub value: Option<Transaction>,
    /// The version the value is written in.
    pub version: i16,
}

impl TransactionRecord {
    /// Reads a record; `None` for keys and values of versions that are not known here.
    ///
    /// # Errors
    /// Bytes that are no record of their version.
    pub(super) fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<TransactionRecord>, DecodeError> {
        let mut reader = Reader::new(key);
        if reader.read_i16()? != KEY_TYPE {
            return Ok(None);
        }
        let id = TransactionLogKey::decode(&mut reader, 0)?.transactional_id;
        let Some(value) = value else { return Ok(Some(TransactionRecord { id, value: None, version: 0 })) };
        let known = value.first_chunk().is_some_and(|version| matches!(i16::from_be_bytes(*version), 0..=1));
        if !known {
            return Ok(None);
        }
        let (version, value) = decode_versioned::<TransactionLogValue>(value)?;
        let Some(status) = Status::from_id(value.transaction_status) else { return Ok(None) };
        Ok(Some(TransactionRecord { id, value: Some(from_value(&value, status)), version }))
    }

    /// The key and the value.
    ///
    /// # Panics
    /// When the record cannot be written: everything in it came in a request that had room for it.
    pub(super) fn encode(&self) -> (Bytes, Option<Bytes>) {
        match self.try_encode() {
            Ok(bytes) => bytes,
            Err(why) => panic!("the state of a transaction cannot be encoded: {why}"),
        }
    }

    fn try_encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let key = TransactionLogKey { transactional_id: self.id.clone() };
        let key = encode_key(KEY_TYPE, &key)?;
        let value = self.value.as_ref().map(|value| encode_versioned(&to_value(value, self.version), self.version));
        Ok((key, value.transpose()?))
    }
}

fn to_value(transaction: &Transaction, version: i16) -> TransactionLogValue {
    let mut topics: Vec<PartitionsSchema> = Vec::new();
    for PartitionKey { topic, index } in &transaction.partitions {
        match topics.last_mut() {
            Some(last) if last.topic == *topic => last.partition_ids.push(*index),
            _ => topics.push(PartitionsSchema {
                topic: topic.clone(),
                partition_ids: vec![*index],
                ..PartitionsSchema::default()
            }),
        }
    }
    let mut value = TransactionLogValue {
        producer_id: transaction.producer_id.0,
        producer_epoch: transaction.producer_epoch.0,
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_status: transaction.status.id(),
        transaction_partitions: (transaction.status != Status::Empty).then_some(topics),
        transaction_last_update_timestamp_ms: transaction.last_update.0,
        transaction_start_timestamp_ms: transaction.start.0,
        ..TransactionLogValue::default()
    };
    if version >= 1 {
        value.previous_producer_id = transaction.previous_producer_id.0;
        value.next_producer_id = transaction.next_producer_id.0;
        value.client_transaction_version = transaction.client_version;
    }
    value
}

fn from_value(value: &TransactionLogValue, status: Status) -> Transaction {
    let mut partitions = BTreeSet::new();
    for topic in value.transaction_partitions.iter().flatten().filter(|_| status != Status::Empty) {
        let keys = topic.partition_ids.iter().map(|index| PartitionKey { topic: topic.topic.clone(), index: *index });
        partitions.extend(keys);
    }
    Transaction {
        producer_id: ProducerId(value.producer_id),
        previous_producer_id: ProducerId(value.previous_producer_id),
        next_producer_id: ProducerId(value.next_producer_id),
        producer_epoch: ProducerEpoch(value.producer_epoch),
        // It is not in the log: what was told before is not recognised when it comes again.
        last_producer_epoch: ProducerEpoch::NONE,
        timeout_ms: value.transaction_timeout_ms,
        status,
        partitions,
        start: Timestamp(value.transaction_start_timestamp_ms),
        last_update: Timestamp(value.transaction_last_update_timestamp_ms),
        client_version: value.client_transaction_version,
    }
}
