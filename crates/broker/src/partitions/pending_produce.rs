//! One produce request on its way: its answer is filled in as its partitions are done. Error codes, offsets and messages are
//! those of `ReplicaManager.appendRecords` and `KafkaApis.handleProduceRequest`.

use super::partition::{Inner, Partition};
use super::traffic::is_expected;
use super::waiting::{AckWaiter, ParkedProduce, Place};
use milena_protocol::RequestHeader;
use milena_protocol::messages::ProduceResponse;
use milena_protocol::messages::produce_response::{BatchIndexAndErrorMessage, PartitionProduceResponse};
use milena_records::{Reject, RejectReason};
use milena_replication::AckState;
use milena_storage::Appended;
use milena_types::{ErrorCode, Offset};
use std::sync::Arc;
use std::time::Duration;

/// One request, its answer filled in as its partitions are done.
pub(super) struct PendingProduce {
    pub(super) header: RequestHeader,
    pub(super) acks: i16,
    pub(super) timeout: Duration,
    pub(super) response: ProduceResponse,
    /// Set once a partition has to wait for replication.
    pub(super) parked: Option<Arc<ParkedProduce>>,
    pub(super) failed: bool,
}

impl PendingProduce {
    pub(super) fn answer_at(&mut self, place: Place) -> Option<&mut PartitionProduceResponse> {
        self.response.responses.get_mut(place.topic)?.partition_responses.get_mut(place.partition)
    }

    pub(super) fn refuse(&mut self, place: Place, error: ErrorCode, log_start: Offset) {
        self.failed = true;
        if let Some(answer) = self.answer_at(place) {
            answer.error_code = error.0;
            answer.log_start_offset = if is_expected(error) { -1 } else { log_start.0 };
        }
    }

    pub(super) fn reject(&mut self, place: Place, reason: &RejectReason, partition: &Partition, inner: &Inner) {
        let is_request_check = matches!(
            reason.reject,
            Reject::NoBatch { .. } | Reject::ManyBatches { .. } | Reject::OldMagic { .. } | Reject::ZstdTooEarly { .. }
        );
        let log_start = if is_request_check { Offset(-1) } else { inner.log.log_start_offset() };
        self.refuse(place, reason.error, log_start);
        if reason.reject != Reject::Records {
            return;
        }
        if let Some(answer) = self.answer_at(place) {
            answer.error_message = Some(reason.message(partition).into());
            answer.record_errors = reason
                .record_errors
                .iter()
                .map(|error| BatchIndexAndErrorMessage {
                    batch_index: error.index,
                    batch_index_error_message: Some(error.fault.message(partition).into()),
                    ..Default::default()
                })
                .collect();
        }
    }

    pub(super) fn appended(&mut self, place: Place, appended: &Appended, append_time: i64, inner: &mut Inner) {
        let log_start = inner.log.log_start_offset();
        let mut error = ErrorCode::NONE;
        if self.acks == -1 {
            let required = appended.last_offset + 1;
            match inner.state.ack_state(required) {
                AckState::Done(result) => error = result.err().unwrap_or(ErrorCode::NONE),
                AckState::Pending => {
                    let produce = Arc::clone(self.parked.get_or_insert_default());
                    produce.expect();
                    inner.wait_for_ack(AckWaiter { required, produce, place });
                    error = ErrorCode::REQUEST_TIMED_OUT;
                }
            }
        }
        if let Some(answer) = self.answer_at(place) {
            answer.error_code = error.0;
            answer.base_offset = appended.first_offset.0;
            answer.log_append_time_ms = append_time;
            answer.log_start_offset = log_start.0;
        }
    }
}
