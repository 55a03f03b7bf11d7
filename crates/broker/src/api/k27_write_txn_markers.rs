//! WriteTxnMarkers, versions 1 and 2: a coordinator, or an administrator who aborts a transaction that hangs, ends transactions
//! in partitions that are led here. From version 2 on a marker tells the version of its transaction (KIP-1228). Kafka:
//! `KafkaApis.handleWriteTxnMarkersRequest`.

use super::{Api, Lane};
use crate::call::{Call, Later, Outcome};
use crate::partitions::{MarkerToWrite, write_marker};
use milena_coordinator::runtime::{EndOfTransaction, Producer};
use milena_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use milena_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use milena_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use milena_protocol::{ApiKey, Text};
use milena_types::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::WRITE_TXN_MARKERS, lane: Lane::Partition, handle };

/// Outcomes by producer, topic and partition.
type Outcomes = BTreeMap<(i64, Text, i32), ErrorCode>;

struct Waiting {
    state: Mutex<(usize, Outcomes, Option<Later>)>,
}

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<WriteTxnMarkersRequest>() else { return Outcome::Close };
    let mut markers = Vec::new();
    for marker in &request.markers {
        for topic in &marker.topics {
            for index in &topic.partition_indexes {
                markers.push(to_write(marker, &topic.name, *index));
            }
        }
    }
    if markers.is_empty() {
        return call.answer(&response(Outcomes::new()));
    }
    let Some(later) = call.park() else { return Outcome::Close };
    let waiting = Arc::new(Waiting { state: Mutex::new((markers.len(), Outcomes::new(), Some(later))) });
    for marker in markers {
        let waiting = Arc::clone(&waiting);
        let key = (marker.end.producer.id.0, marker.topic.clone(), marker.index.0);
        write_marker(call.broker, marker, Box::new(move |error| waiting.add(key, error)));
    }
    Outcome::Pending
}

fn to_write(marker: &WritableTxnMarker, topic: &Text, index: i32) -> MarkerToWrite {
    MarkerToWrite {
        topic: topic.detached(),
        index: PartitionIndex(index),
        end: EndOfTransaction {
            producer: Producer { id: ProducerId(marker.producer_id), epoch: ProducerEpoch(marker.producer_epoch) },
            coordinator_epoch: marker.coordinator_epoch,
            is_committed: marker.transaction_result,
            transaction_version: i16::from(marker.transaction_version),
        },
    }
}

impl Waiting {
    fn add(&self, key: (i64, Text, i32), error: ErrorCode) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = state.0.saturating_sub(1);
        state.1.insert(key, error);
        if state.0 > 0 {
            return;
        }
        let (outcomes, later) = (std::mem::take(&mut state.1), state.2.take());
        drop(state);
        if let Some(later) = later {
            later.answer(&response(outcomes));
        }
    }
}

fn response(outcomes: Outcomes) -> WriteTxnMarkersResponse {
    let mut markers: Vec<WritableTxnMarkerResult> = Vec::new();
    for ((producer_id, topic, index), error) in outcomes {
        if markers.last().is_none_or(|marker| marker.producer_id != producer_id) {
            markers.push(WritableTxnMarkerResult { producer_id, ..Default::default() });
        }
        let Some(marker) = markers.last_mut() else { continue };
        let partition =
            WritableTxnMarkerPartitionResult { partition_index: index, error_code: error.0, ..Default::default() };
        match marker.topics.last_mut() {
            Some(last) if last.name == topic => last.partitions.push(partition),
            _ => marker.topics.push(WritableTxnMarkerTopicResult {
                name: topic,
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    WriteTxnMarkersResponse { markers, ..Default::default() }
}
