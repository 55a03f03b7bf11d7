//! What a producer's batch and a transaction's marker must be like (`ProducerAppendInfo`).

use milena_records::{BatchHeader, ControlType};
use milena_types::{ErrorCode, Offset, ProducerEpoch, ProducerId};

use crate::producer_entry::ProducerEntry;
use crate::producers::{AppendOrigin, CompletedTransaction, Marker, Rejected};

pub(crate) fn check_epoch(entry: &ProducerEntry, header: &BatchHeader, origin: AppendOrigin) -> Result<(), Rejected> {
    if header.producer_epoch >= entry.epoch || origin == AppendOrigin::Replication {
        return Ok(());
    }
    Err(stale_epoch(entry, header))
}

pub(crate) fn stale_epoch(entry: &ProducerEntry, header: &BatchHeader) -> Rejected {
    Rejected {
        error: ErrorCode::INVALID_PRODUCER_EPOCH,
        message: format!(
            "Epoch of producer {} is {}, which is smaller than the last seen epoch {}",
            header.producer_id, header.producer_epoch, entry.epoch
        ),
    }
}

/// `ProducerAppendInfo.checkSequence`. An unknown producer may begin with any sequence (KIP-360).
pub(crate) fn check_sequence(entry: &ProducerEntry, header: &BatchHeader) -> Result<(), Rejected> {
    let first = header.base_sequence;
    let refused = |why: String| {
        Err(Rejected {
            error: ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            message: format!("Out of order sequence number for producer {}: {why}", header.producer_id),
        })
    };
    if header.producer_epoch != entry.epoch {
        if first != 0 && entry.epoch != ProducerEpoch::NONE {
            return refused(format!("{first} begins epoch {} after {}", header.producer_epoch, entry.epoch));
        }
        return Ok(());
    }
    let last = entry.last_sequence();
    if i64::from(first) == i64::from(last) + 1 || first == 0 && last == i32::MAX {
        return Ok(());
    }
    refused(format!("{first} (incoming seq. number), {last} (current end sequence number)"))
}

pub(crate) fn end_transaction(
    entry: &mut ProducerEntry,
    header: &BatchHeader,
    base_offset: Offset,
    origin: AppendOrigin,
    marker: Marker,
) -> Result<Option<CompletedTransaction>, Rejected> {
    let open = entry.current_transaction_first_offset();
    if let AppendOrigin::Coordinator { transaction_version } = origin {
        // From transaction version 2 on each transaction has its own epoch; a repeated marker of an ended one is let
        // through (KAFKA-19999), and so is one of the last epoch there is (KAFKA-20090).
        let repeated = header.producer_epoch == entry.epoch && (open.is_none() || header.producer_epoch.0 == i16::MAX);
        let stale = if transaction_version >= 2 {
            header.producer_epoch <= entry.epoch && !repeated
        } else {
            header.producer_epoch < entry.epoch
        };
        if stale {
            return Err(stale_epoch(entry, header));
        }
        if entry.coordinator_epoch > marker.coordinator_epoch {
            return Err(Rejected {
                error: ErrorCode::TRANSACTION_COORDINATOR_FENCED,
                message: format!(
                    "Invalid coordinator epoch for producerId {}: {} (zombie), {} (current)",
                    header.producer_id, marker.coordinator_epoch, entry.coordinator_epoch
                ),
            });
        }
    } else {
        check_epoch(entry, header, origin)?;
    }
    entry.set_epoch(header.producer_epoch);
    entry.coordinator_epoch = marker.coordinator_epoch;
    entry.set_transaction(None);
    entry.last_timestamp = header.max_timestamp;
    Ok(open.map(|first_offset| CompletedTransaction {
        producer_id: ProducerId::get(header.producer_id),
        first_offset,
        last_offset: base_offset.0,
        aborted: marker.kind == ControlType::Abort,
    }))
}
