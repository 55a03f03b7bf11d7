//! Blocks of producer ids (`ProducerIdControlManager`).

use milena_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, MetadataRecord, ProducerIdsRecord,
};
use milena_types::{BrokerId, ErrorCode};

use crate::{Controller, Decision};

/// How many ids a block holds.
const BLOCK_LEN: i32 = 1000;

impl Controller {
    /// Gives the asking broker the next block of producer ids.
    #[must_use]
    pub fn decide_allocate_producer_ids(
        &self,
        request: &AllocateProducerIdsRequest,
    ) -> Decision<AllocateProducerIdsResponse> {
        let refuse = |error: ErrorCode| {
            let response =
                AllocateProducerIdsResponse { error_code: error.0, ..AllocateProducerIdsResponse::default() };
            Decision::of(Vec::new(), response)
        };
        if let Err(error) = self.check_broker_epoch(BrokerId(request.broker_id), request.broker_epoch) {
            return refuse(error.error);
        }
        let first = self.image.next_producer_id.max(0);
        let Some(next) = first.checked_add(i64::from(BLOCK_LEN)) else {
            return refuse(ErrorCode::UNKNOWN_SERVER_ERROR);
        };
        let record = ProducerIdsRecord {
            broker_id: request.broker_id,
            broker_epoch: request.broker_epoch,
            next_producer_id: next,
            ..ProducerIdsRecord::default()
        };
        let response = AllocateProducerIdsResponse {
            producer_id_start: first,
            producer_id_len: BLOCK_LEN,
            ..AllocateProducerIdsResponse::default()
        };
        Decision::of(vec![(MetadataRecord::ProducerIds(record), 0)], response)
    }
}
